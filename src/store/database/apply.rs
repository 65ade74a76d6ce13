//! Applying: everything that is pending, oldest first, each migration committed with its ledger row.
//!
//! It is reported as done after another connection has seen the rows. A rehearsal runs the same statements and takes all of
//! it back.

use std::time::Duration;

use serde::Serialize;

use crate::domain::migrations::{Direction, Numbering, Problem, Recorded, Set, Version};
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

use super::engine::{Batch, Engine, Job, Look, Looks};
use super::ledger::{Ledger, ledger};
use super::run::{Ran, Run, RunId};

/// What to apply.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The last version to apply; all of them without it.
    pub to: Option<Version>,
    /// What to do about a pending migration that is older than an applied one.
    pub late: Late,
}

/// What to do about a pending migration that is older than an applied one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Late {
    /// Refuse.
    #[default]
    Refuse,
    /// Apply it now.
    Apply,
}

/// What a run did.
#[derive(Debug, Serialize)]
pub struct Applied {
    /// The migrations that this run applied, in order; empty when the schema was up to date.
    pub applied: Vec<Ran>,
    /// The newest applied version; `None` when there are no migrations at all.
    pub current: Option<String>,
    /// Why it ended before the last one, if it did; those above stand.
    #[serde(skip)]
    pub failed: Option<Failed>,
}

/// The migration that a run stopped at.
#[derive(Debug)]
pub struct Failed {
    /// As in its file name.
    pub version: String,
    /// As in its file name.
    pub name: String,
    /// Why.
    pub error: StoreError,
}

/// Apply what is pending of `set`. Each migration stands for itself: what was applied before a failure stays.
///
/// # Errors
/// With nothing written: [`StoreError::Conflict`] when another run does not end in time, or an applied migration was edited
/// or is missing; [`StoreError::Refused`] for what cannot be run at all. A failure of the first migration is an error too,
/// one of a later migration is [`Applied::failed`].
pub async fn apply(target: &Target, set: &Set, wanted: &Wanted, run: &Run<'_>) -> Result<Applied, StoreError> {
    let before = ledger(target).await?;
    if pending(set, &before, wanted)?.is_empty() {
        return Ok(Applied { applied: Vec::new(), current: current(&before), failed: None });
    }
    let mut engine = Engine::start(target, run).await?;
    let applied = apply_locked(&mut engine, set, wanted, run).await;
    let id = engine.id().clone();
    engine.end().await;
    let (applied, failed) = applied?;
    if applied.is_empty()
        && let Some(failed) = failed
    {
        return Err(failed.error);
    }
    let after = read_back(target, &id, &applied).await?;
    Ok(Applied { applied, current: current(&after), failed })
}

async fn apply_locked(
    engine: &mut Engine<'_>,
    set: &Set,
    wanted: &Wanted,
    run: &Run<'_>,
) -> Result<(Vec<Ran>, Option<Failed>), StoreError> {
    let before = engine.ledger().await?;
    let mut jobs = pending(set, &before, wanted)?;
    engine.proofread(&jobs).await?;
    engine.create_ledger(&before).await?;
    prepare(&mut jobs);
    let mut applied: Vec<Ran> = Vec::with_capacity(jobs.len());
    // Those before this one are run one by one, since together they failed.
    let mut alone_until = 0;
    while let Some(job) = jobs.get(applied.len()) {
        let number = applied.len();
        let sociable =
            jobs.iter().skip(number).take_while(|job| job.is_sociable() && before.unfinished.is_empty()).count();
        if sociable > 1 && number >= alone_until && !run.stop.is_asked() {
            let batch = jobs.get(number..number + sociable).unwrap_or_default();
            match engine.batch(batch).await {
                Ok(Batch::Stands(durations)) => {
                    applied.extend(batch.iter().zip(durations).map(|(job, took)| ran(job, took)));
                    continue;
                }
                Ok(Batch::Undone(count)) => alone_until = number + count,
                Err(error) => return Ok((applied, Some(failed(job, error)))),
            }
        }
        engine.tell_job(job);
        match engine.finish(job, before.unfinished(&job.migration.version)).await {
            Ok(took) => applied.push(ran(job, took)),
            Err(error) => return Ok((applied, Some(failed(job, error)))),
        }
    }
    Ok((applied, None))
}

pub(super) fn ran(job: &Job<'_>, took: Duration) -> Ran {
    Ran {
        version: job.migration.version.to_string(),
        name: job.migration.name.clone(),
        duration_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
    }
}

pub(super) fn failed(job: &Job<'_>, error: StoreError) -> Failed {
    Failed { version: job.migration.version.to_string(), name: job.migration.name.clone(), error }
}

/// Up to so many migrations the schema is looked at before and after each; in a longer run only at its end, since each look
/// takes as long as several migrations.
const LOOKS: usize = 20;

fn prepare(jobs: &mut [Job<'_>]) {
    let count = jobs.len();
    for (number, job) in jobs.iter_mut().enumerate() {
        let look = |wanted: bool| if wanted { Look::Yes } else { Look::No };
        job.look = Looks { before: look(count <= LOOKS), after: look(count <= LOOKS || number + 1 == count) };
        (job.number, job.of) = (number + 1, count);
    }
}

/// See the rows through another connection.
pub(super) async fn read_back(target: &Target, id: &RunId, applied: &[Ran]) -> Result<Ledger, StoreError> {
    let unknown = |why: &str| {
        StoreError::OutcomeUnknown(format!(
            "the migrations were committed, but {why}: look before you run it again, with `llmhub db status`"
        ))
    };
    let after = ledger(target).await.map_err(|error| unknown(&format!("could not be read back ({error})")))?;
    let stands = |ran: &Ran| {
        let ours = |entry: &Recorded| entry.version.as_str() == ran.version && entry.run_id == id.as_str();
        after.recorded.iter().any(ours)
    };
    if applied.iter().all(stands) { Ok(after) } else { Err(unknown("the ledger reads back without them")) }
}

fn current(ledger: &Ledger) -> Option<String> {
    ledger.current().map(Version::to_string)
}

/// What would be run, in order; everything that stands in the way is an error.
pub(super) fn pending<'a>(set: &'a Set, ledger: &Ledger, wanted: &Wanted) -> Result<Vec<Job<'a>>, StoreError> {
    let comparison = set.compare(&ledger.recorded);
    let half_back = ledger
        .problems()
        .into_iter()
        .filter(|problem| matches!(problem, Problem::HalfDone { direction: Direction::Down, .. }));
    let out_of_order = |problem: &Problem| matches!(problem, Problem::OutOfOrder { .. });
    let in_the_way: Vec<Problem> = comparison
        .problems
        .into_iter()
        .chain(half_back)
        .filter(|problem| !(wanted.late == Late::Apply && out_of_order(problem)))
        .collect();
    if let Some(first) = in_the_way.first() {
        let texts: Vec<String> = in_the_way.iter().map(Problem::to_string).collect();
        let text = format!("{}; nothing was applied\n  {}", texts.join("\n  "), first.remedy());
        return Err(if in_the_way.iter().all(out_of_order) {
            StoreError::Refused(text)
        } else {
            StoreError::Conflict(text)
        });
    }
    let last = wanted.to.as_ref().map(|to| known(set, to)).transpose()?;
    comparison
        .pending
        .into_iter()
        .filter(|migration| last.is_none_or(|last| set.numbering().compare(&migration.version, last).is_le()))
        .map(Job::up)
        .collect()
}

fn known<'a>(set: &'a Set, version: &Version) -> Result<&'a Version, StoreError> {
    let found = set.find(version).map(|migration| &migration.version);
    found.ok_or_else(|| StoreError::NoMigration {
        wanted: version.to_string(),
        known: set.migrations().iter().map(|migration| migration.version.to_string()).collect(),
    })
}

/// Say that everything up to `version` is there already, without running it.
///
/// # Errors
/// [`StoreError::Conflict`] when something of it is on the ledger already.
pub async fn baseline(target: &Target, set: &Set, version: &Version, run: &Run<'_>) -> Result<Vec<Ran>, StoreError> {
    let last = known(set, version)?;
    let numbering: Numbering = set.numbering();
    let mut engine = Engine::start(target, run).await?;
    let chosen = set.migrations().iter().filter(|migration| numbering.compare(&migration.version, last).is_le());
    let chosen: Vec<_> = chosen.collect();
    let done = engine.adopt(&chosen, None).await;
    let id = engine.id().clone();
    engine.end().await;
    done?;
    let adopted: Vec<Ran> = chosen
        .iter()
        .map(|migration| Ran { version: migration.version.to_string(), name: migration.name.clone(), duration_ms: 0 })
        .collect();
    read_back(target, &id, &adopted).await?;
    Ok(adopted)
}

/// The tables of a database that migrations may claim to have made: schema-qualified names outside of llmhub's own schema.
///
/// # Errors
/// As [`ledger`].
pub async fn tables(target: &Target) -> Result<Vec<String>, StoreError> {
    use sqlx::Row;
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Quick).await?;
    let query = sqlx::query(
        "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
         ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' \
         AND n.nspname NOT IN ('information_schema', 'llmhub') ORDER BY 1",
    );
    let wrong = |_| StoreError::Invalid("pg_class has columns of another type".to_owned());
    let tables = session.rows(query).await?.iter().map(|row| row.try_get(0).map_err(wrong)).collect();
    session.abandon().await;
    tables
}
