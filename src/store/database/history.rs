//! The append-only history of a database's migrations: everything that was applied, failed, rolled back or adopted.

use serde::Serialize;
use sqlx::Row;

use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

use super::ledger::{Existence, existence};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerEvent {
    /// When, RFC 3339 UTC.
    pub at: String,
    /// What: `started`, `statement_done`, `applied`, `failed`, `reverted`, `adopted`, `repaired`.
    pub kind: String,
    /// The migration, where it is about one.
    pub version: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its part, from 1, where it is about one.
    pub part: Option<i32>,
    /// `user@host` of the operator.
    pub by: String,
    /// The database role.
    pub role: String,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// The run.
    pub run: String,
    /// The version of llmhub.
    pub tool_version: String,
    /// Why, if the operator said.
    pub reason: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// The newest events, newest first, at most `limit`. Nothing is created by looking.
///
/// # Errors
/// As [`super::ledger()`].
pub async fn history(target: &Target, limit: u32) -> Result<Vec<LedgerEvent>, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Quick).await?;
    if existence(&mut session).await? == Existence::Absent {
        session.abandon().await;
        return Ok(Vec::new());
    }
    let query = sqlx::query(
        "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at, kind, version, name, \
         statement + 1 AS part, os_user || '@' || host AS by, database_role AS role, duration_ms, run_id AS run, tool_version, \
         reason, error FROM llmhub.migration_event ORDER BY id DESC LIMIT $1",
    )
    .bind(i64::from(limit));
    let wrong = |_| StoreError::Invalid("the ledger has other columns than its format says".to_owned());
    let mut events = Vec::new();
    for row in session.rows(query).await? {
        events.push(LedgerEvent {
            at: row.try_get("at").map_err(wrong)?,
            kind: row.try_get("kind").map_err(wrong)?,
            version: row.try_get("version").map_err(wrong)?,
            name: row.try_get("name").map_err(wrong)?,
            part: row.try_get("part").map_err(wrong)?,
            by: row.try_get("by").map_err(wrong)?,
            role: row.try_get("role").map_err(wrong)?,
            duration_ms: row.try_get("duration_ms").map_err(wrong)?,
            run: row.try_get("run").map_err(wrong)?,
            tool_version: row.try_get("tool_version").map_err(wrong)?,
            reason: row.try_get("reason").map_err(wrong)?,
            error: row.try_get("error").map_err(wrong)?,
        });
    }
    session.abandon().await;
    Ok(events)
}
