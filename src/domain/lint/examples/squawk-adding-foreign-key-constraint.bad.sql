ALTER TABLE spokes ADD COLUMN hub bigint REFERENCES hubs (id);
