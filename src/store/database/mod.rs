//! Postgres administration, the I/O half of `llmhub db`: the ledger, the migration lock, the run, what proves a rollback before
//! it runs, backups, seeds and test databases.
//!
//! What stands in the ledger is what was done: its rows commit with the migrations they speak of.

mod apply;
pub mod backup;
mod dry_run;
mod effect;
mod engine;
mod fingerprint;
mod foreign_ledger;
mod history;
mod ledger;
mod literal;
mod lock;
mod loss;
mod maintenance;
mod observe;
mod proofs;
mod record;
mod recorded;
mod rehearse;
pub mod restore;
mod rollback;
mod run;
mod scratch;
mod seed;
mod sentinel;
mod sql_error;
mod stage;
mod template;
mod test_database;
mod trial;
mod verify;
mod watch;

pub use apply::{Applied, Failed, Late, Wanted, apply, baseline, tables};
pub use dry_run::{DryRun, Skipped, dry_run};
pub use engine::Change;
pub use fingerprint::fingerprint;
pub use foreign_ledger::{ForeignTable, Handover, adopt, foreign_rows, foreign_tables};
pub use history::{LedgerEvent, history};
pub use ledger::{Intent, Ledger, Texts, Unfinished, ledger, texts};
pub use lock::Holder;
pub use loss::{Loss, count_losses};
pub use proofs::{keep_proofs, read_proofs};
pub use recorded::{Moment, Observed, Recorded, State, observe};
pub use rehearse::{Rehearsal, Rehearsed, Restore, Schema, Step, rehearse};
pub use rollback::{RolledBack, Undo, rollback};
pub use run::{LockBudget, Operator, Ran, Run, Undecided};
pub use scratch::{Rights, Scratch};
pub use seed::{Effect, Seeded, seed};
pub use sentinel::{Planted, Sentinels};
pub use test_database::{Existing, Made, Origin, Outcome, Recipe, Reuse, Standing, TestServer};
pub use trial::try_out;
pub use verify::{Deviation, Examined, How, Seen, verify};
pub use watch::{Blocked, Blocker, Event, Unwatched, Watch};
