//! What is written to the ledger: a row per applied migration, and an event for everything that happens.
//!
//! A row commits in the transaction of the migration that it speaks of. Events are only ever added.

use sqlx::Row;
use sqlx::types::Json;

use crate::domain::migrations::{Checksum, Direction, Migration, Script, Version, Wrapping};
use crate::store::StoreError;
use crate::store::postgres::{Session, Transaction};

use super::ledger::{Existence, existence};
use super::run::{Run, RunId};

/// Create the ledger if the database has none, in the transaction that is open and under the migration lock.
pub(super) async fn ensure(session: &mut Session) -> Result<(), StoreError> {
    if existence(session).await? == Existence::Present {
        return Ok(());
    }
    let script = Script::new(include_str!("ledger.sql"));
    let statements =
        script.statements().map_err(|error| StoreError::Invalid(format!("ledger.sql:{}: {error}", error.at())))?;
    for statement in statements {
        let done = session.foreign(statement.text(), None).await;
        done.map_err(|failure| failure.into_store_error(session.place()))?;
    }
    Ok(())
}

/// Who writes, in which run and which transaction.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) id: &'a RunId,
    pub(super) run: &'a Run<'a>,
    pub(super) transaction: Option<&'a Transaction>,
}

/// How a migration came onto the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It was run.
    Applied {
        /// How long its statements took, in milliseconds.
        duration_ms: i64,
    },
    /// Somebody said that it was there already.
    Adopted,
}

/// Put a migration on the ledger and into its history.
pub(super) async fn enter(
    session: &mut Session,
    migration: &Migration,
    entry: Entry,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let (kind, duration_ms) = match entry {
        Entry::Applied { duration_ms } => ("applied", duration_ms),
        Entry::Adopted => ("adopted", 0),
    };
    let sum = |script: &Script| {
        let sum = script.checksum();
        sum.map_err(|error| StoreError::Refused(format!("{}:{}: {error}", script.file(), error.at())))
    };
    let down = migration.down.as_ref();
    let (up_checksum, down_checksum) = (sum(&migration.up)?, down.map(sum).transpose()?);
    let wrapped = |script: &Script| script.wrapping() == Wrapping::Transaction;
    let query = sqlx::query(
        "WITH entered AS (INSERT INTO llmhub.migration (applied_at, version, name, up_sql, up_raw_hash, up_checksum, \
         up_wrapped, down_sql, down_raw_hash, down_checksum, down_wrapped, duration_ms, run_id, xid, os_user, host, \
         tool_version, reason) VALUES (clock_timestamp(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
         $16, $17) RETURNING *) \
         INSERT INTO llmhub.migration_event (kind, version, name, up_sql, up_raw_hash, up_checksum, down_sql, down_raw_hash, \
         down_checksum, duration_ms, run_id, xid, os_user, host, tool_version, reason) \
         SELECT $18, version, name, up_sql, up_raw_hash, up_checksum, down_sql, down_raw_hash, down_checksum, duration_ms, \
         run_id, xid, os_user, host, tool_version, reason FROM entered",
    )
    .bind(migration.version.as_str())
    .bind(migration.name.as_str())
    .bind(migration.up.text())
    .bind(migration.up.raw_hash())
    .bind(up_checksum.as_str().to_owned())
    .bind(wrapped(&migration.up))
    .bind(down.map(Script::text))
    .bind(down.map(Script::raw_hash))
    .bind(down_checksum.as_ref().map(Checksum::as_str).map(str::to_owned))
    .bind(down.is_none_or(wrapped))
    .bind(duration_ms)
    .bind(stamp.id.as_str())
    .bind(stamp.transaction.map(Transaction::as_str).unwrap_or_default())
    .bind(stamp.run.operator.user.as_str())
    .bind(stamp.run.operator.host.as_str())
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(stamp.run.reason.as_deref())
    .bind(kind);
    session.run(query).await
}

/// Take a migration off the ledger; its history stays.
pub(super) async fn remove(
    session: &mut Session,
    version: &Version,
    down: &Script,
    duration_ms: i64,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "WITH removed AS (DELETE FROM llmhub.migration WHERE version = $1 RETURNING *) \
         INSERT INTO llmhub.migration_event (kind, version, name, up_sql, up_raw_hash, up_checksum, down_sql, down_raw_hash, \
         duration_ms, run_id, xid, os_user, host, tool_version, reason) \
         SELECT 'reverted', version, name, up_sql, up_raw_hash, up_checksum, $2, $3, $4, $5, $6, $7, $8, $9, $10 \
         FROM removed RETURNING version",
    )
    .bind(version.as_str())
    .bind(down.text())
    .bind(down.raw_hash())
    .bind(duration_ms)
    .bind(stamp.id.as_str())
    .bind(stamp.transaction.map(Transaction::as_str))
    .bind(stamp.run.operator.user.as_str())
    .bind(stamp.run.operator.host.as_str())
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(stamp.run.reason.as_deref());
    match session.row(query).await? {
        Some(row) if row.try_get::<&str, _>(0).is_ok() => Ok(()),
        _ => Err(StoreError::Conflict(format!("{version} was rolled back meanwhile; nothing was written"))),
    }
}

/// Something that happened to a migration, beside its end.
pub(super) enum Happening<'a> {
    /// A part that runs outside of a transaction is about to be run.
    Started { part: usize, checksum: Option<&'a Checksum>, indexes: &'a [String] },
    /// A part stands.
    Done { part: usize, checksum: &'a Checksum },
    /// It ended with this error.
    Failed {
        error: &'a str,
        /// Whether what was under way is known to have ended.
        end: End,
    },
}

/// What is known of a part outside of a transaction when its run gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is under way: the server has answered, or was not asked.
    Known,
    /// It may have ended, or not, or still be at work.
    Unknown,
}

/// Add an event to the history.
pub(super) async fn happened(
    session: &mut Session,
    (version, name, direction): (&Version, &str, Direction),
    happening: Happening<'_>,
    stamp: Stamp<'_>,
) -> Result<(), StoreError> {
    let (kind, part, error, details) = match happening {
        Happening::Started { part, checksum, indexes } => {
            let sum = checksum.map(Checksum::as_str);
            let details = serde_json::json!({"direction": direction.word(), "checksum": sum, "indexes": indexes});
            ("started", Some(part), None, details)
        }
        Happening::Done { part, checksum } => {
            let details = serde_json::json!({"direction": direction.word(), "checksum": checksum.as_str()});
            ("statement_done", Some(part), None, details)
        }
        Happening::Failed { error, end } => {
            let details = serde_json::json!({"direction": direction.word(), "ended": end == End::Known});
            ("failed", None, Some(error), details)
        }
    };
    let query = sqlx::query(
        "INSERT INTO llmhub.migration_event (kind, version, name, statement, error, details, run_id, xid, os_user, host, \
         tool_version, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(kind)
    .bind(version.as_str())
    .bind(name)
    .bind(part.and_then(|part| i32::try_from(part).ok()))
    .bind(error)
    .bind(Json(details))
    .bind(stamp.id.as_str())
    .bind(stamp.transaction.map(Transaction::as_str))
    .bind(stamp.run.operator.user.as_str())
    .bind(stamp.run.operator.host.as_str())
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(stamp.run.reason.as_deref());
    session.run(query).await
}
