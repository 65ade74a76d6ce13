CREATE TABLE hubs (id bigint, name text);
CREATE TABLE spokes (id bigint, name text);
CREATE INDEX hubs_name_idx ON hubs (name);
CREATE INDEX spokes_name_idx ON spokes (name);
