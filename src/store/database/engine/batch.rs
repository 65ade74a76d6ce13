//! Small migrations of a long run that share a transaction, which spares each of them the cost of its own.
//!
//! They commit together with all their ledger rows, or not at all. A batch holds its locks for a moment only, and at the first
//! sign of trouble it is undone and its migrations are run one by one: what one of them alone would do is what counts.

use std::time::Duration;

use tokio::time::Instant;

use super::{Engine, Job, ended};
use crate::store::StoreError;
use crate::store::database::record::{self, Entry, Schemas, Stamp};
use crate::store::postgres::{After, Failure, Transaction, close};

/// After so long a batch takes no more migrations in.
const MOMENT: Duration = Duration::from_millis(200);

/// What became of a batch.
pub(in crate::store::database) enum Batch {
    /// So many migrations stand, from the first; how long each took.
    Stands(Vec<Duration>),
    /// None of the first so many does; they are to be run one by one.
    Undone(usize),
}

impl Engine<'_> {
    /// Run as many of `jobs` as a moment holds, at least one; all of them are sociable.
    pub(in crate::store::database) async fn batch(&mut self, jobs: &[Job<'_>]) -> Result<Batch, StoreError> {
        self.see_lock().await?;
        let work = self.begin().await?;
        let begun = Instant::now();
        let (mut entries, mut durations) = (Vec::new(), Vec::new());
        let mut last: Option<&Job<'_>> = None;
        for job in jobs {
            self.tell_job(job);
            let started = Instant::now();
            for (number, statement) in job.phases.statements().enumerate() {
                self.tell(job, statement);
                // What the migration before may have set is taken back in the same message.
                let behind = number == 0 && last.is_some_and(Job::may_set);
                if behind
                    && statement.copy_data().is_some()
                    && self.worker.pin_again().await?.as_ref() != Some(&work.transaction)
                {
                    return Err(ended(job));
                }
                let worker = &mut self.worker;
                let foreign = async {
                    match (behind, statement.copy_data()) {
                        (true, None) => worker.foreign_next(statement.text(), &work.transaction).await,
                        (_, data) => worker.foreign(statement.text(), data).await,
                    }
                };
                let watched = self.observer.watch(self.run, work.backend, foreign).await;
                if let Err(failure) = watched.outcome {
                    return self.undone(job, &work.transaction, &failure, durations.len() + 1).await;
                }
            }
            let took = started.elapsed();
            entries.push((job.migration, Entry::Applied { took, schema: Schemas::default() }));
            durations.push(took);
            last = Some(job);
            if begun.elapsed() > MOMENT || self.run.stop.is_asked() {
                break;
            }
        }
        let Some(last) = last else { return Ok(Batch::Undone(0)) };
        let stamp = Stamp { id: &self.id, run: self.run, transaction: &work.transaction };
        let (records, what) = (record::enter(&entries, stamp)?, format!("{} migrations", durations.len()));
        match close(&mut self.worker, self.target, &work.transaction, (&records, last.durability()), &what).await? {
            Ok(After::Alive) => {}
            Ok(After::Lost) => self.worker = Self::open_worker(self.target, &self.id).await?,
            Err(failure) => return self.undone(last, &work.transaction, &failure, durations.len()).await,
        }
        self.schema = None;
        Ok(Batch::Stands(durations))
    }

    /// Roll back, and see that there was something to roll back: a file may have ended the transaction.
    async fn undone(
        &mut self,
        job: &Job<'_>,
        transaction: &Transaction,
        failure: &Failure,
        count: usize,
    ) -> Result<Batch, StoreError> {
        self.let_go(failure).await;
        match self.worker.fate(transaction).await?.as_deref() {
            Some("aborted") => Ok(Batch::Undone(count)),
            _ => Err(ended(job)),
        }
    }
}
