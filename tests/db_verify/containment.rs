//! What a script may not do while it is verified, and what a verify that dies leaves.

use std::time::Duration;

use crate::support::cli::Home;
use crate::support::postgres::Database;

struct Case {
    home: Home,
    database: Database,
}

impl Case {
    fn new(up: &str, down: &str) -> Self {
        let database = Database::empty();
        let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
        home.file("m/1_x.up.sql", up);
        home.file("m/1_x.down.sql", down);
        Self { home, database }
    }
}

#[tokio::test]
async fn what_acts_beyond_the_scratch_database_is_refused_or_has_no_right_to() {
    let mark = tempfile::tempdir().unwrap();
    let file = mark.path().join("evil");
    let program = format!("COPY (SELECT 1) TO PROGRAM 'touch {}'", file.display());
    let hidden = |sql: &str| format!("DO $$ BEGIN EXECUTE {}; END $$;", format_args!("'{}'", sql.replace('\'', "''")));
    let case = async |up: String, verdict: &str, says: &str| {
        let case = Case::new(&up, "SELECT 1;");
        let roles = "SELECT rolname::text FROM pg_roles WHERE rolname ~ 'evil' ORDER BY 1";
        let before = case.database.lines(roles).await;
        let done = case.home.line("db verify m --json --statement-timeout 2s").exits(1).within(Duration::from_secs(30));
        let one = &done.json()["migrations"][0];
        assert_eq!(one["verdict"], verdict, "{up}: {one}");
        assert!(one["failure"].as_str().unwrap().contains(says), "{up}: {one}");
        assert_eq!(case.database.lines(roles).await, before, "{up}");
        assert_eq!(case.database.lines("SELECT '1'").await, ["1"], "{up}");
    };
    case(program.clone() + ";", "up_failed", "acts on files or programs").await;
    case(hidden(&program), "up_failed", "may do nothing else").await;
    case("CREATE ROLE llmhub_evil;".to_owned(), "up_failed", "1_x.up.sql:1:1: it acts on roles").await;
    case(hidden("CREATE ROLE llmhub_evil"), "up_failed", "permission denied to create role").await;
    case("DROP DATABASE postgres;".to_owned(), "up_failed", "it acts on a whole database").await;
    case(hidden("ALTER DATABASE postgres SET work_mem = '1MB'"), "up_failed", "must be owner of database").await;
    case("ALTER SYSTEM SET work_mem = '1MB';".to_owned(), "up_failed", "the server's configuration").await;
    case("SELECT pg_sleep(3600);".to_owned(), "up_failed", "one statement may take 2 s").await;
    case("SET statement_timeout = 0;\nSELECT pg_sleep(3600);".to_owned(), "up_failed", "no answer for").await;
    case("DO $$ BEGIN LOOP END LOOP; END $$;".to_owned(), "up_failed", "one statement may take 2 s").await;
    case("SELECT pg_read_file('/etc/passwd');".to_owned(), "up_failed", "permission denied for function pg_read_file")
        .await;
    case(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid();".to_owned(),
        "up_failed",
        "superuser",
    )
    .await;
    assert!(!file.exists());
}

#[tokio::test]
async fn a_down_is_held_by_the_same_rules() {
    let case = Case::new("CREATE TABLE a (id int);", "DROP TABLE a; DROP ROLE postgres;");
    let one = &case.home.line("db verify m --json").exits(1).json()["migrations"][0];
    assert_eq!(one["verdict"], "down_failed");
    assert!(one["failure"].as_str().unwrap().contains("1_x.down.sql:1:15: it acts on roles"), "{one}");
    // One that never ends, nor lets itself be ended, keeps nobody from the next.
    let case = Case::new("CREATE TABLE a (id int);", "SET statement_timeout = 0; SELECT pg_sleep(3600);");
    case.home.file("m/2_x.up.sql", "ALTER TABLE a ADD COLUMN b int;");
    case.home.file("m/2_x.down.sql", "ALTER TABLE a DROP COLUMN b;");
    let document = case.home.line("db verify m --json --statement-timeout 1s").exits(1).json();
    let verdicts = [&document["migrations"][0]["verdict"], &document["migrations"][1]["verdict"]];
    assert_eq!(verdicts, ["down_failed", "reversible"], "{document}");
}

#[tokio::test]
async fn what_needs_a_superuser_and_stays_inside_still_runs() {
    let owner = format!("owner_{}", std::process::id());
    let up = format!(
        "CREATE TABLE a (id int);\nALTER TABLE a OWNER TO {owner};\nALTER TABLE a ADD COLUMN b int;\n\
         CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;\n\
         CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f();\nCREATE PUBLICATION p FOR ALL TABLES;"
    );
    let down = "DROP PUBLICATION p; DROP EVENT TRIGGER e; DROP FUNCTION f(); DROP TABLE a;";
    let case = Case::new(&up, down);
    case.database.sql(&format!("CREATE ROLE {owner}")).await;
    case.home.line("db verify m").exits(0);
    // What is not on the list needs a word of the operator.
    case.home.file("m/2_x.up.sql", "CREATE FUNCTION g() RETURNS int LANGUAGE internal AS 'int4pl';");
    case.home.file("m/2_x.down.sql", "DROP FUNCTION g();");
    case.home.line("db verify m").exits(1).prints("permission denied for language internal");
    case.home.line("db verify m --own-rights").exits(0);
    case.database.sql(&format!("DROP ROLE {owner}")).await;
}

#[tokio::test]
async fn a_role_that_may_only_create_databases_verifies_with_its_own_rights() {
    let case = Case::new("CREATE TABLE a (id int);", "DROP TABLE a;");
    let (server, password) = (crate::support::postgres::server(), crate::support::postgres::CANARY_PASSWORD);
    let role = format!("{}_maker", case.database.name);
    case.database.sql(&format!("CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{password}'")).await;
    let url = case.database.url_for(&role, password, &server.host, server.port);
    case.home.line("db verify m").env("LLMHUB_DATABASE_URL", url).exits(0);
    case.database.sql(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_verify_that_was_killed_leaves_nothing_behind_after_the_next_one() {
    let case = Case::new("SELECT pg_sleep(20);", "SELECT 1;");
    let mine = format!(
        "SELECT d.datname::text FROM pg_database d WHERE shobj_description(d.oid, 'pg_database') LIKE '%of the database {};%'",
        case.database.name
    );
    for signal in ["KILL", "INT"] {
        case.home.file("m/1_x.up.sql", "SELECT pg_sleep(20);");
        let started = case.home.line("db verify m").spawn();
        let mut left = Vec::new();
        for _ in 0..200 {
            left = case.database.lines(&mine).await;
            let working =
                "SELECT '1' FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()";
            if !left.is_empty() && !case.database.lines(working).await.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(left.len(), 1, "{signal}");
        started.signal(signal);
        let _ = started.wait();
        if signal == "INT" {
            assert_eq!(case.database.lines(&mine).await, Vec::<String>::new());
            break;
        }
        // The server notices the death within a second.
        for _ in 0..60 {
            let there = format!("SELECT '1' FROM pg_stat_activity WHERE datname = '{}'", left[0]);
            if case.database.lines(&there).await.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        case.home.file("m/1_x.up.sql", "SELECT 1;");
        case.home.line("db verify m").exits(0);
        let gone = format!("{mine} UNION ALL SELECT rolname::text FROM pg_roles WHERE rolname = '{}'", left[0]);
        assert_eq!(case.database.lines(&gone).await, Vec::<String>::new());
    }
}
