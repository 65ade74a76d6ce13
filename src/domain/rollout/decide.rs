//! What a run does next: the worst of what its gates, its processes and its people call for (rollout.md 5, Step decision).
//!
//! A pure function of one tick. Every reason is listed, a failure is masked by nothing but a rollback that would switch users
//! on, and nothing ever goes up by a timeout.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bake::BakeClock;
use super::counters::{Counters, Trip};
use super::narrow::Narrowing;
use super::plan::{Metric, OnDeadline, OnTrouble, Plan, Require, Role};
use super::state::State;
use super::verdict::{Reach, Verdict};
use crate::domain::flags::Percent;

/// What is done next, the mildest first. The words are stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The last rung is done.
    Complete,
    /// To the next rung.
    Advance,
    /// Stay, and measure on.
    Hold,
    /// Stay until a person resumes.
    Pause,
    /// Stay: somebody else edited the flag.
    Conflict,
    /// Back.
    Rollback,
}

impl Action {
    /// The word that is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Advance => "advance",
            Self::Hold => "hold",
            Self::Pause => "pause",
            Self::Conflict => "conflict",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a reason is about. The words are stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A metric reached a limit of failures.
    Failures,
    /// A metric failed and is measured again.
    OpenFailure,
    /// A metric fails for everybody.
    CommonOutage,
    /// A signal fails or is undecided.
    Signal,
    /// A metric was inconclusive too often.
    Inconclusive,
    /// The latest measurement has no data.
    NoData,
    /// The latest measurement is none.
    Invalid,
    /// The source fails.
    SourceFails,
    /// Passes in a row are missing.
    PassesMissing,
    /// Nothing new was measured for too long.
    Stale,
    /// There is no guardrail, so only a person can go on.
    NoGuardrail,
    /// The rung has not stood long enough.
    Baking,
    /// It was held too long.
    Deadline,
    /// The processes are not known to agree well enough.
    NotConverged,
    /// Somebody else edited the flag.
    ForeignEdit,
    /// A rollback would switch users on whom somebody else switched off.
    RollbackWidens,
    /// A person paused it, or a limit did.
    Paused,
    /// A person has to promote it.
    Approval,
}

/// Why, and what for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// What this alone calls for.
    pub calls_for: Action,
    /// What it is about.
    pub cause: Cause,
    /// The metric, where it is about one.
    pub metric: Option<String>,
    /// In words.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.metric {
            Some(metric) => write!(f, "{metric}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// What a metric's latest measurement was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The metric.
    pub metric: String,
    /// The kind of source it was asked of.
    pub source: String,
    /// What was asked.
    pub query: String,
    /// What it means.
    pub verdict: Verdict,
    /// The number that was compared.
    pub value: Option<f64>,
    /// The events it rests on.
    pub samples: Option<u64>,
    /// The end of the window.
    pub at: Timestamp,
    /// Why this verdict.
    pub reason: String,
}

/// What is known of the processes at this tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agreement {
    /// Some process is not known to hold the rung's value.
    Partial,
    /// Enough clean reads.
    Sampled,
    /// Every process, individually.
    Proved,
}

/// Somebody else's edit: what is live is not what this run wrote last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignEdit {
    /// The members that differ.
    pub members: Vec<String>,
    /// What a rollback over it would do.
    pub rollback: Narrowing,
}

/// Whether a person let the run leave the present rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// Not yet.
    #[default]
    Missing,
    /// `rollout promote`.
    Given,
}

/// One metric with what was counted of it on the present rung.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// The metric.
    pub metric: &'a Metric,
    /// Its counts.
    pub counters: &'a Counters,
}

/// All that a decision rests on.
#[derive(Clone, Debug)]
pub struct Tick<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The rung that stands.
    pub rung: Percent,
    /// Where the run stands.
    pub state: State,
    /// The time.
    pub now: Timestamp,
    /// How long the rung has stood.
    pub bake: &'a BakeClock,
    /// Windows that count towards an advance begin no earlier: the start of this process or the end of a pause, if that came
    /// after the start of the bake.
    pub measured_since: Timestamp,
    /// What was measured.
    pub gates: &'a [Gate<'a>],
    /// What is known of the processes.
    pub agreement: Agreement,
    /// Somebody else's edit.
    pub foreign: Option<&'a ForeignEdit>,
    /// Whether a person promoted the rung.
    pub approval: Approval,
}

/// What is done next, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The worst that any reason calls for.
    pub action: Action,
    /// All reasons, the worst first; empty when nothing is in the way.
    pub reasons: Vec<Reason>,
    /// The latest measurement of each metric.
    pub evidence: Vec<Evidence>,
}

impl Decision {
    /// The state that a run is in when this was decided.
    pub fn state(&self) -> State {
        let only = |causes: &[Cause]| self.reasons.iter().all(|reason| causes.contains(&reason.cause));
        match self.action {
            Action::Complete => State::Completed,
            Action::Advance => State::Applying,
            Action::Pause => State::Paused,
            Action::Conflict => State::Conflict,
            Action::Rollback => State::RollingBack,
            Action::Hold if only(&[Cause::Approval]) => State::AwaitingApproval,
            Action::Hold
                if self.has(Cause::Baking) && only(&[Cause::Baking, Cause::PassesMissing, Cause::Approval]) =>
            {
                State::Baking
            }
            Action::Hold if only(&[Cause::PassesMissing, Cause::Approval]) => State::Evaluating,
            Action::Hold => State::Holding,
        }
    }

    /// Whether a reason of this cause is among them.
    pub fn has(&self, cause: Cause) -> bool {
        self.reasons.iter().any(|reason| reason.cause == cause)
    }
}

/// Decide on one tick.
pub fn decide(tick: &Tick<'_>) -> Decision {
    let mut reasons = Vec::new();
    for gate in tick.gates {
        reasons.extend(gate_reasons(tick, gate));
    }
    reasons.extend(process_reasons(tick));
    reasons.extend(time_reasons(tick, &reasons));
    reasons.extend(people_reasons(tick));
    if reasons.iter().any(|reason: &Reason| reason.calls_for == Action::Rollback) {
        reasons.extend(widening(tick));
    }
    // A rollback that may switch users on waits for a person, whatever calls for it.
    let barred = reasons.iter().any(|reason| reason.cause == Cause::RollbackWidens);
    let worst =
        reasons.iter().map(|reason| reason.calls_for).filter(|action| !barred || *action != Action::Rollback).max();
    let clear = if tick.rung == Percent::FULL { Action::Complete } else { Action::Advance };
    reasons.sort_by(|one, other| other.calls_for.cmp(&one.calls_for).then_with(|| one.cmp(other)));
    let mut evidence: Vec<Evidence> = tick.gates.iter().filter_map(evidence).collect();
    evidence.sort_by(|one, other| one.metric.cmp(&other.metric));
    Decision { action: worst.unwrap_or(clear), reasons, evidence }
}

fn reason(calls_for: Action, cause: Cause, text: impl Into<String>) -> Reason {
    Reason { calls_for, cause, metric: None, text: text.into() }
}

fn evidence(gate: &Gate<'_>) -> Option<Evidence> {
    let last = gate.counters.last.as_ref()?;
    Some(Evidence {
        metric: gate.metric.name.clone(),
        source: gate.metric.query.source().word().to_owned(),
        query: gate.metric.query.to_string(),
        verdict: last.judgement.verdict,
        value: last.judgement.value,
        samples: last.judgement.samples,
        at: last.window.to,
        reason: last.judgement.reason.clone(),
    })
}

/// What one metric calls for.
fn gate_reasons(tick: &Tick<'_>, gate: &Gate<'_>) -> Vec<Reason> {
    let mut found = Vec::new();
    match gate.metric.role {
        Role::Shadow => {}
        Role::Signal => found.extend(signal(gate)),
        Role::Guardrail => {
            found.extend(failures(gate));
            // At rung 0 a handful of users make no statistics: there only a failure counts, and a person promotes.
            if tick.rung != Percent::ZERO {
                found.extend(trouble(gate));
                found.extend(missing_passes(tick, gate));
            }
        }
    }
    for reason in &mut found {
        reason.metric = Some(gate.metric.name.clone());
    }
    found
}

fn signal(gate: &Gate<'_>) -> Option<Reason> {
    let last = &gate.counters.last.as_ref()?.judgement;
    matches!(last.verdict, Verdict::Fail | Verdict::Inconclusive)
        .then(|| reason(Action::Hold, Cause::Signal, format!("{} (a signal only holds)", last.reason)))
}

/// Failures, counted or open.
fn failures(gate: &Gate<'_>) -> Vec<Reason> {
    let (metric, counters) = (gate.metric, gate.counters);
    let last = counters.last.as_ref().map(|last| &last.judgement);
    let mut found = Vec::new();
    if let Some(trip) = counters.tripped {
        let text = match trip {
            Trip::Critical => "failed, and is critical".to_owned(),
            Trip::Consecutive => {
                format!("failed {} times in a row", metric.rollback_at_consecutive_failures)
            }
            Trip::Total => format!("failed {0} of {0} times on this rung", metric.rollback_at_total_failures),
        };
        found.push(reason(Action::Rollback, Cause::Failures, text));
    } else if counters.consecutive_failures > 0 {
        let text = format!(
            "failed {} of {} times in a row, {} of {} on this rung; it is measured again",
            counters.consecutive_failures,
            metric.rollback_at_consecutive_failures,
            counters.failures,
            metric.rollback_at_total_failures
        );
        found.push(reason(Action::Hold, Cause::OpenFailure, text));
    }
    if let Some(last) = last.filter(|last| last.verdict == Verdict::Fail && last.reach == Reach::Everyone) {
        found.push(reason(Action::Hold, Cause::CommonOutage, last.reason.clone()));
    }
    found
}

fn called_for(trouble: OnTrouble) -> Action {
    match trouble {
        OnTrouble::Hold => Action::Hold,
        OnTrouble::Pause => Action::Pause,
        OnTrouble::Rollback => Action::Rollback,
    }
}

/// Measurements that say nothing.
fn trouble(gate: &Gate<'_>) -> Vec<Reason> {
    let (metric, counters) = (gate.metric, gate.counters);
    let mut found = Vec::new();
    if counters.open_inconclusive >= metric.max_inconclusive {
        let text = format!("inconclusive {} of {} times", counters.open_inconclusive, metric.max_inconclusive);
        found.push(reason(Action::Pause, Cause::Inconclusive, text));
    }
    let Some(last) = counters.last.as_ref().map(|last| &last.judgement) else { return found };
    let said = |word: &str| format!("{word}: {}", last.reason);
    match last.verdict {
        Verdict::NoData => found.push(reason(called_for(metric.on_nodata), Cause::NoData, said("no data"))),
        Verdict::Invalid => found.push(reason(called_for(metric.on_invalid), Cause::Invalid, said("no measurement"))),
        // One error is measured again; a gauge that stays silent is dead.
        Verdict::Error if counters.consecutive_errors < metric.max_consecutive_errors => {
            found.push(reason(Action::Hold, Cause::SourceFails, said("the source fails")));
        }
        Verdict::Error => {
            let text = format!("the source failed {} times in a row: {}", counters.consecutive_errors, last.reason);
            found.push(reason(called_for(metric.on_error), Cause::SourceFails, text));
        }
        Verdict::Inconclusive => found.push(reason(Action::Hold, Cause::Inconclusive, last.reason.clone())),
        Verdict::Fail | Verdict::Pass => {}
    }
    found
}

/// What is missing before this metric lets the rung go.
fn missing_passes(tick: &Tick<'_>, gate: &Gate<'_>) -> Option<Reason> {
    let (metric, counters) = (gate.metric, gate.counters);
    // Zero passes never promote, whatever a plan asks for.
    let needed = metric.required_passes.max(1);
    if counters.consecutive_passes < needed {
        let text = format!("{} of {needed} passes", counters.consecutive_passes);
        return Some(reason(Action::Hold, Cause::PassesMissing, text));
    }
    let last = counters.last.as_ref().filter(|last| last.judgement.verdict == Verdict::Pass)?;
    if last.window.from < tick.measured_since {
        let text = "no full window since the run was taken up again";
        return Some(reason(Action::Hold, Cause::PassesMissing, text));
    }
    let age = tick.now.duration_since(last.at);
    let fresh = jiff::SignedDuration::try_from(metric.window + metric.interval + metric.interval).ok();
    if age.is_negative() || fresh.is_some_and(|fresh| age > fresh) {
        return Some(reason(Action::Hold, Cause::Stale, "the latest pass is too old, or the clock jumped"));
    }
    None
}

/// What the processes call for.
fn process_reasons(tick: &Tick<'_>) -> Vec<Reason> {
    let mut found = Vec::new();
    if let Some(foreign) = tick.foreign {
        let text = format!("somebody else edited the flag: {}", foreign.members.join(", "));
        found.push(reason(Action::Conflict, Cause::ForeignEdit, text));
    }
    let (needed, word) = match tick.plan.require {
        Require::Sampled => (Agreement::Sampled, "sampled"),
        Require::Proved => (Agreement::Proved, "proved"),
    };
    if tick.agreement < needed {
        let text = format!("the processes are not {word} to hold {} %", tick.rung);
        found.push(reason(Action::Hold, Cause::NotConverged, text));
    }
    found
}

/// What the clock calls for, beside what is in the way already.
fn time_reasons(tick: &Tick<'_>, others: &[Reason]) -> Vec<Reason> {
    let left = tick.bake.left(tick.plan);
    if !left.is_zero() {
        let text = format!("baked {} of {}", minutes(tick.bake.baked()), minutes(tick.plan.bake));
        return vec![reason(Action::Hold, Cause::Baking, text)];
    }
    // A rung that only waits for its person is not held.
    if others.is_empty() || !tick.bake.deadline_left(tick.plan).is_zero() {
        return Vec::new();
    }
    let text = format!("held for {} after its bake", minutes(tick.bake.held()));
    let action = match tick.plan.on_deadline {
        OnDeadline::Pause => Action::Pause,
        OnDeadline::Rollback => Action::Rollback,
    };
    vec![reason(action, Cause::Deadline, text)]
}

/// What people call for.
fn people_reasons(tick: &Tick<'_>) -> Vec<Reason> {
    let mut found = Vec::new();
    if tick.state == State::Paused {
        found.push(reason(Action::Pause, Cause::Paused, "paused: llmhub rollout resume"));
    }
    let missing = tick.approval == Approval::Missing;
    if missing && tick.plan.asks_person(tick.rung) {
        found.push(reason(Action::Hold, Cause::Approval, "a person promotes this rung: llmhub rollout promote"));
    } else if missing && !tick.gates.iter().any(|gate| gate.metric.role == Role::Guardrail) {
        found.push(reason(Action::Hold, Cause::NoGuardrail, "nothing is measured that could let it go on"));
    }
    found
}

/// Why a rollback has to wait for a person.
fn widening(tick: &Tick<'_>) -> Option<Reason> {
    let Narrowing::Widens(members) = &tick.foreign?.rollback else { return None };
    let text = format!("a rollback may switch users on that somebody else switched off: {}", members.join(", "));
    Some(reason(Action::Conflict, Cause::RollbackWidens, text))
}

/// A time span as `07:12`, or `1:07:12`.
pub fn minutes(span: std::time::Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 { format!("{minutes:02}:{seconds:02}") } else { format!("{hours}:{minutes:02}:{seconds:02}") }
}
