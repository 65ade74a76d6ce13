//! Postgres administration, the I/O half of `llmhub db`: the ledger, the migration lock, the run, seeds and test databases.
//!
//! What stands in the ledger is what was done: its rows commit with the migrations they speak of.

mod ledger;
mod lock;
mod maintenance;
mod run;
mod seed;
mod template;
mod test_database;

pub use ledger::{LedgerEntry, applied};
pub use lock::Holder;
pub use run::{Applied, AppliedNow, Operator, Run, apply, apply_embedded};
pub use seed::{Effect, Seeded, seed};
pub use test_database::{Existing, Made, Origin, Outcome, Recipe, Reuse, Standing, TestServer};
