-- file: 0001_hubs.up.sql
CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
