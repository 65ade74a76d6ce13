CREATE INDEX hubs_name_idx ON hubs (name);
