//! The ways in which a run is ended from outside, other than its death: signals, a terminated session, a stopped server.

use std::time::{Duration, Instant};

use super::{apply, caught, gone, home, remains};
use crate::support::cli::Home;
use crate::support::postgres::{Cluster, Database, block_on};

/// One that stands, and one that takes its time.
fn slow() -> Home {
    home(&[("1_a", "CREATE TABLE a (id int);"), ("2_slow", "CREATE TABLE b ();\nSELECT pg_sleep(60);")])
}

fn tables(database: &Database) -> Vec<String> {
    block_on(database.lines("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"))
}

#[test]
fn a_signal_cancels_the_statement_and_says_what_stands() {
    for (signal, status) in [("INT", 130), ("TERM", 143), ("HUP", 143)] {
        let database = Database::empty();
        let home = slow();
        let run = caught(&home, &database, "pg_sleep");
        let at = Instant::now();
        run.signal(signal);
        let done = run.wait();
        assert!(at.elapsed() < Duration::from_secs(3), "{signal}: {:?}", at.elapsed());
        assert_eq!(done.status, status, "{}", done.stderr);
        let done = done.says("2_slow was rolled back").says("applied: 1_a");
        assert_eq!(block_on(remains(&database)), [] as [&str; 0], "{}", done.stderr);
        assert_eq!(tables(&database), ["a"]);
    }
}

#[test]
fn a_signal_during_a_build_leaves_no_invalid_index() {
    let database = Database::empty();
    let home = home(&[
        (
            "1_a",
            "CREATE TABLE a (id int);\nINSERT INTO a SELECT generate_series(1, 10);\nCREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(2); RETURN $1; END $$;",
        ),
        ("2_i", "CREATE INDEX CONCURRENTLY i ON a (slow(id));"),
    ]);
    let run = caught(&home, &database, "CONCURRENTLY i");
    std::thread::sleep(Duration::from_millis(300));
    let at = Instant::now();
    run.signal("INT");
    let done = run.wait();
    assert!(at.elapsed() < Duration::from_secs(3), "{:?}", at.elapsed());
    assert_eq!(done.status, 130, "{}", done.stderr);
    let done = done.says("applied: 1_a");
    assert_eq!(block_on(remains(&database)), [] as [&str; 0], "{}", done.stderr);
    let invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid";
    assert_eq!(block_on(database.lines(invalid)), [] as [&str; 0], "{}", done.stderr);
}

#[test]
fn a_signal_ends_a_build_that_waits_for_a_reader_and_its_remains_are_swept_by_the_next_run() {
    let database = Database::empty();
    let home = home(&[("1_a", "CREATE TABLE a (id int);"), ("2_i", "CREATE INDEX CONCURRENTLY i ON a (id);")]);
    apply(&home, &database, database.server.port, "--to 1").exits(0);
    block_on(async {
        use sqlx::Executor;
        let mut reader = database.connect().await;
        reader.execute("BEGIN; LOCK TABLE a IN ROW EXCLUSIVE MODE").await.unwrap();
        let at = {
            let run = caught(&home, &database, "CONCURRENTLY i");
            std::thread::sleep(Duration::from_millis(1000));
            run.signal("INT");
            let at = Instant::now();
            let done = run.wait();
            assert_eq!(done.status, 130, "{}", done.stderr);
            done.says("waits for").says("process ");
            at
        };
        assert!(at.elapsed() < Duration::from_secs(4), "{:?}", at.elapsed());
        reader.execute("ROLLBACK").await.unwrap();
    });
    gone(&database);
    apply(&home, &database, database.server.port, "").exits(0);
    assert_eq!(
        block_on(database.lines("SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'i'::regclass")),
        ["true"]
    );
}

#[test]
fn a_second_signal_ends_at_once() {
    let database = Database::empty();
    let home = slow();
    let run = caught(&home, &database, "pg_sleep");
    run.signal("INT");
    run.signal("INT");
    let at = Instant::now();
    let done = run.wait();
    assert!(at.elapsed() < Duration::from_secs(2), "{:?}", at.elapsed());
    assert_eq!(done.status, 130, "{}", done.stderr);
    assert!(gone(&database) < Duration::from_secs(3));
    assert_eq!(tables(&database), ["a"]);
}

#[test]
fn a_killed_run_holds_nothing_after_a_moment() {
    let database = Database::empty();
    let home = slow();
    let run = caught(&home, &database, "pg_sleep");
    run.signal("KILL");
    assert_eq!(run.wait().status, -9);
    let time = gone(&database);
    assert!(time < Duration::from_secs(3), "{time:?}");
    assert_eq!(tables(&database), ["a"]);
}

#[test]
fn a_terminated_session_is_told_and_the_next_run_goes_on() {
    for (session, status) in [("worker", [10].as_slice()), ("lock", &[10])] {
        let database = Database::empty();
        let home = home(&[
            ("1_a", "CREATE TABLE a (id int);"),
            ("2_b", "CREATE TABLE b ();\nSELECT pg_sleep(1.5);"),
            ("3_c", "CREATE TABLE c ();"),
        ]);
        let run = caught(&home, &database, "pg_sleep");
        let kill = format!(
            "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name LIKE 'llmhub-db {session}%'"
        );
        assert_eq!(block_on(database.lines(&kill)), ["true"], "{session}");
        let done = run.wait();
        assert!(status.contains(&done.status), "{session}: {} {}{}", done.status, done.stdout, done.stderr);
        let told = tables(&database);
        let ledger = block_on(database.lines("SELECT name FROM llmhub.migration ORDER BY version"));
        assert_eq!(told, ledger, "{session}");
        assert!(told.len() < 3, "{session}: {told:?}");
        apply(&home, &database, database.server.port, "").exits(0);
        assert_eq!(tables(&database), ["a", "b", "c"]);
    }
}

#[test]
fn a_terminated_build_is_of_unknown_outcome_and_the_next_run_finishes_it() {
    let database = Database::empty();
    let home = home(&[
        (
            "1_a",
            "CREATE TABLE a (id int);\nINSERT INTO a SELECT generate_series(1, 3);\nCREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN $1; END $$;",
        ),
        ("2_i", "CREATE INDEX CONCURRENTLY i ON a (slow(id));"),
    ]);
    apply(&home, &database, database.server.port, "--to 1").exits(0);
    let run = caught(&home, &database, "CONCURRENTLY i");
    let kill = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = current_database() \
                AND application_name LIKE 'llmhub-db worker%'";
    assert_eq!(block_on(database.lines(kill)), ["true"]);
    let done = run.wait();
    assert_eq!(done.status, 11, "{}", done.stderr);
    done.says("run it again");
    apply(&home, &database, database.server.port, "").exits(0);
    assert_eq!(
        block_on(database.lines("SELECT indisvalid::text FROM pg_index WHERE indrelid = 'a'::regclass")),
        ["true"]
    );
}

#[test]
fn a_server_that_stops_in_the_middle_is_unreachable_and_after_its_restart_the_run_is_finished() {
    let cluster = Cluster::start();
    let home = slow();
    let line = format!("db apply --dir m --database-url {}", cluster.url());
    let run = home.line(&line).spawn();
    let begun = Instant::now();
    let working = "SELECT pid::text FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'";
    while block_on(cluster.lines(working)).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    let at = Instant::now();
    cluster.stop_immediately();
    let done = run.wait();
    // The first stands, and nobody is left to ask about it.
    assert!(matches!(done.status, 6 | 10 | 11), "{} {}{}", done.status, done.stdout, done.stderr);
    assert!(at.elapsed() < Duration::from_secs(20), "{:?}", at.elapsed());
    home.line(&line).exits(6);
    cluster.start_again();
    home.file("m/2_slow.up.sql", "CREATE TABLE b ();");
    home.line(&line).exits(0);
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";
    assert_eq!(block_on(cluster.lines(tables)), ["a", "b"]);
}
