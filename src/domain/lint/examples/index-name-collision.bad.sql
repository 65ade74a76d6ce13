CREATE TABLE hubs (id bigint, name text);
CREATE TABLE spokes (id bigint, name text);
CREATE INDEX name_idx ON hubs (name);
CREATE INDEX name_idx ON spokes (name);
