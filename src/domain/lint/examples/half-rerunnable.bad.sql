CREATE TABLE IF NOT EXISTS hubs (id bigint PRIMARY KEY, name text);
CREATE INDEX hubs_name_idx ON hubs (name);
