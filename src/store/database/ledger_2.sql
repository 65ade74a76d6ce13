-- Format 2 of the ledger: proofs are kept for themselves, so that a migration can be proven before it is applied.

CREATE TABLE llmhub.migration_proof (
    version text NOT NULL,
    up_checksum text NOT NULL,
    down_checksum text NOT NULL,
    schema_before text NOT NULL,
    schema_with text NOT NULL,
    fingerprint_format integer NOT NULL,
    server_version integer NOT NULL,
    verdict text NOT NULL,
    proven_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id text NOT NULL,
    xid text NOT NULL,
    database_role text NOT NULL DEFAULT session_user,
    os_user text NOT NULL,
    host text NOT NULL,
    tool_version text NOT NULL,
    reason text,
    PRIMARY KEY (version, up_checksum, down_checksum, schema_before, schema_with, server_version)
);
REVOKE ALL ON llmhub.migration_proof FROM PUBLIC;

-- Whoever was given a right to read the ledger reads this part of it too.
DO $$
DECLARE
    reader record;
BEGIN
    FOR reader IN
        SELECT DISTINCT a.grantee::regrole AS name
        FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
        WHERE c.oid = 'llmhub.migration'::regclass AND a.privilege_type = 'SELECT' AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT SELECT ON llmhub.migration_proof TO %s', reader.name);
    END LOOP;
END
$$;

ALTER TABLE llmhub.migration DROP COLUMN proof;
UPDATE llmhub.ledger_format SET format = 2;
