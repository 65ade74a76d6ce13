//! `db apply` through PgBouncer in transaction mode: each transaction may meet another session, and none may keep our settings.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor};

use super::{apply, home};
use crate::db_crash::reached;
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Database, block_on};

/// The settings of all pooled sessions: all of them are opened at once, and each is asked.
fn settings(database: &Database, pooler: &PgBouncer) -> Vec<String> {
    block_on(async {
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = database.connect_through(pooler.port).await;
            client.execute("BEGIN").await.unwrap();
            clients.push(client);
        }
        let mut found = Vec::new();
        for mut client in clients {
            let query = "SELECT concat_ws(' ', current_setting('lock_timeout'), current_setting('statement_timeout'), \
                         current_setting('search_path'), current_setting('client_connection_check_interval'), current_user = session_user)";
            found.push(sqlx::query_scalar::<_, String>(query).persistent(false).fetch_one(&mut client).await.unwrap());
            client.execute("ROLLBACK").await.unwrap();
            client.close().await.ok();
        }
        found.sort();
        found.dedup();
        found
    })
}

const UNTOUCHED: [&str; 1] = ["0 0 \"$user\", public 0 t"];

#[test]
fn through_a_pooler_every_kind_of_migration_is_applied_once_and_no_setting_is_left_behind() {
    let database = Database::empty();
    let pooler = PgBouncer::start(database.server);
    let home = home(&[
        ("1_a", "CREATE TABLE a (id int);\nSET lock_timeout = '7s';\nSET search_path = pg_catalog;"),
        (
            "2_i",
            "CREATE INDEX CONCURRENTLY i ON a (id);\nCREATE INDEX CONCURRENTLY ON a (id);\nINSERT INTO a VALUES (1);",
        ),
        ("3_v", "VACUUM a;"),
        ("4_n", "-- no-transaction\nINSERT INTO a VALUES (2);\nDROP INDEX CONCURRENTLY i;"),
    ]);
    let runs: Vec<_> = (0..2).map(|_| apply(&home, &database, pooler.port, "").spawn()).collect();
    for run in runs {
        let done = run.wait();
        assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);
    }
    let events = "SELECT version FROM llmhub.migration_event WHERE kind = 'applied' ORDER BY id";
    assert_eq!(block_on(database.lines(events)), ["1", "2", "3", "4"]);
    assert_eq!(block_on(database.lines("SELECT id::text FROM a ORDER BY 1")), ["1", "2"]);
    assert_eq!(settings(&database, &pooler), UNTOUCHED);

    // A failure outside of a transaction leaves nothing either.
    home.file("m/5_bad.up.sql", "CREATE UNIQUE INDEX CONCURRENTLY bad ON a ((1));");
    apply(&home, &database, pooler.port, "").exits(7).says("5_bad.up.sql:1:1");
    assert_eq!(settings(&database, &pooler), UNTOUCHED);
    let invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid";
    assert_eq!(block_on(database.lines(invalid)), [] as [&str; 0]);
}

#[test]
fn a_run_that_dies_behind_a_pooler_frees_lock_and_statement_and_the_next_one_finishes() {
    let functions = "CREATE TABLE a (id int);\nINSERT INTO a SELECT generate_series(1, 100);\nCREATE FUNCTION slow(int) RETURNS int \
                     IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN $1; END $$;";
    for (text, word) in
        [("SELECT pg_sleep(2);", "pg_sleep(2)"), ("CREATE INDEX CONCURRENTLY i ON a (slow(id));", "CONCURRENTLY i")]
    {
        let database = Database::empty();
        let pooler = PgBouncer::start(database.server);
        let home = home(&[("1_a", functions), ("2_b", text)]);
        let run = apply(&home, &database, pooler.port, "").spawn();
        reached(&database, word);
        run.signal("KILL");
        assert_eq!(run.wait().status, -9);
        let at = Instant::now();
        let working = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                       AND state <> 'idle' UNION ALL SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory' \
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        while !block_on(database.lines(working)).is_empty() {
            assert!(at.elapsed() < Duration::from_secs(6), "{word}: {:?}", block_on(database.lines(working)));
            std::thread::sleep(Duration::from_millis(50));
        }
        let time = at.elapsed();
        assert!(time < Duration::from_secs(5), "{word}: {time:?}");
        apply(&home, &database, pooler.port, "").exits(0);
        assert_eq!(block_on(database.lines("SELECT version FROM llmhub.migration ORDER BY position")), ["1", "2"]);
        assert_eq!(settings(&database, &pooler), UNTOUCHED);
    }
}
