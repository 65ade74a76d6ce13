-- file: 0001_hubs.up.sql
CREATE TABLE hubs (id bigint PRIMARY KEY);
CREATE TABLE spokes (hub bigint REFERENCES hubs (id) ON DELETE CASCADE);
-- file: 0001_hubs.down.sql
DROP TABLE spokes;
DROP TABLE hubs;
