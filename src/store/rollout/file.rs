//! The state of rollouts in a folder of this machine, for a profile without a database.
//!
//! One document for each flag, replaced atomically under a file lock that the kernel gives back when its holder dies. The
//! lease and its fence are the same as in a database, by this machine's clock. A network file system is refused: there a
//! lock on one host may not be seen on another.

mod document;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use self::document::{Access, Document};
use super::RunStore;
use super::lease::{Acquired, Bumped, Claim, Grant, Lease, Timing};
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

    /// The same, if there is one.
    fn change(&self, flag: &FlagKey) -> Result<Option<Access>, StoreError> {
        let folder = self.folder.join(flag.as_str());
        if Document::read(&folder)?.is_none() {
            return Ok(None);
        }
        Access::create(&folder).map(Some)
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

    async fn bump_fence(&self, flag: &FlagKey, _who: &str, _reason: &str) -> Result<Bumped, StoreError> {
        let Some(mut access) = self.change(flag)? else {
            return Ok(Bumped { fence: 0, was_held_by: None, left: Duration::ZERO });
        };
        let bumped = access.document.lease.bump(self.now());
        access.keep()?;
        Ok(bumped)
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
