//! The bake clock: how long a rung has stood, and how long it has been held beyond that (rollout.md 5, Bake clock).
//!
//! It counts only time that is known to have passed on a converged rung with the controller present. When clocks disagree the
//! smaller span counts, so that no jump ends a bake early.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::state::State;

/// What became of the clock at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticked {
    /// It went on.
    On,
    /// The controller was away for too long, or a clock jumped: the bake began again.
    Restarted,
}

/// How long one rung has stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BakeClock {
    /// When all processes first held the rung's value.
    pub converged_at: Timestamp,
    /// When the bake began, or began again last. Windows that count begin no earlier.
    pub started_at: Timestamp,
    /// Milliseconds that count towards the bake.
    baked_ms: u64,
    /// Milliseconds that count towards the deadline: held after the bake.
    held_ms: u64,
    /// The last time it was looked at.
    ticked_at: Timestamp,
}

impl BakeClock {
    /// A clock that starts at convergence.
    pub fn start(converged_at: Timestamp) -> Self {
        Self { converged_at, started_at: converged_at, baked_ms: 0, held_ms: 0, ticked_at: converged_at }
    }

    /// Begin again: a process restarted or appeared, or a conflict ended. What was held counts on.
    pub fn restart(&mut self, at: Timestamp) {
        self.started_at = at;
        self.ticked_at = at;
        self.baked_ms = 0;
    }

    /// A person resumed the run: the deadline counts from here.
    pub fn resume(&mut self, now: Timestamp) {
        self.held_ms = 0;
        self.ticked_at = now;
    }

    /// Count the time since the last tick, spent in `state`. `monotonic` is the same span by a clock that never jumps; `None` for
    /// the first tick of a process, which has no such clock for the time before it.
    pub fn tick(&mut self, plan: &Plan, state: State, now: Timestamp, monotonic: Option<Duration>) -> Ticked {
        let wall = Duration::try_from(now.duration_since(self.ticked_at)).unwrap_or(Duration::ZERO);
        // A machine that slept shows it only on the wall clock, a clock set back only on the other.
        let longest = monotonic.map_or(wall, |monotonic| monotonic.max(wall));
        let shortest = monotonic.map_or(wall, |monotonic| monotonic.min(wall));
        if longest > plan.longest_absence() && state.is_measured() && state != State::Paused {
            self.restart(now);
            return Ticked::Restarted;
        }
        // A clock that was set back: windows from before it would lie in the future.
        let went_back = now < self.started_at;
        self.ticked_at = now;
        if went_back {
            self.restart(now);
            return Ticked::Restarted;
        }
        let passed = u64::try_from(shortest.as_millis()).unwrap_or(u64::MAX);
        let left = u64::try_from(self.left(plan).as_millis()).unwrap_or(u64::MAX);
        match state {
            State::Baking | State::Evaluating | State::Holding | State::AwaitingApproval => {
                self.baked_ms = self.baked_ms.saturating_add(passed);
                // Waiting for a person is no holding.
                if state != State::AwaitingApproval {
                    self.held_ms = self.held_ms.saturating_add(passed.saturating_sub(left));
                }
            }
            _ => {}
        }
        Ticked::On
    }

    /// What counts towards the bake.
    pub fn baked(&self) -> Duration {
        Duration::from_millis(self.baked_ms)
    }

    /// What is left of the bake; zero when it is over.
    pub fn left(&self, plan: &Plan) -> Duration {
        plan.bake.saturating_sub(self.baked())
    }

    /// What counts towards the deadline.
    pub fn held(&self) -> Duration {
        Duration::from_millis(self.held_ms)
    }

    /// What is left until the deadline.
    pub fn deadline_left(&self, plan: &Plan) -> Duration {
        plan.max_hold.saturating_sub(self.held())
    }
}
