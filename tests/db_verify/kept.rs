//! Proofs that are kept: what `db rollback` and `db status` make of them, and when they count for nothing.

use serde_json::json;

use crate::support::cli::{Done, Home};
use crate::support::postgres::{CANARY_PASSWORD, Database, server};

struct Case {
    home: Home,
    database: Database,
}

impl Case {
    fn new() -> Self {
        let database = Database::empty();
        let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
        let case = Self { home, database };
        case.file("1", "CREATE TABLE t (id int PRIMARY KEY);", "DROP TABLE t;");
        case.file(
            "2",
            "ALTER TABLE t ADD COLUMN a int;\nCREATE TABLE u (id int);",
            "DROP TABLE u;\nALTER TABLE t DROP COLUMN a;",
        );
        case
    }

    fn file(&self, version: &str, up: &str, down: &str) {
        self.home.file(&format!("m/{version}_x.up.sql"), up);
        self.home.file(&format!("m/{version}_x.down.sql"), down);
    }

    #[track_caller]
    fn line(&self, line: &str, status: i32) -> Done {
        self.home.line(&format!("{line} --dir m")).exits(status)
    }

    #[track_caller]
    fn verify(&self) -> Done {
        self.home.line("db verify m --record").exits(0)
    }

    fn proven(&self) -> Vec<bool> {
        let status = self.line("db status --json", 0).json();
        status["applied"].as_array().unwrap().iter().map(|one| one["proven"].as_bool().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_kept_proof_makes_the_rehearsal_needless_even_where_none_could_be_made() {
    let case = Case::new();
    // Before anything is applied: the database gets a ledger with proofs and nothing else.
    case.verify().prints("2 proofs");
    case.line("db apply", 0);
    assert_eq!(case.proven(), [true, true]);
    let role = format!("{}_few", case.database.name);
    case.database
        .sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'; ALTER TABLE t OWNER TO {role}; ALTER TABLE u OWNER TO {role}; \
             GRANT ALL ON SCHEMA llmhub TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA llmhub TO \
             {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA llmhub TO {role}"
        ))
        .await;
    let url = case.database.url_for(&role, CANARY_PASSWORD, &server().host, server().port);
    let run = |line: &str, status: i32| {
        case.home.line(&format!("{line} --dir m")).env("LLMHUB_DATABASE_URL", &url).exits(status)
    };
    run("db rollback -y --no-backup -m test", 0)
        .says("PROVEN: for these texts on exactly this schema, by a kept proof");
    run("db rollback -y --no-backup -m test", 0).says("by a kept proof");
    let events = "SELECT proof->>'on' FROM llmhub.migration_event WHERE kind = 'reverted' ORDER BY id";
    assert_eq!(case.database.lines(events).await, ["record", "record"]);
    assert_eq!(
        case.database.lines("SELECT '1' FROM pg_class WHERE relnamespace = 'public'::regnamespace").await.len(),
        0
    );
    case.database.sql(&format!("DROP OWNED BY {role}")).await;
    case.database.sql(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_proof_is_about_these_texts_on_this_schema_and_nothing_else() {
    let case = Case::new();
    case.line("db apply", 0);
    assert_eq!(case.proven(), [false, false]);
    case.verify();
    assert_eq!(case.proven(), [true, true]);
    let rehearsed = "PROVEN: rehearsed on a scratch database";
    case.line("db rollback --dry-run", 0).says("by a kept proof");
    case.line("db rollback --dry-run --steps 2", 0).says("by a kept proof");
    // Something that no migration made.
    case.database.sql("CREATE TABLE by_hand (id int)").await;
    case.line("db rollback --dry-run", 0).says(rehearsed);
    case.database.sql("DROP TABLE by_hand").await;
    case.line("db rollback --dry-run", 0).says("by a kept proof");
    // Another down.
    case.home.file("m/2_x.down.sql", "DROP TABLE u CASCADE;\nALTER TABLE t DROP COLUMN a;");
    case.line("db rollback --dry-run --down file", 0).says(rehearsed);
    case.line("db rollback --dry-run --down ledger", 0).says("by a kept proof");
    // What the proof knows of the schema before is not what the ledger remembers.
    case.database.sql("UPDATE llmhub.migration SET fingerprint_before = NULL").await;
    case.line("db rollback --dry-run --down ledger", 0).says(rehearsed);
}

#[tokio::test]
async fn what_is_not_proven_is_not_kept_and_a_dry_run_keeps_nothing() {
    let case = Case::new();
    case.file("3", "CREATE TABLE w (id int);", "SELECT 1;");
    case.home.line("db verify m --record --dry-run").exits(1).says("no proof was kept");
    let schema = "SELECT '1' FROM pg_namespace WHERE nspname = 'llmhub'";
    assert_eq!(case.database.lines(schema).await, Vec::<String>::new());
    assert_eq!(case.home.line("db verify m --record --json").exits(1).json()["recorded"], json!(2));
    let kept = "SELECT version || verdict FROM llmhub.migration_proof ORDER BY 1";
    assert_eq!(case.database.lines(kept).await, ["1reversible", "2reversible"]);
    // Again: the same proofs, newer.
    case.home.line("db verify m --record").exits(1);
    assert_eq!(case.database.lines(kept).await.len(), 2);
}

#[tokio::test]
async fn a_ledger_of_the_first_format_is_read_as_it_is_and_brought_forward_by_the_next_write() {
    let case = Case::new();
    case.line("db apply", 0);
    // As an older llmhub has left it.
    let reader = format!("{}_reader", case.database.name);
    case.database
        .sql(&format!(
            "DROP TABLE llmhub.migration_proof; ALTER TABLE llmhub.migration ADD COLUMN proof jsonb; \
             UPDATE llmhub.ledger_format SET format = 1; CREATE ROLE {reader}; GRANT USAGE ON SCHEMA llmhub TO {reader}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA llmhub TO {reader}"
        ))
        .await;
    let format = "SELECT format::text FROM llmhub.ledger_format";
    assert_eq!(case.proven(), [false, false]);
    case.line("db rollback --dry-run", 0);
    case.line("db apply", 0);
    assert_eq!(case.database.lines(format).await, ["1"], "nothing was pending, so nothing was written");
    case.file("3", "CREATE TABLE w (id int);", "DROP TABLE w;");
    case.line("db apply", 0);
    assert_eq!(case.database.lines(format).await, ["2"]);
    case.verify().prints("3 proofs");
    assert_eq!(case.proven(), [true, true, true]);
    let may = format!("SELECT has_table_privilege('{reader}', 'llmhub.migration_proof', 'SELECT')::text");
    assert_eq!(case.database.lines(&may).await, ["true"]);
    case.line("db rollback -y", 0);
    case.database.sql(&format!("DROP OWNED BY {reader}; DROP ROLE {reader}")).await;
}
