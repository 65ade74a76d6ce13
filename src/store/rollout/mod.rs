//! The state of gated rollouts: who may act, what was meant, what was written, what was measured.
//!
//! One trait, [`RunStore`], over two places: Postgres, and a folder of this machine for a profile without a database. Every
//! write of state carries the fence of a lease, and fails with [`StoreError::Fenced`] once somebody has a higher one.

mod file;
mod lease;
mod postgres;
mod record;

use async_trait::async_trait;

pub use self::file::FileRuns;
pub use self::lease::{Acquired, Bumped, Claim, Grant, Lease, Timing};
pub use self::postgres::PostgresRuns;
pub use self::record::{
    Commit, Direction, End, EventRecord, MeasurementRecord, NewEvent, NewRun, Request, RunId, RunRecord, StepRecord,
    StepWrite, Stored, Wish, broken_at,
};
use crate::domain::flags::FlagKey;
use crate::store::StoreError;

/// Where the state of rollouts lives, for one profile.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Where that is, for messages.
    fn place(&self) -> String;

    /// The lease of a flag; `None` where no rollout ever left a trace. Nothing is created by looking.
    async fn lease(&self, flag: &FlagKey) -> Result<Option<Lease>, StoreError>;

    /// Ask for the lease; creates what the state needs.
    async fn acquire(&self, flag: &FlagKey, holder: &str, claim: &Claim) -> Result<Acquired, StoreError>;

    /// Lengthen the lease, which also proves that the fence is still ours.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    async fn renew(&self, grant: &Grant) -> Result<Grant, StoreError>;

    /// Give the lease back; somebody else's is left alone.
    async fn release(&self, grant: &Grant) -> Result<(), StoreError>;

    /// Raise the fence without a lease, for an emergency: whoever holds one can write no state any more. Where no rollout ever
    /// left a trace nothing is created.
    async fn bump_fence(&self, flag: &FlagKey, who: &str, reason: &str) -> Result<Bumped, StoreError>;

    /// The newest run of a flag; `None` where there never was one. Nothing is created by looking.
    async fn read(&self, flag: &FlagKey) -> Result<Option<Stored>, StoreError>;

    /// Begin a run.
    ///
    /// # Errors
    /// [`StoreError::Fenced`]; [`StoreError::Conflict`] when another run of this flag is open.
    async fn begin(&self, grant: &Grant, run: &NewRun) -> Result<(), StoreError>;

    /// Write state, whole or not at all.
    ///
    /// # Errors
    /// [`StoreError::Fenced`]: then nothing was written.
    async fn commit(&self, grant: &Grant, run: &RunId, commit: &Commit) -> Result<(), StoreError>;

    /// Ask something of a run, whoever holds it.
    async fn ask(&self, flag: &FlagKey, run: &RunId, request: &Ask) -> Result<(), StoreError>;

    /// What is asked and not answered yet, in order.
    async fn requests(&self, flag: &FlagKey, run: &RunId) -> Result<Vec<Request>, StoreError>;
}

/// What somebody asks of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub wish: Wish,
    /// Who, `user@host`.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
}

/// How many measurements a look brings along.
const SHOWN: usize = 200;
