-- The people of the hub. Everything later refers to them.

CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    keycloak_id text,
    username text,
    email text NOT NULL,
    tier text NOT NULL DEFAULT 'free',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_keycloak_id_key UNIQUE (keycloak_id),
    CONSTRAINT users_email_key UNIQUE (email)
);

CREATE INDEX users_username_idx ON users (username);
CREATE INDEX users_tier_idx ON users (tier);
