-- file: 0001_tier.up.sql
ALTER TABLE users ADD COLUMN tier text;
-- file: 0001_tier.down.sql
DELETE FROM users WHERE tier = 'trial';
ALTER TABLE users DROP COLUMN tier;
