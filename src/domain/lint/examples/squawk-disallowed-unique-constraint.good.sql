ALTER TABLE hubs ADD CONSTRAINT hubs_code_key UNIQUE USING INDEX hubs_code_idx;
