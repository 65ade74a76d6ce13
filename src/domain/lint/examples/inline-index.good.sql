CREATE TABLE hubs (id bigint PRIMARY KEY, name text, index integer);
CREATE INDEX hubs_name_idx ON hubs (name);
