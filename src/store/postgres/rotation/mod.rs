//! The rotation of the master key in one database: what it protects there, the journal, and the rows.
//!
//! Every change of rows is one transaction that also writes the journal, so a run may die at any point. A row is found by its
//! old token, which is compare and set at once. No plain text and no master key ever comes here: tokens go out to whoever
//! holds the keys and come back sealed, as bound parameters.

mod discover;
mod journal;
mod rewrite;

use std::time::Duration;

use sqlx::Row;
use tokio::time::{Instant, sleep};

use super::pace::{Pace, Transaction};
use super::session::Session;
use super::target::{Connections, Target};
use crate::domain::keys::rotation::Renewal;
use crate::store::StoreError;

pub use self::discover::{Discovery, JsonHit, Kind, TokenColumn, TokenPlace};
pub use self::journal::{Fingerprints, Journal, Open};
pub use self::rewrite::{Outset, Rewritten};

/// The lock of rotations, and that of `llmhub db` runs, which may not change the schema meanwhile. A test of the migration
/// lock pins the second.
const LOCKS: [i64; 2] = [0x6c6c_6d68_7562_0001, 6_768_006_697_297_428_022];

/// A row that a policy hides from this role is an error of the server: rotated around, it would never open again.
const SEE_ALL: &str = "SET LOCAL row_security = off";

/// How long a second operator waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked of each token, by whoever holds the keys.
pub type Renew<'a> = dyn FnMut(&str) -> Renewal + Send + 'a;

/// The rotations of one database.
pub struct Rotations {
    target: Target,
    /// Who works, `user@host`.
    actor: String,
}

/// The right to rotate, until it is dropped with its connection.
pub struct RotationLock {
    session: Option<Session>,
}

impl RotationLock {
    /// Give it back.
    pub async fn release(self) {
        if let Some(session) = self.session {
            session.abandon().await;
        }
    }
}

impl Rotations {
    /// The database at `target`; nothing is opened yet.
    pub fn new(target: Target, actor: String) -> Self {
        Self { target, actor }
    }

    /// See that no pooler is in between: there a lock and the transaction it protects could part.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`].
    pub async fn require_direct(&self) -> Result<(), StoreError> {
        if self.target.is_direct().await? {
            return Ok(());
        }
        Err(StoreError::Unsupported {
            message: format!("{} is behind a pooler, and a rotation never is; nothing was written", self.target),
            hint: "give the server's own address: --database-url".to_owned(),
        })
    }

    /// Keep other rotations and `llmhub db` runs away.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] that names who works, after five seconds.
    pub async fn lock(&self) -> Result<RotationLock, StoreError> {
        if self.target.connections() == Connections::One {
            return Ok(RotationLock { session: None });
        }
        let mut session = Session::open_as(&self.target, &format!("llmhub keys rotate {}", self.actor)).await?;
        session.begin_hold().await?;
        for key in LOCKS {
            self.take(&mut session, key).await?;
        }
        Ok(RotationLock { session: Some(session) })
    }

    async fn take(&self, session: &mut Session, key: i64) -> Result<(), StoreError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = session.row(sqlx::query("SELECT pg_try_advisory_xact_lock($1)").bind(key)).await?;
            if row.and_then(|row| row.try_get(0).ok()) == Some(true) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let query = sqlx::query(
                    "SELECT a.application_name FROM pg_catalog.pg_locks l \
                     JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
                     WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database() \
                     AND l.classid::bigint = ($1 >> 32) & 4294967295 AND l.objid::bigint = $1 & 4294967295",
                )
                .bind(key);
                let holder: Option<String> = session.row(query).await?.and_then(|row| row.try_get(0).ok());
                let holder = holder.unwrap_or_else(|| "a session that has just ended".to_owned());
                return Err(StoreError::Conflict(format!(
                    "another operation works at {}: {holder}; nothing was written, run it again when it is done",
                    self.target
                )));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The journal; nothing is created by looking.
    ///
    /// # Errors
    /// [`StoreError`] of the connection, or of a newer llmhub's journal.
    pub async fn journal(&self) -> Result<Journal, StoreError> {
        let mut session = self.reader(Pace::Quick).await?;
        let journal = journal::read(&mut session).await?;
        session.abandon().await;
        Ok(journal)
    }

    /// Every column that holds tokens.
    ///
    /// # Errors
    /// [`StoreError::Denied`] for a role that may not read every table: what it cannot see it would brick.
    pub async fn discover(&self) -> Result<Discovery, StoreError> {
        let mut session = self.reader(Pace::Long).await?;
        let found = discover::discover(&mut session).await?;
        session.abandon().await;
        Ok(found)
    }

    async fn reader(&self, pace: Pace) -> Result<Session, StoreError> {
        let mut session = Session::open(&self.target).await?;
        session.begin_read(pace).await?;
        session.send(SEE_ALL).await?;
        Ok(session)
    }

    async fn writer(&self) -> Result<(Session, Transaction), StoreError> {
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Long).await?;
        session.send(SEE_ALL).await?;
        Ok((session, transaction))
    }
}
