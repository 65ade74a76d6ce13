CREATE TABLE hubs (
    id bigint PRIMARY KEY,
    name text,
    INDEX idx_hubs_name (name)
);
