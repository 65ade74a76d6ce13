ALTER TABLE hubs ADD CONSTRAINT hubs_id_check CHECK (id > 0);
