CREATE INDEX CONCURRENTLY hubs_name_idx ON hubs (name);
