//! Options that every run of migrations takes: which files, and how long to wait.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::super::duration;
use crate::app::{LockBudget, Undecided};

/// Where the migrations are.
#[derive(Debug, Args)]
pub struct Folder {
    /// The folder of migrations instead of the profile's, or of those that are built in
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
}

/// How long to wait.
#[derive(Debug, Args)]
pub struct Tuning {
    /// How long one try waits for a lock, and keeps others waiting
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "200ms")]
    lock_timeout: Duration,
    /// How long to try in all before giving up and naming who is in the way
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    lock_wait: Duration,
    /// How long one statement may take; unlimited without it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    statement_timeout: Option<Duration>,
    /// About a statement that was under way when a run died, after you have looked: it was done, or run it again
    #[arg(long, value_enum, value_name = "WORD")]
    undecided: Option<Word>,
}

/// What the operator found.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Word {
    Done,
    Redo,
}

impl Tuning {
    /// As the run wants it.
    pub fn get(&self) -> crate::app::Tuning {
        crate::app::Tuning {
            locks: LockBudget { each: self.lock_timeout, total: self.lock_wait },
            statement_timeout: self.statement_timeout,
            undecided: match self.undecided {
                None => Undecided::Ask,
                Some(Word::Done) => Undecided::Done,
                Some(Word::Redo) => Undecided::Redo,
            },
        }
    }
}
