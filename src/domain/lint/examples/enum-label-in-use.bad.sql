ALTER TYPE tier ADD VALUE 'trial';
UPDATE users SET tier = 'trial' WHERE tier IS NULL;
