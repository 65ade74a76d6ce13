//! The append-only history of a flag, newest edit first.

use async_trait::async_trait;
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use crate::domain::flags::FlagKey;
use crate::store::{FlagEvent, FlagHistory, Source, StoreError, pick};

use super::flags::{Lock, PostgresFlags, all, one};
use super::pace::Pace;
use super::row::from_event;

#[async_trait]
impl FlagHistory for PostgresFlags {
    async fn history(&self, key: &FlagKey, limit: u32) -> Result<Vec<FlagEvent>, StoreError> {
        let mut session = self.reader(Pace::Quick).await?;
        let query = sqlx::query(
            "SELECT revision, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS at, actor, reason, \
             operation, before, after FROM feature_flag_events WHERE flag_name = $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(key.as_str())
        .bind(i64::from(limit));
        let rows = session.rows(query).await?;
        if rows.is_empty() && one(&mut session, key, Lock::None).await?.is_none() {
            let known = all(&mut session).await?;
            session.abandon().await;
            return pick(Source::Db, known, key).map(|_| Vec::new());
        }
        session.abandon().await;
        rows.iter().map(|row| event(key, row)).collect()
    }
}

fn event(key: &FlagKey, row: &PgRow) -> Result<FlagEvent, StoreError> {
    let wrong =
        |_| StoreError::Invalid("feature_flag_events has other columns than llmhub's schema gives it".to_owned());
    let state = |column: &str| {
        let state: Option<Json<Value>> = row.try_get(column).map_err(wrong)?;
        Ok::<_, StoreError>(state.map(|Json(state)| from_event(key, &state)))
    };
    Ok(FlagEvent {
        revision: row.try_get("revision").map_err(wrong)?,
        at: row.try_get("at").map_err(wrong)?,
        actor: row.try_get("actor").map_err(wrong)?,
        reason: row.try_get("reason").map_err(wrong)?,
        operation: row.try_get("operation").map_err(wrong)?,
        before: state("before")?,
        after: state("after")?,
    })
}
