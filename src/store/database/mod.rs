//! Postgres administration, the I/O half of `llmhub db`: the ledger, the migration lock, the run, and what proves a rollback
//! before it runs.
//!
//! What stands in the ledger is what was done: its rows commit with the migrations they speak of.

mod fingerprint;
mod ledger;
mod lock;
mod loss;
mod rehearse;
mod run;
mod scratch;
mod stage;

pub use fingerprint::fingerprint;
pub use ledger::{LedgerEntry, applied};
pub use lock::Holder;
pub use loss::{Loss, count_losses};
pub use rehearse::{Rehearsal, Rehearsed, Restore, Reversal, Schema, Step, rehearse};
pub use run::{Applied, AppliedNow, Operator, Run, apply, apply_embedded};
pub use scratch::Scratch;
