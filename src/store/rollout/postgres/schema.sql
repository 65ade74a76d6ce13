-- The state of gated rollouts, format 1. Only llmhub writes here, each row under the fence of a lease.

CREATE SCHEMA IF NOT EXISTS llmhub;
REVOKE ALL ON SCHEMA llmhub FROM PUBLIC;

CREATE TABLE llmhub.rollout_format (
    format integer NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
INSERT INTO llmhub.rollout_format (format) VALUES (1);

-- Who may act. The fence only grows and is never given twice.
CREATE TABLE llmhub.rollout_lease (
    profile text NOT NULL,
    flag text NOT NULL,
    holder text,
    fence bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (profile, flag)
);

CREATE TABLE llmhub.rollout_run (
    id text PRIMARY KEY,
    position bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    profile text NOT NULL,
    flag text NOT NULL,
    plan text NOT NULL,
    plan_digest text NOT NULL,
    snapshot jsonb NOT NULL,
    state text NOT NULL,
    progress jsonb NOT NULL,
    fence bigint NOT NULL,
    started_by text NOT NULL,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE UNIQUE INDEX rollout_run_one_open ON llmhub.rollout_run (profile, flag) WHERE ended_at IS NULL;

-- A row per write to the hub: what was meant, committed before it is done.
CREATE TABLE llmhub.rollout_step (
    run text NOT NULL REFERENCES llmhub.rollout_run,
    number bigint NOT NULL,
    rung integer NOT NULL,
    direction text NOT NULL CHECK (direction IN ('up', 'down')),
    digest_before text NOT NULL,
    digest_wanted text NOT NULL,
    intent_at timestamptz NOT NULL,
    applied_at timestamptz,
    converged_at timestamptz,
    PRIMARY KEY (run, number)
);

CREATE TABLE llmhub.rollout_measurement (
    run text NOT NULL REFERENCES llmhub.rollout_run,
    number bigint NOT NULL,
    rung integer NOT NULL,
    metric text NOT NULL,
    measured_at timestamptz NOT NULL,
    verdict text NOT NULL,
    details jsonb NOT NULL,
    PRIMARY KEY (run, number)
);

-- What happened, in order; each row carries the hash of the one before.
CREATE TABLE llmhub.rollout_event (
    run text NOT NULL REFERENCES llmhub.rollout_run,
    number bigint NOT NULL,
    at bigint NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    details text NOT NULL,
    previous text NOT NULL,
    hash text NOT NULL,
    PRIMARY KEY (run, number)
);
CREATE FUNCTION llmhub.rollout_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the events of a rollout are only ever added'; END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON llmhub.rollout_event
    FOR EACH STATEMENT EXECUTE FUNCTION llmhub.rollout_event_is_append_only();

-- What somebody asked of a run that another process holds.
CREATE TABLE llmhub.rollout_request (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run text NOT NULL REFERENCES llmhub.rollout_run,
    kind text NOT NULL,
    actor text NOT NULL,
    reason text,
    asked_at timestamptz NOT NULL,
    answered_at timestamptz
);
