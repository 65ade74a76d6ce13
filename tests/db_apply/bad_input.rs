//! What cannot be applied: each with its exit status, and nothing changed.

use std::io::{Read, Write};
use std::time::Duration;

use super::{apply, home};
use crate::support::cli::Home;
use crate::support::postgres::{CANARY_PASSWORD, Cluster, Database, block_on, free_port};

fn objects(database: &Database) -> Vec<String> {
    block_on(database.lines("SELECT count(*)::text FROM pg_class UNION ALL SELECT count(*)::text FROM pg_namespace"))
}

#[test]
fn files_that_cannot_be_applied_change_nothing() {
    let database = Database::empty();
    let before = objects(&database);
    #[track_caller]
    fn case(database: &Database, files: &[(&str, &[u8])], status: i32, says: &str) {
        let home = Home::new();
        std::fs::create_dir(home.path().join("m")).unwrap();
        for (name, text) in files {
            home.file(&format!("m/{name}"), text);
        }
        let done = apply(&home, database, database.server.port, "").done();
        assert_eq!(done.status, status, "{says}: {}{}", done.stdout, done.stderr);
        assert!(done.stderr.contains(says), "{says}: {}", done.stderr);
    }
    case(&database, &[("1_a.up.sql", b"SELECT '\xff';")], 7, "1_a.up.sql");
    case(&database, &[("1_a.up.sql", b"SELECT 1;\n\nSELECT FROM FROM;")], 7, "1_a.up.sql:3:");
    case(&database, &[("1_a.up.sql", b"SELECT 1;\n\n  CREAT TABLE x;")], 7, "1_a.up.sql:3:3");
    case(&database, &[("1_a.down.sql", b"SELECT 1;")], 7, "1_a");
    case(&database, &[("1_a.up.sql", b"SELECT 1;"), ("1_b.up.sql", b"SELECT 1;")], 7, "1_");
    case(&database, &[("1_a.up.sql", b"CREATE TABLE x ();\nSELECT 'x;")], 7, "1_a.up.sql:2:8");
    assert_eq!(objects(&database), before);
}

#[test]
fn a_folder_that_is_none_or_cannot_be_read_is_a_local_matter_and_an_empty_one_is_refused_or_has_nothing() {
    let database = Database::empty();
    let before = objects(&database);
    let home = Home::new();
    home.file("m", "not a folder");
    apply(&home, &database, database.server.port, "").exits(3).says("m cannot be read");
    let home = Home::new();
    apply(&home, &database, database.server.port, "").exits(3).says("m cannot be read");
    std::fs::create_dir(home.path().join("m")).unwrap();
    let done = apply(&home, &database, database.server.port, "").done();
    assert!(matches!(done.status, 0 | 7), "{}{}", done.stdout, done.stderr);
    // Root reads everything; a folder under the name of a file nobody reads.
    std::fs::create_dir(home.path().join("m/1_a.up.sql")).unwrap();
    let done = apply(&home, &database, database.server.port, "").done();
    assert!(matches!(done.status, 0 | 3 | 7), "{}{}", done.stdout, done.stderr);
    assert_eq!(objects(&database), before);
}

#[test]
fn a_database_that_is_not_there_refuses_or_is_read_only_is_told_apart() {
    let database = Database::empty();
    let server = database.server;
    let home = home(&[("1_a", "CREATE TABLE a ();")]);
    let run = |url: &str| home.line(&format!("db apply --dir m --database-url {url}"));
    run(&format!("{}_not", database.url())).exits(3).says("3D000");
    run(&database.url_for("nobody", "wrong", &server.host, server.port)).exits(3);
    run(&database.url_through(free_port())).exits(6).within(Duration::from_secs(20));

    let role = format!("{}_role", database.name);
    block_on(database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'")));
    let url = database.url_for(&role, CANARY_PASSWORD, &server.host, server.port);
    run(&url).exits(7).says("42501");
    block_on(database.sql(&format!(
        "ALTER ROLE {role} SET default_transaction_read_only = on; ALTER DATABASE {} OWNER TO {role}",
        database.name
    )));
    run(&url).exits(7).says("read-only");
    assert_eq!(
        block_on(database.lines("SELECT nspname::text FROM pg_namespace WHERE nspname = 'llmhub'")),
        [] as [&str; 0]
    );
    block_on(
        database.sql(&format!("ALTER DATABASE {} OWNER TO {}; DROP ROLE {role}", database.name, server.superuser)),
    );
}

#[test]
fn a_standby_takes_no_writes_and_can_be_looked_at() {
    let primary = Cluster::start();
    let standby = primary.standby();
    let home = home(&[("1_a", "CREATE TABLE a ();")]);
    home.line(&format!("db apply --dir m --database-url {}", standby.url())).exits(7).says("standby");
    home.line(&format!("db status --dir m --database-url {}", standby.url())).exits(0);
}

#[test]
fn a_server_that_is_too_old_is_refused_by_its_version() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut greeting = [0; 4096];
            drop(client.read(&mut greeting));
            let mut answer = vec![b'R', 0, 0, 0, 8, 0, 0, 0, 0];
            for (name, value) in [("server_version", "12.19"), ("client_encoding", "UTF8"), ("TimeZone", "UTC")] {
                let body = format!("{name}\0{value}\0");
                answer.push(b'S');
                answer.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
                answer.extend(body.as_bytes());
            }
            answer.extend([b'K', 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1, b'Z', 0, 0, 0, 5, b'I']);
            drop(client.write_all(&answer));
            // Until the client says goodbye.
            drop(client.read(&mut greeting));
        }
    });
    let home = home(&[("1_a", "CREATE TABLE a ();")]);
    let done = home.line(&format!("db apply --dir m --database-url postgres://u:p@127.0.0.1:{port}/d")).exits(7);
    done.says("older than PostgreSQL 13").within(Duration::from_secs(5));
}

#[test]
fn large_files_many_statements_and_odd_names_are_applied() {
    let database = Database::empty();
    let mut large = "CREATE TABLE big (t text);\n".to_owned();
    for _ in 0..10 {
        large.push_str(&format!("INSERT INTO big VALUES ('{}');\n", "x".repeat(1024 * 1024)));
    }
    let many: String = (0..10_000).map(|n| format!("INSERT INTO many VALUES ({n});\n")).collect();
    let home = home(&[
        ("1_big", &large),
        ("2_many", &format!("CREATE TABLE many (n int);\n{many}")),
        (
            "3_quotes",
            "CREATE TABLE \"it's \"\"odd\"\"; --\" (\"a;b\" int);\nCREATE INDEX CONCURRENTLY \"i \"\" 's\" ON \"it's \"\"odd\"\"; --\" (\"a;b\");\nCREATE INDEX CONCURRENTLY ON \"it's \"\"odd\"\"; --\" ((\"a;b\" + 1));",
        ),
    ]);
    home.file("m/4_it's \"odd\".up.sql", "SELECT 1;");
    let done = apply(&home, &database, database.server.port, "-o json").done();
    assert!(matches!(done.status, 0 | 7), "{}{}", done.stdout, done.stderr);
    if done.status == 7 {
        // A name that no layout takes is refused before anything runs.
        assert!(done.stdout.contains("4_it"), "{}", done.stdout);
        std::fs::remove_file(home.path().join("m/4_it's \"odd\".up.sql")).unwrap();
        apply(&home, &database, database.server.port, "").exits(0);
    }
    assert_eq!(block_on(database.lines("SELECT count(*) || ' ' || sum(length(t)) FROM big")), ["10 10485760"]);
    assert_eq!(block_on(database.lines("SELECT count(*)::text FROM many")), ["10000"]);
    assert_eq!(
        block_on(
            database.lines(
                "SELECT count(*)::text FROM pg_index WHERE indrelid::regclass::text LIKE '%odd%' AND indisvalid"
            )
        ),
        ["2"]
    );
}
