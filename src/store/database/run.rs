//! How migrations are run: by whom, with how much patience, watched by whom, and until when.

use std::time::Duration;

use serde::Serialize;

use super::watch::{Unwatched, Watch};
use crate::store::{Stop, StoreError};

/// Who runs llmhub, for the ledger and for a rival that waits.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The operating system's user.
    pub user: String,
    /// The machine.
    pub host: String,
}

/// How long a run stands in the queue of a lock, and so keeps others waiting (migrations.md 2.2).
#[derive(Clone, Copy, Debug)]
pub struct LockBudget {
    /// For one try, after which everything is let go.
    pub each: Duration,
    /// For all tries of one transaction together, pauses included.
    pub total: Duration,
}

impl Default for LockBudget {
    fn default() -> Self {
        Self { each: Duration::from_millis(200), total: Duration::from_secs(30) }
    }
}

/// Between half and all of a pause, so that rivals do not meet again.
pub(super) fn jittered(pause: Duration) -> Duration {
    // Without randomness the pause itself is as good.
    let share = getrandom::u32().map_or(1.0, |random| 0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0);
    pause.mul_f64(share)
}

/// What to do about a part that ran outside of a transaction when its run died, where the catalog cannot tell whether it
/// ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// Stop and ask.
    Ask,
    /// The operator has looked: it was done.
    Done,
    /// The operator has looked: run it again.
    Redo,
}

/// How to run.
pub struct Run<'a> {
    /// Who runs it.
    pub operator: Operator,
    /// Why, if they said.
    pub reason: Option<String>,
    /// How long to wait for another run, or for the remains of one.
    pub patience: Duration,
    /// How long to wait for locks.
    pub locks: LockBudget,
    /// How long one statement may take, if there is a limit.
    pub statement_timeout: Option<Duration>,
    /// What the operator says of an undecided part.
    pub undecided: Undecided,
    /// Who is told what happens.
    pub watch: &'a dyn Watch,
    /// The wish that it end.
    pub stop: Stop,
}

impl Run<'static> {
    /// A run that nobody watches and nobody ends, with the usual limits.
    pub fn new(operator: Operator, patience: Duration) -> Self {
        Self {
            operator,
            reason: None,
            patience,
            locks: LockBudget::default(),
            statement_timeout: None,
            undecided: Undecided::Ask,
            watch: &Unwatched,
            stop: Stop::never(),
        }
    }
}

/// One migration that a run has brought to its end, either way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ran {
    /// As in its file name.
    pub version: String,
    /// As in its file name.
    pub name: String,
    /// How long its statements took, in milliseconds.
    pub duration_ms: i64,
}

/// The name of a run in the ledger and in the server's list of sessions: 16 hexadecimal digits.
#[derive(Clone, Debug)]
pub(super) struct RunId(String);

impl RunId {
    pub(super) fn random() -> Result<Self, StoreError> {
        let number = getrandom::u64()
            .map_err(|error| StoreError::Local(format!("the system gives no random numbers: {error}")))?;
        Ok(Self(format!("{number:016x}")))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
