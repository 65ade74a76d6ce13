//! Postgres administration, the I/O half of `llmhub db`: the ledger, the migration lock and the run.
//!
//! What stands in the ledger is what was done: its rows commit with the migrations they speak of.

mod fingerprint;
mod ledger;
mod lock;
mod run;

pub use fingerprint::fingerprint;
pub use ledger::{LedgerEntry, applied};
pub use lock::Holder;
pub use run::{Applied, AppliedNow, Operator, Run, apply, apply_embedded};
