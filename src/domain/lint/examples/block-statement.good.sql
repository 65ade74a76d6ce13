DO $$
BEGIN
    IF EXISTS (SELECT FROM hubs WHERE name IS NULL) THEN
        RAISE EXCEPTION 'hubs without a name';
    END IF;
END $$;
