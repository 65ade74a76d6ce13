-- llmhub:allow squawk-ban-drop-table nobody reads it since release 7
DROP TABLE hubs;
