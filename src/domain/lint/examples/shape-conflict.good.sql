-- file: 0001_hubs.up.sql
CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
-- file: 0001_hubs.down.sql
DROP TABLE hubs;
-- file: 0002_title.up.sql
ALTER TABLE hubs ADD COLUMN IF NOT EXISTS title text;
CREATE TABLE IF NOT EXISTS hubs (id int8 PRIMARY KEY, name text, title text);
-- file: 0002_title.down.sql
ALTER TABLE hubs DROP COLUMN title;
