-- llmhub:allow squawk-ban-drop-table nobody reads it
CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
