-- Providers and their keys, models, who may use which, what was used, and who changed what.

CREATE TABLE llm_providers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name varchar(100) NOT NULL,
    type varchar(50) NOT NULL,
    api_key_encrypted text,
    api_key_source varchar(50) DEFAULT 'environment',
    api_key_updated_at timestamp,
    api_key_last_tested timestamp,
    api_key_test_status varchar(50),
    api_base_url text,
    enabled boolean DEFAULT true,
    priority integer DEFAULT 50,
    config jsonb DEFAULT '{}',
    health_status varchar(50) DEFAULT 'unknown',
    last_health_check timestamp,
    created_at timestamp DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at timestamp DEFAULT (now() AT TIME ZONE 'UTC')
);

-- The hub finds a row by its name in lower case; two such rows would be one at random.
CREATE UNIQUE INDEX llm_providers_lower_name_key ON llm_providers (lower(name));
CREATE INDEX llm_providers_type_priority_idx ON llm_providers (type, priority DESC);

CREATE TABLE llm_models (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    model_id text NOT NULL,
    provider varchar(50) NOT NULL,
    display_name text,
    context_window integer,
    enabled boolean NOT NULL DEFAULT true,
    input_price_per_million numeric(12, 6),
    output_price_per_million numeric(12, 6),
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    CONSTRAINT llm_models_model_id_key UNIQUE (model_id),
    CONSTRAINT llm_models_context_window_check CHECK (context_window > 0),
    CONSTRAINT llm_models_prices_check CHECK (input_price_per_million >= 0 AND output_price_per_million >= 0)
);

CREATE INDEX llm_models_provider_idx ON llm_models (provider) WHERE enabled;

CREATE TABLE llm_provider_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid,
    provider varchar(50) NOT NULL,
    api_key_encrypted text NOT NULL,
    is_system_key boolean NOT NULL DEFAULT false,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    CONSTRAINT llm_provider_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT llm_provider_keys_owner_check CHECK (is_system_key OR user_id IS NOT NULL)
);

CREATE UNIQUE INDEX llm_provider_keys_user_provider_key ON llm_provider_keys (user_id, provider) WHERE NOT is_system_key;
CREATE INDEX llm_provider_keys_user_id_idx ON llm_provider_keys (user_id);

CREATE TABLE llm_model_tier_rules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tier_code varchar(50) NOT NULL,
    model_pattern text NOT NULL,
    allowed boolean NOT NULL,
    max_requests_per_day integer,
    max_context_length integer,
    priority integer NOT NULL DEFAULT 0,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    CONSTRAINT llm_model_tier_rules_tier_pattern_key UNIQUE (tier_code, model_pattern),
    CONSTRAINT llm_model_tier_rules_limits_check CHECK (max_requests_per_day >= 0 AND max_context_length > 0)
);

CREATE INDEX llm_model_tier_rules_tier_priority_idx ON llm_model_tier_rules (tier_code, priority DESC);

CREATE TABLE llm_routing_rules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid,
    model_pattern text NOT NULL,
    provider_id uuid NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    CONSTRAINT llm_routing_rules_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT llm_routing_rules_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES llm_providers (id) ON DELETE CASCADE
);

CREATE INDEX llm_routing_rules_priority_idx ON llm_routing_rules (priority DESC) WHERE enabled;
CREATE INDEX llm_routing_rules_user_id_idx ON llm_routing_rules (user_id);
CREATE INDEX llm_routing_rules_provider_id_idx ON llm_routing_rules (provider_id);

-- No foreign keys to providers and models: what was used stays true when they are gone.
CREATE TABLE llm_usage_analytics (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "timestamp" timestamptz NOT NULL DEFAULT now(),
    user_id uuid,
    provider varchar(50) NOT NULL,
    model_id text NOT NULL,
    tokens bigint NOT NULL DEFAULT 0,
    cost_usd numeric(14, 8) NOT NULL DEFAULT 0,
    latency_ms integer,
    status varchar(50) NOT NULL,
    CONSTRAINT llm_usage_analytics_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL,
    CONSTRAINT llm_usage_analytics_counts_check CHECK (tokens >= 0 AND latency_ms >= 0)
);

CREATE INDEX llm_usage_analytics_timestamp_idx ON llm_usage_analytics ("timestamp");
CREATE INDEX llm_usage_analytics_user_timestamp_idx ON llm_usage_analytics (user_id, "timestamp");
CREATE INDEX llm_usage_analytics_model_timestamp_idx ON llm_usage_analytics (model_id, "timestamp");

-- No foreign key either: deleting a user must not touch, and cannot touch, what is append-only.
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    object text,
    reason text,
    details jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX audit_log_at_idx ON audit_log (at);
CREATE INDEX audit_log_object_idx ON audit_log (object, at);

CREATE FUNCTION refuse_change_of_history() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog
AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_log_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_history();
