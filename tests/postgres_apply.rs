//! `db apply` through the library: each migration whole or not at all, once, and back again to the same catalog.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use llmhub::domain::migrations::{Migration, Numbering, Recorded, Script, Set, embedded};
use llmhub::store::StoreError;
use llmhub::store::database::{Applied, Event, Late, Operator, Run, Wanted, Watch, history, ledger};
use llmhub::store::postgres::Target;

use crate::support::cut::{self, Loss};
use crate::support::postgres::{CANARY_PASSWORD, Database, server, target};

fn run() -> Run<'static> {
    Run::new(Operator { user: "alice".to_owned(), host: "ops".to_owned() }, Duration::from_secs(20))
}

async fn apply(target: &Target, migrations: &[Migration], run: &Run<'_>) -> Result<Applied, StoreError> {
    let set = Set::of(migrations.to_vec(), Numbering::Integer);
    llmhub::store::database::apply(target, &set, &Wanted::default(), run).await
}

async fn apply_embedded(target: &Target, run: &Run<'_>) -> Result<Applied, StoreError> {
    apply(target, &embedded(), run).await
}

async fn applied(target: &Target) -> Result<Vec<Recorded>, StoreError> {
    ledger(target).await.map(|ledger| ledger.recorded)
}

fn migration(version: &str, up: &str) -> Migration {
    let up = Script::new(up).named(format!("{version}_test.up.sql"));
    Migration { version: version.parse().unwrap(), name: "test".to_owned(), up, down: None }
}

/// Everything in the catalog that a migration can make, one line each, without llmhub's own schema.
async fn catalog(database: &Database) -> Vec<String> {
    database
        .lines(
            "WITH own AS (SELECT oid, nspname, nspacl FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN \
             ('information_schema', 'llmhub')) \
             SELECT line COLLATE \"C\" AS line FROM ( \
             SELECT 'schema ' || nspname || coalesce(nspacl::text, '') FROM own \
             UNION ALL SELECT concat_ws(' ', 'relation', relname, relkind, relpersistence, relacl, reloptions) \
             FROM pg_class JOIN own ON own.oid = relnamespace \
             UNION ALL SELECT concat_ws(' ', 'column', c.relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull, \
             attidentity, attgenerated, pg_get_expr(adbin, adrelid)) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid \
             JOIN own ON own.oid = relnamespace LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum \
             UNION ALL SELECT concat_ws(' ', 'constraint', conname, pg_get_constraintdef(c.oid), convalidated) \
             FROM pg_constraint c JOIN own ON own.oid = connamespace \
             UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid) \
             FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN own ON own.oid = relnamespace \
             UNION ALL SELECT concat_ws(' ', 'function', pg_get_functiondef(p.oid), proacl) FROM pg_proc p JOIN own \
             ON own.oid = pronamespace \
             UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), tgenabled) FROM pg_trigger t \
             JOIN pg_class c ON c.oid = tgrelid JOIN own ON own.oid = relnamespace WHERE NOT tgisinternal \
             UNION ALL SELECT concat_ws(' ', 'type', typname, typtype) FROM pg_type JOIN own ON own.oid = typnamespace \
             UNION ALL SELECT 'extension ' || extname || extversion FROM pg_extension \
             ) lines (line) ORDER BY 1",
        )
        .await
}

#[tokio::test]
async fn apply_brings_an_empty_database_up_to_date_and_a_second_run_does_nothing() {
    let database = Database::empty();
    let target = database.target();
    assert_eq!(applied(&target).await.unwrap(), []);
    let first = apply_embedded(&target, &run()).await.unwrap();
    let versions: Vec<&str> = first.applied.iter().map(|now| now.version.as_str()).collect();
    assert_eq!((versions, first.current.as_deref()), (vec!["0001", "0002", "0003"], Some("0003")));
    let document = serde_json::to_value(&first).unwrap();
    assert_eq!(document["applied"][1]["name"], "llm_management");
    assert!(document["applied"][1]["duration_ms"].is_i64());

    let ledger = applied(&target).await.unwrap();
    assert_eq!(ledger.len(), 3);
    assert_eq!((ledger[0].applied_by.as_str(), ledger[0].proven), ("alice@ops", false));
    let events = database.lines("SELECT kind || version FROM llmhub.migration_event ORDER BY id").await;
    assert_eq!(events, ["applied0001", "applied0002", "applied0003"]);

    let before = catalog(&database).await;
    let again = apply_embedded(&target, &run()).await.unwrap();
    assert_eq!((again.applied, again.current.as_deref()), (vec![], Some("0003")));
    assert_eq!((catalog(&database).await, applied(&target).await.unwrap()), (before, ledger));
}

#[tokio::test]
async fn looking_creates_nothing() {
    let database = Database::empty();
    let objects = "SELECT count(*)::text FROM pg_class UNION ALL SELECT count(*)::text FROM pg_namespace";
    let before = database.lines(objects).await;
    assert_eq!(applied(&database.target()).await.unwrap(), []);
    assert_eq!(database.lines(objects).await, before);
}

#[tokio::test]
async fn every_shipped_down_gives_back_the_catalog_and_the_up_works_again() {
    let database = Database::empty();
    let migrations = embedded();
    let mut before = Vec::new();
    let mut after = Vec::new();
    for migration in &migrations {
        before.push(catalog(&database).await);
        database.sql(migration.up.text()).await;
        after.push(catalog(&database).await);
    }
    for (index, migration) in migrations.iter().enumerate().rev() {
        database.sql(migration.down.as_ref().unwrap().text()).await;
        assert_eq!(catalog(&database).await, before[index], "{}", migration.name);
    }
    for (index, migration) in migrations.iter().enumerate() {
        database.sql(migration.up.text()).await;
        assert_eq!(catalog(&database).await, after[index], "{}", migration.name);
    }
}

#[tokio::test]
async fn the_hubs_key_router_can_insert_a_provider_by_name_and_type_alone() {
    let database = Database::migrated();
    database.sql("INSERT INTO llm_providers (name, type) VALUES ('   ', 'openai'), ('Local vLLM', 'local')").await;
    let rows = database.lines("SELECT concat_ws(' ', type, enabled, priority, config, health_status, api_base_url) FROM llm_providers ORDER BY type").await;
    assert_eq!(rows, ["local t 50 {} unknown", "openai t 50 {} unknown"]);
    let zones = "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'llm_providers' \
                 AND data_type = 'timestamp with time zone'";
    assert_eq!(database.lines(zones).await, [] as [&str; 0]);
    let required = "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'llm_providers' \
                    AND is_nullable = 'NO' AND column_default IS NULL ORDER BY 1";
    assert_eq!(database.lines(required).await, ["name", "type"]);
}

#[tokio::test]
async fn eight_at_once_apply_every_migration_once() {
    let database = Database::empty();
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let target = database.target();
            tokio::spawn(async move { apply_embedded(&target, &run()).await })
        })
        .collect();
    let mut applied_in_all = 0;
    for run in runs {
        let done = run.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(done.current.as_deref(), Some("0003"));
        applied_in_all += done.applied.len();
    }
    assert_eq!(applied_in_all, 3);
    assert_eq!(
        database.lines("SELECT version FROM llmhub.migration_event ORDER BY id").await,
        ["0001", "0002", "0003"]
    );
}

#[tokio::test]
async fn who_waits_is_told_who_holds_the_lock_and_gives_up_in_time() {
    let database = Database::empty();
    let slow = [migration("1", "SELECT pg_sleep(3)")];
    let running = tokio::spawn({
        let target = database.target();
        async move { apply(&target, &slow, &run()).await }
    });
    let locks = "SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while database.lines(locks).await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);
    impl Watch for Told {
        fn see(&self, event: Event<'_>) {
            if let Event::WaitsForRun(holder) = event {
                self.0.lock().unwrap().push(holder.to_string());
            }
        }
    }
    let told = Told::default();
    let impatient = Run { patience: Duration::from_millis(300), watch: &told, ..run() };
    let started = Instant::now();
    let error = apply_embedded(&database.target(), &impatient).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(error.to_string().contains("llmhub-db lock") && error.to_string().contains("alice@ops"), "{error}");
    assert_eq!(told.0.into_inner().unwrap().len(), 1);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn sql_that_fails_is_named_by_file_line_and_column_and_only_its_migration_is_undone() {
    let database = Database::empty();
    let target = database.target();
    let good = || migration("1", "CREATE TABLE a (id int);");
    for (bad, expected) in [
        (
            "CREATE TABLE b (id int);\n-- é\n  SELECT 'é', nothing;",
            "2_test.up.sql:3:15: column \"nothing\" does not exist (42703)",
        ),
        ("INSERT INTO a VALUES (1);\n\nALTER TABLE a ADD CHECK (id > 1);", "2_test.up.sql:3:1: "),
        ("DO $$\nBEGIN\n  RAISE EXCEPTION 'no';\nEND $$;", "2_test.up.sql:3:3: no (P0001)"),
    ] {
        let done = apply(&target, &[good(), migration("2", bad)], &run()).await;
        let (stands, error) = match done {
            Ok(done) => (done.applied.len(), done.failed.unwrap().error),
            Err(error) => (0, error),
        };
        let text = error.to_string();
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        assert!(text.starts_with(expected) && text.contains("2_test was rolled back"), "{text}");
        assert!(!text.contains(" at line "), "{text}");
        assert!(stands <= 1);
        assert_eq!(applied(&target).await.unwrap().len(), 1);
        assert_eq!(database.lines("SELECT count(*)::text FROM a").await, ["0"]);
    }
    let failures: Vec<String> = history(&target, 50).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(failures, ["failed", "failed", "failed", "applied"]);
}

#[tokio::test]
async fn what_no_server_would_read_is_refused_before_anything_runs() {
    let database = Database::empty();
    for (up, expected) in [
        ("CREATE TABLE a ();\nCOMMIT;", "2_test.up.sql:2:1: this ends or opens a transaction"),
        ("SELECT 'a;", "2_test.up.sql:1:8: the string that starts here never ends"),
        ("\\i other.sql", "2_test.up.sql:1:1: psql commands"),
        ("-- a\n\nSELECT 1;\n  CREAT TABLE b ();", "2_test.up.sql:4:3: syntax error at or near \"CREAT\" (42601)"),
        ("INSERT INTO a VALUES (1) 2;", "2_test.up.sql:1:26: syntax error at or near \"2\" (42601)"),
    ] {
        let migrations = [migration("1", "CREATE TABLE a (id int);"), migration("2", up)];
        let error = apply(&database.target(), &migrations, &run()).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        assert!(
            error.to_string().starts_with(expected) && error.to_string().contains("nothing was written"),
            "{error}"
        );
    }
    assert_eq!(applied(&database.target()).await.unwrap(), []);
}

#[tokio::test]
async fn copy_data_and_session_settings_stay_inside_their_migration() {
    let database = Database::empty();
    let migrations = [
        migration("1", "CREATE TABLE a (t text);\nCOPY a FROM stdin;\nit's; $$\nb\n\\.\nSET search_path = '';\n"),
        migration("2", "CREATE TABLE b (t text);\nINSERT INTO b SELECT t FROM a;\n"),
    ];
    apply(&database.target(), &migrations, &run()).await.unwrap();
    assert_eq!(database.lines("SELECT t FROM public.b ORDER BY 1").await, ["b", "it's; $$"]);
}

#[tokio::test]
async fn a_ledger_that_disagrees_with_the_files_is_a_conflict() {
    let database = Database::empty();
    let target = database.target();
    let (one, two, three) = (migration("1", "SELECT 1"), migration("2", "SELECT 2"), migration("3", "SELECT 3"));
    apply(&target, &[one.clone(), three.clone()], &run()).await.unwrap();
    #[track_caller]
    fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>, word: &str) {
        match result {
            Err(StoreError::Conflict(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    let edited = migration("1", "SELECT 11");
    conflict(apply(&target, &[edited, three.clone()], &run()).await, "is not what was applied");
    let late = Set::of(vec![one.clone(), two, three.clone()], Numbering::Integer);
    let refused = llmhub::store::database::apply(&target, &late, &Wanted::default(), &run()).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Refused(text) if text.contains("2_test.up.sql was never applied")),
        "{refused}"
    );
    conflict(apply(&target, &[one], &run()).await, "3_test, which is not among the files");
    let cosmetic = migration("1", "-- a comment\r\nselect 1;\r\n");
    assert_eq!(apply(&target, &[cosmetic, three], &run()).await.unwrap().applied, []);
    let wanted = Wanted { late: Late::Apply, ..Wanted::default() };
    let done = llmhub::store::database::apply(&target, &late, &wanted, &run()).await.unwrap();
    assert_eq!((done.applied[0].version.as_str(), done.current.as_deref()), ("2", Some("2")));
    database.sql("UPDATE llmhub.ledger_format SET format = 99").await;
    conflict(applied(&target).await, "use the newer llmhub");
}

#[tokio::test]
async fn a_run_that_dies_leaves_nothing_and_holds_nothing() {
    let database = Database::empty();
    let before = catalog(&database).await;
    let slow = vec![migration("1", "CREATE TABLE a ();\nSELECT pg_sleep(30);")];
    let running = tokio::spawn({
        let target = database.target();
        async move { apply(&target, &slow, &run()).await }
    });
    let sleeping =
        "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^SELECT pg_sleep'";
    while database.lines(sleeping).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Dropping the future cuts both connections without a goodbye, as the death of the process does.
    running.abort();
    let died = Instant::now();
    let held = "SELECT pid::text FROM pg_locks WHERE locktype = 'advisory' AND database = \
                (SELECT oid FROM pg_database WHERE datname = current_database())";
    while !database.lines(held).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
    assert_eq!((catalog(&database).await, applied(&database.target()).await.unwrap()), (before, vec![]));
    assert_eq!(apply_embedded(&database.target(), &run()).await.unwrap().applied.len(), 3);
}

#[tokio::test]
async fn a_lost_answer_to_the_commit_is_settled_by_asking() {
    let database = Database::empty();
    let port = cut::start(database.server.port, Loss::Answer).await;
    let done = apply_embedded(&database.target_through(port), &run()).await.unwrap();
    assert_eq!(done.applied.len(), 3);
    let database = Database::empty();
    let port = cut::start(database.server.port, Loss::Commit).await;
    let error = apply_embedded(&database.target_through(port), &run()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert_eq!(applied(&database.target()).await.unwrap(), []);
}

#[tokio::test]
async fn nobody_reads_the_ledger_who_was_not_given_the_right() {
    let database = Database::migrated();
    let server = server();
    let role = format!("{}_role", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'")).await;
    let other: Target = target(&database.url_for(&role, CANARY_PASSWORD, &server.host, server.port));
    assert!(matches!(applied(&other).await, Err(StoreError::Denied(_))));
    assert!(matches!(apply_embedded(&other, &run()).await, Err(StoreError::Denied(_))));
    let virgin = Database::empty();
    let other: Target = target(&virgin.url_for(&role, CANARY_PASSWORD, &server.host, server.port));
    assert!(matches!(apply_embedded(&other, &run()).await, Err(StoreError::Denied(_))));
    assert_eq!(applied(&virgin.target()).await.unwrap(), []);
    database.sql(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_long_run_shares_transactions_and_still_means_what_one_by_one_would() {
    let database = Database::empty();
    let mut migrations: Vec<Migration> =
        (1..=60).map(|number| migration(&number.to_string(), &format!("CREATE TABLE t{number} (id int);"))).collect();
    // Each of these fails beside the one before it, in one transaction.
    migrations[9] = migration("10", "CREATE TYPE e AS ENUM ('a');");
    migrations[10] = migration("11", "ALTER TYPE e ADD VALUE 'b';");
    migrations[11] = migration("12", "CREATE TABLE t12 (v e); INSERT INTO t12 VALUES ('b'); SET search_path = '';");
    migrations[19] = migration("20", "CREATE INDEX CONCURRENTLY t1_id ON t1 (id);");
    migrations[39] = migration("40", "INSERT INTO t1 VALUES ('x');");
    let done = apply(&database.target(), &migrations, &run()).await.unwrap();
    assert_eq!((done.applied.len(), done.current.as_deref()), (39, Some("39")));
    let failed = done.failed.unwrap();
    assert!(failed.error.to_string().starts_with("40_test.up.sql:1:24: "), "{}", failed.error);
    migrations[39] = migration("40", "INSERT INTO t1 VALUES (1);");
    let done = apply(&database.target(), &migrations, &run()).await.unwrap();
    assert!(done.failed.is_none());
    assert_eq!((done.applied.len(), applied(&database.target()).await.unwrap().len()), (21, 60));
    let events = "SELECT kind || ' ' || count(*) FROM llmhub.migration_event GROUP BY kind ORDER BY kind";
    assert_eq!(database.lines(events).await, ["applied 60", "failed 1", "started 1"]);
    let transactions = "SELECT (count(DISTINCT xid) < 40)::text FROM llmhub.migration";
    assert_eq!(database.lines(transactions).await, ["true"]);
    assert_eq!(database.lines("SELECT count(*)::text FROM pg_tables WHERE tablename ~ '^t[0-9]+$'").await, ["56"]);
}

#[tokio::test]
async fn what_the_server_refuses_at_the_commit_is_rolled_back_and_known_to_be() {
    let database = Database::empty();
    // The very error that also guards the transaction.
    let late = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 / 0; RETURN NULL; END $$;\n\
                CREATE TABLE a (id int);\n\
                CREATE CONSTRAINT TRIGGER late AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f();\n\
                INSERT INTO a VALUES (1);";
    let error = apply(&database.target(), &[migration("1", late)], &run()).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("at its COMMIT: division by zero (22012); 1_test was rolled back"), "{error}");
    assert_eq!(applied(&database.target()).await.unwrap(), []);
}
