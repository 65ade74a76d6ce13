//! All integration tests, as one binary: it links once, and tests share their support code and servers.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a broken assumption shall fail the test")]
#![allow(clippy::disallowed_methods, reason = "the harness reads the environment that the runs are kept from")]

mod architecture;
mod assess;
mod contract;
mod db_adopt;
mod db_adopt_ledger;
mod db_apply;
mod db_backup;
mod db_baseline;
mod db_crash;
mod db_drift;
mod db_layouts;
mod db_lint;
mod db_rollback;
mod db_rows;
mod db_schema;
mod db_seed;
mod db_setup_test;
mod db_verify;
mod docs;
mod emergency;
mod env_file;
mod exit_codes;
mod fernet_python;
mod flags_db;
mod flags_hub;
mod flags_input;
mod flags_sources;
mod hub_double;
mod keys_audit;
mod keys_db;
mod keys_hub;
mod keys_rotate;
mod keys_test;
mod metrics_logs;
mod metrics_prometheus;
mod metrics_sql;
mod output;
mod postgres_apply;
mod postgres_store;
mod profile;
mod prompts;
mod rollout_plan;
mod rollout_run;
mod support;
