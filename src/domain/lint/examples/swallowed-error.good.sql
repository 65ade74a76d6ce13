DO $$
BEGIN
    UPDATE users SET tier = 'free' WHERE tier IS NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'no tier could be set';
    RAISE;
END $$;
