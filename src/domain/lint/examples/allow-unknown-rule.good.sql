CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
