//! What `doctor` asks a database: version, role, schema, rights and clock. Only reads, and creates nothing.

use std::time::SystemTime;

use sqlx::Row;

use super::flags::PostgresFlags;
use super::pace::Pace;
use crate::store::StoreError;

/// A database, as a read-only look found it.
#[derive(Debug)]
pub struct DatabaseFacts {
    /// As the server calls it, such as `15.18`.
    pub server_version: String,
    /// The role that llmhub acts as.
    pub role: String,
    /// The database's name.
    pub database: String,
    /// The newest applied migration; `None` when llmhub's tables are missing.
    pub schema: Option<String>,
    /// Whether the role may change flags and write their history.
    pub may_write: bool,
    /// Whether the server only replays another one.
    pub standby: bool,
    /// How far the server's clock is ahead (positive) or behind, in seconds.
    pub clock_seconds: i64,
}

const FACTS: &str = "SELECT current_setting('server_version') AS version, current_user::text AS role, \
    current_database()::text AS database, pg_is_in_recovery() AS standby, \
    extract(epoch FROM clock_timestamp())::bigint AS clock, \
    to_regclass('public.feature_flags') IS NOT NULL AS there, \
    coalesce(has_table_privilege(to_regclass('public.feature_flags'), 'SELECT, INSERT, UPDATE, DELETE') \
        AND has_table_privilege(to_regclass('public.feature_flag_events'), 'INSERT'), false) AS writes";

impl PostgresFlags {
    /// Look at the database.
    ///
    /// # Errors
    /// As [`crate::store::FlagStore::list`], but a missing schema is a fact, not an error.
    pub async fn examine(&self, now: SystemTime) -> Result<DatabaseFacts, StoreError> {
        let mut session = self.reader(Pace::Quick).await?;
        let row = session.row(sqlx::query(FACTS)).await?;
        session.abandon().await;
        let ledger = crate::store::database::ledger(&self.target).await?;
        let wrong =
            |_| StoreError::Invalid("the server described itself in other types than PostgreSQL has".to_owned());
        let row = row.ok_or_else(|| StoreError::Invalid("the server did not describe itself".to_owned()))?;
        let ours = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let theirs: i64 = row.try_get("clock").map_err(wrong)?;
        let there: bool = row.try_get("there").map_err(wrong)?;
        Ok(DatabaseFacts {
            server_version: row.try_get("version").map_err(wrong)?,
            role: row.try_get("role").map_err(wrong)?,
            database: row.try_get("database").map_err(wrong)?,
            schema: ledger.current().map(ToString::to_string).filter(|_| there),
            may_write: row.try_get("writes").map_err(wrong)?,
            standby: row.try_get("standby").map_err(wrong)?,
            clock_seconds: theirs - i64::try_from(ours).unwrap_or(i64::MAX),
        })
    }
}
