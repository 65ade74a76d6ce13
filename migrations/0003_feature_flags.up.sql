-- Feature flags that outlive a restart, and every edit of them.

CREATE TABLE feature_flags (
    name text PRIMARY KEY,
    enabled boolean NOT NULL DEFAULT false,
    rollout_percentage integer NOT NULL DEFAULT 0,
    whitelist_users text[] NOT NULL DEFAULT '{}',
    blacklist_users text[] NOT NULL DEFAULT '{}',
    start_date timestamptz,
    end_date timestamptz,
    description text,
    tags text[] NOT NULL DEFAULT '{}',
    owner text,
    revision bigint NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL DEFAULT CURRENT_USER,
    CONSTRAINT feature_flags_name_check
        CHECK (octet_length(name) BETWEEN 1 AND 200 AND name NOT IN ('.', '..') AND name !~ '[/\x01-\x1f\x7f-\x9f]'),
    CONSTRAINT feature_flags_rollout_percentage_check CHECK (rollout_percentage BETWEEN 0 AND 100),
    -- A null in a list has no meaning to the hub.
    CONSTRAINT feature_flags_whitelist_users_check CHECK (array_position(whitelist_users, NULL) IS NULL),
    CONSTRAINT feature_flags_blacklist_users_check CHECK (array_position(blacklist_users, NULL) IS NULL),
    CONSTRAINT feature_flags_tags_check CHECK (array_position(tags, NULL) IS NULL),
    -- The years that the hub's Python can read; keeps infinity out as well.
    CONSTRAINT feature_flags_dates_check CHECK (
        start_date >= '0001-01-01 00:00:00+00' AND start_date < '10000-01-01 00:00:00+00'
        AND end_date >= '0001-01-01 00:00:00+00' AND end_date < '10000-01-01 00:00:00+00'),
    CONSTRAINT feature_flags_revision_check CHECK (revision >= 1)
);

-- No foreign key: the history of a flag stays when the flag is deleted.
CREATE TABLE feature_flag_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    flag_name text NOT NULL,
    revision bigint NOT NULL,
    operation text NOT NULL,
    before jsonb,
    after jsonb,
    actor text NOT NULL,
    reason text,
    source text NOT NULL DEFAULT 'db',
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT feature_flag_events_flag_revision_key UNIQUE (flag_name, revision),
    CONSTRAINT feature_flag_events_states_check CHECK (before IS NOT NULL OR after IS NOT NULL)
);

CREATE TRIGGER feature_flag_events_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON feature_flag_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();

-- The three flags that the hub knows, off for everybody.
INSERT INTO feature_flags (name, description, tags, owner, updated_by) VALUES
    ('unified_llm_hub', 'Unified LLM management interface (replaces 4 old pages)',
     '{llm,ui,admin}', 'platform-team', 'migration 0003'),
    ('advanced_analytics', 'Enhanced analytics dashboard with ML insights',
     '{analytics,ml,admin}', 'data-team', 'migration 0003'),
    ('model_recommendations', 'AI-powered model recommendations based on usage',
     '{llm,ml,recommendations}', 'ml-team', 'migration 0003');

INSERT INTO feature_flag_events (flag_name, revision, operation, actor, after)
SELECT name, revision, 'create', updated_by,
       jsonb_build_object(
           'flag', name, 'enabled', enabled, 'rollout_percentage', rollout_percentage,
           'whitelist_users', whitelist_users, 'blacklist_users', blacklist_users,
           'start_date', NULL, 'end_date', NULL,
           'description', description, 'tags', tags, 'owner', owner, 'revision', revision)
FROM feature_flags;
