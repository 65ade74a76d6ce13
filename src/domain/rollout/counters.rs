//! What has been counted of one metric on one rung (rollout.md 5, Metric fields).
//!
//! Which verdict resets what is the table of rollout.md; totals are never reset. A metric that has reached a limit stays
//! tripped, so that a controller that dies between the measurement and the decision does not forget it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::plan::{Metric, Severity};
use super::reading::Window;
use super::verdict::{Judgement, Reach, Verdict};

/// A Fail is measured again no sooner than this before it counts a second time.
const RETEST: Duration = Duration::from_secs(60);

/// One measurement with what it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The span it is about.
    pub window: Window,
    /// When it was made.
    pub at: Timestamp,
    /// What it means.
    pub judgement: Judgement,
}

/// Which limit a metric has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trip {
    /// One Fail of a critical metric.
    Critical,
    /// Fails in a row.
    Consecutive,
    /// Fails on this rung.
    Total,
}

/// The counts of one metric on one rung; a new rung starts with none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Passes in a row, from windows that do not overlap.
    pub consecutive_passes: u32,
    /// The end of the last window that counted as a pass in a row.
    pub passed_until: Option<Timestamp>,
    /// Fails since the last Pass or Inconclusive.
    pub consecutive_failures: u32,
    /// When a Fail was counted last.
    pub failed_at: Option<Timestamp>,
    /// Errors since the source answered last.
    pub consecutive_errors: u32,
    /// Inconclusive results since a person last resumed the run.
    pub open_inconclusive: u32,
    /// All that passed.
    pub passes: u32,
    /// All that failed and counted.
    pub failures: u32,
    /// All that failed for everybody, which counts against nobody.
    pub common_failures: u32,
    /// All that were neither.
    pub inconclusive: u32,
    /// All without data.
    pub nodata: u32,
    /// All that were no measurement.
    pub invalid: u32,
    /// All that the source failed.
    pub errors: u32,
    /// The limit that was reached, once it was.
    pub tripped: Option<Trip>,
    /// The latest measurement.
    pub last: Option<Observation>,
}

impl Counters {
    /// Count one measurement.
    pub fn record(&mut self, metric: &Metric, observation: Observation) {
        let Observation { window, at, judgement } = &observation;
        if judgement.verdict != Verdict::Error {
            self.consecutive_errors = 0;
        }
        match judgement.verdict {
            Verdict::Pass => {
                self.passes = self.passes.saturating_add(1);
                self.consecutive_failures = 0;
                if self.passed_until.is_none_or(|until| window.from >= until) {
                    self.consecutive_passes = self.consecutive_passes.saturating_add(1);
                    self.passed_until = Some(window.to);
                }
            }
            Verdict::Fail => {
                self.break_passes();
                match judgement.reach {
                    Reach::Everyone => self.common_failures = self.common_failures.saturating_add(1),
                    Reach::Feature => self.fail(metric, *at),
                }
            }
            Verdict::Inconclusive => {
                self.break_passes();
                self.consecutive_failures = 0;
                self.inconclusive = self.inconclusive.saturating_add(1);
                self.open_inconclusive = self.open_inconclusive.saturating_add(1);
            }
            Verdict::NoData => self.nodata = self.nodata.saturating_add(1),
            Verdict::Invalid => self.invalid = self.invalid.saturating_add(1),
            Verdict::Error => {
                self.errors = self.errors.saturating_add(1);
                self.consecutive_errors = self.consecutive_errors.saturating_add(1);
            }
        }
        self.last = Some(observation);
    }

    /// A person looked and resumed the run: what had led to the pause is forgiven, what leads to a rollback is not.
    pub fn forgive(&mut self) {
        self.open_inconclusive = 0;
        self.consecutive_errors = 0;
    }

    /// The bake began again: passes from before prove nothing about the processes that are there now. Failures stay.
    pub fn restart(&mut self) {
        self.break_passes();
    }

    /// The verdict of the latest measurement.
    pub fn verdict(&self) -> Option<Verdict> {
        self.last.as_ref().map(|last| last.judgement.verdict)
    }

    fn break_passes(&mut self) {
        self.consecutive_passes = 0;
        self.passed_until = None;
    }

    fn fail(&mut self, metric: &Metric, at: Timestamp) {
        // Two looks at the same minute are one failure. Where windows are shorter, two that share nothing are two.
        let apart = SignedDuration::try_from(RETEST.min(metric.window)).unwrap_or(SignedDuration::ZERO);
        let again = self.failed_at.is_none_or(|failed| {
            let since = at.duration_since(failed);
            // A clock that went back must not let failures go uncounted until it has caught up.
            since >= apart || since.is_negative()
        });
        if !again && self.consecutive_failures > 0 {
            return;
        }
        self.failed_at = Some(at);
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
        if self.tripped.is_none() {
            self.tripped = match metric {
                Metric { severity: Severity::Critical, .. } => Some(Trip::Critical),
                _ if self.consecutive_failures >= metric.rollback_at_consecutive_failures => Some(Trip::Consecutive),
                _ if self.failures >= metric.rollback_at_total_failures => Some(Trip::Total),
                _ => None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flags::ladder::Ladder;
    use crate::domain::rollout::plan::parse;

    fn metric(lines: &str) -> Metric {
        let text =
            format!("flag = \"f\"\n[[metric]]\nname = \"m\"\nsource = \"sql\"\nquery = \"@cohort_errors\"\n{lines}\n");
        parse(&text, &Ladder::default()).unwrap().plan.metrics.remove(0)
    }

    /// Fails at these seconds; what was counted, and what tripped.
    #[track_caller]
    fn fails(lines: &str, seconds: &[i64], counted: u32, tripped: Option<Trip>) {
        let (metric, mut counters) = (metric(lines), Counters::default());
        for second in seconds {
            let at = Timestamp::from_second(1_000_000 + second).unwrap();
            let window = Window { from: at - SignedDuration::from_secs(300), to: at };
            let judgement = Judgement {
                verdict: Verdict::Fail,
                value: Some(1.0),
                samples: Some(1000),
                reach: Reach::Feature,
                reason: String::new(),
            };
            counters.record(&metric, Observation { window, at, judgement });
        }
        assert_eq!((counters.failures, counters.tripped), (counted, tripped));
        let stored = serde_json::to_string(&counters).unwrap();
        assert_eq!(serde_json::from_str::<Counters>(&stored).unwrap(), counters);
    }

    #[test]
    fn a_failure_counts_again_only_a_minute_later() {
        fails("", &[0], 1, None);
        fails("", &[0, 10, 20, 59], 1, None);
        fails("", &[0, 60], 2, Some(Trip::Consecutive));
        fails("", &[0, 10, 61], 2, Some(Trip::Consecutive));
        // A clock that went back must not swallow a failure.
        fails("", &[0, -600], 2, Some(Trip::Consecutive));
        // Windows of 10 s that share nothing are two looks.
        fails("window = \"10s\"", &[0, 10], 2, Some(Trip::Consecutive));
        fails("window = \"10s\"", &[0, 9], 1, None);
        fails("rollback_at_consecutive_failures = 9", &[0, 60, 120], 3, Some(Trip::Total));
        fails("critical = true", &[0], 1, Some(Trip::Critical));
    }

    #[test]
    fn a_new_bake_forgets_passes_and_a_person_forgives_no_failure() {
        let mut counters =
            Counters { consecutive_passes: 2, consecutive_failures: 1, failures: 1, ..Counters::default() };
        counters.restart();
        assert_eq!((counters.consecutive_passes, counters.consecutive_failures), (0, 1));
        counters.open_inconclusive = 3;
        counters.inconclusive = 3;
        counters.forgive();
        assert_eq!((counters.open_inconclusive, counters.inconclusive, counters.failures), (0, 3, 1));
    }
}
