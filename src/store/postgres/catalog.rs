//! Creating flags and deleting them; their history outlives them.

use async_trait::async_trait;
use sqlx::{Postgres, QueryBuilder};

use crate::domain::flags::{Flag, Member, change::changed_members};
use crate::store::{FlagCatalog, Note, StoreError};

use super::flags::{Lock, PostgresFlags, locked, one, push_value, remember, revision};
use super::pace::Pace;
use super::row::storable;
use super::session::Session;
use super::settle::settle;

#[async_trait]
impl FlagCatalog for PostgresFlags {
    /// A name that was used before goes on counting where its history ends, so that a revision somebody still remembers from
    /// the deleted flag cannot fit the new one.
    async fn create(&self, flag: &Flag, note: &Note) -> Result<Flag, StoreError> {
        let mut created = storable(flag, &Member::ALL)?;
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        let number = insert(&mut session, &created, note).await.map_err(|error| match error {
            StoreError::Conflict(_) => StoreError::Conflict(format!(
                "there is a flag `{}` already; nothing was written, see `llmhub flags show {}`",
                flag.key, flag.key
            )),
            other => other,
        })?;
        created.revision = Some(number);
        remember(&mut session, &flag.key, number, None, Some(&created), note).await?;

        let what = format!("the creation of `{}`", flag.key);
        let mut reader = settle(session, &self.target, &transaction, &what).await?;
        let stored = one(&mut reader, &flag.key, Lock::None).await.map_err(|error| {
            StoreError::OutcomeUnknown(format!("{what} was committed but could not be read back: {error}"))
        })?;
        reader.abandon().await;
        match stored {
            Some(stored) if stored.revision == Some(number) && changed_members(&stored, &created).is_empty() => {
                Ok(stored)
            }
            _ => Err(StoreError::OutcomeUnknown(format!(
                "{what} was committed, but somebody changed it at once: look at `llmhub flags history {}`",
                flag.key
            ))),
        }
    }

    async fn delete(&self, seen: &Flag, note: &Note) -> Result<(), StoreError> {
        let key = &seen.key;
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        let current = locked(&mut session, seen).await?;
        let number = current.revision.unwrap_or_default() + 1;
        session.run(sqlx::query("DELETE FROM feature_flags WHERE name = $1").bind(key.as_str())).await?;
        remember(&mut session, key, number, Some(&current), None, note).await?;

        let what = format!("the deletion of `{key}`");
        let mut reader = settle(session, &self.target, &transaction, &what).await?;
        let stored = one(&mut reader, key, Lock::None).await.map_err(|error| {
            StoreError::OutcomeUnknown(format!("{what} was committed but could not be read back: {error}"))
        })?;
        reader.abandon().await;
        match stored {
            // A flag of a later revision is another one that somebody has created since.
            Some(stored) if stored.revision <= Some(number) => {
                Err(StoreError::OutcomeUnknown(format!("{what} was committed, but the flag is still there")))
            }
            _ => Ok(()),
        }
    }
}

async fn insert(session: &mut Session, flag: &Flag, note: &Note) -> Result<i64, StoreError> {
    let mut sql: QueryBuilder<Postgres> = QueryBuilder::new("INSERT INTO feature_flags (name, updated_by, revision");
    for member in Member::ALL {
        sql.push(", ").push(member.name());
    }
    sql.push(") VALUES (").push_bind(flag.key.as_str()).push(", ").push_bind(note.actor.as_str());
    sql.push(", 1 + coalesce((SELECT max(revision) FROM feature_flag_events WHERE flag_name = ");
    sql.push_bind(flag.key.as_str()).push("), 0)");
    for member in Member::ALL {
        sql.push(", ");
        push_value(&mut sql, flag, member);
    }
    sql.push(") RETURNING revision");
    revision(session.row(sql.build()).await?)
}
