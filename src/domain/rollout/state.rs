//! The states of a run and the ways between them (rollout.md 5).
//!
//! A run that was rolled back, completed or kept never moves again: a new run is needed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a run stands. The words are stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Recorded, nothing written.
    Planned,
    /// A rung's value is being written.
    Applying,
    /// Written; the processes are being brought to it.
    Converging,
    /// All hold it; its time runs.
    Baking,
    /// Its time is over; what is measured decides.
    Evaluating,
    /// Something keeps it from going up.
    Holding,
    /// It waits for a person to resume it.
    Paused,
    /// It waits for a person to promote it.
    AwaitingApproval,
    /// Somebody else edited the flag.
    Conflict,
    /// The way back is being written.
    RollingBack,
    /// Back, and verified.
    RolledBack,
    /// Back as far as is known; some process is not proven.
    RollbackUnverified,
    /// At 100 %, baked and passed.
    Completed,
    /// Its lease ran out and nobody took it over; shown, never stored by the run itself.
    Abandoned,
    /// Ended by a person, exposure kept.
    AbortedKept,
}

/// All states, in the order of a run.
pub const STATES: [State; 15] = [
    State::Planned,
    State::Applying,
    State::Converging,
    State::Baking,
    State::Evaluating,
    State::Holding,
    State::Paused,
    State::AwaitingApproval,
    State::Conflict,
    State::RollingBack,
    State::RolledBack,
    State::RollbackUnverified,
    State::Completed,
    State::Abandoned,
    State::AbortedKept,
];

impl State {
    /// The word that is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Applying => "applying",
            Self::Converging => "converging",
            Self::Baking => "baking",
            Self::Evaluating => "evaluating",
            Self::Holding => "holding",
            Self::Paused => "paused",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Conflict => "conflict",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::RollbackUnverified => "rollback_unverified",
            Self::Completed => "completed",
            Self::Abandoned => "abandoned",
            Self::AbortedKept => "aborted_kept",
        }
    }

    /// Whether the run never moves again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::RolledBack | Self::RollbackUnverified | Self::Completed | Self::AbortedKept)
    }

    /// Whether gates are measured and decided on. They are while a person is waited for: a Fail there still rolls back.
    pub fn is_measured(self) -> bool {
        matches!(
            self,
            Self::Baking | Self::Evaluating | Self::Holding | Self::Paused | Self::AwaitingApproval | Self::Conflict
        )
    }

    /// Whether a run may go from this state to that one. Staying is no transition.
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (from, to) if from == to || from.is_terminal() => false,
            // Somebody takes an abandoned run over: it goes on wherever what is live says that it stood.
            (Self::Abandoned, to) => to != Self::Planned,
            (_, Self::Abandoned | Self::AbortedKept | Self::Conflict | Self::RollingBack | Self::Paused) => {
                // A way back that has begun is finished, not paused and not kept.
                self != Self::RollingBack || next == Self::Abandoned || next == Self::Conflict
            }
            (Self::Planned, Self::Applying) | (Self::Applying, Self::Converging) | (Self::Converging, Self::Baking) => {
                true
            }
            // A write that a restart undid is made again.
            (Self::Converging, Self::Applying) => true,
            (from, Self::Baking | Self::Evaluating | Self::Holding | Self::AwaitingApproval) => from.is_measured(),
            // From a pause or a conflict the fan-out of a rung may have to be finished first.
            (Self::Paused | Self::Conflict, Self::Converging) => true,
            (Self::Baking | Self::Holding | Self::AwaitingApproval, Self::Converging) => true,
            // A bake that ends with all passes there is evaluated in the same moment.
            (Self::Baking | Self::Evaluating | Self::Holding | Self::AwaitingApproval, Self::Completed) => true,
            (from, Self::Applying) => from.is_measured(),
            (Self::RollingBack, Self::RolledBack | Self::RollbackUnverified) => true,
            _ => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_has_ended_never_moves_again() {
        for from in STATES.into_iter().filter(|state| state.is_terminal()) {
            assert!(STATES.into_iter().all(|to| !from.may_become(to)), "{from}");
        }
    }

    #[test]
    fn a_run_goes_the_ways_of_the_table_and_no_other() {
        use State::{
            Abandoned, AbortedKept, Applying, AwaitingApproval, Baking, Completed, Conflict, Converging, Evaluating,
            Holding, Paused, Planned, RolledBack, RollingBack,
        };
        let way = [Planned, Applying, Converging, Baking, Evaluating, Applying];
        assert!(way.windows(2).all(|pair| pair[0].may_become(pair[1])));
        for waiting in [Holding, Paused, AwaitingApproval] {
            assert!(Evaluating.may_become(waiting) && waiting.may_become(Evaluating), "{waiting}");
        }
        for from in STATES.into_iter().filter(|state| !state.is_terminal()) {
            assert!(from == Abandoned || from.may_become(Abandoned), "{from}");
            assert!(from == Conflict || from.may_become(Conflict), "{from}");
            assert!(from == RollingBack || from.may_become(RollingBack), "{from}");
        }
        assert!(Evaluating.may_become(Completed));
        for (from, to) in [
            (Planned, Baking),
            (Planned, Completed),
            (Applying, Completed),
            (Converging, Completed),
            (Paused, Completed),
            (Baking, RolledBack),
            (RollingBack, Paused),
            (RollingBack, AbortedKept),
            (RollingBack, Applying),
            (Baking, Baking),
        ] {
            assert!(!from.may_become(to), "{from} → {to}");
        }
    }

    #[test]
    fn the_words_are_those_that_are_stored() {
        for state in STATES {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
    }
}
