//! The state of rollouts in a folder of this machine, for a profile without a database.
//!
//! One document for each flag, replaced atomically under a file lock that the kernel gives back when its holder dies. The
//! lease and its fence are the same as in a database, by this machine's clock. A network file system is refused: there a
//! lock on one host may not be seen on another.

mod document;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::json;

use self::document::{Access, Document, FileRun};
use super::lease::{Acquired, Bumped, Claim, Grant, Lease, Timing, moment};
use super::record::{
    Commit, End, EventRecord, NewEvent, NewRun, Request, RunId, RunRecord, StepRecord, StepWrite, Stored,
};
use super::{Ask, RunStore, SHOWN};
use crate::domain::flags::FlagKey;
use crate::store::StoreError;

/// The rollouts of one profile on this machine.
#[derive(Clone, Debug)]
pub struct FileRuns {
    folder: PathBuf,
    timing: Timing,
    clock: fn() -> SystemTime,
}

impl FileRuns {
    /// The state in `folder`, which need not exist; `clock` is the wall clock, because the files outlive the process.
    pub fn new(folder: PathBuf, timing: Timing, clock: fn() -> SystemTime) -> Self {
        Self { folder, timing, clock }
    }

    /// Microseconds since 1970.
    fn now(&self) -> i64 {
        let since = (self.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    /// The document of a flag, locked for a change; created where it is missing.
    fn create(&self, flag: &FlagKey) -> Result<Access, StoreError> {
        Access::create(&self.folder.join(flag.as_str()))
    }

    /// The document, locked, in which the fence of `grant` is the highest; and the time.
    fn fenced(&self, grant: &Grant) -> Result<(Access, i64), StoreError> {
        let access = self.create(&grant.flag)?;
        access.document.lease.check(grant)?;
        Ok((access, self.now()))
    }

    /// The same, if there is one.
    fn change(&self, flag: &FlagKey) -> Result<Option<Access>, StoreError> {
        let folder = self.folder.join(flag.as_str());
        if Document::read(&folder)?.is_none() {
            return Ok(None);
        }
        Access::create(&folder).map(Some)
    }
}

impl FileRun {
    fn new(new: &NewRun, now: i64) -> Self {
        let record = RunRecord {
            id: new.id.clone(),
            plan: new.plan.clone(),
            plan_digest: new.plan_digest.clone(),
            snapshot: new.snapshot.clone(),
            state: new.state.clone(),
            progress: new.progress.clone(),
            started_by: new.started_by.clone(),
            started_at: moment(now),
            updated_at: moment(now),
            ended_at: None,
        };
        let (steps, measurements) = (Vec::new(), Vec::new());
        Self { record, steps, measurements, events: Vec::new(), requests: Vec::new(), asked: 0 }
    }

    fn append(&mut self, actor: &str, now: i64, events: &[NewEvent]) {
        for event in events {
            let last = self.events.last().map(|event| (event.number, event.hash.clone()));
            self.events.push(EventRecord::after(&self.record.id, last, now, actor, event));
        }
    }

    fn take_in(&mut self, actor: &str, commit: &Commit, now: i64) {
        self.record.state = commit.state.clone();
        self.record.progress = commit.progress.clone();
        self.record.updated_at = moment(now);
        self.record.ended_at = (commit.end == End::Closed).then(|| moment(now));
        for step in &commit.steps {
            match step {
                StepWrite::Intent { number, rung, direction, before, wanted } => self.steps.push(StepRecord {
                    number: *number,
                    rung: *rung,
                    direction: *direction,
                    digest_before: before.clone(),
                    digest_wanted: wanted.clone(),
                    intent_at: moment(now),
                    applied_at: None,
                    converged_at: None,
                }),
                StepWrite::Applied { number } => {
                    if let Some(step) = self.steps.iter_mut().find(|step| step.number == *number) {
                        step.applied_at = step.applied_at.or(Some(moment(now)));
                        step.converged_at = Some(moment(now));
                    }
                }
            }
        }
        self.measurements.extend(commit.measurements.iter().cloned());
        self.requests.retain(|request| !commit.answered.contains(&request.id));
        self.append(actor, now, &commit.events);
    }
}

#[async_trait]
impl RunStore for FileRuns {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    async fn lease(&self, flag: &FlagKey) -> Result<Option<Lease>, StoreError> {
        let document = Document::read(&self.folder.join(flag.as_str()))?;
        Ok(document.map(|document| document.lease.at(self.now())))
    }

    async fn acquire(&self, flag: &FlagKey, holder: &str, claim: &Claim) -> Result<Acquired, StoreError> {
        let mut access = self.create(flag)?;
        let acquired = access.document.lease.acquire(flag, holder, claim, self.now(), self.timing.ttl);
        if matches!(acquired, Acquired::Granted(_)) {
            access.keep()?;
        }
        Ok(acquired)
    }

    async fn renew(&self, grant: &Grant) -> Result<Grant, StoreError> {
        let mut access = self.create(&grant.flag)?;
        let renewed = access.document.lease.renew(grant, self.now(), self.timing.ttl)?;
        access.keep()?;
        Ok(renewed)
    }

    async fn release(&self, grant: &Grant) -> Result<(), StoreError> {
        let Some(mut access) = self.change(&grant.flag)? else { return Ok(()) };
        access.document.lease.release(grant, self.now());
        access.keep()
    }

    async fn bump_fence(&self, flag: &FlagKey, who: &str, reason: &str) -> Result<Bumped, StoreError> {
        let Some(mut access) = self.change(flag)? else {
            return Ok(Bumped { fence: 0, was_held_by: None, left: Duration::ZERO });
        };
        let now = self.now();
        let bumped = access.document.lease.bump(now);
        if let Some(run) = access.document.run.as_mut().filter(|run| run.record.ended_at.is_none()) {
            let details = json!({"reason": reason, "fence": bumped.fence});
            run.append(who, now, &[NewEvent { kind: "fenced", details }]);
        }
        access.keep()?;
        Ok(bumped)
    }

    async fn read(&self, flag: &FlagKey) -> Result<Option<Stored>, StoreError> {
        let Some(document) = Document::read(&self.folder.join(flag.as_str()))? else { return Ok(None) };
        let Some(mut run) = document.run else { return Ok(None) };
        let now = self.now();
        let older = run.measurements.len().saturating_sub(SHOWN);
        run.measurements.drain(..older);
        Ok(Some(Stored {
            run: run.record,
            lease: document.lease.at(now),
            steps: run.steps,
            measurements: run.measurements,
            events: run.events,
            requests: run.requests,
            now: moment(now),
        }))
    }

    async fn begin(&self, grant: &Grant, new: &NewRun) -> Result<(), StoreError> {
        let (mut access, now) = self.fenced(grant)?;
        match access.document.run.take() {
            Some(open) if open.record.ended_at.is_none() => {
                return Err(StoreError::Conflict(format!(
                    "run {} of `{}` is still open; nothing was written",
                    open.record.id.as_str(),
                    grant.flag
                )));
            }
            Some(ended) => access.archive(&ended)?,
            None => {}
        }
        let mut run = FileRun::new(new, now);
        run.append(&grant.holder, now, &new.events);
        access.document.run = Some(run);
        access.keep()
    }

    async fn commit(&self, grant: &Grant, id: &RunId, commit: &Commit) -> Result<(), StoreError> {
        let (mut access, now) = self.fenced(grant)?;
        let run = access.document.run.as_mut().filter(|run| run.record.id == *id && run.record.ended_at.is_none());
        let run =
            run.ok_or_else(|| StoreError::Conflict(format!("run {} has come to its end already", id.as_str())))?;
        run.take_in(&grant.holder, commit, now);
        access.keep()
    }

    async fn ask(&self, flag: &FlagKey, id: &RunId, ask: &Ask) -> Result<i64, StoreError> {
        let (access, now) = (self.change(flag)?, self.now());
        let gone = || StoreError::Conflict(format!("run {} is not there any more", id.as_str()));
        let mut access = access.ok_or_else(gone)?;
        let run = access.document.run.as_mut().filter(|run| run.record.id == *id).ok_or_else(gone)?;
        run.asked += 1;
        let number = run.asked;
        let (actor, reason) = (ask.actor.clone(), ask.reason.clone());
        run.requests.push(Request { id: number, wish: ask.wish, actor, reason, asked_at: moment(now) });
        access.keep()?;
        Ok(number)
    }

    async fn requests(&self, flag: &FlagKey, id: &RunId) -> Result<Vec<Request>, StoreError> {
        let document = Document::read(&self.folder.join(flag.as_str()))?;
        let run = document.and_then(|document| document.run).filter(|run| run.record.id == *id);
        Ok(run.map(|run| run.requests).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &std::path::Path) -> FileRuns {
        FileRuns::new(folder.join("rollouts"), Timing::default(), SystemTime::now)
    }

    fn flag() -> FlagKey {
        "unified_llm_hub".parse().unwrap()
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn looking_and_an_emergency_create_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        assert_eq!(run(store.lease(&flag())).unwrap(), None);
        assert_eq!(run(store.bump_fence(&flag(), "ana", "smoke")).unwrap().fence, 0);
        assert!(!folder.path().join("rollouts").exists());
    }

    #[test]
    fn a_lease_is_seen_by_another_process_and_ended_by_an_emergency() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (store(folder.path()), store(folder.path()));
        let Acquired::Granted(grant) = run(one.acquire(&flag(), "ana", &Claim::WhenFree)).unwrap() else { panic!() };
        assert!(matches!(run(other.acquire(&flag(), "ben", &Claim::WhenFree)).unwrap(), Acquired::Held(_)));
        let bumped = run(other.bump_fence(&flag(), "ben", "smoke")).unwrap();
        assert_eq!(bumped.was_held_by.map(|(holder, _)| holder).as_deref(), Some("ana"));
        assert!(matches!(run(one.renew(&grant)), Err(StoreError::Fenced(_))));
    }

    #[test]
    fn a_damaged_document_is_an_error_and_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        run(store.acquire(&flag(), "ana", &Claim::WhenFree)).unwrap();
        let path = folder.path().join("rollouts/unified_llm_hub/state.json");
        std::fs::write(&path, "{half").unwrap();
        assert!(matches!(run(store.acquire(&flag(), "ana", &Claim::WhenFree)), Err(StoreError::Invalid(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{half");
    }
}
