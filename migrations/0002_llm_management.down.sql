DROP TABLE audit_log;
DROP FUNCTION refuse_change_of_history();
DROP TABLE llm_usage_analytics;
DROP TABLE llm_routing_rules;
DROP TABLE llm_model_tier_rules;
DROP TABLE llm_provider_keys;
DROP TABLE llm_models;
DROP TABLE llm_providers;
