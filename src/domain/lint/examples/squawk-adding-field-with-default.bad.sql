ALTER TABLE hubs ADD COLUMN token uuid DEFAULT gen_random_uuid();
