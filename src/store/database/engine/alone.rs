//! A part outside of any transaction: announced before, looked up in the catalog afterwards, its remains swept away.

use super::{Engine, Job};
use crate::domain::migrations::{Alone, Phase, Statement};
use crate::store::StoreError;
use crate::store::database::effect::{Standing, indexes, standing};
use crate::store::database::record::{self, End, Happening, Stamp};
use crate::store::database::run::Undecided;
use crate::store::database::sql_error::Complaint;
use crate::store::database::watch::Event;
use crate::store::postgres::{Connections, Failure};

impl Engine<'_> {
    /// A part outside of any transaction.
    pub(super) async fn alone(
        &mut self,
        job: &Job<'_>,
        part: usize,
        statement: &Statement<'_>,
        effect: &Alone,
        intent: Option<&[String]>,
    ) -> Result<(), StoreError> {
        self.worker.settle_down().await?;
        let place = format!("{}:{}", job.script.file(), statement.position());
        let before = match intent {
            Some(before) => before.to_vec(),
            None => indexes(&mut self.worker, effect).await?,
        };
        match standing(&mut self.worker, effect, &before).await? {
            Standing::Done if intent.is_some() => return self.worker.reset().await,
            Standing::Unknown if intent.is_some() => match self.run.undecided {
                Undecided::Done => return self.worker.reset().await,
                Undecided::Redo => {}
                Undecided::Ask => {
                    return Err(StoreError::Conflict(format!(
                        "{place}: a run died while this statement was under way, and the catalog cannot tell whether it ended: \
                         look, then run it again with --undecided done or --undecided redo; {}",
                        job.state(part)
                    )));
                }
            },
            Standing::Taken { by } => {
                return Err(StoreError::Conflict(format!(
                    "{place}: the name of this index is taken by {by}; {}",
                    job.state(part)
                )));
            }
            Standing::Remains(remains) => self.sweep(&remains, &place).await?,
            Standing::Done | Standing::Nothing | Standing::Unknown => {}
        }
        self.announce(job, part, &before).await?;
        self.worker.settle_down().await?;
        let backend = self.worker.backend().await?;
        self.tell(job, statement);
        let foreign = self.worker.foreign(statement.text(), statement.copy_data());
        let watched = self.observer.watch(self.run, backend, foreign).await;
        if let Err(failure) = watched.outcome {
            return Err(self.alone_failed(job, part, statement, effect, &before, failure).await);
        }
        match standing(&mut self.worker, effect, &before).await? {
            Standing::Remains(remains) => Err(StoreError::Refused(format!(
                "{place}: the server says it is built, but {} is invalid; {}",
                remains.join(", "),
                job.state(part)
            ))),
            Standing::Nothing if matches!(effect, Alone::BuildIndex { .. } | Alone::DropIndex { .. }) => {
                Err(StoreError::Refused(format!(
                    "{place}: the server says it is done, but the catalog does not show it; {}",
                    job.state(part)
                )))
            }
            _ => self.worker.reset().await,
        }
    }

    /// Write down what is about to be run, where no transaction will hold it.
    async fn announce(&mut self, job: &Job<'_>, part: usize, before: &[String]) -> Result<(), StoreError> {
        self.end = End::Unknown;
        let checksum = job.phases.all().get(part).map(Phase::checksum);
        let checksum = checksum.as_ref();
        let work = self.begin().await?;
        let stamp = Stamp { id: &self.id, run: self.run, transaction: &work.transaction };
        let happening = Happening::Started { part, checksum, indexes: before };
        let record = record::happened(job.subject(), happening, stamp);
        self.close_record(&work.transaction, &record, &job.label()).await
    }

    async fn alone_failed(
        &mut self,
        job: &Job<'_>,
        part: usize,
        statement: &Statement<'_>,
        effect: &Alone,
        before: &[String],
        failure: Failure,
    ) -> StoreError {
        let place = format!("{}:{}", job.script.file(), statement.position());
        if self.gave_up() {
            return StoreError::Stopped(format!("{}; the next run looks what became of {place}", job.state(part)));
        }
        if !matches!(failure, Failure::Server { .. }) {
            return StoreError::OutcomeUnknown(format!(
                "{place}: {}; whether this statement ended is not known: run it again, it looks and goes on",
                failure.into_store_error(self.worker.place())
            ));
        }
        let mut state = job.state(part);
        // Half an index costs every write and serves no query.
        match standing(&mut self.worker, effect, before).await {
            Ok(Standing::Remains(remains)) => match self.sweep(&remains, &place).await {
                Ok(()) => {
                    self.end = End::Known;
                    state.push_str("; what it left was dropped");
                }
                Err(_) => {
                    let names = remains.join(", ");
                    state.push_str(&format!("; the invalid index {names} is left, the next run drops it"));
                }
            },
            Ok(_) => self.end = End::Known,
            Err(_) => state.push_str("; whether it left an invalid index is not known"),
        }
        // A session behind a pooler goes to a stranger next. One that is lost has nothing to take back.
        if let Err(error) = self.worker.reset().await {
            tracing::debug!(%error, "the settings could not be taken back");
        }
        if self.run.stop.is_asked() {
            return StoreError::Stopped(state);
        }
        Complaint { script: job.script, statement, failure, blocked: None, state }.into_error(self.worker.place())
    }

    /// Whether a statement was given up that still has the only connection; the next run sees in the ledger how far this one came.
    pub(super) fn gave_up(&self) -> bool {
        self.target.connections() == Connections::One && self.run.stop.is_asked()
    }

    /// Drop invalid indexes, without keeping anybody waiting.
    async fn sweep(&mut self, remains: &[String], place: &str) -> Result<(), StoreError> {
        for name in remains {
            self.run.watch.see(Event::Note(&format!("{place}: dropping {name}, which an earlier build left invalid")));
            let backend = self.worker.backend().await?;
            let sql = format!("DROP INDEX CONCURRENTLY IF EXISTS {name}");
            let dropped = if self.run.stop.is_asked() {
                // Whoever wants the end waits a moment more, and no longer: somebody's transaction may keep the index.
                self.worker.hurry().await?;
                self.worker.foreign(&sql, None).await
            } else {
                let drop = self.worker.foreign(&sql, None);
                self.observer.watch(self.run, backend, drop).await.outcome
            };
            dropped.map_err(|failure| failure.into_store_error(self.worker.place()))?;
        }
        Ok(())
    }
}
