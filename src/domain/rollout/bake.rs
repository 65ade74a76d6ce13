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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flags::ladder::Ladder;
    use crate::domain::rollout::plan::parse;

    /// A plan that bakes for ten minutes and holds for an hour; nothing is measured, so an absence is longer than 5 min.
    fn plan() -> Plan {
        parse("flag = \"f\"\nbake = \"10m\"\napprove = [10, 25, 50, 100]\n", &Ladder::default()).unwrap().plan
    }

    /// A clock that has stood for `stood` seconds of baking, then one tick in `state` by the wall clock and a steady one.
    #[track_caller]
    fn case(name: &str, stood: i64, state: State, (wall, steady): (i64, Option<u64>), after: (Ticked, u64, u64)) {
        let (plan, begin) = (plan(), Timestamp::from_second(1_000_000).unwrap());
        let mut clock = BakeClock::start(begin);
        let mut now = begin;
        for _ in 0..stood / 60 {
            now += jiff::SignedDuration::from_secs(60);
            clock.tick(&plan, State::Baking, now, Some(Duration::from_secs(60)));
        }
        let ticked =
            clock.tick(&plan, state, now + jiff::SignedDuration::from_secs(wall), steady.map(Duration::from_secs));
        assert_eq!((ticked, clock.baked().as_secs(), clock.held().as_secs()), after, "{name}");
    }

    #[test]
    fn only_time_that_is_known_to_have_passed_counts() {
        use State::{AwaitingApproval, Baking, Converging, Evaluating, Holding, Paused};
        use Ticked::{On, Restarted};
        case("both clocks agree", 120, Baking, (60, Some(60)), (On, 180, 0));
        case("the first tick of a process", 120, Baking, (60, None), (On, 180, 0));
        case("the wall clock was set ahead a little", 120, Baking, (200, Some(10)), (On, 130, 0));
        case("the wall clock was set ahead", 120, Baking, (7200, Some(10)), (Restarted, 0, 0));
        case("the wall clock was set back a little", 120, Baking, (-30, Some(60)), (On, 120, 0));
        case("the wall clock was set back", 120, Baking, (-600, Some(60)), (Restarted, 0, 0));
        case("the machine slept", 120, Holding, (3600, Some(5)), (Restarted, 0, 0));
        case("the process was stopped", 120, Evaluating, (3600, Some(3600)), (Restarted, 0, 0));
        case("the clock stood while the process was stopped", 120, Baking, (0, Some(3600)), (Restarted, 0, 0));
        case("away for as long as is allowed", 120, Baking, (300, Some(300)), (On, 420, 0));
        case("paused", 120, Paused, (60, Some(60)), (On, 120, 0));
        case("paused for hours", 120, Paused, (36_000, Some(36_000)), (On, 120, 0));
        case("on its way to the processes", 120, Converging, (60, Some(60)), (On, 120, 0));
        case("held beyond the bake", 600, Holding, (60, Some(60)), (On, 660, 60));
        case("held across the end of the bake", 540, Holding, (100, Some(100)), (On, 640, 40));
        case("waiting for a person is no holding", 600, AwaitingApproval, (60, Some(60)), (On, 660, 0));
    }

    #[test]
    fn a_bake_that_begins_again_does_not_postpone_the_deadline_and_a_person_does() {
        let (plan, begin) = (plan(), Timestamp::from_second(1_000_000).unwrap());
        let mut clock = BakeClock::start(begin);
        for minute in 1..=12 {
            clock.tick(&plan, State::Holding, begin + jiff::SignedDuration::from_mins(minute), None);
        }
        let now = begin + jiff::SignedDuration::from_mins(12);
        clock.restart(now);
        assert_eq!((clock.baked().as_secs(), clock.held().as_secs(), clock.started_at), (0, 120, now));
        assert_eq!(clock.converged_at, begin);
        clock.resume(now);
        assert_eq!(clock.deadline_left(&plan), plan.max_hold);
    }
}
