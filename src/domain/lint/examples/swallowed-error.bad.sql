DO $$
BEGIN
    UPDATE users SET tier = 'free' WHERE tier IS NULL;
    RAISE NOTICE 'all users have a tier';
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'failed: %', SQLERRM;
END $$;
