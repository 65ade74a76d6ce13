ALTER TYPE tier ADD VALUE 'trial';
