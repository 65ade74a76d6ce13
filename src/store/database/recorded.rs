//! The schema as the ledger has it: on both sides of every run that looked, beside the live one. Nothing is written or locked.
//!
//! A state counts only if no run has changed the schema after it without looking: older ones would call our own migrations
//! drift.

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use crate::domain::schema::Fingerprint;
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

use super::fingerprint;
use super::ledger::{self, Existence, existence};

/// What is seen of a database at one moment.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The bare name of the database.
    pub database: String,
    /// Its schema now.
    pub live: Fingerprint,
    /// What is recorded of it.
    pub recorded: Recorded,
}

/// What the ledger knows of the schema.
#[derive(Clone, Debug)]
pub enum Recorded {
    /// There is nothing to compare with, and why.
    Nothing(String),
    /// The newest runs, oldest first and never empty: as far back as something was changed between two of them.
    States(Vec<State>),
}

/// The schema on both sides of one event.
#[derive(Clone, Debug)]
pub struct State {
    /// The event.
    pub moment: Moment,
    /// Before it; the first has none.
    pub before: Option<Fingerprint>,
    /// After it.
    pub after: Fingerprint,
}

/// An event of the ledger after which the schema is known.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Moment {
    /// The migration.
    pub version: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// `applied`, `reverted`, `adopted` or `repaired`.
    pub event: String,
    /// When it ended, RFC 3339 UTC.
    pub at: String,
    /// The run.
    pub run: String,
    /// `user@host` of who ran it.
    pub by: String,
}

/// An event without its fingerprints, which are large.
struct Event {
    id: i64,
    moment: Moment,
    before: bool,
    after: bool,
    moved: bool,
}

/// Look at the live schema and at what the ledger knows of it, in one transaction that only reads.
///
/// # Errors
/// [`StoreError::Conflict`] for a migration that is half done, for a ledger or a fingerprint of a newer llmhub;
/// [`StoreError::Denied`] for a role without rights on the ledger.
pub async fn observe(target: &Target) -> Result<Observed, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Long).await?;
    let name = session.row(sqlx::query("SELECT current_database()::text")).await?;
    let database = name.ok_or_else(|| wrong(sqlx::Error::RowNotFound))?.try_get(0).map_err(wrong)?;
    let recorded = match existence(&mut session).await? {
        Existence::Absent => Recorded::Nothing("it has no ledger: llmhub has never migrated it".to_owned()),
        Existence::Current | Existence::Older => recorded(&mut session).await?,
    };
    let live = fingerprint::read(&mut session).await?;
    session.abandon().await;
    Ok(Observed { database, live, recorded })
}

async fn recorded(session: &mut Session) -> Result<Recorded, StoreError> {
    let ledger = ledger::read(session).await?;
    if let Some(half) = ledger.unfinished.first() {
        let way = match half.direction {
            crate::domain::migrations::Direction::Up => ("applied", "apply"),
            crate::domain::migrations::Direction::Down => ("rolled back", "rollback"),
        };
        return Err(StoreError::Conflict(format!(
            "{}_{} is half {}, so the schema is between two states: finish it first, with `llmhub db {}`",
            half.version, half.name, way.0, way.1
        )));
    }
    let query = sqlx::query(
        "SELECT id, kind, version, name, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at, run_id AS run, \
         os_user || '@' || host AS by, fingerprint_before IS NOT NULL AS before, fingerprint_after IS NOT NULL AS after, \
         coalesce(fingerprint_before <> lag(fingerprint_after) OVER (ORDER BY id), false) AS moved \
         FROM llmhub.migration_event WHERE kind IN ('applied', 'reverted') OR fingerprint_after IS NOT NULL ORDER BY id",
    );
    let events: Vec<Event> = session.rows(query).await?.iter().map(event).collect::<Result<_, _>>()?;
    let Some(last) = events.last() else {
        let why = match ledger.recorded.is_empty() {
            true => "no migration was ever run here",
            false => "its migrations were adopted, and nobody has looked at the schema since",
        };
        return Ok(Recorded::Nothing(why.to_owned()));
    };
    if !last.after {
        return Ok(Recorded::Nothing("the newest run did not record the schema".to_owned()));
    }
    // Back as long as each run has seen what the one before it has left.
    let pairs = events.iter().zip(events.iter().skip(1)).enumerate().rev();
    let linked = pairs.take_while(|(_, (earlier, later))| earlier.after && later.before);
    let first = linked.filter(|(_, (_, later))| later.moved).map(|(number, _)| number).last();
    let first = first.unwrap_or(events.len() - 1); // There is a last one.
    let mut states = Vec::new();
    for event in events.into_iter().skip(first) {
        states.push(state(session, event, states.is_empty()).await?);
    }
    Ok(Recorded::States(states))
}

async fn state(session: &mut Session, event: Event, first: bool) -> Result<State, StoreError> {
    let query = sqlx::query(
        "SELECT CASE WHEN $2 THEN NULL ELSE fingerprint_before END AS before, fingerprint_after AS after \
         FROM llmhub.migration_event WHERE id = $1",
    );
    let row = session.row(query.bind(event.id).bind(first)).await?.ok_or_else(|| wrong(sqlx::Error::RowNotFound))?;
    let read = |column: &str| -> Result<Option<Fingerprint>, StoreError> {
        let json: Option<Json<serde_json::Value>> = row.try_get(column).map_err(wrong)?;
        json.map(|Json(value)| {
            serde_json::from_value(value).map_err(|_| {
                StoreError::Conflict(
                    "the ledger holds a fingerprint in a form that this llmhub does not know: use the newer llmhub"
                        .to_owned(),
                )
            })
        })
        .transpose()
    };
    let after = read("after")?.ok_or_else(|| wrong(sqlx::Error::RowNotFound))?;
    Ok(State { before: read("before")?, after, moment: event.moment })
}

fn event(row: &PgRow) -> Result<Event, StoreError> {
    let get = |column: &str| row.try_get::<String, _>(column).map_err(wrong);
    Ok(Event {
        id: row.try_get("id").map_err(wrong)?,
        before: row.try_get("before").map_err(wrong)?,
        after: row.try_get("after").map_err(wrong)?,
        moved: row.try_get("moved").map_err(wrong)?,
        moment: Moment {
            version: row.try_get("version").map_err(wrong)?,
            name: row.try_get("name").map_err(wrong)?,
            event: get("kind")?,
            at: get("at")?,
            run: get("run")?,
            by: get("by")?,
        },
    })
}

fn wrong(_: sqlx::Error) -> StoreError {
    StoreError::Invalid("the ledger has other columns than its format says".to_owned())
}
