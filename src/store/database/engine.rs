//! The engine: one run under the migration lock, part by part.
//!
//! A part that can be in a transaction commits together with the record of it. A part that cannot is announced before it is
//! run and looked up in the catalog afterwards. So a death at any moment leaves nothing of a part, all of it, or an
//! announcement from which the next run finds out (migrations.md 2, 4.5, 4.6).

mod alone;
mod job;
mod proofread;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::domain::migrations::{Direction, Migration, Phase, Statement};
use crate::domain::schema::{Fingerprint, diff};
use crate::store::StoreError;
use crate::store::postgres::{After, Durability, Failure, Mark, Pace, Session, Target, Transaction, Work, close};

pub(super) use self::job::{Job, Look, Looks, More};
use super::fingerprint;
use super::ledger::{self, Ledger, Unfinished};
use super::lock::{Purpose, RunLock, wait_for};
use super::observe::Observer;
use super::record::{self, Entry, Happening, Schemas, Stamp};
use super::run::{Run, RunId};
use super::sql_error::{Complaint, is_lock};
use super::watch::{Blocked, Event};

/// A run that has the lock.
pub(super) struct Engine<'a> {
    target: &'a Target,
    run: &'a Run<'a>,
    id: RunId,
    lock: RunLock,
    worker: Session,
    observer: Observer,
    /// When the lock was last seen to be held.
    checked: Instant,
    /// The schema after the migration before this one, if it was looked at.
    schema: Option<Fingerprint>,
}

impl<'a> Engine<'a> {
    /// Take the lock, wait for the remains of a dead run, and see to it that there is a ledger.
    pub(super) async fn start(target: &'a Target, run: &'a Run<'a>) -> Result<Self, StoreError> {
        let id = RunId::random()?;
        let lock = RunLock::take(target, &id, run).await?;
        match Self::get_ready(target, run, &id).await {
            Ok(worker) => {
                let (observer, checked) = (Observer::new(target), Instant::now());
                Ok(Self { target, run, id, lock, worker, observer, checked, schema: None })
            }
            Err(error) => {
                lock.release().await;
                Err(error)
            }
        }
    }

    async fn get_ready(target: &Target, run: &Run<'_>, id: &RunId) -> Result<Session, StoreError> {
        let mut worker = Self::open_worker(target, id).await?;
        let transaction = worker.begin_write(Pace::Quick).await?;
        wait_for(&mut worker, Purpose::Worker, run).await?;
        record::ensure(&mut worker).await?;
        match close(&mut worker, target, &transaction, ("SELECT 1", Durability::Now), "the ledger").await? {
            Ok(After::Alive) => Ok(worker),
            Ok(After::Lost) => Self::open_worker(target, id).await,
            Err(refused) => Err(refused.into_store_error(worker.place())),
        }
    }

    async fn open_worker(target: &Target, id: &RunId) -> Result<Session, StoreError> {
        Session::open_as(target, &format!("llmhub-db worker {}", id.as_str())).await
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

    /// A part in a transaction with its record. A lock that is not to be had lets everything go, and all of it is tried again:
    /// to keep what was locked while waiting for more would be worse (migrations.md 2.2).
    async fn together(
        &mut self,
        job: &Job<'_>,
        part: usize,
        statements: &[Statement<'_>],
        record: Record,
    ) -> Result<(), StoreError> {
        let begun = Instant::now();
        let mut pause = self.run.locks.each;
        loop {
            let (statement, failure, blocked) = match self.attempt(job, part, statements, record).await? {
                Attempt::Done => return Ok(()),
                Attempt::Failed { statement, failure, blocked } => (statement, failure, blocked),
            };
            let locked = failure.sqlstate().is_some_and(is_lock);
            if self.run.stop.is_asked() {
                return Err(StoreError::Stopped(job.state(part)));
            }
            if !locked || begun.elapsed() + pause > self.run.locks.total {
                let state = job.state(part);
                let complaint = Complaint { script: job.script, statement, failure, blocked, state };
                return Err(complaint.into_error(self.worker.place()));
            }
            self.run.watch.see(Event::Again { blocked: blocked.as_ref(), pause });
            tokio::select! { () = sleep(jittered(pause)) => {}, () = self.run.stop.asked() => {} }
            pause = (pause * 2).min(Duration::from_secs(3));
        }
    }

    async fn attempt<'s>(
        &mut self,
        job: &Job<'_>,
        part: usize,
        statements: &'s [Statement<'s>],
        record: Record,
    ) -> Result<Attempt<'s>, StoreError> {
        let work = self.begin().await?;
        let started = Instant::now();
        for statement in statements {
            self.tell(job, statement);
            let foreign = self.worker.foreign(statement.text(), statement.copy_data());
            let watched = self.observer.watch(self.run, work.backend, foreign).await;
            if let Err(failure) = watched.outcome {
                self.let_go(&failure).await?;
                return Ok(Attempt::Failed { statement, failure, blocked: watched.blocked });
            }
        }
        let took = started.elapsed();
        let schema = match (record, job.look.after) {
            (Record::End { .. }, Look::Yes) => Some(self.look(job, &work.transaction).await?),
            _ => None,
        };
        let records = self.records(job, part, record, took, &work.transaction, schema.as_ref())?;
        let durability = match record {
            Record::End { .. } if job.more == More::Follow && job.phases.is_transactional() => Durability::WithTheNext,
            Record::End { .. } | Record::Part => Durability::Now,
        };
        match close(&mut self.worker, self.target, &work.transaction, (&records, durability), &job.label()).await? {
            Ok(After::Alive) => {}
            Ok(After::Lost) => self.worker = Self::open_worker(self.target, &self.id).await?,
            Err(failure) => return self.not_closed(job, part, failure).await,
        }
        self.schema = schema;
        Ok(Attempt::Done)
    }

    /// What is written down with a part.
    fn records(
        &self,
        job: &Job<'_>,
        part: usize,
        record: Record,
        took: Duration,
        transaction: &Transaction,
        after: Option<&Fingerprint>,
    ) -> Result<String, StoreError> {
        let stamp = Stamp { id: &self.id, run: self.run, transaction };
        let mut records = Vec::new();
        if let (2.., Some(phase)) = (job.phases.all().len(), job.phases.all().get(part)) {
            let checksum = phase.checksum();
            records.push(record::happened(job.subject(), Happening::Done { part, checksum: &checksum }, stamp));
        }
        if let Record::End { spent } = record {
            let schema = Schemas { before: self.schema.as_ref(), after };
            records.push(match &job.direction {
                Direction::Up => record::enter(job.migration, Entry::Applied { took: spent + took, schema }, stamp)?,
                Direction::Down => {
                    record::remove(&job.migration.version, job.script, spent + took, (schema, job.proof), stamp)?
                }
            });
        }
        if records.is_empty() {
            records.push("SELECT 1".to_owned());
        }
        Ok(records.join("; "))
    }

    /// The schema as the open transaction sees it; a rollback that does not give back the expected one goes no further.
    async fn look(&mut self, job: &Job<'_>, transaction: &Transaction) -> Result<Fingerprint, StoreError> {
        if self.worker.pin_again().await?.as_ref() != Some(transaction) {
            return Err(ended(job));
        }
        let found = fingerprint::read(&mut self.worker).await?;
        let Some((expected, level)) = job.expected else { return Ok(found) };
        let differences = diff(&expected.portable(), &found.portable(), level)
            .map_err(|error| StoreError::Invalid(error.to_string()))?;
        if differences.is_empty() {
            return Ok(found);
        }
        let texts: Vec<String> = differences.iter().take(10).map(ToString::to_string).collect();
        Err(StoreError::Refused(format!(
            "{} did not give back the schema that was proven: {}; {}",
            job.script.file(),
            texts.join("; "),
            job.state(0)
        )))
    }

    /// The server took the statements and refused the end: a deferred constraint, or a transaction that had ended.
    async fn not_closed<'s>(
        &mut self,
        job: &Job<'_>,
        part: usize,
        failure: Failure,
    ) -> Result<Attempt<'s>, StoreError> {
        if failure.sqlstate() == Some("22012") {
            return Err(ended(job));
        }
        self.let_go(&failure).await?;
        let Failure::Server { sqlstate, message, .. } = &failure else {
            return Err(failure.into_store_error(self.worker.place()));
        };
        let text = format!("{}: at its COMMIT: {message} ({sqlstate}); {}", job.script.file(), job.state(part));
        Err(if is_lock(sqlstate) { StoreError::Conflict(text) } else { StoreError::Refused(text) })
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

    fn tell(&self, job: &Job<'_>, statement: &Statement<'_>) {
        self.run.watch.see(Event::Statement { script: job.script, statement });
    }

    /// Roll back after a failure. A connection that is lost is replaced, so that the failure can be written down.
    async fn let_go(&mut self, failure: &Failure) -> Result<(), StoreError> {
        if matches!(failure, Failure::Server { .. }) && self.worker.roll_back().await.is_ok() {
            return Ok(());
        }
        if let Ok(worker) = Self::open_worker(self.target, &self.id).await {
            self.worker = worker;
        }
        Ok(())
    }

    /// Put a failure into the history; where that is not to be had, the operator has the error itself.
    async fn remember(&mut self, job: &Job<'_>, outcome: &Result<Duration, StoreError>) {
        let Err(error) = outcome else { return };
        let remember = async {
            // Whatever state the session is in, this ends it.
            self.worker.roll_back().await.map_err(|failure| failure.into_store_error(self.worker.place()))?;
            let transaction = self.worker.begin_write(Pace::Quick).await?;
            let stamp = Stamp { id: &self.id, run: self.run, transaction: &transaction };
            let text = error.to_string();
            let record = record::happened(job.subject(), Happening::Failed(&text), stamp);
            self.close_record(&transaction, &record, "the history").await
        };
        if let Err(error) = remember.await {
            tracing::debug!(%error, "the failure could not be written into the history");
        }
    }

    /// Put migrations on the ledger that nobody ran, all or none.
    pub(super) async fn adopt(&mut self, migrations: &[&Migration]) -> Result<(), StoreError> {
        let ledger = self.ledger().await?;
        if let Some(entry) = ledger.recorded.first() {
            return Err(StoreError::Conflict(format!(
                "{} has a ledger already, with {}_{} on it: a baseline is for a database that has none; nothing was written",
                self.worker.place(),
                entry.version,
                entry.name
            )));
        }
        let work = self.begin().await?;
        let stamp = Stamp { id: &self.id, run: self.run, transaction: &work.transaction };
        let records = migrations
            .iter()
            .map(|migration| record::enter(migration, Entry::Adopted, stamp))
            .collect::<Result<Vec<_>, _>>()?;
        self.close_record(&work.transaction, &records.join("; "), "the baseline").await
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

enum Attempt<'s> {
    Done,
    Failed { statement: &'s Statement<'s>, failure: Failure, blocked: Option<Blocked> },
}

fn ended(job: &Job<'_>) -> StoreError {
    StoreError::OutcomeUnknown(format!(
        "{} ended the transaction it was run in, or somebody else changed the ledger: part of it may stand without a record; look \
         at the schema before going on",
        job.script.file()
    ))
}

/// Between half and all of a pause, so that rivals do not meet again.
fn jittered(pause: Duration) -> Duration {
    // Without randomness the pause itself is as good.
    let share = getrandom::u32().map_or(1.0, |random| 0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0);
    pause.mul_f64(share)
}
