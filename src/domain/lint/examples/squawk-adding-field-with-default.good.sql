ALTER TABLE hubs ADD COLUMN enabled boolean DEFAULT false;
