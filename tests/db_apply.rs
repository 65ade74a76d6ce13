//! `db apply` as operators meet it: several at once, behind somebody's lock, with files and databases that do not fit.

mod bad_input;
mod pooler;
mod sequences;
mod shapes;

use std::time::{Duration, Instant};

use sqlx::Executor;

use crate::db_crash::{apply, home, reached};
use crate::support::cli::Started;
use crate::support::postgres::{Database, block_on};

#[test]
fn of_eight_at_once_each_migration_runs_once_and_the_others_are_told_who_runs() {
    let database = Database::empty();
    let home = home(&[
        ("1_a", "CREATE TABLE a (id int);\nSELECT pg_sleep(0.4);"),
        ("2_i", "CREATE INDEX CONCURRENTLY i ON a (id);"),
        ("3_s", "INSERT INTO a VALUES (1);"),
    ]);
    let runs: Vec<Started> = (0..8).map(|_| apply(&home, &database, database.server.port, "-o json").spawn()).collect();
    let (mut applied, mut told) = (0, 0);
    for run in runs {
        let done = run.wait();
        assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);
        assert_eq!(done.json()["current"], "3", "{}", done.stdout);
        let own = done.json()["applied"].as_array().unwrap().len();
        assert!(own == 0 || own == 3, "{}", done.stdout);
        applied += own;
        told += usize::from(own == 0 && done.stderr.contains("waiting for another run: process "));
    }
    assert_eq!(applied, 3);
    assert!(told > 0);
    let events = "SELECT version FROM llmhub.migration_event WHERE kind = 'applied' ORDER BY id";
    assert_eq!(block_on(database.lines(events)), ["1", "2", "3"]);
    assert_eq!(block_on(database.lines("SELECT id::text FROM a")), ["1"]);
}

/// CREATE INDEX CONCURRENTLY waits for the end of every transaction that it meets with a snapshot, and rivals look at the lock
/// again and again. One that is met must not make the build wait for its whole patience.
#[tokio::test]
async fn rivals_that_wait_for_the_lock_stall_no_build_of_an_index() {
    let database = Database::empty();
    let home = home(&[("1_a", "CREATE TABLE a (id int);\nSELECT pg_sleep(2);")]);
    let start = |_| apply(&home, &database, database.server.port, "").spawn();
    let first = start(0);
    let lock = "SELECT ((classid::bigint << 32) | objid::bigint)::text FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                WHERE locktype = 'advisory' AND granted AND a.datname = current_database() \
                AND application_name LIKE 'llmhub-db lock %'";
    let begun = Instant::now();
    let key = loop {
        if let Some(key) = database.lines(lock).await.pop() {
            break key;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody takes the lock");
    };
    assert_eq!(first.wait().status, 0);
    home.file("m/2_b.up.sql", "SELECT 1;");
    let mut holder = database.connect().await;
    let hold = format!("BEGIN; SELECT pg_advisory_xact_lock({key})");
    holder.execute(sqlx::AssertSqlSafe(hold)).await.unwrap();
    let rivals: Vec<Started> = (0..8).map(start).collect();
    let waiting = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name LIKE 'llmhub-db lock %'";
    while database.lines(waiting).await != ["8"] {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?} wait", database.lines(waiting).await);
    }
    let mut builder = database.connect().await;
    for round in 0..60 {
        let begun = Instant::now();
        builder.execute("CREATE INDEX CONCURRENTLY i ON a (id)").await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(8), "round {round}: {:?}", begun.elapsed());
        builder.execute("DROP INDEX i").await.unwrap();
    }
    holder.execute("ROLLBACK").await.unwrap();
    for rival in rivals {
        assert_eq!(rival.wait().status, 0);
    }
}

#[tokio::test]
async fn a_table_that_somebody_keeps_locked_ends_in_a_conflict_that_names_them_and_readers_hardly_notice() {
    let database = Database::empty();
    let home = home(&[("1_a", "CREATE TABLE a (id int);"), ("2_b", "ALTER TABLE a ADD COLUMN b int;")]);
    apply(&home, &database, database.server.port, "--to 1").exits(0);
    let mut holder = database.connect().await;
    holder.execute("SET application_name = 'nightly report'; BEGIN; LOCK TABLE a IN ACCESS SHARE MODE").await.unwrap();
    let run = apply(&home, &database, database.server.port, "--lock-wait 2s --lock-timeout 100ms").spawn();
    let waiting = tokio::task::spawn_blocking(move || run.wait());
    let mut reader = database.connect().await;
    let mut worst = Duration::ZERO;
    while !waiting.is_finished() {
        let begun = Instant::now();
        reader.execute("SELECT * FROM a").await.unwrap();
        worst = worst.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let done = waiting.await.unwrap();
    assert_eq!(done.status, 5, "{}", done.stderr);
    let pid = sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()").fetch_one(&mut holder).await.unwrap();
    let done = done
        .within(Duration::from_secs(4))
        .says(&format!("process {pid}"))
        .says(&format!("role {}", database.server.superuser));
    let done = done.says("nightly report").says("LOCK TABLE a IN ACCESS SHARE MODE").says("2_b was rolled back");
    assert!(done.took > Duration::from_secs(1), "{:?}", done.took);
    // The budget is 100 ms; the rest is for two busy processors.
    assert!(worst < Duration::from_millis(1500), "a reader waited {worst:?}");

    let run = apply(&home, &database, database.server.port, "--lock-wait 20s --lock-timeout 100ms").spawn();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    holder.execute("ROLLBACK").await.unwrap();
    let done = run.wait();
    assert_eq!(done.status, 0, "{}", done.stderr);
    done.says("waits for a lock: process");
}

#[tokio::test]
async fn a_build_beside_an_open_transaction_waits_for_its_end_and_says_for_whom() {
    let database = Database::empty();
    let home = home(&[("1_a", "CREATE TABLE a (id int);"), ("2_i", "CREATE INDEX CONCURRENTLY i ON a (id);")]);
    apply(&home, &database, database.server.port, "--to 1").exits(0);
    let mut writer = database.connect().await;
    writer.execute("BEGIN; INSERT INTO a VALUES (1)").await.unwrap();
    let pid = sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()").fetch_one(&mut writer).await.unwrap();
    let run = apply(&home, &database, database.server.port, "--lock-wait 1s --lock-timeout 100ms").spawn();
    reached(&database, "CONCURRENTLY i");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    writer.execute("COMMIT").await.unwrap();
    let done = run.wait();
    assert_eq!(done.status, 0, "{}", done.stderr);
    done.says(&format!("waits for a lock: process {pid}"));
    assert_eq!(
        database.lines("SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'i'::regclass").await,
        ["true"]
    );
}

#[test]
fn a_statement_that_takes_longer_than_its_limit_is_cancelled_and_undone() {
    let database = Database::empty();
    let home = home(&[("1_a", "CREATE TABLE a ();\nSELECT pg_sleep(20);")]);
    let done = apply(&home, &database, database.server.port, "--statement-timeout 300ms").done();
    assert_eq!(done.status, 6, "{}", done.stderr);
    done.within(Duration::from_secs(5)).says("1_a.up.sql:2:1").says("1_a was rolled back");
    assert_eq!(
        block_on(database.lines("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")),
        [] as [&str; 0]
    );
}

#[test]
fn a_dry_run_leaves_a_virgin_database_as_it_is_and_names_what_it_did_not_run() {
    let database = Database::empty();
    let home = home(&[
        ("1_a", "CREATE TABLE a (id int);"),
        ("2_i", "CREATE INDEX CONCURRENTLY i ON a (id);"),
        ("3_b", "CREATE TABLE b ();"),
    ]);
    let objects = "SELECT count(*)::text FROM pg_class UNION ALL SELECT count(*)::text FROM pg_namespace";
    let before = block_on(database.lines(objects));
    let done = apply(&home, &database, database.server.port, "--dry-run -o json").exits(0).json();
    assert_eq!(done["applied"][0]["version"], "1");
    let skipped = done["skipped"].as_array().unwrap();
    assert_eq!(
        (skipped.len(), &skipped[0]["version"], &skipped[1]["version"]),
        (2, &"2".into(), &"3".into()),
        "{done}"
    );
    assert!(skipped[0]["reason"].as_str().unwrap().contains("2_i.up.sql:1:1"), "{done}");
    assert_eq!(block_on(database.lines(objects)), before);
    for line in ["db status", "db plan --dir m", "db history"] {
        home.line(&format!("{line} --database-url {}", database.url())).exits(0);
    }
    assert_eq!(block_on(database.lines(objects)), before);
}

#[test]
fn a_statement_that_failed_is_not_taken_for_done_by_the_next_run() {
    let database = Database::empty();
    let home = home(&[
        ("1_a", "CREATE TABLE a (id int, b int);\nCREATE INDEX i ON a (b);"),
        ("2_i", "CREATE INDEX CONCURRENTLY i ON a (id);"),
    ]);
    apply(&home, &database, database.server.port, "").exits(10).prints("already exists");
    // The name is taken by another index of the same table: it says so each time.
    for _ in 0..2 {
        apply(&home, &database, database.server.port, "").exits(7).says("already exists");
    }
    assert_eq!(block_on(database.lines("SELECT version FROM llmhub.migration")), ["1"]);
    home.file("m/2_i.up.sql", "CREATE INDEX CONCURRENTLY j ON a (id);");
    apply(&home, &database, database.server.port, "").exits(0);
    home.file("m/3_d.up.sql", "DROP INDEX CONCURRENTLY never_was;");
    for _ in 0..2 {
        apply(&home, &database, database.server.port, "").exits(7).says("does not exist");
    }
}
