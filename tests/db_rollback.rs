//! `db rollback` through the real binary: proven or refused, losses shown, only the newest, with or without the files.

mod beside;

use serde_json::Value;

use crate::support::cli::{Done, Home, Run};
use crate::support::postgres::{CANARY_PASSWORD, Database, server};

/// A database, and a folder of migrations in the home of the runs.
struct Case {
    home: Home,
    database: Database,
}

impl Case {
    /// The folder with these migrations: version, up, down.
    fn new(migrations: &[(&str, &str, Option<&str>)]) -> Self {
        let database = Database::empty();
        let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
        let case = Self { home, database };
        for (version, up, down) in migrations {
            case.file(version, "up", up);
            if let Some(down) = down {
                case.file(version, "down", down);
            }
        }
        case
    }

    /// The same, applied.
    fn applied(migrations: &[(&str, &str, Option<&str>)]) -> Self {
        let case = Self::new(migrations);
        case.line("db apply").exits(0);
        case
    }

    fn file(&self, version: &str, way: &str, text: &str) {
        self.home.file(&format!("m/{version}_x.{way}.sql"), text);
    }

    fn line(&self, line: &str) -> Run {
        self.home.line(&format!("{line} --dir m"))
    }

    /// A rollback with consent, as JSON.
    #[track_caller]
    fn rollback(&self, options: &str, status: i32) -> Done {
        self.line(&format!("db rollback -y --json {options}")).exits(status)
    }

    async fn ledger(&self) -> Vec<String> {
        self.database.lines("SELECT version FROM llmhub.migration ORDER BY position").await
    }

    async fn tables(&self) -> Vec<String> {
        let tables = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \
                      ORDER BY relname COLLATE \"C\"";
        self.database.lines(tables).await
    }
}

const T: (&str, &str, Option<&str>) = ("1", "CREATE TABLE t (id int PRIMARY KEY);", Some("DROP TABLE t;"));

#[tokio::test]
async fn the_newest_migration_is_proven_backed_up_and_taken_back() {
    let case = Case::applied(&[T, ("2", "CREATE TABLE u (id int);", Some("DROP TABLE u;"))]);
    let done = case.line("db rollback -y").exits(0);
    done.says("PROVEN").says("nothing is lost");
    assert_eq!((case.ledger().await, case.tables().await), (vec!["1".to_owned()], vec!["t".to_owned()]));
    let events = case
        .database
        .lines("SELECT kind || coalesce(proof->>'verdict', '') FROM llmhub.migration_event ORDER BY id")
        .await;
    assert_eq!(events, ["applied", "applied", "revertedreversible"]);
    let document = case.rollback("", 0).json();
    assert_eq!(document["rolled_back"][0]["version"], "1");
    assert_eq!((&document["current"], &document["lost"]), (&Value::Null, &serde_json::json!([])));
    let backup = document["backup"].as_str().unwrap();
    assert!(std::fs::metadata(backup).unwrap().len() > 0, "{backup}");
    assert_eq!((case.rollback("", 4).code(), case.tables().await.len()), ("not_found".to_owned(), 0));
    case.line("db apply").exits(0);
    assert_eq!(case.tables().await, ["t", "u"]);
}

#[tokio::test]
async fn what_is_destroyed_is_counted_on_the_live_data_and_shown_before_anybody_says_yes() {
    let case = Case::applied(&[
        T,
        (
            "2",
            "CREATE TABLE \"Odd name\" (a int); CREATE TABLE empty (a int); CREATE TYPE mood AS ENUM ('x');\n\
             ALTER TABLE t ADD c text; ALTER TABLE t ADD m mood;",
            Some(
                "DO $$ BEGIN EXECUTE 'DROP TABLE \"Odd name\"'; END $$; DROP TABLE empty;\n\
                 ALTER TABLE t DROP c; ALTER TABLE t DROP m; DROP TYPE mood;",
            ),
        ),
    ]);
    case.database
        .sql(
            "INSERT INTO \"Odd name\" SELECT generate_series(1, 7); \
             INSERT INTO t SELECT g, CASE WHEN g <= 3 THEN 'v' END FROM generate_series(1, 5) g",
        )
        .await;
    let shown = case.line("db rollback").exits(9).says("public.\"Odd name\"").says("7 rows").says("3 values");
    assert!(!shown.stderr.contains("empty"), "{}", shown.stderr);
    assert_eq!(case.ledger().await.len(), 2);
    let dry = case.rollback("--dry-run", 0).json();
    let expected = serde_json::json!([
        {"object": "public.\"Odd name\"", "rows": 7},
        {"object": "public.t.c", "rows": 3},
        // What the block does with rows, nobody can tell.
        {"object": "rows", "rows": null},
    ]);
    assert_eq!((&dry["dry_run"], &dry["lost"]), (&Value::Bool(true), &expected));
    assert_eq!(case.tables().await.len(), 3);
    let done = case.rollback("--verify-backup", 0).json();
    assert_eq!((&done["lost"], case.tables().await), (&expected, vec!["t".to_owned()]));
    // The way to the data: the backup holds it all.
    let backup = done["backup"].as_str().unwrap();
    case.home.line(&format!("db restore '{backup}' -y")).exits(0);
    assert_eq!(case.database.lines("SELECT count(*)::text FROM \"Odd name\"").await, ["7"]);
}

#[tokio::test]
async fn a_head_that_cannot_be_taken_back_stops_everything_below_it() {
    for (down, word) in
        [(None, "it has none"), (Some("-- later"), "holds no statement"), (Some("COMMIT;"), "cannot be run")]
    {
        let case = Case::applied(&[T, ("2", "CREATE TABLE u (id int);", down)]);
        for options in ["", "--steps 2", "--to 0", "--unproven --reason x"] {
            let done = case.rollback(options, 7);
            assert_eq!(done.code(), "no_down", "{options}");
            assert!(done.json()["error"]["message"].as_str().unwrap().contains(word), "{options}");
        }
        assert_eq!(case.ledger().await, ["1", "2"]);
    }
}

#[tokio::test]
async fn a_down_that_does_not_give_the_schema_back_is_refused_without_a_reason() {
    let up = "CREATE TYPE mood AS ENUM ('x'); CREATE TABLE u (m mood);";
    let case = Case::applied(&[T, ("2", up, Some("DROP TABLE u;"))]);
    let done = case.rollback("", 7);
    assert_eq!(done.code(), "unproven");
    assert!(done.json()["error"]["message"].as_str().unwrap().contains("mood"), "{}", done.stdout);
    assert_eq!(case.rollback("--unproven", 7).code(), "reason_needed");
    assert_eq!(case.rollback("--no-backup", 7).code(), "reason_needed");
    assert_eq!(case.ledger().await, ["1", "2"]);
    case.rollback("--unproven --reason 'I drop the type by hand'", 0);
    assert_eq!(case.ledger().await, ["1"]);
    let reasons = "SELECT reason FROM llmhub.migration_event WHERE kind = 'reverted' AND proof IS NULL";
    assert_eq!(case.database.lines(reasons).await, ["I drop the type by hand"]);
}

#[tokio::test]
async fn a_down_that_takes_what_was_there_before_is_refused() {
    let up = "CREATE TABLE IF NOT EXISTS t (id int); CREATE TABLE u (id int);";
    let case = Case::applied(&[T, ("2", up, Some("DROP TABLE u; DROP TABLE t;"))]);
    case.rollback("", 7);
    assert_eq!(case.tables().await, ["t", "u"]);
}

#[tokio::test]
async fn without_the_files_the_ledger_rolls_back_and_a_changed_down_must_be_chosen() {
    let two = ("2", "CREATE TABLE u (id int);", Some("DROP TABLE u;"));
    let three = ("3", "CREATE TABLE v (id int);", Some("DROP TABLE v;"));
    let case = Case::applied(&[T, two, three]);
    std::fs::remove_file(case.home.path().join("m/3_x.up.sql")).unwrap();
    std::fs::remove_file(case.home.path().join("m/3_x.down.sql")).unwrap();
    case.line("db rollback -y").exits(0).says("its down is the ledger's");
    assert_eq!(case.ledger().await, ["1", "2"]);
    case.file("2", "down", "DROP TABLE IF EXISTS u;");
    let done = case.rollback("", 5);
    assert_eq!(done.code(), "down_differs");
    let message = done.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("-DROP TABLE u;") && message.contains("+DROP TABLE IF EXISTS u;"), "{message}");
    // A down that was only reformatted is the same down.
    case.file("2", "down", "-- gone\r\ndrop table U ;\r\n");
    case.rollback("--dry-run", 0);
    case.file("2", "down", "DROP TABLE IF EXISTS u;");
    case.rollback("--down file", 0);
    assert_eq!(case.ledger().await, ["1"]);
}

#[tokio::test]
async fn a_live_database_with_more_than_migrations_made_is_rehearsed_on_a_copy() {
    let case = Case::new(&[T, ("2", "CREATE TABLE u (id int);", Some("DROP TABLE u;"))]);
    case.database.sql("CREATE TABLE hubs_own (a int); INSERT INTO hubs_own VALUES (1)").await;
    case.line("db apply").exits(0);
    case.database.sql("CREATE VIEW on_t AS SELECT id FROM t").await;
    case.rollback("", 0);
    assert_eq!(case.tables().await, ["hubs_own", "t"]);
    let proofs = "SELECT proof->>'on' FROM llmhub.migration_event WHERE kind = 'reverted'";
    assert_eq!(case.database.lines(proofs).await, ["copy"]);
    // What somebody built on top by hand would stop the down on the live database: the copy shows it.
    let done = case.rollback("", 7);
    assert!(done.json()["error"]["message"].as_str().unwrap().contains("on_t"), "{}", done.stdout);
    assert_eq!(case.tables().await, ["hubs_own", "t"]);
}

#[tokio::test]
async fn a_down_that_does_something_else_on_live_than_in_its_rehearsal_is_undone() {
    // The scratch database has no rows; the live one has.
    let down = "DO $$ BEGIN IF EXISTS (SELECT FROM t) THEN DROP TABLE t; END IF; END $$; DROP TABLE u;";
    let case = Case::applied(&[T, ("2", "CREATE TABLE u (id int);", Some(down))]);
    case.database.sql("INSERT INTO t VALUES (1)").await;
    let done = case.rollback("", 7);
    let message = done.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("in another way than in its rehearsal") && message.contains("table public.t"),
        "{message}"
    );
    assert_eq!((case.tables().await, case.ledger().await.len()), (vec!["t".to_owned(), "u".to_owned()], 2));
    let failed = "SELECT count(*)::text FROM llmhub.migration_event WHERE kind = 'failed'";
    assert_eq!(case.database.lines(failed).await, ["1"]);
}

#[tokio::test]
async fn several_steps_go_back_newest_first_and_stop_where_they_were_told() {
    let table = |version: &'static str, up: &'static str, down: &'static str| (version, up, Some(down));
    let case = Case::applied(&[
        T,
        table("2", "CREATE TABLE u (id int);", "DROP TABLE u;"),
        table(
            "3",
            "CREATE INDEX CONCURRENTLY u_id ON u (id); ALTER TABLE u ADD b int;",
            "ALTER TABLE u DROP b; DROP INDEX CONCURRENTLY u_id;",
        ),
        table("4", "INSERT INTO t VALUES (1), (2);", "DELETE FROM t WHERE id < 3;"),
    ]);
    case.database.sql("INSERT INTO t VALUES (9)").await;
    assert_eq!(case.rollback("--steps 5", 4).code(), "not_found");
    assert_eq!(case.rollback("--to 7", 4).code(), "not_found");
    let document = case.rollback("--to 0001", 0).json();
    let versions: Vec<&str> =
        document["rolled_back"].as_array().unwrap().iter().map(|ran| ran["version"].as_str().unwrap()).collect();
    assert_eq!((versions, document["current"].as_str()), (vec!["4", "3", "2"], Some("1")));
    assert_eq!(document["lost"], serde_json::json!([{"object": "public.t", "rows": 2}]));
    assert_eq!(
        (case.tables().await, case.database.lines("SELECT id::text FROM t").await),
        (vec!["t".to_owned()], vec!["9".to_owned()])
    );
    case.rollback("--to 1", 0);
    assert_eq!(case.ledger().await, ["1"]);
}

#[tokio::test]
async fn a_role_that_may_not_make_a_scratch_database_gets_no_proof() {
    let case = Case::new(&[T]);
    let role = format!("{}_role", case.database.name);
    case.database
        .sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'; GRANT ALL ON SCHEMA public TO {role}; \
         GRANT CREATE ON DATABASE {} TO {role}",
            case.database.name
        ))
        .await;
    let url = case.database.url_for(&role, CANARY_PASSWORD, &server().host, server().port);
    case.line("db apply").env("LLMHUB_DATABASE_URL", &url).exits(0);
    case.database.sql("INSERT INTO t VALUES (1)").await;
    let done = case.line("db rollback -y --json").env("LLMHUB_DATABASE_URL", &url).exits(7);
    assert_eq!(done.code(), "unproven");
    assert!(done.json()["error"]["message"].as_str().unwrap().contains("CREATEDB"), "{}", done.stdout);
    let forced =
        case.line("db rollback -y --json --unproven --reason emergency").env("LLMHUB_DATABASE_URL", &url).exits(0);
    let document = forced.json();
    assert_eq!(document["lost"], serde_json::json!([{"object": "public.t", "rows": 1}]));
    assert_eq!(case.tables().await, [] as [&str; 0]);
    case.database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_rollback_that_died_between_its_parts_is_finished_by_the_next() {
    let down = "ALTER TABLE t DROP b; DROP INDEX CONCURRENTLY t_id; DROP TABLE u;";
    let up = "ALTER TABLE t ADD b int; CREATE INDEX t_id ON t (id); CREATE TABLE u (id int);";
    let case = Case::applied(&[T, ("2", up, Some(down))]);
    // Somebody holds what the last part needs, and patience is short.
    let mut other = case.database.connect().await;
    sqlx::Executor::execute(&mut other, "BEGIN; LOCK TABLE u").await.unwrap();
    let done = case.rollback("--lock-wait 300ms --no-backup --reason x", 5);
    assert!(
        done.json()["error"]["message"].as_str().unwrap().contains("2 of the 3 parts of 2_x stand"),
        "{}",
        done.stdout
    );
    case.line("db status").exits(0).prints("half rolled back");
    case.line("db apply").exits(5);
    sqlx::Executor::execute(&mut other, "ROLLBACK; INSERT INTO u VALUES (1)").await.unwrap();
    case.rollback("--steps 2 --no-backup --reason x", 7);
    let done = case.rollback("--no-backup --reason x", 0);
    // What goes on was not rehearsed, and nobody says that it was.
    assert!(done.stderr.contains("NOT PROVEN: it goes on") && !done.stderr.contains("note: PROVEN"), "{}", done.stderr);
    assert_eq!(done.json()["lost"], serde_json::json!([{"object": "public.u", "rows": 1}]));
    assert_eq!((case.tables().await, case.ledger().await), (vec!["t".to_owned()], vec!["1".to_owned()]));
}
