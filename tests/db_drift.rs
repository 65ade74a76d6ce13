//! `db drift` through the real binary: nothing, something, between which runs, and what would undo it.

use serde_json::Value;

use crate::support::cli::{Home, Run};
use crate::support::postgres::Database;

/// A database with two migrations in a folder, the first of them applied.
struct Case {
    home: Home,
    database: Database,
}

impl Case {
    fn new() -> Self {
        let database = Database::empty();
        let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
        for (name, up, down) in [
            ("1_one", "CREATE TABLE t (id int PRIMARY KEY, a text);", "DROP TABLE t;"),
            ("2_two", "CREATE TABLE u (id int);", "DROP TABLE u;"),
        ] {
            home.file(&format!("m/{name}.up.sql"), up);
            home.file(&format!("m/{name}.down.sql"), down);
        }
        Self { home, database }
    }

    fn line(&self, line: &str) -> Run {
        self.home.line(line)
    }

    #[track_caller]
    fn drift(&self, status: i32) -> Value {
        self.line("db drift --json").exits(status).json()
    }
}

#[tokio::test]
async fn a_change_by_hand_is_named_with_the_runs_around_it_and_its_undo() {
    let case = Case::new();
    assert_eq!(case.drift(4)["error"]["code"], "not_found");
    let schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname = 'llmhub'";
    assert_eq!(case.database.lines(schemas).await, [""; 0], "a look creates nothing");
    case.line("db apply --to 1 --dir m").exits(0);
    assert_eq!(case.drift(0)["drift"], serde_json::json!([]));
    case.database.sql("CREATE INDEX by_hand ON t (a)").await;
    case.line("db apply --dir m").exits(0);
    case.database.sql("ALTER TABLE u ALTER id SET DEFAULT 7; ALTER TABLE t ENABLE ROW LEVEL SECURITY").await;
    let document = case.drift(1);
    assert_eq!(document["since"]["version"], "2");
    let drift = document["drift"].as_array().unwrap();
    let objects: Vec<&str> = drift.iter().map(|one| one["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["public.t", "public.u.id", "public.by_hand"]);
    assert_eq!(drift[1]["facts"], serde_json::json!([{"what": "default", "from": null, "to": "7"}]));
    assert_eq!((&drift[1]["between"]["after"]["version"], &drift[1]["between"]["before"]), (&"2".into(), &Value::Null));
    let between = &drift[2]["between"];
    assert_eq!((&between["after"]["version"], &between["before"]["version"]), (&"1".into(), &"2".into()));
    assert_eq!((&drift[2]["kind"], &drift[2]["change"]), (&"index".into(), &"added".into()));
    case.line("db drift").exits(1).prints("DROP INDEX public.by_hand;").prints("between 1_one");
    case.line("db drift --as-migration -o markdown").exits(1).prints("CREATE INDEX by_hand ON public.t");
    for one in drift {
        for sql in one["undo"].as_array().unwrap() {
            case.database.sql(sql.as_str().unwrap()).await;
        }
    }
    assert_eq!(case.drift(0)["drift"], serde_json::json!([]));
    case.line("db drift").exits(0).prints("no drift");
}

#[tokio::test]
async fn after_a_rollback_the_schema_that_it_left_is_the_recorded_one() {
    let case = Case::new();
    case.line("db apply --dir m").exits(0);
    case.line("db rollback -y --dir m").exits(0);
    assert_eq!(case.drift(0)["since"]["version"], "2");
    case.database.sql("DROP TABLE t").await;
    let drift = case.drift(1);
    assert_eq!((&drift["drift"][0]["object"], &drift["drift"][0]["change"]), (&"public.t".into(), &"removed".into()));
    assert!(drift["drift"][0]["why_not"].as_str().unwrap().contains("without its rows"), "{drift}");
}

#[tokio::test]
async fn what_was_only_adopted_or_half_done_is_compared_with_nothing() {
    let case = Case::new();
    case.database.sql("CREATE TABLE t (id int PRIMARY KEY, a text)").await;
    case.line("db baseline 1 --dir m --reason x").exits(0);
    let error = case.drift(4);
    assert!(error["error"]["message"].as_str().unwrap().contains("adopted"), "{error}");
    case.line("db apply --dir m").exits(0);
    case.drift(0);
    case.home.file("m/3_three.up.sql", "ALTER TABLE t ADD b int; CREATE INDEX CONCURRENTLY i ON t (b); SELECT 1 / 0;");
    case.line("db apply --dir m").done();
    assert_eq!(case.drift(5)["error"]["code"], "conflict");
}

#[tokio::test]
async fn another_major_is_never_called_no_drift() {
    let case = Case::new();
    case.line("db apply --dir m").exits(0);
    case.database
        .sql(
            "ALTER TABLE llmhub.migration_event DISABLE TRIGGER ALL; \
             UPDATE llmhub.migration_event SET fingerprint_before = jsonb_set(fingerprint_before, '{server}', '120004'), \
             fingerprint_after = jsonb_set(fingerprint_after, '{server}', '120004')",
        )
        .await;
    assert_eq!(case.drift(7)["error"]["code"], "refused");
    case.database
        .sql("UPDATE llmhub.migration_event SET fingerprint_after = jsonb_set(fingerprint_after, '{format}', '99')")
        .await;
    assert_eq!(case.drift(5)["error"]["code"], "conflict");
}

#[tokio::test]
async fn a_statement_that_cannot_be_shown_whole_says_where_it_is_whole() {
    let case = Case::new();
    case.line("db apply --dir m").exits(0);
    case.database.sql("CREATE TABLE \"e\u{1b}[2Jvil\" (id int)").await;
    let done = case.line("db drift").exits(1).prints("DROP TABLE public.\"e[2Jvil\";");
    done.prints("it would name something else; take it from -o json");
    let document = case.drift(1);
    case.database.sql(document["drift"][0]["undo"][0].as_str().unwrap()).await;
    assert!(!case.line("db drift").exits(0).stdout.contains("take it from"));
}
