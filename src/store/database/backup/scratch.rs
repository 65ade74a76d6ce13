//! A database that llmhub creates for itself, and drops again unless it was put to use.
//!
//! Its comment says what it is, so that one whose llmhub was killed can be told from the operator's own.

use std::time::Duration;

use crate::store::StoreError;
use crate::store::pg_tools::{Archive, Ownership, PgTools};
use crate::store::postgres::{Pace, Session, Target};

use super::super::restore::creation;
use super::tally::{Table, count};

/// The comment of a database that is not in use yet; it is part of an SQL literal.
pub(in crate::store::database) const MARK: &str =
    "made by llmhub for a restore that is under way; drop it if no llmhub runs";

/// How long an interrupted command waits for the drop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A database of ours; dropping the value drops it on the server.
pub(in crate::store::database) struct Scratch {
    name: String,
    target: Target,
    /// From where databases are created and dropped: not from inside one of them.
    base: Target,
    ours: bool,
}

impl Scratch {
    /// Create `PREFIX_<random>` with the encoding and the collation of `like`.
    pub(in crate::store::database) async fn create(like: &Target, prefix: &str) -> Result<Self, StoreError> {
        let url = like.url().ok_or_else(alone)?;
        let mut session = Session::open(like).await?;
        session.begin_read(Pace::Quick).await?;
        let options = creation(&mut session, url.database()).await?;
        session.abandon().await;
        Self::create_as(like, prefix, &options).await
    }

    /// Create it with these options of CREATE DATABASE; `base` must be another database of the same server.
    pub(in crate::store::database) async fn create_as(
        base: &Target,
        prefix: &str,
        options: &str,
    ) -> Result<Self, StoreError> {
        let number = getrandom::u64()
            .map_err(|error| StoreError::Local(format!("the system gives no random numbers: {error}")))?;
        let name = format!("{prefix}_{number:016x}");
        let url = base.url().ok_or_else(alone)?;
        let scratch = Self { target: Target::Url(url.with_database(&name)), base: base.clone(), ours: true, name };
        let mut session = Session::open(base).await?;
        let quoted = quote(&scratch.name);
        if session.server_version().is_some_and(|version| version >= 140_000) {
            // An interrupted creation must end with us, or it would outlive the drop. Not every system can do it.
            let _ = session.administer("SET client_connection_check_interval = '500ms'").await;
        }
        session.administer(&format!("CREATE DATABASE {quoted} TEMPLATE template0 {options}")).await?;
        session.administer(&format!("COMMENT ON DATABASE {quoted} IS '{MARK}'")).await?;
        session.close().await;
        Ok(scratch)
    }

    pub(in crate::store::database) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::store::database) fn target(&self) -> &Target {
        &self.target
    }

    /// Restore an archive without its owners, and count.
    pub(super) async fn fill(&self, tools: &PgTools, archive: Archive<'_>) -> Result<Vec<Table>, StoreError> {
        tools.restore(archive, &self.target, Ownership::Dropped).await?;
        self.tally().await
    }

    /// Count its rows.
    pub(in crate::store::database) async fn tally(&self) -> Result<Vec<Table>, StoreError> {
        let mut session = Session::open(&self.target).await?;
        session.begin_read(Pace::Long).await?;
        let tables = count(&mut session).await?;
        session.abandon().await;
        Ok(tables)
    }

    /// Drop it.
    pub(in crate::store::database) async fn discard(mut self) -> Result<(), StoreError> {
        self.ours = false;
        remove(&self.base, &self.name).await.map_err(|error| {
            StoreError::Refused(format!("the database {} cannot be dropped, drop it by hand: {error}", self.name))
        })
    }

    /// Drop it because of `error`, and say so if it stays.
    pub(in crate::store::database) async fn discard_after(self, error: StoreError) -> StoreError {
        match self.discard().await {
            Ok(()) => error,
            Err(left) => StoreError::Refused(format!("{error}; and {left}")),
        }
    }

    /// It is somebody's database from now on.
    pub(in crate::store::database) fn keep(mut self) {
        self.ours = false;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        // Whoever waited for us was interrupted, and its runtime with it: this needs one of its own.
        let (base, name) = (self.base.clone(), std::mem::take(&mut self.name));
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                // What cannot be dropped now is told by its comment.
                let _ = runtime.block_on(async { tokio::time::timeout(PATIENCE, remove(&base, &name)).await });
            }
        };
        let _ = std::thread::spawn(work).join();
    }
}

fn alone() -> StoreError {
    StoreError::Invalid("the sandbox has only one database".to_owned())
}

async fn remove(base: &Target, name: &str) -> Result<(), StoreError> {
    let mut session = Session::open(base).await?;
    session.administer(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(name))).await?;
    session.close().await;
    Ok(())
}

/// A name as an SQL identifier.
pub(in crate::store::database) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
