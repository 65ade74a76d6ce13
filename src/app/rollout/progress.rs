//! What a run remembers beside its plan and its snapshot: where it stands, what was counted, what was decided last.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::targets::Known;
use crate::domain::flags::Percent;
use crate::domain::rollout::bake::BakeClock;
use crate::domain::rollout::counters::Counters;
use crate::domain::rollout::decide::{Approval, Decision};
use crate::domain::rollout::next_event::NextEvent;
use crate::domain::rollout::state::State;

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
    /// Whether the newest step was written, verified and kept.
    pub applied: bool,
    /// How long the rung has stood.
    pub bake: Option<BakeClock>,
    /// What was counted on this rung.
    pub counters: BTreeMap<String, Counters>,
    /// The newest values of each metric on this rung, oldest first.
    pub history: BTreeMap<String, Vec<Option<f64>>>,
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
            applied: false,
            bake: None,
            counters: BTreeMap::new(),
            history: BTreeMap::new(),
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
    pub fn enter(&mut self, rung: Percent) {
        self.step += 1;
        self.rung = Some(rung.get());
        self.applied = false;
        self.promoted = false;
        self.bake = None;
        self.counters.clear();
        self.history.clear();
        self.decision = None;
        self.next = None;
        self.persisted = None;
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
        progress.enter(Percent::FULL);
        progress.bake = Some(BakeClock::start(Timestamp::UNIX_EPOCH));
        progress.counters.insert("error_rate".to_owned(), Counters::default());
        progress.spark("error_rate", Some(0.013));
        let text = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), progress);
    }

    #[test]
    fn a_new_rung_starts_without_what_was_counted_before() {
        let mut progress = Progress { promoted: true, ..Progress::default() };
        progress.counters.insert("error_rate".to_owned(), Counters::default());
        (0..40).for_each(|value| progress.spark("error_rate", Some(f64::from(value))));
        assert_eq!(progress.history["error_rate"].len(), SPARKS);
        progress.enter(Percent::ZERO);
        assert!(progress.counters.is_empty() && progress.history.is_empty() && !progress.promoted);
        assert_eq!((progress.step, progress.rung()), (1, Some(Percent::ZERO)));
    }
}
