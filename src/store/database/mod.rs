//! Postgres administration, the I/O half of `llmhub db`: the ledger, the migration lock and the run.
//!
//! What stands in the ledger is what was done: its rows commit with the migrations they speak of.

mod apply;
pub mod backup;
mod effect;
mod engine;
mod history;
mod ledger;
mod lock;
mod observe;
mod record;
mod rehearsal;
pub mod restore;
mod run;
mod sql_error;
mod watch;

pub use apply::{Applied, Failed, Late, Rehearsed, Skipped, Wanted, apply, baseline, rehearse, tables};
pub use history::{LedgerEvent, history};
pub use ledger::{Intent, Ledger, Texts, Unfinished, ledger, texts};
pub use lock::Holder;
pub use run::{LockBudget, Operator, Ran, Run, Undecided};
pub use watch::{Blocked, Blocker, Event, Unwatched, Watch};
