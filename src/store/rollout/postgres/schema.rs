//! The tables of rollouts: made by the first write, never by a look.

use sqlx::Row;

use crate::domain::migrations::Script;
use crate::store::StoreError;
use crate::store::postgres::Session;

/// The state's own format; a higher number belongs to a newer llmhub.
const FORMAT: i32 = 1;

/// Keeps two first writers from creating the tables at once; ends with the transaction, so a pooler does no harm.
const CREATING: i64 = 0x6c6c_6d68_7562_726f;

/// Whether there is any state, of a format that is known.
pub(super) async fn exists(session: &mut Session) -> Result<bool, StoreError> {
    // From the catalog, which every role may read: `to_regclass` fails for a role that may not look into the schema.
    let query = sqlx::query(
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'llmhub' AND c.relname = 'rollout_format'",
    );
    if session.row(query).await?.is_none() {
        return Ok(false);
    }
    let row = session.row(sqlx::query("SELECT format FROM llmhub.rollout_format")).await?;
    match row.and_then(|row| row.try_get(0).ok()) {
        Some(FORMAT) => Ok(true),
        Some(newer) if newer > FORMAT => Err(StoreError::Conflict(format!(
            "the rollouts at {} have format {newer} and this llmhub knows {FORMAT}: use the newer llmhub",
            session.place()
        ))),
        _ => Err(StoreError::Invalid(format!("the rollouts at {} do not say which format they have", session.place()))),
    }
}

/// Create the tables where they are missing, in the transaction that is open.
pub(super) async fn ensure(session: &mut Session) -> Result<(), StoreError> {
    if exists(session).await? {
        return Ok(());
    }
    session.run(sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CREATING)).await?;
    // Somebody may have been quicker while we waited.
    if exists(session).await? {
        return Ok(());
    }
    let script = Script::new(include_str!("schema.sql"));
    let statements =
        script.statements().map_err(|error| StoreError::Invalid(format!("schema.sql:{}: {error}", error.at())))?;
    for statement in statements {
        let done = session.foreign(statement.text(), None).await;
        done.map_err(|failure| failure.into_store_error(session.place()))?;
    }
    Ok(())
}

/// A table that is not as its format says.
pub(super) fn wrong(_: sqlx::Error) -> StoreError {
    StoreError::Invalid("the rollouts' tables have other columns than their format says".to_owned())
}
