//! The migration lock: one run per database, and a rival that is told who runs.
//!
//! A transaction-level try-lock on a connection of its own, polled. It works through a transaction pooler and is free a moment
//! after its holder dies (migrations.md 2.3). CREATE INDEX CONCURRENTLY waits for the end of every transaction that it meets with
//! a snapshot, and a rival that it meets in the middle of a try would wait for it in turn: whoever is waited for begins again.
//! The worker takes a second lock inside its transaction: a dead run's statement may outlive its connection, and until it has
//! ended nobody may start.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Postgres, Row};
use tokio::time::{Instant, sleep};

use crate::store::StoreError;
use crate::store::postgres::{Connections, Session, Target};

use super::run::{Run, RunId};
use super::watch::Event;

/// Who holds a lock that we wait for. A role without `pg_read_all_stats` sees no address of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The server's process.
    pub pid: i32,
    /// What it calls itself: `llmhub-db lock RUN user@host` if it is one of ours.
    pub application: String,
    /// The database role.
    pub role: Option<String>,
    /// Its client's address; `None` for a socket, or unseen.
    pub address: Option<String>,
    /// Since when it is connected, RFC 3339 UTC.
    pub since: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({})", self.pid, self.application)?;
        if let Some(role) = &self.role {
            write!(f, ", role {role}")?;
        }
        if let Some(address) = &self.address {
            write!(f, ", from {address}")?;
        }
        if let Some(since) = &self.since {
            write!(f, ", since {since}")?;
        }
        Ok(())
    }
}

/// What a lock is for; each has its key, derived from a fixed name and the ledger's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Held by a run from its first look to its last.
    Run,
    /// Held by the transaction that executes.
    Worker,
}

impl Purpose {
    pub(super) fn key(self) -> i64 {
        let name = match self {
            Self::Run => "llmhub: migration run: llmhub",
            Self::Worker => "llmhub: migration worker: llmhub",
        };
        Sha256::digest(name.as_bytes()).iter().take(8).fold(0, |key, byte| key << 8 | i64::from(*byte))
    }
}

/// The lock of a run; dropping it frees the lock with its connection.
pub(super) enum RunLock {
    /// Held by a connection of its own.
    Held(Session),
    /// Nobody else can reach the database: its only connection is the worker's.
    Alone,
}

impl RunLock {
    /// Wait for the lock, at most `run.patience`, and tell once who is waited for.
    pub(super) async fn take(target: &Target, id: &RunId, run: &Run<'_>) -> Result<Self, StoreError> {
        if target.connections() == Connections::One {
            return Ok(Self::Alone);
        }
        let name = format!("llmhub-db lock {} {}@{}", id.as_str(), run.operator.user, run.operator.host);
        let mut session = Session::open_as(target, &name).await?;
        wait_for(&mut session, Purpose::Run, run, async |session| session.begin_hold().await).await?;
        Ok(Self::Held(session))
    }

    /// See that the lock is still ours, before the next step.
    pub(super) async fn check(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Held(session) => {
                let alive = session.ping().await;
                alive.map_err(|failure| failure.into_store_error(session.place()))
            }
            Self::Alone => Ok(()),
        }
    }

    /// Give it back.
    pub(super) async fn release(self) {
        if let Self::Held(session) = self {
            session.abandon().await;
        }
    }
}

/// Poll until the transaction that `begin` has begun holds the lock; the worker also waits for what a dead run left at work.
///
/// # Errors
/// [`StoreError::Conflict`] naming the holder when patience ends; those of `begin`.
pub(super) async fn wait_for<T>(
    session: &mut Session,
    purpose: Purpose,
    run: &Run<'_>,
    begin: impl AsyncFn(&mut Session) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let deadline = Instant::now() + run.patience;
    let mut pause = Duration::from_millis(20);
    let mut told = false;
    let mut begun = begin(session).await?;
    loop {
        let query = sqlx::query("SELECT pg_try_advisory_xact_lock($1)").bind(purpose.key());
        let taken: Option<bool> = session.row(query).await?.and_then(|row| row.try_get(0).ok());
        let holder = match (taken, purpose) {
            (Some(true), Purpose::Run) => return Ok(begun),
            // A statement outside of any transaction holds no lock of ours: a dead run's index may still be built.
            (Some(true), Purpose::Worker) => match still_working(session).await? {
                None => return Ok(begun),
                left => left,
            },
            _ => holder(session, purpose).await?,
        };
        if is_waited_for(session).await? {
            session.roll_back().await.map_err(|failure| failure.into_store_error(session.place()))?;
            begun = begin(session).await?;
        }
        if Instant::now() >= deadline {
            return Err(conflict(session, purpose, holder.as_ref()));
        }
        if let (false, Some(holder)) = (told, &holder) {
            run.watch.see(Event::WaitsForRun(holder));
            told = true;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = run.stop.asked() => return Err(StoreError::Stopped("nothing was written".to_owned())),
        }
        pause = (pause * 3 / 2).min(Duration::from_millis(200));
    }
}

fn conflict(session: &Session, purpose: Purpose, holder: Option<&Holder>) -> StoreError {
    let who = holder.map_or("a session that has just ended".to_owned(), Holder::to_string);
    let what = match purpose {
        Purpose::Run => "another run is migrating",
        Purpose::Worker => "another run, or a statement that a dead one left behind, is still working at",
    };
    StoreError::Conflict(format!(
        "{what} {}: {who}; nothing was written, run it again when it is done",
        session.place()
    ))
}

/// Whether somebody waits for the end of the running transaction. It holds nothing that its end would lose.
async fn is_waited_for(session: &mut Session) -> Result<bool, StoreError> {
    let query = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_locks mine JOIN pg_catalog.pg_locks wanted USING (virtualxid) \
         WHERE mine.pid = pg_backend_pid() AND mine.locktype = 'virtualxid' AND mine.granted \
         AND wanted.locktype = 'virtualxid' AND NOT wanted.granted)",
    );
    Ok(session.row(query).await?.and_then(|row| row.try_get(0).ok()).unwrap_or(false))
}

async fn holder(session: &mut Session, purpose: Purpose) -> Result<Option<Holder>, StoreError> {
    let query = sqlx::query(
        "SELECT a.pid, coalesce(a.application_name, '') AS application, a.usename::text AS role, \
         host(a.client_addr) AS address, \
         to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since \
         FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
         AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) \
         AND l.classid::bigint = ($1 >> 32) & 4294967295 AND l.objid::bigint = $1 & 4294967295",
    )
    .bind(purpose.key());
    first_holder(session, query).await
}

/// A worker of another run that is at work. Its name and locks can be seen by every role, its state cannot; behind a pooler an
/// idle session keeps the name of its last user.
async fn still_working(session: &mut Session) -> Result<Option<Holder>, StoreError> {
    let query = sqlx::query(
        "SELECT a.pid, a.application_name AS application, a.usename::text AS role, host(a.client_addr) AS address, \
         to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since \
         FROM pg_catalog.pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() \
         AND a.application_name LIKE 'llmhub-db worker %' AND EXISTS (SELECT 1 FROM pg_catalog.pg_locks l \
         WHERE l.pid = a.pid AND l.locktype = 'virtualxid' AND l.granted)",
    );
    first_holder(session, query).await
}

async fn first_holder(
    session: &mut Session,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<Option<Holder>, StoreError> {
    let Some(row) = session.row(query).await? else { return Ok(None) };
    let wrong = |_| StoreError::Invalid("pg_stat_activity has columns of another type".to_owned());
    Ok(Some(Holder {
        pid: row.try_get("pid").map_err(wrong)?,
        application: row.try_get("application").map_err(wrong)?,
        role: row.try_get("role").map_err(wrong)?,
        address: row.try_get("address").map_err(wrong)?,
        since: row.try_get("since").map_err(wrong)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_keys_never_change_or_an_older_llmhub_would_not_see_us() {
        assert_eq!(Purpose::Run.key(), 6_768_006_697_297_428_022);
        assert_eq!(Purpose::Worker.key(), 8_436_218_435_719_898_067);
    }
}
