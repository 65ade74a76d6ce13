//! Small migrations of a long run that share a transaction, which spares each of them the cost of its own.
//!
//! They commit together with all their ledger rows, or not at all. A batch holds its locks for a moment only, and at the first
//! sign of trouble it is undone and its migrations are run one by one: what one of them alone would do is what counts.

use std::time::Duration;

use tokio::time::Instant;

use super::{Engine, Job, ended};
use crate::store::StoreError;
use crate::store::database::record::{self, Entry, Schemas, Stamp};
use crate::store::postgres::{After, close};

/// After so long a batch takes no more migrations in.
const MOMENT: Duration = Duration::from_millis(100);

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
        let (mut records, mut durations) = (Vec::new(), Vec::new());
        let mut durability = None;
        for job in jobs {
            self.tell_job(job);
            let started = Instant::now();
            for statement in job.phases.statements() {
                self.tell(job, statement);
                let foreign = self.worker.foreign(statement.text(), statement.copy_data());
                let watched = self.observer.watch(self.run, work.backend, foreign).await;
                if let Err(failure) = watched.outcome {
                    self.let_go(&failure).await?;
                    return Ok(Batch::Undone(durations.len() + 1));
                }
            }
            if self.worker.pin_again().await?.as_ref() != Some(&work.transaction) {
                return Err(ended(job));
            }
            let took = started.elapsed();
            let stamp = Stamp { id: &self.id, run: self.run, transaction: &work.transaction };
            records.push(record::enter(job.migration, Entry::Applied { took, schema: Schemas::default() }, stamp)?);
            durations.push(took);
            durability = Some(job.durability());
            if begun.elapsed() > MOMENT || self.run.stop.is_asked() {
                break;
            }
        }
        let Some(durability) = durability else { return Ok(Batch::Undone(0)) };
        let (records, what) = (records.join("; "), format!("{} migrations", durations.len()));
        match close(&mut self.worker, self.target, &work.transaction, (&records, durability), &what).await? {
            Ok(After::Alive) => {}
            Ok(After::Lost) => self.worker = Self::open_worker(self.target, &self.id).await?,
            Err(failure) => {
                self.let_go(&failure).await?;
                return Ok(Batch::Undone(durations.len()));
            }
        }
        self.schema = None;
        Ok(Batch::Stands(durations))
    }
}
