CREATE TABLE copied (id bigint);
DROP TABLE copied;
