-- file: 0001_hubs.up.sql
CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
-- file: 0001_hubs.down.sql
DROP TABLE hubs;
-- file: 01_spokes.up.sql
CREATE TABLE spokes (id bigint PRIMARY KEY);
-- file: 01_spokes.down.sql
DROP TABLE spokes;
