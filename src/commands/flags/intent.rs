//! What a verb wants done: to which flag, by which edit, and whether it asks first.

use crate::app::{Source, Stance};
use crate::domain::flags::{Change, Flag, FlagKey};
use crate::error::Error;

/// Whether a verb asks before it acts on an unprotected profile (DESIGN 2 lists which).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Only on a protected profile.
    Protected,
    /// Always.
    Always,
}

/// The edit for a source, given the states seen there (most frequent first, at least one).
pub type Decide<'a> = Box<dyn Fn(Source, &[Flag]) -> Result<Decision, Error> + Send + Sync + 'a>;

/// What a verb wants done to one flag.
pub struct Intent<'a> {
    /// The flag.
    pub key: FlagKey,
    /// How to do it on each source.
    pub decide: Decide<'a>,
}

/// What to do while another llmhub on this machine writes to the same hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rivals {
    /// Be told: two operators who step at once must not take two rungs.
    Refuse,
    /// Wait: a set operation is decided on what is there then.
    Await,
}

/// What a verb is, for the history and for the question.
#[derive(Clone, Copy)]
pub struct Verb {
    /// Its name.
    pub operation: &'static str,
    /// Whether it asks.
    pub asking: Asking,
    /// Whether it waits.
    pub rivals: Rivals,
}

/// The edit, and what the operator should know about it.
pub struct Decision {
    /// What to do.
    pub change: Change,
    /// Whether a state that nobody saw before may be overwritten even where somebody may be switched on.
    pub stance: Stance,
    /// Said on stderr before the write.
    pub notes: Vec<String>,
    /// The same, but to be looked at.
    pub warnings: Vec<String>,
}

impl Decision {
    /// An edit that needs no comment.
    pub fn new(change: Change) -> Self {
        Self { change, stance: Stance::Careful, notes: Vec::new(), warnings: Vec::new() }
    }

    /// A confirmed whole state, to be put over whatever is there.
    pub fn restoring(change: Change) -> Self {
        Self { stance: Stance::Determined, ..Self::new(change) }
    }
}
