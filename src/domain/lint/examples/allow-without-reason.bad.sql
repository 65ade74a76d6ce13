-- llmhub:allow squawk-ban-drop-table
DROP TABLE hubs;
