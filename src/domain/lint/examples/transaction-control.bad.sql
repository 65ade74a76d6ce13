CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
COMMIT;
CREATE TABLE spokes (id bigint PRIMARY KEY);
