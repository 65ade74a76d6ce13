-- llmhub:allow down-drop-cascades views are made again
CREATE TABLE hubs (id bigint PRIMARY KEY, name text);
