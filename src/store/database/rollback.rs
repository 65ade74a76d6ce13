//! Rolling back: the newest migrations, newest first, each with its ledger row in the transaction of its down.
//!
//! What a rehearsal has foreseen is what must happen: a down that changes the live schema in any other way is undone. It is
//! reported as done after another connection has seen the rows gone.

use crate::domain::migrations::{Direction, Migration, Script};
use crate::store::StoreError;
use crate::store::postgres::Target;

use super::apply::{Failed, failed, ran};
use super::engine::{Change, Engine, Job, Look, Looks};
use super::ledger::{Ledger, ledger};
use super::run::{Ran, Run};

/// A migration to undo.
#[derive(Clone, Debug)]
pub struct Undo {
    /// The migration as the ledger has it.
    pub migration: Migration,
    /// The run that applied it.
    pub run_id: String,
    /// The SQL that undoes it.
    pub down: Script,
    /// What it must change of the schema; `None` where nobody knows.
    pub expected: Option<Change>,
    /// Why it is known to give the schema back, as JSON.
    pub proof: Option<String>,
}

/// What a run undid.
#[derive(Debug)]
pub struct RolledBack {
    /// The migrations that are gone, in the order in which they went.
    pub rolled_back: Vec<Ran>,
    /// The newest applied version now.
    pub current: Option<String>,
    /// Why it ended before the last one, if it did.
    pub failed: Option<Failed>,
}

/// Undo `steps`, the newest applied migrations, newest first.
///
/// # Errors
/// With nothing written: [`StoreError::Conflict`] when they are not the newest any more, or another run does not end in time;
/// [`StoreError::Refused`] for a down that fails, or that changes something else than expected. A failure of the first step is
/// an error too, one of a later step is [`RolledBack::failed`].
pub async fn rollback(target: &Target, steps: &[Undo], run: &Run<'_>) -> Result<RolledBack, StoreError> {
    let mut engine = Engine::start(target, run).await?;
    let done = rollback_locked(&mut engine, steps).await;
    engine.end().await;
    let (rolled_back, failed) = done?;
    if rolled_back.is_empty()
        && let Some(failed) = failed
    {
        return Err(failed.error);
    }
    let unknown = |why: &str| {
        StoreError::OutcomeUnknown(format!(
            "the rollback was committed, but {why}: look before you run anything again, with `llmhub db status`"
        ))
    };
    let after = ledger(target).await.map_err(|error| unknown(&format!("could not be read back ({error})")))?;
    let stands = |gone: &Ran| after.recorded.iter().any(|entry| entry.version.as_str() == gone.version);
    if rolled_back.iter().any(stands) {
        return Err(unknown("the ledger still shows it"));
    }
    Ok(RolledBack { rolled_back, current: after.current().map(ToString::to_string), failed })
}

async fn rollback_locked(engine: &mut Engine<'_>, steps: &[Undo]) -> Result<(Vec<Ran>, Option<Failed>), StoreError> {
    let before = engine.ledger().await?;
    check(&before, steps)?;
    let count = steps.len();
    let mut jobs = Vec::with_capacity(count);
    for (number, step) in steps.iter().enumerate() {
        let mut job = Job::new(Direction::Down, &step.migration, &step.down)?;
        job.look = Looks { before: Look::Yes, after: Look::Yes };
        (job.number, job.of) = (number + 1, count);
        (job.expected, job.proof) = (step.expected.as_ref(), step.proof.as_deref());
        jobs.push(job);
    }
    engine.proofread(&jobs).await?;
    let mut rolled_back = Vec::with_capacity(count);
    for job in &jobs {
        engine.tell_job(job);
        match engine.finish(job, before.unfinished(&job.migration.version)).await {
            Ok(took) => rolled_back.push(ran(job, took)),
            Err(error) => return Ok((rolled_back, Some(failed(job, error)))),
        }
    }
    Ok((rolled_back, None))
}

/// What was looked at must still be what is there.
fn check(ledger: &Ledger, steps: &[Undo]) -> Result<(), StoreError> {
    if let Some(half) = ledger.unfinished.iter().find(|one| one.direction == Direction::Up) {
        return Err(StoreError::Conflict(format!(
            "{}_{} is half applied: finish it with `llmhub db apply` before anything older is rolled back; nothing was written",
            half.version, half.name
        )));
    }
    let mut newest = ledger.recorded.iter().rev();
    for step in steps {
        let same =
            newest.next().is_some_and(|entry| entry.version == step.migration.version && entry.run_id == step.run_id);
        if !same {
            return Err(StoreError::Conflict(format!(
                "{}_{} is not the newest migration any more: somebody else has migrated; nothing was written, run it again",
                step.migration.version, step.migration.name
            )));
        }
    }
    Ok(())
}
