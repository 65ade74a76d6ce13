CREATE TABLE total AS SELECT count(*) FROM hubs;
