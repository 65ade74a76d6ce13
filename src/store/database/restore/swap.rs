//! Two databases change their names in one transaction: there is no moment at which neither has the live name.
//!
//! ALTER DATABASE … RENAME is transactional. While it waits it keeps new sessions out, so those that are there can be ended
//! without a busy pool coming back at once; a login that waited for it is turned away once and finds the new database next.

use std::time::Duration;

use sqlx::Row;
use tokio::time::sleep;

use crate::store::StoreError;
use crate::store::database::literal::quote;
use crate::store::database::scratch::Scratch;
use crate::store::postgres::{Failure, Pace, Session, Target, settle};

/// How often the live database's sessions are told to end while the rename waits for them.
const AGAIN: Duration = Duration::from_millis(100);

/// Rename `live` to `previous`, if there is one, and the scratch database to `live`. Returns the statements of the way back.
pub(super) async fn names(
    base: &Target,
    live: &str,
    mut scratch: Scratch,
    previous: Option<&str>,
) -> Result<Option<String>, StoreError> {
    let fresh = quote(scratch.name());
    let name = quote(live);
    let mut steps = Vec::new();
    steps.extend(previous.map(|previous| format!("ALTER DATABASE {name} RENAME TO {}", quote(previous))));
    steps.push(format!("ALTER DATABASE {fresh} RENAME TO {name}"));
    let script = format!("BEGIN; {}; COMMIT;", steps.join("; "));

    scratch.leave().await;
    match attempt(base, live, scratch.name(), &steps).await {
        Ok(()) => {
            scratch.keep();
            Ok(previous.map(|previous| {
                format!(
                    "BEGIN; ALTER DATABASE {name} RENAME TO {fresh}; ALTER DATABASE {} RENAME TO {name}; COMMIT;",
                    quote(previous)
                )
            }))
        }
        Err(StoreError::OutcomeUnknown(what)) => {
            let left = scratch.name().to_owned();
            scratch.keep();
            Err(StoreError::OutcomeUnknown(format!(
                "{what}; if the database {left} is still there, {live} is the old one and this finishes the swap, from \
                 another database: {script}"
            )))
        }
        Err(error) => Err(scratch.close_after(error).await),
    }
}

async fn attempt(base: &Target, live: &str, fresh: &str, steps: &[String]) -> Result<(), StoreError> {
    let mut ender = Session::open_as(base, "llmhub-db restore").await?;
    let wanted = oid(&mut ender, fresh).await?;
    let mut worker = Session::open_as(base, "llmhub-db restore").await?;
    let transaction = worker.begin_write(Pace::Quick).await?;
    for step in steps {
        let renamed = rename(&mut worker, &mut ender, live, step).await;
        if let Err(failure) = renamed {
            let error = match failure.sqlstate() {
                Some("55006" | "55P03") => StoreError::Conflict(format!(
                    "the sessions in {live} did not end: both databases are as they were; stop what keeps it busy and run it again"
                )),
                _ => failure.into_store_error(worker.place()),
            };
            worker.abandon().await;
            return Err(error);
        }
    }
    ender.close().await;
    let mut reader = settle(worker, base, &transaction, "the swap of the databases").await?;
    let unknown = |why: String| StoreError::OutcomeUnknown(format!("the swap was committed, but {why}"));
    let now = oid(&mut reader, live).await.map_err(|error| unknown(format!("cannot be read back: {error}")))?;
    reader.abandon().await;
    if now.is_some() && now == wanted {
        return Ok(());
    }
    Err(unknown(format!("{live} is not the restored database: somebody else renames databases here")))
}

/// One rename, during which the live database's sessions are ended.
async fn rename(worker: &mut Session, ender: &mut Session, live: &str, sql: &str) -> Result<(), Failure> {
    let renamed = worker.foreign(sql, None);
    tokio::pin!(renamed);
    loop {
        tokio::select! {
            done = &mut renamed => return done,
            () = sleep(AGAIN) => {
                let end = sqlx::query(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
                     WHERE datname = $1 AND pid <> pg_backend_pid()",
                );
                // A session that ends by itself, or that may not be ended, shows in what becomes of the rename.
                let _ = ender.run(end.bind(live)).await;
            }
        }
    }
}

async fn oid(session: &mut Session, name: &str) -> Result<Option<i64>, StoreError> {
    let query = sqlx::query("SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = $1").bind(name);
    Ok(session.row(query).await?.and_then(|row| row.try_get(0).ok()))
}
