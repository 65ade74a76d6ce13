//! A rehearsal on the live database: the pending statements are run in one transaction, which is rolled back.
//!
//! It takes the locks that the real run would take, within the same limits. What cannot be in a transaction is not run, and
//! neither is anything after it, since that may need it.

use tokio::time::Instant;

use crate::store::StoreError;
use crate::store::postgres::{Mark, Pace, Session, Target};

use super::apply::Skipped;
use super::engine::Job;
use super::lock::{Purpose, RunLock};
use super::observe::Observer;
use super::run::{Ran, Run, RunId};
use super::sql_error::Complaint;

/// Run these and take them back: what was run, and what was not.
pub(super) async fn rehearse(
    target: &Target,
    jobs: &[Job<'_>],
    run: &Run<'_>,
) -> Result<(Vec<Ran>, Vec<Skipped>), StoreError> {
    let id = RunId::random()?;
    let lock = RunLock::take(target, &id, run).await?;
    let mut observer = Observer::new(target);
    let outcome = in_one_transaction(target, jobs, run, &id, &mut observer).await;
    observer.close().await;
    lock.release().await;
    outcome
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
                "{} ended the transaction it was rehearsed in: what came before it may stand; look at the schema",
                job.script.file()
            )));
        }
        let duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        executed.push(Ran { version, name, duration_ms });
    }
    worker.abandon().await;
    Ok((executed, skipped))
}
