-- file: 0001_seed.up.sql
INSERT INTO tiers (code) VALUES ('trial');
-- file: 0001_seed.down.sql
DELETE FROM tiers WHERE code = 'trial';
