RAISE NOTICE 'nothing to take back';
