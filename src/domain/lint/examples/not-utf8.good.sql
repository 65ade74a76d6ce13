-- file: 0001_hubs.up.sql
-- Grüße
CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
-- file: 0001_hubs.down.sql
DROP TABLE hubs;
