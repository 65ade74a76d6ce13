//! What somebody else does while a rotation is under way, each at a moment that a lock in the database holds still.

use sqlx::PgConnection;

use super::{OLD, STRANGE, dump, rotate, scene};
use crate::support::cli::{Done, Run};
use crate::support::postgres::{Database, block_on};

/// Run a command that has to wait for the lock of `sql`, do something meanwhile, and let it go on.
#[track_caller]
fn held(database: &Database, sql: &str, run: Run, meanwhile: impl FnOnce()) -> Done {
    let holder: PgConnection = block_on(async {
        let mut holder = database.connect().await;
        sqlx::raw_sql("BEGIN").execute(&mut holder).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut holder).await.unwrap();
        holder
    });
    let started = run.spawn();
    let waits = "SELECT 'waits' FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut turns = 0;
    while block_on(database.lines(waits)).is_empty() {
        turns += 1;
        assert!(turns < 1_000, "it never waited for the lock");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    meanwhile();
    // Its socket closes, and the server lets go.
    drop(holder);
    started.wait()
}

#[test]
fn an_env_file_that_somebody_edits_between_the_plan_and_the_swap_is_left_as_it_is() {
    let (home, database) = scene(3);
    let env = home.file("hub.env", format!("BYOK_ENCRYPTION_KEY={OLD}\n"));
    let theirs = format!("BYOK_ENCRYPTION_KEY={STRANGE}\n");
    let options = format!("-y --env-file {}", env.display());
    let row = "SELECT FROM keys WHERE id = 1 FOR UPDATE";
    let done = held(&database, row, rotate(&home, &database, &options), || std::fs::write(&env, &theirs).unwrap());
    assert_eq!(done.status, 5, "{}", done.stderr);
    let done = done.says("BYOK_ENCRYPTION_KEY of").says("was changed by somebody else meanwhile");
    assert!(!done.stderr.contains(STRANGE), "{}", done.stderr);
    assert_eq!(std::fs::read_to_string(&env).unwrap(), theirs);
    assert_eq!(
        block_on(database.lines("SELECT count(*)::text FROM llmhub.rotation_step WHERE done_at IS NULL")),
        ["1"]
    );
    // The way back does not overwrite it either; with the hub's own key there again, it goes through.
    rotate(&home, &database, &format!("{options} --abort")).exits(7);
    std::fs::write(&env, format!("BYOK_ENCRYPTION_KEY={OLD}\n")).unwrap();
    rotate(&home, &database, &format!("{options} --abort")).exits(0);
}

#[test]
fn a_rotation_that_somebody_else_takes_another_way_after_the_plan_was_made_is_not_gone_on_with() {
    let (home, database) = scene(3);
    rotate(&home, &database, "-y").exits(10);
    let before = dump(&database);
    // Discovery comes after the journal was read.
    let table = "LOCK TABLE keys IN ACCESS EXCLUSIVE MODE";
    let done = held(&database, table, rotate(&home, &database, "-y"), || {
        block_on(database.sql("UPDATE llmhub.rotation SET state = 'aborting'"));
    });
    assert_eq!(done.status, 5, "{}", done.stderr);
    done.says("somebody else has gone on with the rotation meanwhile; nothing was written");
    assert_eq!(dump(&database), before);
    assert_eq!(block_on(database.lines("SELECT state FROM llmhub.rotation")), ["aborting"]);
    assert_eq!(block_on(database.lines("SELECT count(*)::text FROM llmhub.rotation_backup")), ["4"]);
}
