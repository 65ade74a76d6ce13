ALTER TABLE hubs ADD COLUMN big_id bigint;
