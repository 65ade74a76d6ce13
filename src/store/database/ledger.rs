//! What was applied to a database, when, by whom and with which text: the schema `llmhub`, read and appended to.
//!
//! Reading never creates: a database without a ledger has had nothing applied. Writing happens in the transaction of the
//! migration itself.

use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::migrations::{Checksum, Migration, Script};
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target, Transaction};

use super::run::{Operator, RunId};

/// The ledger's own format; a higher number belongs to a newer llmhub.
const FORMAT: i32 = 1;

/// A migration that is applied now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    /// As in its file name.
    pub version: String,
    /// As in its file name.
    pub name: String,
    /// When, RFC 3339 UTC.
    pub applied_at: String,
    /// `user@host` of the operator.
    pub applied_by: String,
    /// The checksum of the up that was run.
    #[serde(skip)]
    pub up_checksum: String,
    /// The run that applied it.
    #[serde(skip)]
    pub run_id: String,
    /// Whether its down has been proven to restore the schema.
    pub proven: bool,
}

/// The migrations applied to `target`, in the order in which they were; nothing is created by looking.
///
/// # Errors
/// [`StoreError::Conflict`] when a newer llmhub keeps this ledger; [`StoreError::Denied`] for a role without rights on it.
pub async fn applied(target: &Target) -> Result<Vec<LedgerEntry>, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Quick).await?;
    let entries = read(&mut session).await?;
    session.abandon().await;
    Ok(entries)
}

/// Whether a database has a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existence {
    Absent,
    Present,
}

/// The entries, in the transaction that is open.
pub(super) async fn read(session: &mut Session) -> Result<Vec<LedgerEntry>, StoreError> {
    if existence(session).await? == Existence::Absent {
        return Ok(Vec::new());
    }
    let query = sqlx::query(
        "SELECT version, name, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS applied_at, \
         os_user || '@' || host AS applied_by, up_checksum, run_id, proof IS NOT NULL AS proven \
         FROM llmhub.migration ORDER BY position",
    );
    session.rows(query).await?.iter().map(entry).collect()
}

async fn existence(session: &mut Session) -> Result<Existence, StoreError> {
    // From the catalog, which every role may read: `to_regclass` fails for a role that may not look into the schema.
    let query = sqlx::query(
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'llmhub' AND c.relname = 'ledger_format'",
    );
    if session.row(query).await?.is_none() {
        return Ok(Existence::Absent);
    }
    let row = session.row(sqlx::query("SELECT format FROM llmhub.ledger_format")).await?;
    let format: Option<i32> = row.and_then(|row| row.try_get(0).ok());
    match format {
        Some(FORMAT) => Ok(Existence::Present),
        Some(newer) if newer > FORMAT => Err(StoreError::Conflict(format!(
            "the ledger of {} has format {newer} and this llmhub knows {FORMAT}: use the newer llmhub",
            session.place()
        ))),
        _ => Err(StoreError::Invalid(format!("the ledger of {} does not say which format it has", session.place()))),
    }
}

fn entry(row: &PgRow) -> Result<LedgerEntry, StoreError> {
    let wrong = |_| StoreError::Invalid("the ledger has other columns than its format says".to_owned());
    Ok(LedgerEntry {
        version: row.try_get("version").map_err(wrong)?,
        name: row.try_get("name").map_err(wrong)?,
        applied_at: row.try_get("applied_at").map_err(wrong)?,
        applied_by: row.try_get("applied_by").map_err(wrong)?,
        up_checksum: row.try_get("up_checksum").map_err(wrong)?,
        run_id: row.try_get("run_id").map_err(wrong)?,
        proven: row.try_get("proven").map_err(wrong)?,
    })
}

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

/// What one migration's run left to record.
pub(super) struct Record<'a> {
    pub(super) migration: &'a Migration,
    pub(super) up_checksum: &'a Checksum,
    pub(super) down_checksum: Option<&'a Checksum>,
    pub(super) duration_ms: i64,
    pub(super) run_id: &'a RunId,
    pub(super) transaction: &'a Transaction,
    pub(super) operator: &'a Operator,
}

/// Put a migration on the ledger and into its history, in the transaction that ran it.
pub(super) async fn record(session: &mut Session, record: &Record<'_>) -> Result<(), StoreError> {
    const MIGRATION: &str = "INSERT INTO llmhub.migration (applied_at, version, name, up_sql, up_raw_hash, up_checksum, \
                             down_sql, down_raw_hash, down_checksum, duration_ms, run_id, xid, os_user, host, tool_version) \
                             VALUES (clock_timestamp(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    const EVENT: &str = "INSERT INTO llmhub.migration_event (kind, version, name, up_sql, up_raw_hash, up_checksum, \
                         down_sql, down_raw_hash, down_checksum, duration_ms, run_id, xid, os_user, host, tool_version) \
                         VALUES ('applied', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let migration = record.migration;
    for sql in [MIGRATION, EVENT] {
        let down = migration.down.as_ref();
        let query = sqlx::query(sql)
            .bind(migration.version.as_str())
            .bind(migration.name.as_str())
            .bind(migration.up.text())
            .bind(migration.up.raw_hash())
            .bind(record.up_checksum.as_str())
            .bind(down.map(Script::text))
            .bind(down.map(Script::raw_hash))
            .bind(record.down_checksum.map(Checksum::as_str))
            .bind(record.duration_ms)
            .bind(record.run_id.as_str())
            .bind(record.transaction.as_str())
            .bind(record.operator.user.as_str())
            .bind(record.operator.host.as_str())
            .bind(env!("CARGO_PKG_VERSION"));
        session.run(query).await?;
    }
    Ok(())
}
