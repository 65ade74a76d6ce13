//! The engine: one run under the migration lock, part by part.
//!
//! A part that can be in a transaction commits together with the record of it. A part that cannot is announced before it is
//! run and looked up in the catalog afterwards. So a death at any moment leaves nothing of a part, all of it, or an
//! announcement from which the next run finds out (migrations.md 2, 4.5, 4.6).

mod alone;
mod batch;
mod job;
mod opening;
mod proofread;
mod together;

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::foreign_ledger::{Rows, Tool};
use crate::domain::migrations::{Migration, Phase, Statement};
use crate::domain::proof::Proof;
use crate::domain::schema::Fingerprint;
use crate::store::StoreError;
use crate::store::postgres::{After, Durability, Failure, Mark, Pace, Session, Target, Transaction, Work, close};

pub(super) use self::batch::Batch;
pub use self::job::Change;
pub(super) use self::job::{Job, Look, Looks};
use super::fingerprint;
use super::foreign_ledger::{self, ForeignTable};
use super::ledger::{self, Ledger, Unfinished};
use super::lock::{Purpose, RunLock};
use super::observe::Observer;
use super::proofs;
use super::record::{self, End, Entry, Happening, Stamp};
use super::run::{Run, RunId};
use super::watch::Event;

/// A run that has the lock.
pub(super) struct Engine<'a> {
    target: &'a Target,
    run: &'a Run<'a>,
    id: RunId,
    lock: RunLock,
    worker: Session,
    observer: Observer,
    /// Whether a part outside of a transaction was begun whose end is not known.
    end: End,
    /// When the lock was last seen to be held.
    checked: Instant,
    /// The schema after the migration before this one, if it was looked at.
    schema: Option<Fingerprint>,
}

impl<'a> Engine<'a> {
    /// Take the lock, and wait for the remains of a dead run. Nothing is written yet.
    pub(super) async fn start(target: &'a Target, run: &'a Run<'a>) -> Result<Self, StoreError> {
        let id = RunId::random()?;
        let lock = RunLock::take(target, &id, run).await?;
        match Self::get_ready(target, run, &id).await {
            Ok(worker) => {
                let (observer, checked) = (Observer::new(target), Instant::now());
                Ok(Self { target, run, id, lock, worker, observer, checked, schema: None, end: End::Known })
            }
            Err(error) => {
                lock.release().await;
                Err(error)
            }
        }
    }

    pub(super) fn id(&self) -> &RunId {
        &self.id
    }

    /// The ledger as it is under the lock.
    pub(super) async fn ledger(&mut self) -> Result<Ledger, StoreError> {
        self.worker.begin_read(Pace::Quick).await?;
        let ledger = ledger::read(&mut self.worker).await?;
        self.worker.roll_back().await.map_err(|failure| failure.into_store_error(self.worker.place()))?;
        Ok(ledger)
    }

    /// Run one migration to its end, from where an earlier run stopped.
    ///
    /// Returns how long its statements took. An error is in the history as well, where the server still takes it.
    pub(super) async fn finish(
        &mut self,
        job: &Job<'_>,
        unfinished: Option<&Unfinished>,
    ) -> Result<Duration, StoreError> {
        self.end = match unfinished.and_then(|unfinished| unfinished.intent.as_ref()) {
            Some(_) => End::Unknown,
            None => End::Known,
        };
        let outcome = self.parts(job, unfinished).await;
        if !self.gave_up() {
            self.remember(job, &outcome).await;
        }
        outcome
    }

    async fn parts(&mut self, job: &Job<'_>, unfinished: Option<&Unfinished>) -> Result<Duration, StoreError> {
        let done = unfinished.map_or(Ok(0), |unfinished| job.resume_at(unfinished))?;
        if job.look.before == Look::No || done > 0 {
            self.schema = None;
        } else if self.schema.is_none() {
            self.worker.begin_read(Pace::Long).await?;
            self.schema = Some(fingerprint::read(&mut self.worker).await?);
            self.worker.roll_back().await.map_err(|failure| failure.into_store_error(self.worker.place()))?;
        }
        let parts = job.phases.all();
        let mut spent = Duration::ZERO;
        for (number, phase) in parts.iter().enumerate().skip(done) {
            self.see_lock().await?;
            if self.run.stop.is_asked() {
                return Err(StoreError::Stopped(job.state(number)));
            }
            let record = if number + 1 == parts.len() { Record::End { spent } } else { Record::Part };
            let started = Instant::now();
            match phase {
                Phase::Together(statements) => self.together(job, number, statements, record).await?,
                Phase::Alone(statement, effect) => {
                    let intent = unfinished.and_then(|unfinished| unfinished.intent.as_ref());
                    let before = intent.filter(|intent| intent.part == number).map(|intent| intent.indexes.as_slice());
                    self.alone(job, number, statement, effect, before).await?;
                    let record = match record {
                        Record::End { spent } => Record::End { spent: spent + started.elapsed() },
                        Record::Part => Record::Part,
                    };
                    self.together(job, number, &[], record).await?;
                    self.end = End::Known;
                }
            }
            spent += started.elapsed();
        }
        if parts.len() <= done {
            // Nothing to run: a script without statements, or a run that died before its last record.
            self.together(job, done, &[], Record::End { spent }).await?;
        }
        Ok(spent)
    }

    /// See that the lock is still ours. The mark of the worker's transaction guards the moments in between.
    async fn see_lock(&mut self) -> Result<(), StoreError> {
        if self.checked.elapsed() > Duration::from_millis(50) {
            self.lock.check().await?;
            self.checked = Instant::now();
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<Work, StoreError> {
        let pace = Pace::Work { lock: self.run.locks.each, statement: self.run.statement_timeout };
        let work = self.worker.begin_work(pace, Purpose::Worker.key()).await?;
        if work.mark == Mark::SomebodyElses {
            return Err(StoreError::Conflict(format!(
                "another run works at {} although this one holds the lock; nothing more was written",
                self.worker.place()
            )));
        }
        Ok(work)
    }

    /// Tell that a migration begins.
    pub(super) fn tell_job(&self, job: &Job<'_>) {
        let (version, name) = (job.migration.version.as_str(), job.migration.name.as_str());
        let (number, of, direction) = (job.number, job.of, job.direction);
        self.run.watch.see(Event::Migration { version, name, number, of, direction });
        if let Some(at) = job.phases.own_transaction() {
            let file = job.script.file();
            let text = format!("{file}:{at}: its own BEGIN and COMMIT are left out: the transaction is llmhub's");
            self.run.watch.see(Event::Note(&text));
        }
    }

    fn tell(&self, job: &Job<'_>, statement: &Statement<'_>) {
        self.run.watch.see(Event::Statement { script: job.script, statement });
    }

    /// Roll back after a failure. A connection that is lost is replaced, so that the failure can be written down.
    async fn let_go(&mut self, failure: &Failure) {
        if matches!(failure, Failure::Server { .. }) && self.worker.roll_back().await.is_ok() {
            return;
        }
        if let Ok(worker) = Self::open_worker(self.target, &self.id).await {
            self.worker = worker;
        }
    }

    /// Put a failure into the history; where that is not to be had, the operator has the error itself.
    async fn remember(&mut self, job: &Job<'_>, outcome: &Result<Duration, StoreError>) {
        let Err(error) = outcome else { return };
        let remember = async {
            // Whatever state the session is in, this ends it.
            self.worker.roll_back().await.map_err(|failure| failure.into_store_error(self.worker.place()))?;
            let transaction = self.worker.begin_write(Pace::Quick).await?;
            let stamp = Stamp { id: &self.id, run: self.run, transaction: &transaction };
            let happening = Happening::Failed { error: &error.to_string(), end: self.end };
            let record = record::happened(job.subject(), happening, stamp);
            self.close_record(&transaction, &record, "the history").await
        };
        if let Err(error) = remember.await {
            tracing::debug!(%error, "the failure could not be written into the history");
        }
    }

    /// The rows of another tool's ledger as they are under the lock.
    pub(super) async fn foreign_rows(&mut self, tool: Tool, table: &ForeignTable) -> Result<Rows, StoreError> {
        self.worker.begin_read(Pace::Quick).await?;
        let rows = foreign_ledger::read(&mut self.worker, tool, table).await?;
        self.worker.roll_back().await.map_err(|failure| failure.into_store_error(self.worker.place()))?;
        Ok(rows)
    }

    /// Put migrations on the ledger that llmhub did not run, all or none; `details` is JSON for the history.
    pub(super) async fn adopt(&mut self, migrations: &[&Migration], details: Option<&str>) -> Result<(), StoreError> {
        let ledger = self.ledger().await?;
        if let Some(entry) = ledger.recorded.first() {
            return Err(StoreError::Conflict(format!(
                "{} has a ledger already, with {}_{} on it: this is for a database that has none; nothing was written",
                self.worker.place(),
                entry.version,
                entry.name
            )));
        }
        self.create_ledger(&ledger).await?;
        let work = self.begin().await?;
        let stamp = Stamp { id: &self.id, run: self.run, transaction: &work.transaction };
        let entries: Vec<_> = migrations.iter().map(|migration| (*migration, Entry::Adopted { details })).collect();
        let records = record::enter(&entries, stamp)?;
        self.close_record(&work.transaction, &records, "the baseline").await
    }

    /// Keep proofs of the way back.
    pub(super) async fn keep(&mut self, proofs: &[Proof]) -> Result<(), StoreError> {
        let ledger = self.ledger().await?;
        self.create_ledger(&ledger).await?;
        let work = self.begin().await?;
        let stamp = Stamp { id: &self.id, run: self.run, transaction: &work.transaction };
        let record = proofs::keep(proofs, stamp);
        self.close_record(&work.transaction, &record, "the proofs").await
    }

    /// Commit what is only written down.
    async fn close_record(&mut self, transaction: &Transaction, record: &str, what: &str) -> Result<(), StoreError> {
        match close(&mut self.worker, self.target, transaction, (record, Durability::Now), what).await? {
            Ok(After::Alive) => {}
            Ok(After::Lost) => self.worker = Self::open_worker(self.target, &self.id).await?,
            Err(refused) => return Err(refused.into_store_error(self.worker.place())),
        }
        Ok(())
    }

    /// Leave, and let the next run begin.
    pub(super) async fn end(self) {
        self.observer.close().await;
        self.worker.close().await;
        self.lock.release().await;
    }
}

/// What is written down with a part.
#[derive(Clone, Copy)]
enum Record {
    /// That it stands.
    Part,
    /// That the migration came to its end, after so much time for the parts before.
    End { spent: Duration },
}

fn ended(job: &Job<'_>) -> StoreError {
    StoreError::OutcomeUnknown(format!(
        "{} ended the transaction it was run in, or somebody else changed the ledger: part of it may stand without a record; look \
         at the schema before going on",
        job.script.file()
    ))
}
