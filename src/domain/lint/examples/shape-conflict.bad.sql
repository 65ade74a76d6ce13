-- file: 0001_hubs.up.sql
CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
-- file: 0001_hubs.down.sql
DROP TABLE hubs;
-- file: 0002_hubs_again.up.sql
CREATE TABLE IF NOT EXISTS hubs (id bigint PRIMARY KEY, title text);
-- file: 0002_hubs_again.down.sql
SELECT 1;
