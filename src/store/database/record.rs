//! What is written to the ledger: a row per applied migration, and an event for everything that happens.
//!
//! A row commits in the transaction of the migration that it speaks of. Events are only ever added.

use std::time::Duration;

use crate::domain::migrations::{Checksum, Direction, Migration, Script, Version, Wrapping};
use crate::domain::schema::Fingerprint;
use crate::store::StoreError;
use crate::store::postgres::{Session, Transaction};

use super::ledger::{Existence, existence};
use super::literal::{literal, nullable};
use super::run::{Run, RunId};

/// Create the ledger if the database has none, and bring an older one to the current format, in the transaction that is open and
/// under the migration lock.
pub(super) async fn ensure(session: &mut Session) -> Result<(), StoreError> {
    let steps: &[(&str, &str)] =
        &[("ledger.sql", include_str!("ledger.sql")), ("ledger_2.sql", include_str!("ledger_2.sql"))];
    let missing = match existence(session).await? {
        Existence::Absent => steps,
        Existence::Older => steps.get(1..).unwrap_or_default(),
        Existence::Current => return Ok(()),
    };
    for (name, text) in missing {
        let script = Script::new(text);
        let statements =
            script.statements().map_err(|error| StoreError::Invalid(format!("{name}:{}: {error}", error.at())))?;
        for statement in statements {
            let done = session.foreign(statement.text(), None).await;
            done.map_err(|failure| failure.into_store_error(session.place()))?;
        }
    }
    Ok(())
}

/// Who writes, in which run and which transaction.
#[derive(Clone, Copy)]
pub(super) struct Stamp<'a> {
    pub(super) id: &'a RunId,
    pub(super) run: &'a Run<'a>,
    pub(super) transaction: &'a Transaction,
}

impl Stamp<'_> {
    /// The values of [`STAMP`].
    pub(super) fn values(&self) -> String {
        let Self { id, run, transaction } = self;
        [
            literal(id.as_str()),
            literal(transaction.as_str()),
            literal(&run.operator.user),
            literal(&run.operator.host),
            literal(env!("CARGO_PKG_VERSION")),
            nullable(run.reason.as_deref()),
        ]
        .join(", ")
    }
}

/// The columns that say who, in which run.
pub(super) const STAMP: &str = "run_id, xid, os_user, host, tool_version, reason";

/// The columns that the row of an applied migration and its event share.
const SHARED: &str = "version, name, up_sql, up_raw_hash, up_checksum, down_sql, down_raw_hash, down_checksum, \
                      fingerprint_before, fingerprint_after, duration_ms";

/// How a migration came onto the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry<'a> {
    /// It was run.
    Applied {
        /// How long its statements took.
        took: Duration,
        /// The schema before and after, where it was looked at.
        schema: Schemas<'a>,
    },
    /// Somebody said that it was there already.
    Adopted {
        /// What that rests on, as JSON for the history.
        details: Option<&'a str>,
    },
}

/// The schema on both sides of a migration, where it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Schemas<'a> {
    pub(super) before: Option<&'a Fingerprint>,
    pub(super) after: Option<&'a Fingerprint>,
}

/// The SQL that puts migrations on the ledger and into its history, in this order.
pub(super) fn enter(entries: &[(&Migration, Entry<'_>)], stamp: Stamp<'_>) -> Result<String, StoreError> {
    let (kind, details) = match entries.first() {
        Some((_, Entry::Adopted { details })) => ("adopted", *details),
        _ => ("applied", None),
    };
    let rows = entries.iter().map(|(migration, entry)| row(migration, *entry, stamp)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!(
        "WITH entered AS (INSERT INTO llmhub.migration (applied_at, up_wrapped, down_wrapped, {SHARED}, {STAMP}) \
         VALUES {} RETURNING *) \
         INSERT INTO llmhub.migration_event (kind, details, {SHARED}, {STAMP}) \
         SELECT '{kind}', {}::jsonb, {SHARED}, {STAMP} FROM entered ORDER BY position",
        rows.join(", "),
        nullable(details)
    ))
}

/// The values of one row.
fn row(migration: &Migration, entry: Entry<'_>, stamp: Stamp<'_>) -> Result<String, StoreError> {
    let (took, schema) = match entry {
        Entry::Applied { took, schema } => (took, schema),
        Entry::Adopted { .. } => (Duration::ZERO, Schemas::default()),
    };
    let sum = |script: &Script| {
        let sum = script.checksum();
        sum.map_err(|error| StoreError::Refused(format!("{}:{}: {error}", script.file(), error.at())))
    };
    let down = migration.down.as_ref();
    let (up_checksum, down_checksum) = (sum(&migration.up)?, down.map(sum).transpose()?);
    let wrapped = |script: &Script| script.wrapping() == Wrapping::Transaction;
    let shared = [
        literal(migration.version.as_str()),
        literal(&migration.name),
        literal(migration.up.text()),
        literal(migration.up.raw_hash()),
        literal(up_checksum.as_str()),
        nullable(down.map(Script::text)),
        nullable(down.map(Script::raw_hash)),
        nullable(down_checksum.as_ref().map(Checksum::as_str)),
        nullable(json(schema.before)?.as_deref()) + "::jsonb",
        nullable(json(schema.after)?.as_deref()) + "::jsonb",
        took.as_millis().to_string(),
    ]
    .join(", ");
    Ok(format!(
        "(clock_timestamp(), {}, {}, {shared}, {})",
        wrapped(&migration.up),
        down.is_none_or(wrapped),
        stamp.values()
    ))
}

/// The SQL that takes a migration off the ledger; its history stays. Divides by zero where it is not on it.
pub(super) fn remove(
    version: &Version,
    down: &Script,
    took: Duration,
    (schema, proof): (Schemas<'_>, Option<&str>),
    stamp: Stamp<'_>,
) -> Result<String, StoreError> {
    Ok(format!(
        "WITH removed AS (DELETE FROM llmhub.migration WHERE version = {} RETURNING *), \
         noted AS (INSERT INTO llmhub.migration_event (kind, version, name, up_sql, up_raw_hash, up_checksum, down_sql, \
         down_raw_hash, fingerprint_before, fingerprint_after, proof, duration_ms, {STAMP}) \
         SELECT 'reverted', version, name, up_sql, up_raw_hash, up_checksum, {}, {}, {}::jsonb, {}::jsonb, {}::jsonb, {}, {} \
         FROM removed RETURNING 1) SELECT 1 / count(*) FROM noted",
        literal(version.as_str()),
        literal(down.text()),
        literal(down.raw_hash()),
        nullable(json(schema.before)?.as_deref()),
        nullable(json(schema.after)?.as_deref()),
        nullable(proof),
        took.as_millis(),
        stamp.values(),
    ))
}

fn json(fingerprint: Option<&Fingerprint>) -> Result<Option<String>, StoreError> {
    let text = fingerprint.map(serde_json::to_string).transpose();
    text.map_err(|error| StoreError::Invalid(format!("the fingerprint of the schema cannot be written down: {error}")))
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

/// The SQL that adds an event to the history.
pub(super) fn happened(
    (version, name, direction): (&Version, &str, Direction),
    happening: Happening<'_>,
    stamp: Stamp<'_>,
) -> String {
    let direction = direction.word();
    let (kind, part, error, details) = match happening {
        Happening::Started { part, checksum, indexes } => {
            let sum = checksum.map(Checksum::as_str);
            let details = serde_json::json!({"direction": direction, "checksum": sum, "indexes": indexes});
            ("started", Some(part), None, details)
        }
        Happening::Done { part, checksum } => {
            let details = serde_json::json!({"direction": direction, "checksum": checksum.as_str()});
            ("statement_done", Some(part), None, details)
        }
        Happening::Failed { error, end } => {
            let details = serde_json::json!({"direction": direction, "ended": end == End::Known});
            ("failed", None, Some(error), details)
        }
    };
    format!(
        "INSERT INTO llmhub.migration_event (kind, version, name, statement, error, details, {STAMP}) \
         VALUES ('{kind}', {}, {}, {}, {}, {}::jsonb, {})",
        literal(version.as_str()),
        literal(name),
        part.map_or_else(|| "NULL".to_owned(), |part| part.to_string()),
        nullable(error),
        literal(&details.to_string()),
        stamp.values(),
    )
}
