ALTER TABLE hubs ADD COLUMN title text;
