-- The ledger of one database, format 1. Only llmhub writes here, under the migration lock.

CREATE SCHEMA IF NOT EXISTS llmhub;
REVOKE ALL ON SCHEMA llmhub FROM PUBLIC;

CREATE TABLE llmhub.ledger_format (
    format integer NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
INSERT INTO llmhub.ledger_format (format) VALUES (1);

-- A row per migration that is applied now, with everything that rolling it back needs when the files are gone.
CREATE TABLE llmhub.migration (
    version text PRIMARY KEY,
    position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    name text NOT NULL,
    up_sql text NOT NULL,
    up_raw_hash text NOT NULL,
    up_checksum text NOT NULL,
    up_wrapped boolean NOT NULL,
    down_sql text,
    down_raw_hash text,
    down_checksum text,
    down_wrapped boolean NOT NULL,
    applied_at timestamptz NOT NULL,
    duration_ms bigint NOT NULL,
    fingerprint_before jsonb,
    fingerprint_after jsonb,
    proof jsonb,
    run_id text NOT NULL,
    xid text NOT NULL,
    database_role text NOT NULL DEFAULT session_user,
    os_user text NOT NULL,
    host text NOT NULL,
    tool_version text NOT NULL,
    reason text
);

-- Everything that was ever done, failures and reverts included. A migration of several parts leaves a row before each part
-- that runs outside of a transaction ('started') and one with each part that stands ('statement_done').
CREATE TABLE llmhub.migration_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL CHECK (kind IN
        ('planned', 'started', 'statement_done', 'applied', 'failed', 'reverted', 'adopted', 'repaired')),
    version text,
    name text,
    statement integer,
    up_sql text,
    up_raw_hash text,
    up_checksum text,
    down_sql text,
    down_raw_hash text,
    down_checksum text,
    duration_ms bigint,
    fingerprint_before jsonb,
    fingerprint_after jsonb,
    proof jsonb,
    run_id text NOT NULL,
    xid text,
    database_role text NOT NULL DEFAULT session_user,
    os_user text NOT NULL,
    host text NOT NULL,
    tool_version text NOT NULL,
    reason text,
    error text,
    details jsonb
);
CREATE INDEX migration_event_version_idx ON llmhub.migration_event (version, id);

CREATE FUNCTION llmhub.refuse_change_of_history() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER migration_event_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON llmhub.migration_event
    FOR EACH STATEMENT EXECUTE FUNCTION llmhub.refuse_change_of_history();

-- SQL can hold secrets: nobody reads it who was not given the right.
REVOKE ALL ON ALL TABLES IN SCHEMA llmhub FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA llmhub FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA llmhub FROM PUBLIC;
