//! A backup: a dump and the row counts of one and the same snapshot, verified before it gets its name.
//!
//! The file appears whole or not at all, with its metadata beside it. What stands in the metadata was counted in the
//! snapshot that was dumped, so a restore can be compared with it although others went on writing.

mod archive;
mod metadata;
mod partial;
mod retention;
mod tally;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::Row;

use crate::config::database_url::DatabaseUrl;
use crate::store::StoreError;
use crate::store::pg_tools::{Archive, Contents, Ownership, PgTools};
use crate::store::postgres::{Connections, Session, Target};

use super::ledger;
use super::scratch::Scratch;

pub use self::archive::{Checked, Evidence, check};
pub use self::metadata::{Metadata, metadata_path};
use self::partial::Partial;
pub use self::tally::Table;
use self::tally::count;
pub(super) use self::tally::{differences, tally};

/// How a backup is verified before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// Every table is in the archive's table of contents.
    Listing,
    /// Restored into a database of its own, with the same number of rows in every table.
    Restore,
}

/// What to back up, and where to.
pub struct Request<'a> {
    /// The database.
    pub target: &'a Target,
    /// The programs that do it.
    pub tools: &'a PgTools,
    /// The file, which must not exist yet; its metadata goes beside it.
    pub file: PathBuf,
    /// How sure to be.
    pub verification: Verification,
    /// Delete older backups of the same database in the same folder, if they are older than this.
    pub keep: Option<Duration>,
    /// Now.
    pub now: Timestamp,
    /// Called with what is happening and the bytes written so far.
    pub progress: &'a (dyn Fn(Phase, u64) + Send + Sync),
}

/// What a backup is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Rows are counted.
    Counting,
    /// The dump is written.
    Dumping,
    /// The dump is read back or restored.
    Verifying,
}

/// A backup that was made and verified.
#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    /// Where it is.
    pub file: PathBuf,
    /// The database's name.
    pub database: String,
    /// In bytes.
    pub size: u64,
    /// Of the file, hexadecimal.
    pub sha256: String,
    /// How many tables it holds.
    pub tables: usize,
    /// How many rows they hold together.
    pub rows: u64,
    /// The moment whose state it holds, RFC 3339 UTC.
    pub snapshot_at: String,
    /// How it was verified.
    pub verified: Verification,
    /// Older backups that were deleted.
    pub deleted: Vec<PathBuf>,
    /// What limits it, in a sentence.
    #[serde(skip)]
    pub caveat: Option<&'static str>,
}

/// What would be backed up now; nothing is written.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The database's name.
    pub database: String,
    /// The tables with their rows.
    pub tables: Vec<Table>,
    /// When they were counted, RFC 3339 UTC.
    pub counted_at: String,
}

/// Look at what a backup would hold.
///
/// # Errors
/// As [`backup`].
pub async fn outlook(target: &Target) -> Result<Outlook, StoreError> {
    let mut view = View::open(target).await?;
    let tables = count(&mut view.session).await?;
    view.session.abandon().await;
    Ok(Outlook { database: view.database, tables, counted_at: view.taken_at })
}

/// Make a backup.
///
/// # Errors
/// [`StoreError::Refused`] when the file exists, the disk is full, `pg_dump` fails or the dump does not hold what was
/// counted; [`StoreError::Conflict`] while another backup writes the same file. Nothing is left behind then.
pub async fn backup(request: Request<'_>) -> Result<Backup, StoreError> {
    let alone = request.target.connections() == Connections::One;
    if alone && request.verification == Verification::Restore {
        return Err(StoreError::Unsupported {
            message: "the sandbox has no room for a second database to restore into".to_owned(),
            hint: "leave --verify out, or back up a real server".to_owned(),
        });
    }
    if !alone {
        refuse_pooler(request.target).await?;
    }
    let mut partial = Partial::create(&request.file)?;
    let mut view = View::open(request.target).await?;
    (request.progress)(Phase::Counting, 0);
    let tables = count(&mut view.session).await?;
    let (database, snapshot_at, server_version) = (view.database, view.taken_at, view.server_version);
    let current = ledger::read(&mut view.session).await?.current().map(ToString::to_string);

    let mut session = Some(view.session);
    let contents = if alone {
        // The dump needs the only connection.
        if let Some(session) = session.take() {
            session.abandon().await;
        }
        Contents::Everything
    } else {
        Contents::Snapshot(&view.name)
    };
    let dumped = request
        .tools
        .dump(request.target, contents, |bytes| {
            partial.write(bytes)?;
            (request.progress)(Phase::Dumping, partial.size());
            Ok(())
        })
        .await;
    if let Err(error) = dumped {
        return Err(why_it_failed(error, session).await);
    }
    if let Some(session) = session {
        session.abandon().await;
    }
    (request.progress)(Phase::Verifying, partial.size());
    let (size, sha256) = partial.sync().await?;
    verify(&request, &database, partial.file(), &tables).await?;
    let metadata = Metadata {
        format: metadata::FORMAT,
        database,
        server: server(request.target),
        server_version,
        tool_version: request.tools.version().clone(),
        snapshot_at,
        size,
        sha256,
        current,
        tables,
    };
    partial.finish(&metadata)?;
    let deleted = match request.keep {
        Some(age) => retention::delete_older(&request.file, &metadata, age, request.now)?,
        None => Vec::new(),
    };
    Ok(Backup {
        file: request.file,
        size,
        sha256: metadata.sha256,
        tables: metadata.tables.len(),
        rows: metadata.tables.iter().map(|table| table.rows).sum(),
        snapshot_at: metadata.snapshot_at,
        database: metadata.database,
        verified: request.verification,
        deleted,
        caveat: alone
            .then_some("counts were taken before the dump, not in its snapshot: the sandbox has one connection"),
    })
}

/// The older backups that a backup to `file` would delete.
///
/// # Errors
/// [`StoreError::Local`] when the folder cannot be read.
pub fn outdated(
    file: &Path,
    target: &Target,
    database: &str,
    age: Duration,
    now: Timestamp,
) -> Result<Vec<PathBuf>, StoreError> {
    let found = retention::older(file, &server(target), database, age, now)?;
    Ok(found)
}

/// Refuse a pooler: `pg_dump` changes its session, and a pooler would give that session to the next client.
///
/// # Errors
/// [`StoreError::Unsupported`]; what opening a connection says.
pub(super) async fn refuse_pooler(target: &Target) -> Result<(), StoreError> {
    if target.is_direct().await? {
        return Ok(());
    }
    Err(StoreError::Unsupported {
        message: format!(
            "{target} is a connection pooler: pg_dump and pg_restore would leave their settings in sessions of others, and \
             databases cannot be renamed through it; nothing was done"
        ),
        hint: "give the address of the PostgreSQL server itself with --database-url".to_owned(),
    })
}

/// Where a database is, as two backups of the same one say alike: without role and password.
fn server(target: &Target) -> String {
    target.url().map_or_else(|| "sandbox".to_owned(), DatabaseUrl::place)
}

/// A session that sees the database as of one moment.
struct View {
    session: Session,
    name: String,
    database: String,
    taken_at: String,
    server_version: String,
}

impl View {
    async fn open(target: &Target) -> Result<Self, StoreError> {
        let mut session = Session::open_as(target, "llmhub-db backup").await?;
        let name = session.begin_snapshot().await?;
        let query = sqlx::query(
            "SELECT current_database()::text, current_setting('server_version'), \
             to_char(transaction_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
        );
        let wrong =
            |_| StoreError::Invalid("the server described itself in other types than PostgreSQL has".to_owned());
        let row = session.row(query).await?;
        let row = row.ok_or_else(|| StoreError::Invalid("the server did not describe itself".to_owned()))?;
        let database = row.try_get(0).map_err(wrong)?;
        let server_version = row.try_get(1).map_err(wrong)?;
        let taken_at = row.try_get(2).map_err(wrong)?;
        Ok(Self { session, name, database, taken_at, server_version })
    }
}

/// A dump that fails because the server is gone is not the dump's fault.
async fn why_it_failed(error: StoreError, session: Option<Session>) -> StoreError {
    if let (StoreError::Refused(said), Some(mut session)) = (&error, session) {
        if session.ping().await.is_err() {
            return StoreError::Unreachable(format!("the server ended the backup: {said}; no backup was made"));
        }
        session.abandon().await;
        if said.starts_with("pg_dump") {
            return StoreError::Refused(format!("{said}; no backup was made"));
        }
    }
    error
}

async fn verify(
    request: &Request<'_>,
    database: &str,
    file: &std::fs::File,
    tables: &[Table],
) -> Result<(), StoreError> {
    let archive = Archive::File(file);
    let listing = request.tools.list(archive).await?;
    if let Some(absent) = archive::absent(&listing, tables) {
        return Err(StoreError::Refused(format!(
            "the dump of {database} does not hold {absent}, which was counted; no backup was made"
        )));
    }
    if request.verification == Verification::Listing {
        return Ok(());
    }
    let scratch = Scratch::create(request.target).await?;
    let restored = match restored(request.tools, archive, scratch.target()).await {
        Ok(restored) => restored,
        Err(error) => return Err(scratch.close_after(error).await),
    };
    scratch.close().await?;
    match differences(tables, &restored) {
        None => Ok(()),
        Some(what) => Err(StoreError::Refused(format!(
            "the dump of {database} does not restore to what was counted: {what}; no backup was made"
        ))),
    }
}

/// Restore an archive without its owners, and count.
async fn restored(tools: &PgTools, archive: Archive<'_>, into: &Target) -> Result<Vec<Table>, StoreError> {
    tools.restore(archive, into, Ownership::Dropped).await?;
    tally(into).await
}
