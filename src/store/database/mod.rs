//! Postgres administration, the I/O half of `llmhub db`: the ledger, the migration lock and the run.
//!
//! What stands in the ledger is what was done: its rows commit with the migrations they speak of.

pub mod backup;
mod ledger;
mod lock;
pub mod restore;
mod run;

pub use ledger::{LedgerEntry, applied};
pub use lock::Holder;
pub use run::{Applied, AppliedNow, Operator, Run, apply, apply_embedded};
