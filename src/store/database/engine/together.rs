//! A part in one transaction with the record of it: tried until its locks are to be had, closed in one message.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Engine, Job, Look, Record, ended};
use crate::domain::migrations::{Direction, Statement};
use crate::domain::schema::{Fingerprint, diff};
use crate::store::StoreError;
use crate::store::database::fingerprint;
use crate::store::database::record::{self, Entry, Happening, Schemas, Stamp};
use crate::store::database::run::jittered;
use crate::store::database::sql_error::{Complaint, is_lock};
use crate::store::database::watch::{Blocked, Event};
use crate::store::postgres::{After, Failure, Transaction, close};

enum Attempt<'s> {
    Done,
    Failed { statement: &'s Statement<'s>, failure: Failure, blocked: Option<Blocked> },
}

impl Engine<'_> {
    /// A part in a transaction with its record. A lock that is not to be had lets everything go, and all of it is tried again:
    /// to keep what was locked while waiting for more would be worse (migrations.md 2.2).
    pub(super) async fn together(
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
                self.let_go(&failure).await;
                return Ok(Attempt::Failed { statement, failure, blocked: watched.blocked });
            }
        }
        let took = started.elapsed();
        let schema = match (record, job.look.after) {
            (Record::End { .. }, Look::Yes) => Some(self.look(job, &work.transaction).await?),
            _ => None,
        };
        let records = self.records(job, part, record, took, &work.transaction, schema.as_ref())?;
        let durability = job.durability();
        match close(&mut self.worker, self.target, &work.transaction, (&records, durability), &job.label()).await? {
            Ok(After::Alive) => {}
            Ok(After::Lost) => self.worker = Self::open_worker(self.target, &self.id).await?,
            Err(failure) => return self.not_closed(job, part, &work.transaction, failure).await,
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
                Direction::Up => {
                    let entry = Entry::Applied { took: spent + took, schema };
                    record::enter(&[(job.migration, entry)], stamp)?
                }
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
        let (Some(expected), Some(before)) = (job.expected, &self.schema) else { return Ok(found) };
        let done = diff(&before.portable(), &found.portable(), expected.level)
            .map_err(|error| StoreError::Invalid(error.to_string()))?;
        let odd =
            done.iter().filter(|one| !expected.differences.contains(one)).map(|one| format!("{one} was not foreseen"));
        let absent = expected.differences.iter().filter(|one| !done.contains(one)).map(|one| format!("not so: {one}"));
        let texts: Vec<String> = odd.chain(absent).take(10).collect();
        if texts.is_empty() {
            return Ok(found);
        }
        Err(StoreError::Refused(format!(
            "{} changes the live schema in another way than in its rehearsal: {}; {}",
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
        transaction: &Transaction,
        failure: Failure,
    ) -> Result<Attempt<'s>, StoreError> {
        self.let_go(&failure).await;
        // The division by zero is ours where the transaction had ended before, and the file's own where it was rolled back now.
        if failure.sqlstate() == Some("22012") && self.worker.fate(transaction).await?.as_deref() != Some("aborted") {
            return Err(ended(job));
        }
        let Failure::Server { sqlstate, message, .. } = &failure else {
            return Err(failure.into_store_error(self.worker.place()));
        };
        let text = format!("{}: at its COMMIT: {message} ({sqlstate}); {}", job.script.file(), job.state(part));
        Err(if is_lock(sqlstate) { StoreError::Conflict(text) } else { StoreError::Refused(text) })
    }
}
