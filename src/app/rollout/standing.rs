//! How a run stands, for people and programs: what `rollout run`, `rollout status` and `flags watch` show.

use jiff::Timestamp;
use serde::Serialize;

use super::progress::Progress;
use super::targets::Known;
use crate::domain::rollout::counters::Counters;
use crate::domain::rollout::decide::Reason;
use crate::domain::rollout::next_event::NextEvent;
use crate::domain::rollout::plan::{Metric, Plan, Relative, Role};
use crate::domain::rollout::reach::Reach;
use crate::domain::rollout::state::State;

/// How a run stands. The names are the JSON of `rollout status`.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// The flag.
    pub flag: String,
    /// The profile, if one is chosen.
    pub profile: Option<String>,
    /// The run's name.
    pub run: String,
    /// Who began it.
    pub started_by: String,
    /// When.
    pub started_at: Timestamp,
    /// Where it stands; `abandoned` where nobody holds the lease of a run that has not ended and is not waiting for a timer.
    pub state: State,
    /// The state that was stored, where it is abandoned.
    pub stored_state: State,
    /// Who may act.
    pub lease: Option<LeaseView>,
    /// The rungs of the plan.
    pub steps: Vec<u8>,
    /// The rung that is wanted now; none before the first, and on the way back.
    pub wanted: Option<u8>,
    /// The rung that it goes or went back from.
    pub back_from: Option<u8>,
    /// Whom this rung reaches, where the users were given.
    pub cohort: Option<Reach>,
    /// Whether its write was verified.
    pub applied: bool,
    /// What is known of the processes.
    pub live: Option<Known>,
    /// Whether every persistent source was read back equal.
    pub persisted: Option<bool>,
    /// How long the rung has stood.
    pub bake: Option<BakeView>,
    /// What is measured.
    pub gates: Vec<GateView>,
    /// What is in the way, the worst first.
    pub reasons: Vec<Reason>,
    /// What is waited for, and until when.
    pub next: Option<NextEvent>,
    /// Why it goes or went back.
    pub going_back: Option<String>,
    /// What is not proven of the way back.
    pub unproven: Vec<String>,
    /// How many events its history has.
    pub events: usize,
    /// The first event that was tampered with.
    pub history_broken_at: Option<i64>,
    /// The time of this look, by the clock of the state.
    pub at: Timestamp,
}

/// Who may act, and for how long.
#[derive(Clone, Debug, Serialize)]
pub struct LeaseView {
    /// `user@host (process N)`.
    pub holder: String,
    /// Whole seconds until it ends unless it is renewed.
    pub seconds_left: u64,
}

/// How long a rung has stood.
#[derive(Clone, Debug, Serialize)]
pub struct BakeView {
    /// Whole seconds that count.
    pub seconds_done: u64,
    /// Whole seconds that are wanted.
    pub seconds_wanted: u64,
    /// When it began, or began again last.
    pub started_at: Timestamp,
    /// Whole seconds until the deadline of holding.
    pub deadline_seconds_left: u64,
}

/// One metric on this rung.
#[derive(Clone, Debug, Serialize)]
pub struct GateView {
    /// Its name.
    pub metric: String,
    /// `guardrail`, `signal` or `shadow`.
    pub role: &'static str,
    /// The verdict of the latest measurement.
    pub verdict: Option<&'static str>,
    /// The number that was compared.
    pub value: Option<f64>,
    /// The events it rests on.
    pub samples: Option<u64>,
    /// Why this verdict.
    pub reason: Option<String>,
    /// Passes in a row that count.
    pub passes: u32,
    /// How many are needed.
    pub passes_wanted: u32,
    /// Fails on this rung.
    pub failures: u32,
    /// How many roll back.
    pub failures_allowed: u32,
    /// All that were inconclusive.
    pub inconclusive: u32,
    /// All without data.
    pub nodata: u32,
    /// All that were no measurement.
    pub invalid: u32,
    /// All that the source failed.
    pub errors: u32,
    /// The condition of a pass on this rung.
    pub pass_if: Option<String>,
    /// Whether the number is a ratio.
    pub ratio: bool,
    /// The newest values, oldest first.
    pub history: Vec<Option<f64>>,
}

/// What a standing is made of.
pub struct Parts<'a> {
    /// The flag.
    pub flag: &'a str,
    /// The profile.
    pub profile: Option<String>,
    /// The run's name.
    pub run: &'a str,
    /// Who began it.
    pub started_by: &'a str,
    /// When.
    pub started_at: Timestamp,
    /// Its plan.
    pub plan: &'a Plan,
    /// Its memory.
    pub progress: &'a Progress,
    /// Who may act, if anybody.
    pub lease: Option<LeaseView>,
    /// How many events there are, and the first that was tampered with.
    pub events: (usize, Option<i64>),
    /// The time.
    pub now: Timestamp,
}

impl Standing {
    /// Put it together.
    pub fn new(parts: Parts<'_>) -> Self {
        let Parts { plan, progress, .. } = parts;
        let stored = progress.state;
        // Whoever left between two decisions of his own accord comes again, and a conflict waits for a person in any case.
        let waits = stored == State::Conflict || progress.left_cleanly;
        let alone = parts.lease.is_none() && !stored.is_terminal() && !waits;
        let wanted = progress.rung.filter(|_| progress.going_back.is_none());
        Self {
            flag: parts.flag.to_owned(),
            profile: parts.profile,
            run: parts.run.to_owned(),
            started_by: parts.started_by.to_owned(),
            started_at: parts.started_at,
            state: if alone { State::Abandoned } else { stored },
            stored_state: stored,
            lease: parts.lease,
            steps: plan.steps.rungs().iter().map(|rung| rung.get()).collect(),
            wanted,
            back_from: progress.rung.filter(|_| progress.going_back.is_some()),
            cohort: wanted.and_then(|to| progress.reach.iter().find(|reach| reach.to == to).copied()),
            applied: progress.applied,
            live: progress.live.clone(),
            persisted: progress.persisted,
            bake: progress.bake.as_ref().map(|bake| BakeView {
                seconds_done: bake.baked().as_secs().min(plan.bake.as_secs()),
                seconds_wanted: plan.bake.as_secs(),
                started_at: bake.started_at,
                deadline_seconds_left: bake.deadline_left(plan).as_secs(),
            }),
            gates: plan.metrics.iter().map(|metric| gate(metric, progress)).collect(),
            reasons: progress.decision.as_ref().map(|decision| decision.reasons.clone()).unwrap_or_default(),
            next: progress.next.clone(),
            going_back: progress.going_back.clone(),
            unproven: progress.unproven.clone(),
            events: parts.events.0,
            history_broken_at: parts.events.1,
            at: parts.now,
        }
    }

    /// The exit status of `rollout status`.
    pub fn status(&self) -> u8 {
        match self.state {
            State::Completed | State::AbortedKept => 0,
            State::RolledBack => 8,
            State::RollbackUnverified => 10,
            State::Conflict => 5,
            State::Applying | State::Converging | State::Baking | State::Evaluating if self.is_healthy() => 0,
            _ => 1,
        }
    }

    /// Whether nothing is in the way but time.
    fn is_healthy(&self) -> bool {
        use crate::domain::rollout::decide::Cause;
        self.reasons.iter().all(|reason| matches!(reason.cause, Cause::Baking | Cause::PassesMissing))
    }
}

fn gate(metric: &Metric, progress: &Progress) -> GateView {
    let none = Counters::default();
    let counters = progress.counters.get(&metric.name).unwrap_or(&none);
    let last = counters.last.as_ref().map(|last| &last.judgement);
    let threshold = progress.rung().and_then(|rung| metric.threshold(rung));
    GateView {
        metric: metric.name.clone(),
        role: match metric.role {
            Role::Guardrail => "guardrail",
            Role::Signal => "signal",
            Role::Shadow => "shadow",
        },
        verdict: last.map(|last| last.verdict.word()),
        value: last.and_then(|last| last.value),
        samples: last.and_then(|last| last.samples),
        reason: last.map(|last| last.reason.clone()),
        passes: counters.consecutive_passes,
        passes_wanted: metric.required_passes,
        failures: counters.failures,
        failures_allowed: metric.rollback_at_total_failures,
        inconclusive: counters.inconclusive,
        nodata: counters.nodata,
        invalid: counters.invalid,
        errors: counters.errors,
        pass_if: threshold.map(|threshold| threshold.pass_if.to_string()),
        ratio: metric.relative != Relative::Absolute,
        history: progress.history.get(&metric.name).cloned().unwrap_or_default(),
    }
}
