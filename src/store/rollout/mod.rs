//! The state of gated rollouts: who may act, what was meant, what was written, what was measured.
//!
//! One trait, [`RunStore`], over two places: Postgres, and a folder of this machine for a profile without a database. Every
//! write of state carries the fence of a lease, and fails with [`StoreError::Fenced`] once somebody has a higher one.

mod file;
mod lease;
mod postgres;

use async_trait::async_trait;

pub use self::file::FileRuns;
pub use self::lease::{Acquired, Bumped, Claim, Grant, Lease, Timing};
pub use self::postgres::PostgresRuns;
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
}
