//! A dry run on the live database: the pending statements are run in one transaction, which is rolled back.
//!
//! It takes the locks that the real run would take, within the same limits. What cannot be in a transaction is not run, and
//! neither is anything after it, since that may need it.

use serde::Serialize;
use tokio::time::Instant;

use crate::domain::migrations::{Set, Version};
use crate::store::StoreError;
use crate::store::postgres::{Mark, Pace, Session, Target};

use super::apply::{Wanted, pending};
use super::engine::Job;
use super::ledger::ledger;
use super::lock::{Purpose, RunLock};
use super::observe::Observer;
use super::run::{Ran, Run, RunId};
use super::sql_error::Complaint;

/// What a dry run found.
#[derive(Debug, Serialize)]
pub struct DryRun {
    /// The migrations that were run and taken back, in order.
    pub executed: Vec<Ran>,
    /// Those that were not run.
    pub skipped: Vec<Skipped>,
    /// The newest applied version.
    pub current: Option<String>,
}

/// A migration that could not be tried.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// As in its file name.
    pub version: String,
    /// As in its file name.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// Run what is pending in one transaction, and roll it back. Nothing is created, the ledger included; sequences may have moved.
///
/// # Errors
/// As [`super::apply()`]; what cannot be in a transaction, and everything after it, is [`Skipped`].
pub async fn dry_run(target: &Target, set: &Set, wanted: &Wanted, run: &Run<'_>) -> Result<DryRun, StoreError> {
    let before = ledger(target).await?;
    let jobs = pending(set, &before, wanted)?;
    let current = before.current().map(Version::to_string);
    if jobs.is_empty() {
        return Ok(DryRun { executed: Vec::new(), skipped: Vec::new(), current });
    }
    let id = RunId::random()?;
    let lock = RunLock::take(target, &id, run).await?;
    let mut observer = Observer::new(target);
    let tried = in_one_transaction(target, &jobs, run, &id, &mut observer).await;
    observer.close().await;
    lock.release().await;
    let (executed, skipped) = tried?;
    Ok(DryRun { executed, skipped, current })
}

async fn in_one_transaction(
    target: &Target,
    jobs: &[Job<'_>],
    run: &Run<'_>,
    id: &RunId,
    observer: &mut Observer,
) -> Result<(Vec<Ran>, Vec<Skipped>), StoreError> {
    let mut worker = Session::open_as(target, &format!("llmhub-db worker {}", id.as_str())).await?;
    let pace = Pace::Work { lock: run.locks.each, statement: run.statement_timeout };
    let work = worker.begin_work(pace, Purpose::Worker.key()).await?;
    if work.mark == Mark::SomebodyElses {
        return Err(StoreError::Conflict(format!("another run works at {}; nothing was written", worker.place())));
    }
    let (mut executed, mut skipped) = (Vec::new(), Vec::<Skipped>::new());
    for job in jobs {
        let (version, name) = (job.migration.version.to_string(), job.migration.name.clone());
        let reason = match (job.phases.first_alone(), skipped.first()) {
            (Some(statement), _) => {
                Some(format!("{}:{} cannot be in a transaction", job.script.file(), statement.position()))
            }
            (None, Some(earlier)) => Some(format!("it may need {}_{}", earlier.version, earlier.name)),
            (None, None) => None,
        };
        if let Some(reason) = reason {
            skipped.push(Skipped { version, name, reason });
            continue;
        }
        let started = Instant::now();
        for statement in job.phases.statements() {
            let foreign = worker.foreign(statement.text(), statement.copy_data());
            let watched = observer.watch(run, work.backend, foreign).await;
            if let Err(failure) = watched.outcome {
                let state = "nothing was written".to_owned();
                if run.stop.is_asked() {
                    return Err(StoreError::Stopped(state));
                }
                let complaint = Complaint { script: job.script, statement, failure, blocked: watched.blocked, state };
                return Err(complaint.into_error(worker.place()));
            }
        }
        if worker.pin_again().await?.as_ref() != Some(&work.transaction) {
            return Err(StoreError::OutcomeUnknown(format!(
                "{} ended the transaction it was tried in: what came before it may stand; look at the schema",
                job.script.file()
            )));
        }
        let duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        executed.push(Ran { version, name, duration_ms });
    }
    worker.abandon().await;
    Ok((executed, skipped))
}
