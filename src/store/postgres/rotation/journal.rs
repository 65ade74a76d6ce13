//! The journal of rotations in the schema `llmhub`: which one is open, how far it is, and which columns were confirmed.
//!
//! A step is a row with its intent and its end. Keys are named by fingerprint only.

use sqlx::Row;

use super::Rotations;
use super::discover::wrong;
use crate::domain::keys::rotation::Phase;
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, settle};

/// The journal's own format; a higher number belongs to a newer llmhub.
const FORMAT: i32 = 1;

/// The tables, made by the transaction that applies a rotation. The backup holds tokens only, and goes when one is finished.
pub(super) const SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS llmhub; REVOKE ALL ON SCHEMA llmhub FROM PUBLIC; \
     CREATE TABLE IF NOT EXISTS llmhub.rotation (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
     format integer NOT NULL, state text NOT NULL CHECK (state IN ('applied', 'aborting', 'finished', 'aborted')), \
     old_key text, new_key text NOT NULL, env_before text CHECK (env_before IN ('absent', 'old')), \
     actor text NOT NULL, reason text, started_at timestamptz NOT NULL DEFAULT clock_timestamp(), ended_at timestamptz); \
     CREATE UNIQUE INDEX IF NOT EXISTS rotation_one_open ON llmhub.rotation ((true)) WHERE ended_at IS NULL; \
     CREATE TABLE IF NOT EXISTS llmhub.rotation_step (rotation bigint NOT NULL REFERENCES llmhub.rotation, \
     step text NOT NULL, intent_at timestamptz NOT NULL DEFAULT clock_timestamp(), done_at timestamptz, \
     actor text NOT NULL, PRIMARY KEY (rotation, step)); \
     CREATE TABLE IF NOT EXISTS llmhub.rotation_column (name text PRIMARY KEY, \
     confirmed_at timestamptz NOT NULL DEFAULT clock_timestamp(), confirmed_by text NOT NULL); \
     CREATE TABLE IF NOT EXISTS llmhub.rotation_backup (rotation bigint NOT NULL REFERENCES llmhub.rotation, \
     name text NOT NULL, old_token text NOT NULL, new_token text NOT NULL)";

/// What the journal says.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// The rotation that is under way.
    pub open: Option<Open>,
    /// The columns that an operator has confirmed.
    pub confirmed: Vec<String>,
}

/// A rotation that is under way.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its number.
    pub id: i64,
    /// How far it is.
    pub phase: Phase,
    /// Its keys.
    pub keys: Fingerprints,
    /// What the env file held before, if one was edited: `absent` or `old`.
    pub env_before: Option<String>,
    /// Who began it.
    pub actor: String,
}

/// The keys of a rotation, by fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// The key of the hub before; none if it had the new one already.
    pub old: Option<String>,
    /// The key after.
    pub new: String,
}

/// Read it, in the transaction that is open.
pub(super) async fn read(session: &mut Session) -> Result<Journal, StoreError> {
    // From the catalog, which every role may read.
    let query = sqlx::query(
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'llmhub' AND c.relname = 'rotation'",
    );
    if session.row(query).await?.is_none() {
        return Ok(Journal::default());
    }
    let query = sqlx::query(
        "SELECT id, format, state, old_key, new_key, env_before, actor, EXISTS (SELECT FROM llmhub.rotation_step s \
         WHERE s.rotation = r.id AND s.step = 'swap' AND s.done_at IS NOT NULL) AS swapped \
         FROM llmhub.rotation r WHERE ended_at IS NULL",
    );
    let open = match session.row(query).await? {
        None => None,
        Some(row) => {
            let format: i32 = row.try_get("format").map_err(wrong)?;
            if format > FORMAT {
                return Err(StoreError::Conflict(format!(
                    "the open rotation at {} has format {format} and this llmhub knows {FORMAT}: use the newer llmhub",
                    session.place()
                )));
            }
            let state: String = row.try_get("state").map_err(wrong)?;
            let phase = match (state.as_str(), row.try_get("swapped").map_err(wrong)?) {
                ("aborting", _) => Phase::Aborting,
                (_, true) => Phase::Swapped,
                (_, false) => Phase::Applied,
            };
            let (old, new) = (row.try_get("old_key").map_err(wrong)?, row.try_get("new_key").map_err(wrong)?);
            Some(Open {
                id: row.try_get("id").map_err(wrong)?,
                phase,
                keys: Fingerprints { old, new },
                env_before: row.try_get("env_before").map_err(wrong)?,
                actor: row.try_get("actor").map_err(wrong)?,
            })
        }
    };
    let rows = session.rows(sqlx::query("SELECT name FROM llmhub.rotation_column ORDER BY name")).await?;
    let confirmed = rows.iter().map(|row| row.try_get("name").map_err(wrong)).collect::<Result<_, _>>()?;
    Ok(Journal { open, confirmed })
}

/// Note a step of a rotation, in the transaction that is open.
pub(super) async fn step(
    session: &mut Session,
    rotation: i64,
    name: &str,
    end: StepEnd,
    actor: &str,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "INSERT INTO llmhub.rotation_step AS s (rotation, step, done_at, actor) \
         VALUES ($1, $2, CASE WHEN $3 THEN clock_timestamp() END, $4) \
         ON CONFLICT (rotation, step) DO UPDATE SET done_at = coalesce(s.done_at, excluded.done_at)",
    );
    session.run(query.bind(rotation).bind(name).bind(end == StepEnd::Done).bind(actor)).await
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepEnd {
    Intended,
    Done,
}

impl Rotations {
    /// Write down that the hub's environment is about to be changed, and what it held: `absent` or `old`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing else was done.
    pub async fn intend_swap(&self, rotation: i64, env_before: Option<&str>) -> Result<(), StoreError> {
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        // The first word counts: a run that goes on finds the new key there already.
        let query = sqlx::query("UPDATE llmhub.rotation SET env_before = coalesce(env_before, $2) WHERE id = $1");
        session.run(query.bind(rotation).bind(env_before)).await?;
        step(&mut session, rotation, "swap", StepEnd::Intended, &self.actor).await?;
        settle(session, &self.target, &transaction, "the intent to swap the key").await?.abandon().await;
        Ok(())
    }

    /// Write down that the hub's environment has the new key, or that its operator was told.
    ///
    /// # Errors
    /// [`StoreError`]; run again, the step is repeated.
    pub async fn swapped(&self, rotation: i64) -> Result<(), StoreError> {
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        step(&mut session, rotation, "swap", StepEnd::Done, &self.actor).await?;
        settle(session, &self.target, &transaction, "the swap of the key").await?.abandon().await;
        Ok(())
    }

    /// Close the rotation: the old tokens are forgotten.
    ///
    /// # Errors
    /// [`StoreError`]; run again, the step is repeated.
    pub async fn close(&self, rotation: i64, wish: crate::domain::keys::rotation::Wish) -> Result<(), StoreError> {
        use crate::domain::keys::rotation::Wish;
        let (state, name) = match wish {
            Wish::Forward => ("finished", "finish"),
            Wish::Back => ("aborted", "abort"),
        };
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        let query = sqlx::query(
            "UPDATE llmhub.rotation SET state = $2, ended_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL",
        );
        session.run(query.bind(rotation).bind(state)).await?;
        step(&mut session, rotation, name, StepEnd::Done, &self.actor).await?;
        session.send("DROP TABLE IF EXISTS llmhub.rotation_backup").await?;
        settle(session, &self.target, &transaction, "the end of the rotation").await?.abandon().await;
        Ok(())
    }
}
