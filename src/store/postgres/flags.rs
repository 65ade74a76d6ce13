//! Reading flags and editing them, each edit guarded by the revision it was decided on.
//!
//! An edit is one transaction: lock the row, compare the revision, write only what the edit names, remember before and after.
//! It is reported after another connection has read the same values back.

use async_trait::async_trait;
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Row};

use crate::domain::flags::{Flag, FlagKey, Member, change::changed_members};
use crate::store::{Depth, Edit, FlagStore, Note, Saved, Source, StoreError, Survey, Variant, pick};

use super::failure::Place;
use super::pace::Pace;
use super::row::{columns, from_event, read, storable, to_event};
use super::session::Session;
use super::settle::settle;
use super::target::Target;

/// The flags of one database.
#[derive(Clone, Debug)]
pub struct PostgresFlags {
    pub(super) target: Target,
}

impl PostgresFlags {
    /// The flags at `target`; nothing is opened yet.
    pub fn new(target: Target) -> Self {
        Self { target }
    }

    /// A connection in a transaction that only reads.
    pub(super) async fn reader(&self, pace: Pace) -> Result<Session, StoreError> {
        let mut session = Session::open(&self.target).await?;
        session.begin_read(pace).await?;
        Ok(session)
    }
}

#[async_trait]
impl FlagStore for PostgresFlags {
    fn source(&self) -> Source {
        Source::Db
    }

    fn scope(&self) -> Option<String> {
        None
    }

    async fn list(&self) -> Result<Vec<Flag>, StoreError> {
        let mut session = self.reader(Pace::Quick).await?;
        let flags = all(&mut session).await?;
        session.abandon().await;
        Ok(flags)
    }

    async fn survey(&self, _depth: Depth) -> Result<Survey, StoreError> {
        let flags = self.list().await?;
        let addresses = vec![Place::of(&self.target).to_string()];
        let variants = vec![Variant { flags, reads: 1, addresses }];
        Ok(Survey { variants, unreachable: Vec::new(), live: None, notes: Vec::new() })
    }

    async fn save(&self, edit: &Edit, note: &Note) -> Result<Saved, StoreError> {
        let key = &edit.seen.key;
        let wanted = storable(&edit.wanted, &edit.members)?;
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        let current = locked(&mut session, &edit.seen).await?;

        let members: Vec<Member> =
            edit.members.iter().copied().filter(|member| !member.same(&current, &wanted)).collect();
        if members.is_empty() {
            session.abandon().await;
            return Ok(Saved { after: current, changed: false, live: None, persisted: true, notes: Vec::new() });
        }
        let mut after = current.clone();
        for member in &members {
            member.copy(&wanted, &mut after);
        }
        let revision = update(&mut session, &after, &members, note).await?;
        after.revision = Some(revision);
        remember(&mut session, key, revision, Some(&current), Some(&after), note).await?;

        let mut reader = settle(session, &self.target, &transaction, &format!("the edit of `{key}`")).await?;
        let stored = one(&mut reader, key, Lock::None).await.map_err(unread(key))?;
        let (after, notes) = match stored {
            Some(stored) if stored.revision == Some(revision) && changed_members(&stored, &after).is_empty() => {
                (stored, Vec::new())
            }
            stored => (after.clone(), vec![overtaken(&mut reader, &after, revision, stored).await?]),
        };
        reader.abandon().await;
        Ok(Saved { after, changed: true, live: None, persisted: true, notes })
    }
}

/// A read that fails after the server confirmed the commit: the edit stands, but what stands was not seen.
fn unread(key: &FlagKey) -> impl Fn(StoreError) -> StoreError {
    move |error| {
        StoreError::OutcomeUnknown(format!("the edit of `{key}` was committed but could not be read back: {error}"))
    }
}

/// The row is not what was written: fine if somebody edited it since, which the history tells.
async fn overtaken(
    reader: &mut Session,
    after: &Flag,
    revision: i64,
    stored: Option<Flag>,
) -> Result<String, StoreError> {
    let key = &after.key;
    let query = sqlx::query("SELECT after FROM feature_flag_events WHERE flag_name = $1 AND revision = $2")
        .bind(key.as_str())
        .bind(revision);
    let event = reader.row(query).await.map_err(unread(key))?;
    let event: Option<Json<Value>> = event.and_then(|row| row.try_get(0).ok()).flatten();
    let recorded = event.is_some_and(|Json(event)| from_event(key, &event) == *after);
    let newer = stored.as_ref().is_none_or(|stored| stored.revision > Some(revision));
    if !recorded || !newer {
        return Err(StoreError::OutcomeUnknown(format!(
            "`{key}` was committed as revision {revision}, but reads back differently: look at `llmhub flags history {key}`"
        )));
    }
    Ok(match stored.and_then(|stored| stored.revision) {
        Some(newest) => format!("`{key}` has been edited again since: it is at revision {newest} now"),
        None => format!("`{key}` has been deleted since"),
    })
}

/// Whether a row is read to be looked at or to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    None,
    ForUpdate,
}

/// All flags, by name in byte order.
pub(super) async fn all(session: &mut Session) -> Result<Vec<Flag>, StoreError> {
    const ALL: &str = concat!("SELECT ", columns!(), " FROM feature_flags ORDER BY name COLLATE \"C\"");
    session.rows(sqlx::query(ALL)).await?.iter().map(read).collect()
}

/// One flag, if there is one of that name.
pub(super) async fn one(session: &mut Session, key: &FlagKey, lock: Lock) -> Result<Option<Flag>, StoreError> {
    const ONE: &str = concat!("SELECT ", columns!(), " FROM feature_flags WHERE name = $1");
    const ONE_LOCKED: &str = concat!("SELECT ", columns!(), " FROM feature_flags WHERE name = $1 FOR UPDATE");
    let sql = match lock {
        Lock::None => ONE,
        Lock::ForUpdate => ONE_LOCKED,
    };
    session.row(sqlx::query(sql).bind(key.as_str())).await?.as_ref().map(read).transpose()
}

/// Lock the flag that was seen and give it back, if nobody changed it since.
pub(super) async fn locked(session: &mut Session, seen: &Flag) -> Result<Flag, StoreError> {
    let key = &seen.key;
    let Some(current) = one(session, key, Lock::ForUpdate).await? else {
        if seen.revision.is_some() {
            return Err(StoreError::Conflict(format!("`{key}` was deleted since it was read; nothing was written")));
        }
        let known = all(session).await?;
        return pick(Source::Db, known, key);
    };
    if seen.revision == current.revision {
        return Ok(current);
    }
    let who = session
        .row(sqlx::query("SELECT updated_by FROM feature_flags WHERE name = $1").bind(key.as_str()))
        .await?
        .and_then(|row| row.try_get::<String, _>(0).ok())
        .unwrap_or_default();
    let number = |flag: &Flag| flag.revision.map_or("unknown".to_owned(), |revision| revision.to_string());
    Err(StoreError::Conflict(format!(
        "`{key}` was changed by {who} since it was read: revision {} then, {} now; nothing was written, look and run it again",
        number(seen),
        number(&current)
    )))
}

/// Write `members` of `after` to the locked row and return the new revision.
async fn update(session: &mut Session, after: &Flag, members: &[Member], note: &Note) -> Result<i64, StoreError> {
    let mut sql: QueryBuilder<Postgres> = QueryBuilder::new("UPDATE feature_flags SET updated_at = clock_timestamp()");
    sql.push(", revision = revision + 1, updated_by = ").push_bind(note.actor.as_str());
    for member in members {
        sql.push(", ").push(member.name()).push(" = ");
        push_value(&mut sql, after, *member);
    }
    sql.push(" WHERE name = ").push_bind(after.key.as_str()).push(" RETURNING revision");
    revision(session.row(sql.build()).await?)
}

/// Bind a member's value in the type of its column.
pub(super) fn push_value(sql: &mut QueryBuilder<Postgres>, flag: &Flag, member: Member) {
    let moment = |sql: &mut QueryBuilder<Postgres>, text: &Option<String>| {
        sql.push("(").push_bind(text.clone()).push("::timestamp AT TIME ZONE 'UTC')");
    };
    match member {
        Member::Enabled => drop(sql.push_bind(flag.enabled)),
        Member::Percentage => drop(sql.push_bind(flag.percentage.as_i64()).push("::integer")),
        Member::Whitelist => drop(sql.push_bind(flag.whitelist.clone())),
        Member::Blacklist => drop(sql.push_bind(flag.blacklist.clone())),
        Member::Start => moment(sql, &flag.start),
        Member::End => moment(sql, &flag.end),
        Member::Description => drop(sql.push_bind(flag.description.clone())),
        Member::Tags => drop(sql.push_bind(flag.tags.clone())),
        Member::Owner => drop(sql.push_bind(flag.owner.clone())),
    }
}

/// The number that a `RETURNING revision` gave.
pub(super) fn revision(row: Option<sqlx::postgres::PgRow>) -> Result<i64, StoreError> {
    row.and_then(|row| row.try_get(0).ok())
        .ok_or_else(|| StoreError::Invalid("the database did not say which revision it wrote".to_owned()))
}

/// Append what happened to the history, in the transaction that makes it happen.
pub(super) async fn remember(
    session: &mut Session,
    key: &FlagKey,
    revision: i64,
    before: Option<&Flag>,
    after: Option<&Flag>,
    note: &Note,
) -> Result<(), StoreError> {
    let state = |flag: &Flag| Json(to_event(flag, flag.revision.unwrap_or(revision)));
    let query = sqlx::query(
        "INSERT INTO feature_flag_events (flag_name, revision, operation, before, after, actor, reason, source) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(key.as_str())
    .bind(revision)
    .bind(note.operation)
    .bind(before.map(state))
    .bind(after.map(state))
    .bind(note.actor.as_str())
    .bind(note.reason.as_deref())
    .bind(Source::Db.word());
    session.run(query).await
}
