//! What was applied to a database, when, by whom and with which text: the schema `llmhub`, read.
//!
//! Reading never creates: a database without a ledger has had nothing applied. [`super::record`] writes.

use sqlx::AssertSqlSafe;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use crate::domain::migrations::{Direction, Problem, Recorded, Script, Version};
use crate::domain::schema::Fingerprint;
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

/// The ledger's own format; a higher number belongs to a newer llmhub.
const FORMAT: i32 = 2;

/// The ledger at one moment.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Whether there is one, and of which age.
    pub(super) existence: Existence,
    /// What is applied, in the order in which it was.
    pub recorded: Vec<Recorded>,
    /// What was begun, in parts, and never ended.
    pub unfinished: Vec<Unfinished>,
}

/// A migration of several parts whose run died or failed between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// As in its file name.
    pub version: Version,
    /// As in its file name.
    pub name: String,
    /// Which way it was going.
    pub direction: Direction,
    /// The checksums of the parts that were run, from the first.
    pub done: Vec<String>,
    /// The part that was about to be run outside of a transaction, with the indexes that were there before it.
    pub intent: Option<Intent>,
}

/// A part that was begun, and whose end nobody wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its number, from 0.
    pub part: usize,
    /// Its checksum; an earlier llmhub did not write it down.
    pub checksum: Option<String>,
    /// The indexes of the table before it, where it builds one.
    pub indexes: Vec<String>,
}

impl Ledger {
    /// The newest applied version.
    pub fn current(&self) -> Option<&Version> {
        self.recorded.last().map(|entry| &entry.version)
    }

    /// What was begun of a migration.
    pub fn unfinished(&self, version: &Version) -> Option<&Unfinished> {
        self.unfinished.iter().find(|one| one.version == *version)
    }

    /// What is half done, as problems.
    pub fn problems(&self) -> Vec<Problem> {
        let half_done = |one: &Unfinished| Problem::HalfDone {
            version: one.version.clone(),
            name: one.name.clone(),
            done: one.done.len(),
            direction: one.direction,
        };
        self.unfinished.iter().map(half_done).collect()
    }
}

/// The ledger of `target`; nothing is created by looking.
///
/// # Errors
/// [`StoreError::Conflict`] when a newer llmhub keeps this ledger; [`StoreError::Denied`] for a role without rights on it.
pub async fn ledger(target: &Target) -> Result<Ledger, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Quick).await?;
    let ledger = read(&mut session).await?;
    session.abandon().await;
    Ok(ledger)
}

/// Whether a database has a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Existence {
    #[default]
    Absent,
    /// Of an older format, in which no proofs are kept.
    Older,
    Current,
}

/// The ledger, in the transaction that is open.
pub(super) async fn read(session: &mut Session) -> Result<Ledger, StoreError> {
    let existence = existence(session).await?;
    let proven = match existence {
        Existence::Absent => return Ok(Ledger::default()),
        Existence::Older => "false",
        Existence::Current => {
            "EXISTS (SELECT FROM llmhub.migration_proof p WHERE p.version = m.version \
             AND p.up_checksum = m.up_checksum AND p.down_checksum = m.down_checksum)"
        }
    };
    let sql = format!(
        "SELECT version, name, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS applied_at, \
         os_user || '@' || host AS applied_by, up_checksum, down_checksum, up_raw_hash, run_id, \
         {proven} AS proven FROM llmhub.migration m ORDER BY position",
    );
    let recorded = session.rows(sqlx::query(AssertSqlSafe(sql))).await?.iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Ledger { existence, recorded, unfinished: unfinished(session).await? })
}

pub(super) async fn existence(session: &mut Session) -> Result<Existence, StoreError> {
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
        Some(FORMAT) => Ok(Existence::Current),
        Some(1) => Ok(Existence::Older),
        Some(newer) if newer > FORMAT => Err(StoreError::Conflict(format!(
            "the ledger of {} has format {newer} and this llmhub knows {FORMAT}: use the newer llmhub",
            session.place()
        ))),
        _ => Err(StoreError::Invalid(format!("the ledger of {} does not say which format it has", session.place()))),
    }
}

fn wrong(_: sqlx::Error) -> StoreError {
    StoreError::Invalid("the ledger has other columns than its format says".to_owned())
}

fn version(row: &PgRow) -> Result<Version, StoreError> {
    let text: String = row.try_get("version").map_err(wrong)?;
    text.parse().map_err(|_| StoreError::Invalid(format!("the ledger holds the version `{text}`, which is none")))
}

fn entry(row: &PgRow) -> Result<Recorded, StoreError> {
    Ok(Recorded {
        version: version(row)?,
        name: row.try_get("name").map_err(wrong)?,
        applied_at: row.try_get("applied_at").map_err(wrong)?,
        applied_by: row.try_get("applied_by").map_err(wrong)?,
        up_checksum: row.try_get("up_checksum").map_err(wrong)?,
        down_checksum: row.try_get("down_checksum").map_err(wrong)?,
        up_raw_hash: row.try_get("up_raw_hash").map_err(wrong)?,
        run_id: row.try_get("run_id").map_err(wrong)?,
        proven: row.try_get("proven").map_err(wrong)?,
    })
}

/// Parts that were begun and belong to no migration that ended since.
async fn unfinished(session: &mut Session) -> Result<Vec<Unfinished>, StoreError> {
    let query = sqlx::query(
        "SELECT kind, version, name, statement, details->>'direction' AS direction, details->>'checksum' AS checksum, \
         ARRAY(SELECT jsonb_array_elements_text(details->'indexes')) AS indexes FROM llmhub.migration_event e \
         WHERE (kind IN ('started', 'statement_done') OR kind = 'failed' AND details->>'ended' = 'true') AND NOT EXISTS (SELECT 1 FROM llmhub.migration_event l \
         WHERE l.version = e.version AND l.id > e.id AND l.kind IN ('applied', 'reverted', 'adopted', 'repaired')) \
         ORDER BY id",
    );
    let mut found: Vec<Unfinished> = Vec::new();
    for row in session.rows(query).await? {
        let (version, name) = (version(&row)?, row.try_get::<String, _>("name").map_err(wrong)?);
        let kind: &str = row.try_get("kind").map_err(wrong)?;
        if kind == "failed" {
            // The server has said how it ended, so there is nothing to be found out.
            if let Some(one) = found.iter_mut().find(|one| one.version == version) {
                one.intent = None;
            }
            continue;
        }
        let direction = match row.try_get::<&str, _>("direction").map_err(wrong)? {
            "down" => Direction::Down,
            _ => Direction::Up,
        };
        let one = match found.iter_mut().position(|one| one.version == version) {
            Some(place) => found.get_mut(place),
            None => {
                found.push(Unfinished { version, name, direction, done: Vec::new(), intent: None });
                found.last_mut()
            }
        };
        let (Some(one), Ok(part)) = (one, usize::try_from(row.try_get::<i32, _>("statement").map_err(wrong)?)) else {
            continue;
        };
        if kind == "started" {
            let (checksum, indexes) = (row.try_get("checksum").map_err(wrong)?, row.try_get("indexes").map_err(wrong)?);
            one.intent = Some(Intent { part, checksum, indexes });
        } else {
            one.intent = None;
            one.done.push(row.try_get("checksum").map_err(wrong)?);
        }
    }
    Ok(found)
}

/// The texts that a migration was applied with.
#[derive(Clone, Debug)]
pub struct Texts {
    /// What was run.
    pub up: Script,
    /// What undoes it, if there was a down then.
    pub down: Option<Script>,
    /// The schema before it, if it was looked at.
    pub before: Option<Fingerprint>,
}

/// The texts of these applied migrations, in the same order; this is what rolls back when the files are gone.
///
/// # Errors
/// As [`ledger`].
pub async fn texts(target: &Target, recorded: &[Recorded]) -> Result<Vec<Texts>, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Quick).await?;
    let mut texts = Vec::with_capacity(recorded.len());
    for entry in recorded {
        let query = sqlx::query(
            "SELECT up_sql, down_sql, up_wrapped, down_wrapped, fingerprint_before FROM llmhub.migration \
             WHERE version = $1",
        );
        let row = session.row(query.bind(entry.version.as_str())).await?.ok_or_else(|| {
            StoreError::Conflict(format!(
                "{}_{} was rolled back meanwhile; nothing was written",
                entry.version, entry.name
            ))
        })?;
        let script = |way: &str, sql: &str, wrapped: bool| {
            use crate::domain::migrations::Wrapping;
            let file = format!("{}_{}.{way}.sql (ledger)", entry.version, entry.name);
            Script::new(sql).named(file).wrapped(if wrapped { Wrapping::Transaction } else { Wrapping::None })
        };
        let up: String = row.try_get("up_sql").map_err(wrong)?;
        let down: Option<String> = row.try_get("down_sql").map_err(wrong)?;
        let (up_wrapped, down_wrapped) =
            (row.try_get("up_wrapped").map_err(wrong)?, row.try_get("down_wrapped").map_err(wrong)?);
        let before: Option<Json<serde_json::Value>> = row.try_get("fingerprint_before").map_err(wrong)?;
        texts.push(Texts {
            up: script("up", &up, up_wrapped),
            down: down.map(|down| script("down", &down, down_wrapped)),
            // One of another format is as good as none: nothing can be compared with it.
            before: before.and_then(|Json(value)| serde_json::from_value(value).ok()),
        });
    }
    session.abandon().await;
    Ok(texts)
}
