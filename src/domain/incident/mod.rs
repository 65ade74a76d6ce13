//! An emergency: the runbook as data, what its steps come to, and the report of it (rollout.md 7).
//!
//! Pure rules. What was read, written and measured comes in as values; the runner, `--dry-run`, the journal and the report all
//! speak of the same steps.

pub mod document;
pub mod journal;
pub mod messages;
pub mod outcome;
pub mod report;
pub mod runbook;

pub use self::document::{Entry, Evidence, Held, Incident, Page, PageState};
pub use self::outcome::{Ends, Exit, Kept, Outcome, Processes, Restart, Running, Undone, Word, outcome};
pub use self::runbook::{Budget, RUNBOOK, Step, StepId};
