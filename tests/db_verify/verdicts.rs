//! Every verdict, in every layout, whatever stands before it.

use serde_json::{Value, json};

use crate::support::cli::{Done, Home};
use crate::support::postgres::Database;

/// A home whose database is empty.
fn home() -> (Home, Database) {
    let database = Database::empty();
    (Home::new().variable("LLMHUB_DATABASE_URL", database.url()), database)
}

/// The folder `m` with these migrations: up, down.
fn folder(home: &Home, migrations: &[(&str, Option<&str>)]) {
    for (number, (up, down)) in migrations.iter().enumerate() {
        let number = number + 1;
        home.file(&format!("m/{number:04}_x.up.sql"), up);
        if let Some(down) = down {
            home.file(&format!("m/{number:04}_x.down.sql"), down);
        }
    }
}

fn verdicts(done: &Done) -> Vec<String> {
    let document = done.json();
    let migrations = document["migrations"].as_array().unwrap();
    migrations.iter().map(|one| one["verdict"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_shipped_migrations_are_proven() {
    let (home, database) = home();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    for line in ["db verify --json".to_owned(), format!("db verify '{folder}' --json")] {
        let done = home.line(&line).exits(0);
        assert_eq!(verdicts(&done), ["reversible"; 3]);
        assert_eq!((&done.json()["proven"], &done.json()["failed"]), (&json!(3), &json!(0)));
    }
    drop(database);
}

#[tokio::test]
async fn each_migration_gets_its_word_whatever_became_of_those_before_it() {
    let (home, database) = home();
    let cases: &[(&str, Option<&str>, &str, &str)] = &[
        ("CREATE TABLE a (id int, b int);", Some("DROP TABLE a;"), "reversible", ""),
        ("CREATE TABLE b (id);", Some("DROP TABLE b;"), "up_failed", "0002_x.up.sql:1:20: syntax error"),
        ("CREATE TABLE c (id int);", None, "irreversible", "it has no down"),
        ("CREATE TABLE d (id int);", Some("-- nothing\n"), "down_empty", "has no statement"),
        ("CREATE TABLE e (id int);", Some("RAISE NOTICE 'gone';"), "down_failed", "syntax error at or near \"RAISE\""),
        ("CREATE TABLE f (id int);", Some("SELECT 1;"), "residue", "table public.f: added"),
        (
            "ALTER TABLE a DROP COLUMN id;",
            Some("ALTER TABLE a ADD COLUMN id int;"),
            "reversible_except_column_order",
            "",
        ),
        (
            "CREATE VIEW v AS SELECT * FROM later;",
            Some("DROP VIEW v;"),
            "up_failed",
            "0017_x makes the table or view later, which this one names: it comes too late",
        ),
        (
            "CREATE TYPE mood AS ENUM ('x'); CREATE TABLE g (m mood);",
            Some("DROP TABLE g;"),
            "residue",
            "type \"mood\" already exists",
        ),
        // What the down takes from others is seen where its up was never applied.
        (
            "CREATE INDEX IF NOT EXISTS b_idx ON a (b); CREATE TABLE h (id int);",
            Some("DROP TABLE h; ALTER TABLE a DROP COLUMN b;"),
            "residue",
            "column public.a.b: removed",
        ),
        (
            "ALTER TABLE a ADD COLUMN z int;",
            Some("ALTER TABLE a DROP COLUMN z; DELETE FROM a;"),
            "data_loss",
            "the down loses",
        ),
        // A down that could do anything to rows: every table has one of ours from here on.
        ("SELECT 1;", Some("SELECT 1;"), "reversible", "its up changes nothing in the schema"),
        // It fails where rows are, which is no reason to doubt its way back.
        (
            "ALTER TABLE a ADD COLUMN must int NOT NULL;",
            Some("ALTER TABLE a DROP COLUMN must;"),
            "reversible",
            "its up runs only where no rows are in the way",
        ),
        ("CREATE TABLE i (id int);", Some("DROP TABLE i;"), "reversible", ""),
        (
            "CREATE TABLE j (at timestamptz DEFAULT 'now'::timestamptz);",
            Some("DROP TABLE j;"),
            "reversible",
            "column public.j.at depends on the clock or on chance",
        ),
        (
            "CREATE INDEX CONCURRENTLY i_idx ON i (id);",
            Some("DROP INDEX CONCURRENTLY i_idx;"),
            "reversible",
            "not tried",
        ),
        ("CREATE TABLE later (id int);", Some("DROP TABLE later;"), "reversible", ""),
    ];
    let migrations: Vec<_> = cases.iter().map(|(up, down, _, _)| (*up, *down)).collect();
    folder(&home, &migrations);
    for jobs in 1..=2 {
        // Two scratch databases are used from 16 migrations on, so that both ways are seen.
        let extra: Vec<_> = (0..8 * (jobs - 1)).map(|_| ("SELECT 1;", Some("SELECT 1;"))).collect();
        folder(&home, &[migrations.clone(), extra].concat());
        let done = home.line(&format!("db verify m --json --jobs {jobs}")).exits(1);
        let document = done.json();
        for (number, (up, _, verdict, says)) in cases.iter().enumerate() {
            let one = &document["migrations"][number];
            assert_eq!(one["verdict"], *verdict, "{up}: {one}");
            let text = one.to_string().replace("\\\"", "\"");
            assert!(text.contains(says), "{up}: {one}");
        }
        assert_eq!(document["proven"], 8 + 8 * (jobs - 1));
        assert_eq!(document["failed"], 9);
    }
    home.line("db verify m").exits(1).prints("AFTER THE DOWN").prints("table public.f: added");
    let left = format!(
        "SELECT datname::text FROM pg_database d WHERE shobj_description(d.oid, 'pg_database') LIKE '%of the database {};%'",
        database.name
    );
    assert_eq!(database.lines(&left).await, Vec::<String>::new());
    assert_eq!(database.lines("SELECT '1' FROM pg_class WHERE relnamespace = 'public'::regnamespace").await.len(), 0);
}

#[test]
fn every_layout_is_verified() {
    #[track_caller]
    fn case(files: &[(&str, &str)]) {
        let (home, _database) = home();
        for (name, text) in files {
            home.file(&format!("m/{name}"), text);
        }
        assert_eq!(verdicts(&home.line("db verify m --json").exits(0)), ["reversible", "reversible"], "{files:?}");
    }
    let (a, no_a) = ("CREATE TABLE a (id int);", "DROP TABLE a;");
    let (b, no_b) = ("ALTER TABLE a ADD b int;", "ALTER TABLE a DROP b;");
    case(&[("01_a.up.sql", a), ("01_a.down.sql", no_a), ("02_b.up.sql", b), ("02_b.down.sql", no_b)]);
    case(&[
        ("2026-01-01-000000_a/up.sql", a),
        ("2026-01-01-000000_a/down.sql", no_a),
        ("2026-01-02-000000_b/up.sql", b),
        ("2026-01-02-000000_b/down.sql", no_b),
    ]);
    let dbmate = |up: &str, down: &str| format!("-- migrate:up\n{up}\n-- migrate:down\n{down}\n");
    case(&[("1_a.sql", &dbmate(a, no_a)), ("2_b.sql", &dbmate(b, no_b))]);
    let goose = |up: &str, down: &str| format!("-- +goose Up\n{up}\n-- +goose Down\n{down}\n");
    case(&[("1_a.sql", &goose(a, no_a)), ("2_b.sql", &goose(b, no_b))]);
    case(&[("001_a.sql", a), ("rollback_001_a.sql", no_a), ("002_b.sql", b), ("rollback_002_b.sql", no_b)]);
    let manifest = "[[migration]]\nversion = \"1\"\nup = \"z.sql\"\ndown = \"no_z.sql\"\n\n[[migration]]\nversion = \"2\"\nup = \
                    \"b.sql\"\ndown = \"no_b.sql\"\n";
    case(&[("llmhub.migrations.toml", manifest), ("z.sql", a), ("no_z.sql", no_a), ("b.sql", b), ("no_b.sql", no_b)]);
}

#[test]
fn a_report_can_be_pasted_and_read() {
    let (home, _database) = home();
    folder(&home, &[("CREATE TABLE a (id int);", Some("SELECT 1;"))]);
    home.line("db verify m -o markdown").exits(1).prints("| 0001").prints("residue");
    let one = &home.line("db verify m --json").exits(1).json()["migrations"][0];
    assert_eq!(
        one["differences"],
        json!([{"at": "after_down", "object": "table public.a", "text": "table public.a: added"}])
    );
    assert!(one["failure"].as_str().unwrap().contains("0001_x.up.sql:1:1: relation \"a\" already exists"), "{one}");
    assert_eq!(one["notes"], Value::Null);
}

#[test]
fn without_a_server_nothing_is_called_proven() {
    let home = Home::new();
    folder(&home, &[("CREATE TABLE a (id int);", Some("DROP TABLE a;"))]);
    home.line("db verify m").exits(3);
    home.line("db verify m --url postgres://u@127.0.0.1:1/none").exits(6);
    home.line("db verify nowhere --url postgres://u@127.0.0.1:1/none").exits(3);
    home.line("db verify m --url nonsense").exits(3);
    let scratch = Database::empty();
    let closed = "db verify m --database-url postgres://u@127.0.0.1:1/none --url env:SCRATCH";
    assert_eq!(
        verdicts(&home.line(&format!("{closed} --json")).env("SCRATCH", scratch.url()).exits(0)),
        ["reversible"]
    );
    // A gate that has looked at nothing does not open.
    home.file("none/llmhub.migrations.toml", "");
    home.line("db verify none --url postgres://u@127.0.0.1:1/none").exits(7).says("no migration to verify");
    // What was proven cannot be kept there: that is a failure, not a success.
    home.line(&format!("{closed} --record")).env("SCRATCH", scratch.url()).exits(6);
    home.line(&format!("{closed} --record")).exits(7).says("names the variable SCRATCH, which is not set");
}
