INSERT INTO hubs VALUES (1, 'it''s here');
