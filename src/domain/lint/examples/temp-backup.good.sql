-- file: 0001_tier.up.sql
ALTER TABLE users ADD COLUMN tier text;
-- file: 0001_tier.down.sql
CREATE TABLE kept_tiers AS SELECT id, tier FROM users;
ALTER TABLE users DROP COLUMN tier;
