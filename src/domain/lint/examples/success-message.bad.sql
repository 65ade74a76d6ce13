CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
DO $$ BEGIN RAISE NOTICE 'Migration completed successfully'; END $$;
