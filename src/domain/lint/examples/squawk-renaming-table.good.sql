CREATE VIEW nodes AS SELECT id, name FROM hubs;
