-- file: 0001_hubs.up.sql
-- not UTF-8
-- file: 0001_hubs.down.sql
DROP TABLE hubs;
