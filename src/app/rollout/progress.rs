//! What a run remembers beside its plan and its snapshot: where it stands, what was counted, what was decided last.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::targets::Known;
use crate::domain::flags::Percent;
use crate::domain::rollout::bake::BakeClock;
use crate::domain::rollout::counters::Counters;
use crate::domain::rollout::decide::{Approval, Cause, Decision};
use crate::domain::rollout::next_event::NextEvent;
use crate::domain::rollout::reach::Reach;
use crate::domain::rollout::state::State;
use crate::store::rollout::Wish;

/// How many values a gate shows as its history.
const SPARKS: usize = 16;

/// The memory of a run. Its names are the format of what is stored: a new one needs a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Grows by one with every write, so that a write whose answer was lost can be recognised.
    pub sequence: u64,
    /// The rungs that it began with.
    pub steps: Vec<u8>,
    /// Where it stands.
    pub state: State,
    /// The number of the newest step.
    pub step: i64,
    /// The rung that stands or is being written; none before the first.
    pub rung: Option<u8>,
    /// When the run set out for this rung.
    pub entered_at: Option<Timestamp>,
    /// Whether the newest step was written, verified and kept.
    pub applied: bool,
    /// How long the rung has stood.
    pub bake: Option<BakeClock>,
    /// What was counted on this rung.
    pub counters: BTreeMap<String, Counters>,
    /// The newest values of each metric on this rung, oldest first.
    pub history: BTreeMap<String, Vec<Option<f64>>>,
    /// Whom each step reaches, where the users were given.
    #[serde(default)]
    pub reach: Vec<Reach>,
    /// Each metric in the hour before rung 0.
    pub baseline: BTreeMap<String, f64>,
    /// Windows that count towards an advance begin no earlier.
    pub measured_since: Option<Timestamp>,
    /// When the newest decision was made.
    pub decided_at: Option<Timestamp>,
    /// Whether a person let this rung go.
    pub promoted: bool,
    /// What is known of the processes.
    pub live: Option<Known>,
    /// Whether every persistent source was read back equal; none before the first rung.
    pub persisted: Option<bool>,
    /// What was decided last.
    pub decision: Option<Decision>,
    /// What is waited for.
    pub next: Option<NextEvent>,
    /// Why it goes back, once it does.
    pub going_back: Option<String>,
    /// What is not proven of the way back.
    pub unproven: Vec<String>,
    /// The exit status of the way back, once it is over.
    pub back_status: Option<u8>,
    /// Whether the process that held it left between two decisions of its own accord.
    pub left_cleanly: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            sequence: 0,
            steps: Vec::new(),
            state: State::Planned,
            step: 0,
            rung: None,
            entered_at: None,
            applied: false,
            bake: None,
            counters: BTreeMap::new(),
            history: BTreeMap::new(),
            reach: Vec::new(),
            baseline: BTreeMap::new(),
            measured_since: None,
            decided_at: None,
            promoted: false,
            live: None,
            persisted: None,
            decision: None,
            next: None,
            going_back: None,
            unproven: Vec::new(),
            back_status: None,
            left_cleanly: false,
        }
    }
}

impl Progress {
    /// The rung that stands or is being written.
    pub fn rung(&self) -> Option<Percent> {
        self.rung.and_then(|rung| Percent::try_from(i64::from(rung)).ok())
    }

    /// Whether a person let this rung go.
    pub fn approval(&self) -> Approval {
        if self.promoted { Approval::Given } else { Approval::Missing }
    }

    /// A new rung begins: nothing that was counted on another one says anything about it.
    pub fn enter(&mut self, rung: Percent, now: Timestamp) {
        self.step += 1;
        self.rung = Some(rung.get());
        self.entered_at = Some(now);
        self.applied = false;
        self.promoted = false;
        self.bake = None;
        self.counters.clear();
        self.history.clear();
        self.decision = None;
        self.next = None;
        self.persisted = None;
    }

    /// The bake begins again, and with it everything that has to be measured before the rung is left.
    pub fn begin_bake_again(&mut self, now: Timestamp) {
        if let Some(bake) = &mut self.bake {
            bake.restart(now);
        }
        self.measured_since = Some(now);
        self.counters.values_mut().for_each(Counters::restart);
    }

    /// A person resumed the run: what led to the pause is forgiven, and a full window is measured before it goes up. After a
    /// conflict the bake begins again too: what stood meanwhile was not this run's.
    pub fn take_up_again(&mut self, now: Timestamp) {
        if self.state == State::Conflict {
            self.begin_bake_again(now);
        }
        if matches!(self.state, State::Paused | State::Conflict) {
            self.state = if self.applied { State::Baking } else { State::Applying };
        }
        self.counters.values_mut().for_each(Counters::forgive);
        self.measured_since = Some(now);
        if let Some(bake) = &mut self.bake {
            bake.resume(now);
        }
    }

    /// A person lets a rung go. Who asked before the run set out for this one meant the one before, which somebody else has
    /// promoted meanwhile: two people at once are one step. Returns the word for the history.
    pub fn promote(&mut self, asked_at: Timestamp) -> &'static str {
        if self.entered_at.is_some_and(|entered| asked_at < entered) {
            return "promoted_before";
        }
        self.promoted = true;
        "promoted"
    }

    /// What a person wishes of a run that nobody drives. Returns the word for the history; `None` where the run is on its way
    /// back, which is finished and neither paused nor promoted.
    pub fn mark(&mut self, wish: Wish, now: Timestamp) -> Option<&'static str> {
        if self.state == State::RollingBack || self.state.is_terminal() {
            return None;
        }
        match wish {
            Wish::Pause => {
                self.state = State::Paused;
                Some("paused")
            }
            Wish::Resume => {
                self.take_up_again(now);
                Some("resumed")
            }
            Wish::Promote => {
                self.promoted = true;
                // What was decided before the promotion waits for it no longer.
                if let Some(decision) = &mut self.decision {
                    decision.reasons.retain(|reason| reason.cause != Cause::Approval);
                }
                Some("promoted")
            }
            // These end a run, which takes whoever ends it to drive it.
            Wish::Abort | Wish::AbortKeep => None,
        }
    }

    /// Remember a value for the eye.
    pub fn spark(&mut self, metric: &str, value: Option<f64>) {
        let history = self.history.entry(metric.to_owned()).or_default();
        history.push(value);
        let older = history.len().saturating_sub(SPARKS);
        history.drain(..older);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_is_read_as_it_was_written() {
        let mut progress = Progress::default();
        progress.enter(Percent::FULL, Timestamp::UNIX_EPOCH);
        progress.bake = Some(BakeClock::start(Timestamp::UNIX_EPOCH));
        progress.counters.insert("error_rate".to_owned(), Counters::default());
        progress.spark("error_rate", Some(0.013));
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), progress);
    }

    /// A run in this state on a rung that has stood for a while, with what was counted there.
    fn standing(state: State, applied: bool) -> Progress {
        let mut progress =
            Progress { state, applied, bake: Some(BakeClock::start(Timestamp::UNIX_EPOCH)), ..Progress::default() };
        let counted = Counters { consecutive_passes: 3, consecutive_failures: 1, failures: 2, ..Counters::default() };
        progress.counters.insert("error_rate".to_owned(), counted);
        progress
    }

    #[test]
    fn a_person_takes_up_a_pause_where_it_stood_and_a_conflict_from_the_beginning_of_its_bake() {
        #[track_caller]
        fn case(from: State, applied: bool, to: State, bakes_again: bool) {
            let (mut progress, now) = (standing(from, applied), Timestamp::from_second(9_000).unwrap());
            progress.take_up_again(now);
            assert_eq!((progress.state, progress.measured_since), (to, Some(now)), "{from}");
            let counted = &progress.counters["error_rate"];
            assert_eq!((counted.consecutive_failures, counted.failures), (1, 2), "{from}: no failure is forgiven");
            let again = progress.bake.as_ref().unwrap().started_at == now;
            assert_eq!((again, counted.consecutive_passes == 0), (bakes_again, bakes_again), "{from}");
        }
        case(State::Paused, true, State::Baking, false);
        case(State::Paused, false, State::Applying, false);
        case(State::Conflict, true, State::Baking, true);
        case(State::Conflict, false, State::Applying, true);
        case(State::Holding, true, State::Holding, false);
        case(State::RollingBack, true, State::RollingBack, false);
    }

    #[test]
    fn two_people_who_promote_at_once_are_one_step() {
        let mut progress = Progress::default();
        let second = |second| Timestamp::from_second(second).unwrap();
        progress.enter(Percent::ZERO, second(100));
        assert_eq!((progress.promote(second(130)), progress.promote(second(131))), ("promoted", "promoted"));
        progress.enter(Percent::FULL, second(132));
        assert_eq!((progress.promote(second(131)), progress.promoted), ("promoted_before", false));
        assert_eq!((progress.promote(second(140)), progress.promoted), ("promoted", true));
    }

    #[test]
    fn a_wish_for_a_run_that_nobody_drives_does_what_it_says_and_no_more() {
        #[track_caller]
        fn case(from: State, wish: Wish, said: Option<&str>, to: State, promoted: bool) {
            let mut progress = standing(from, true);
            assert_eq!(progress.mark(wish, Timestamp::UNIX_EPOCH), said, "{from} {wish:?}");
            assert_eq!((progress.state, progress.promoted), (to, promoted), "{from} {wish:?}");
        }
        case(State::Holding, Wish::Pause, Some("paused"), State::Paused, false);
        case(State::Paused, Wish::Resume, Some("resumed"), State::Baking, false);
        case(State::Baking, Wish::Resume, Some("resumed"), State::Baking, false);
        case(State::AwaitingApproval, Wish::Promote, Some("promoted"), State::AwaitingApproval, true);
        for wish in [Wish::Pause, Wish::Resume, Wish::Promote] {
            case(State::RollingBack, wish, None, State::RollingBack, false);
            case(State::Completed, wish, None, State::Completed, false);
        }
    }

    #[test]
    fn a_new_rung_starts_without_what_was_counted_before() {
        let mut progress = Progress { promoted: true, ..Progress::default() };
        progress.counters.insert("error_rate".to_owned(), Counters::default());
        (0..40).for_each(|value| progress.spark("error_rate", Some(f64::from(value))));
        assert_eq!(progress.history["error_rate"].len(), SPARKS);
        progress.enter(Percent::ZERO, Timestamp::UNIX_EPOCH);
        assert!(progress.counters.is_empty() && progress.history.is_empty() && !progress.promoted);
        assert_eq!((progress.step, progress.rung()), (1, Some(Percent::ZERO)));
    }
}
