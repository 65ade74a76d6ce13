//! The engine: one run under the migration lock, part by part.
//!
//! A part that can be in a transaction commits together with the record of it. A part that cannot is announced before it is
//! run and looked up in the catalog afterwards. So a death at any moment leaves nothing of a part, all of it, or an
//! announcement from which the next run finds out (migrations.md 2, 4.5, 4.6).

mod alone;
mod job;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::domain::migrations::{Direction, Migration, Phase, Statement};
use crate::store::StoreError;
use crate::store::postgres::{After, Connections, Failure, Mark, Pace, Session, Target, Work, commit_in_place};

pub(super) use self::job::Job;
use super::ledger::{self, Ledger, Unfinished};
use super::lock::{Purpose, RunLock, wait_for};
use super::observe::Observer;
use super::record::{self, Entry, Happening, Stamp};
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
}

impl<'a> Engine<'a> {
    /// Take the lock, wait for the remains of a dead run, and see to it that there is a ledger.
    pub(super) async fn start(target: &'a Target, run: &'a Run<'a>) -> Result<Self, StoreError> {
        let id = RunId::random()?;
        let lock = RunLock::take(target, &id, run).await?;
        match Self::get_ready(target, run, &id).await {
            Ok(worker) => Ok(Self { target, run, id, lock, worker, observer: Observer::new(target) }),
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
        if commit_in_place(&mut worker, target, &transaction, "the ledger").await? == After::Lost {
            worker = Self::open_worker(target, id).await?;
        }
        Ok(worker)
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

    /// Have the server's own grammar read every statement, before any of them is run.
    pub(super) async fn proofread(&mut self, jobs: &[Job<'_>]) -> Result<(), StoreError> {
        for job in jobs {
            for statement in job.phases.statements() {
                let Err(failure) = self.worker.parse(statement.text()).await else { continue };
                // What does not exist yet may be made by a statement before it; only the grammar is judged here.
                if matches!(failure.sqlstate(), Some("42601" | "42602" | "42622")) {
                    let state = "nothing was written".to_owned();
                    let complaint = Complaint { script: job.script, statement, failure, blocked: None, state };
                    return Err(complaint.into_error(self.worker.place()));
                }
                if matches!(failure, Failure::Gone { .. }) {
                    return Err(failure.into_store_error(self.worker.place()));
                }
            }
        }
        Ok(())
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
        if let Err(error) = &outcome {
            self.remember(job, error).await;
        }
        outcome
    }

    async fn parts(&mut self, job: &Job<'_>, unfinished: Option<&Unfinished>) -> Result<Duration, StoreError> {
        let done = unfinished.map_or(Ok(0), |unfinished| job.resume_at(unfinished))?;
        let parts = job.phases.all();
        let mut spent = Duration::ZERO;
        for (number, phase) in parts.iter().enumerate().skip(done) {
            self.lock.check().await?;
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
        // A statement that ended our transaction all the same, hidden in a way that no lexer sees, has committed what came before.
        if self.worker.pin_again().await?.as_ref() != Some(&work.transaction) {
            return Err(StoreError::OutcomeUnknown(format!(
                "{} ended the transaction it was run in: part of it stands without a record; look at the schema before going on",
                job.script.file()
            )));
        }
        let stamp = Stamp { id: &self.id, run: self.run, transaction: Some(&work.transaction) };
        if job.phases.all().len() > 1
            && let Some(phase) = job.phases.all().get(part)
        {
            let checksum = phase.checksum();
            record::happened(&mut self.worker, job.subject(), Happening::Done { part, checksum: &checksum }, stamp)
                .await?;
        }
        if let Record::End { spent } = record {
            let duration_ms = i64::try_from((spent + took).as_millis()).unwrap_or(i64::MAX);
            match job.direction {
                Direction::Up => {
                    record::enter(&mut self.worker, job.migration, Entry::Applied { duration_ms }, stamp).await?;
                }
                Direction::Down => {
                    let version = &job.migration.version;
                    record::remove(&mut self.worker, version, job.script, duration_ms, stamp).await?;
                }
            }
        }
        if commit_in_place(&mut self.worker, self.target, &work.transaction, &job.label()).await? == After::Lost {
            self.worker = Self::open_worker(self.target, &self.id).await?;
        }
        Ok(Attempt::Done)
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
        let start = statement.position();
        let number = 1 + job.phases.statements().take_while(|other| other.position().offset < start.offset).count();
        self.run.watch.see(Event::Statement {
            place: &format!("{}:{start}", job.script.file()),
            text: statement.text(),
            number,
            of: job.phases.statements().count(),
        });
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
    async fn remember(&mut self, job: &Job<'_>, error: &StoreError) {
        // A statement that was given up still has the only connection; the next run sees in the ledger how far this one came.
        if self.target.connections() == Connections::One && self.run.stop.is_asked() {
            return;
        }
        let remember = async {
            // Whatever state the session is in, this ends it.
            self.worker.roll_back().await.map_err(|failure| failure.into_store_error(self.worker.place()))?;
            let transaction = self.worker.begin_write(Pace::Quick).await?;
            let stamp = Stamp { id: &self.id, run: self.run, transaction: Some(&transaction) };
            let text = error.to_string();
            record::happened(&mut self.worker, job.subject(), Happening::Failed(&text), stamp).await?;
            commit_in_place(&mut self.worker, self.target, &transaction, "the history").await.map(drop)
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
        let stamp = Stamp { id: &self.id, run: self.run, transaction: Some(&work.transaction) };
        for migration in migrations {
            record::enter(&mut self.worker, migration, Entry::Adopted, stamp).await?;
        }
        commit_in_place(&mut self.worker, self.target, &work.transaction, "the baseline").await.map(drop)
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

/// Between half and all of a pause, so that rivals do not meet again.
fn jittered(pause: Duration) -> Duration {
    // Without randomness the pause itself is as good.
    let share = getrandom::u32().map_or(1.0, |random| 0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0);
    pause.mul_f64(share)
}
