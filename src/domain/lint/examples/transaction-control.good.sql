SAVEPOINT before_spokes;
CREATE TABLE spokes (id bigint PRIMARY KEY);
RELEASE SAVEPOINT before_spokes;
