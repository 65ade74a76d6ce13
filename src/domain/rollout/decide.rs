//! What a run does next: the worst of what its gates, its processes and its people call for (rollout.md 5, Step decision).
//!
//! A pure function of one tick. Every reason is listed, a failure is masked by nothing but a rollback that would switch users
//! on, and nothing ever goes up by a timeout.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::bake::BakeClock;
use super::counters::Counters;
use super::gates::{evidence, gate_reasons};
use super::narrow::Narrowing;
use super::plan::{Metric, OnDeadline, Plan, Require, Role};
use super::state::State;
use super::verdict::Verdict;
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

pub(super) fn reason(calls_for: Action, cause: Cause, text: impl Into<String>) -> Reason {
    Reason { calls_for, cause, metric: None, text: text.into() }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::flags::ladder::Ladder;
    use crate::domain::rollout::counters::Observation;
    use crate::domain::rollout::plan::parse;
    use crate::domain::rollout::reading::{Arm, Measured, Reading, Window};
    use crate::domain::rollout::verdict::{Context, judge};

    const PLAN: &str = r#"flag = "f"
bake = "15m"
max_hold = "20m"
[[metric]]
name = "errors"
source = "sql"
query = "@cohort_errors"
[[metric]]
name = "latency"
source = "sql"
query = "@cohort_p95"
relative = "baseline"
"#;

    /// A run on one rung, minute by minute. The first token comes at minute 5, when the first window is full.
    struct Run {
        plan: Plan,
        rung: Percent,
        counters: Vec<Counters>,
        bake: BakeClock,
        now: Timestamp,
        since: Timestamp,
        state: State,
        agreement: Agreement,
        foreign: Option<ForeignEdit>,
        approval: Approval,
        baseline: Option<f64>,
    }

    fn minutes_of(count: i64) -> jiff::SignedDuration {
        jiff::SignedDuration::from_mins(count)
    }

    impl Run {
        fn new(plan: &str, rung: u8) -> Self {
            let plan = parse(plan, &Ladder::default()).unwrap().plan;
            let converged = Timestamp::UNIX_EPOCH + minutes_of(1_000_000);
            let mut bake = BakeClock::start(converged);
            let now = converged + minutes_of(4);
            bake.tick(&plan, State::Baking, now, Some(Duration::from_secs(240)));
            Self {
                counters: vec![Counters::default(); plan.metrics.len()],
                plan,
                rung: Percent::try_from(i64::from(rung)).unwrap(),
                bake,
                now,
                since: converged,
                state: State::Baking,
                agreement: Agreement::Sampled,
                foreign: None,
                approval: Approval::Missing,
                baseline: Some(0.5),
            }
        }

        /// What a word says of a metric: `p`, `f`, `i`, a value, `value/samples`, `badERRORS/SAMPLES`, or no measurement at all.
        fn reading(&self, metric: usize, word: &str) -> Option<Reading> {
            let scale = if metric == 0 { 1.0 } else { 0.5 };
            let (pass, middle, fail) = if metric == 0 { (0.005, 0.03, 0.06) } else { (1.0, 1.3, 1.6) };
            let number = |value: f64, samples: u64, control: Option<Arm>| {
                let errors = (metric == 0).then_some((value * samples as f64) as u64);
                Reading::Number(Measured { value: value * scale, samples: Some(samples), errors, at: None, control })
            };
            let arm = |samples| Some(Arm { value: fail * scale, samples });
            Some(match word {
                "." => return None,
                "p" => number(pass, 1000, None),
                "i" => number(middle, 1000, None),
                "f" => number(fail, 1000, None),
                "c" => number(fail, 1000, arm(1000)),
                "cfew" => number(fail, 1000, arm(199)),
                "n" => Reading::Nothing("no rows".to_owned()),
                "x" => number(f64::NAN, 1000, None),
                "inf" => number(f64::INFINITY, 1000, None),
                "reset" => Reading::Unusable("a counter was reset".to_owned()),
                "e" => Reading::Failed("503".to_owned()),
                word => {
                    let (value, samples) = word.split_once('/').unwrap_or((word, "1000"));
                    let samples = samples.parse().unwrap();
                    match value.strip_prefix("bad") {
                        Some(errors) => {
                            let errors: u64 = errors.parse().unwrap();
                            let value = errors as f64 / samples as f64;
                            let (samples, errors) = (Some(samples), Some(errors));
                            Reading::Number(Measured { value, samples, errors, at: None, control: None })
                        }
                        None => number(value.parse().unwrap(), samples, None),
                    }
                }
            })
        }

        fn pass_time(&mut self, wall: i64, monotonic: Option<u64>) {
            self.now += minutes_of(wall);
            let monotonic = monotonic.map(|minutes| Duration::from_secs(minutes * 60));
            if self.bake.tick(&self.plan, self.state, self.now, monotonic)
                == crate::domain::rollout::bake::Ticked::Restarted
            {
                self.counters.iter_mut().for_each(Counters::restart);
            }
        }

        /// One token of a script.
        fn step(&mut self, token: &str) -> Option<Decision> {
            let minutes = |prefix: &str| token.strip_prefix(prefix).and_then(|text| text.parse::<i64>().ok());
            if let Some(away) = minutes("gap") {
                self.pass_time(away, None);
                self.since = self.now;
            } else if let Some(jump) = minutes("jump") {
                self.pass_time(jump, Some(0));
            } else if let Some(back) = minutes("back") {
                self.pass_time(-back, Some(0));
            } else {
                match token {
                    "restart" => {
                        self.bake.restart(self.now);
                        self.counters.iter_mut().for_each(Counters::restart);
                    }
                    "pause" => self.state = State::Paused,
                    "resume" => {
                        self.state = State::Baking;
                        self.bake.resume(self.now);
                        self.since = self.now;
                        self.counters.iter_mut().for_each(Counters::forgive);
                    }
                    "promote" => self.approval = Approval::Given,
                    measured => return Some(self.measure(measured)),
                }
            }
            None
        }

        fn measure(&mut self, token: &str) -> Decision {
            self.pass_time(1, Some(1));
            let window = Window { from: self.now - minutes_of(5), to: self.now };
            let words: Vec<&str> = token.split('+').collect();
            for index in 0..self.plan.metrics.len() {
                let word = words.get(index).copied().unwrap_or(if token == "." { "." } else { "p" });
                let Some(reading) = self.reading(index, word) else { continue };
                let metric = &self.plan.metrics[index];
                let context = Context {
                    rung: self.rung,
                    window,
                    converged_at: self.bake.started_at,
                    now: self.now,
                    baseline: self.baseline,
                };
                let judgement = judge(metric, &reading, &context);
                self.counters[index].record(metric, Observation { window, at: self.now, judgement });
            }
            let decision = self.decide(&[0, 1]);
            assert_eq!(self.decide(&[1, 0]), decision, "the order of metrics decides nothing");
            if !matches!(decision.action, Action::Advance | Action::Complete | Action::Rollback) {
                self.state = decision.state();
            }
            decision
        }

        fn decide(&self, order: &[usize]) -> Decision {
            let pairs = order.iter().filter_map(|index| Some((self.plan.metrics.get(*index)?, &self.counters[*index])));
            let gates: Vec<Gate<'_>> = pairs.map(|(metric, counters)| Gate { metric, counters }).collect();
            decide(&Tick {
                plan: &self.plan,
                rung: self.rung,
                state: self.state,
                now: self.now,
                bake: &self.bake,
                measured_since: self.since.max(self.bake.started_at),
                gates: &gates,
                agreement: self.agreement,
                foreign: self.foreign.as_ref(),
                approval: self.approval,
            })
        }

        /// Walk a script; the last decision, and that nothing was done before it.
        #[track_caller]
        fn walk(&mut self, script: &str) -> Decision {
            let mut last: Option<Decision> = None;
            for item in script.split_whitespace() {
                let (token, times) = item.split_once('*').unwrap_or((item, "1"));
                for _ in 0..times.parse().unwrap() {
                    let Some(decision) = self.step(token) else { continue };
                    if let Some(early) = last.replace(decision) {
                        let quiet = matches!(early.action, Action::Hold | Action::Pause | Action::Conflict);
                        assert!(quiet || token == ".", "`{script}` was decided before its end: {early:?}");
                    }
                }
            }
            last.unwrap()
        }
    }

    #[track_caller]
    fn row(name: &str, mut run: Run, script: &str, action: Action, causes: &[Cause]) {
        let decision = run.walk(script);
        assert_eq!(decision.action, action, "{name}: {:#?}", decision.reasons);
        for cause in causes {
            assert!(decision.has(*cause), "{name}: {cause:?} is not among {:#?}", decision.reasons);
        }
    }

    /// The usual plan with lines added to the first metric.
    fn with(rung: u8, lines: &str) -> Run {
        Run::new(&PLAN.replace("query = \"@cohort_errors\"\n", &format!("query = \"@cohort_errors\"\n{lines}\n")), rung)
    }

    /// The usual plan with lines added to the top.
    fn top(rung: u8, lines: &str) -> Run {
        Run::new(&format!("{lines}\n{PLAN}"), rung)
    }

    fn foreign(mut run: Run, rollback: Narrowing) -> Run {
        run.foreign = Some(ForeignEdit { members: vec!["rollout_percentage".to_owned()], rollback });
        run
    }

    fn agreeing(mut run: Run, agreement: Agreement) -> Run {
        run.agreement = agreement;
        run
    }

    fn at(rung: u8) -> Run {
        Run::new(PLAN, rung)
    }

    #[test]
    fn an_incident_is_decided_by_its_measurements_alone() {
        use Action::{Advance, Complete, Conflict, Hold, Pause, Rollback};
        let widens = || Narrowing::Widens(vec!["whitelist_users".to_owned()]);
        // A healthy rung.
        row("three full windows and the bake", at(25), "p*11", Advance, &[]);
        row("one minute too soon", at(25), "p*10", Hold, &[Cause::Baking, Cause::PassesMissing]);
        row("windows that overlap count once", at(25), "p*5", Hold, &[Cause::PassesMissing]);
        row("the last rung", at(100), "p*11", Complete, &[]);
        row("nothing measured", at(25), ".*12", Hold, &[Cause::PassesMissing]);
        row("one metric alone is not enough", at(25), "p+.*12", Hold, &[Cause::PassesMissing]);
        row("passes that are too old", Run::new(&PLAN.replace("15m", "40m"), 25), "p*11 .*25", Hold, &[Cause::Stale]);
        // The white list.
        row("rung 0 waits for a person", at(0), "p*30", Hold, &[Cause::Approval]);
        row("rung 0 without statistics, promoted", at(0), "n*10 promote n", Advance, &[]);
        row("rung 0 bakes although promoted", at(0), "promote p*10", Hold, &[Cause::Baking]);
        row("rung 0 fails once", at(0), "f", Hold, &[Cause::OpenFailure]);
        row("rung 0 fails twice", at(0), "f f", Rollback, &[Cause::Failures]);
        row("rung 0 with a source that rolls back without data", with(0, "on_nodata = \"rollback\""), "n*5", Hold, &[]);
        // Failures.
        row("a Fail alone", at(25), "f", Hold, &[Cause::OpenFailure]);
        row("two in a row", at(25), "f f", Rollback, &[Cause::Failures]);
        row("Fail Pass Fail", at(25), "f p f", Hold, &[Cause::OpenFailure]);
        row("Fail Pass Fail Pass", at(25), "f p f p", Hold, &[]);
        row("Fail Pass Fail Pass Fail", at(25), "f p f p f", Rollback, &[Cause::Failures]);
        row("flapping with Inconclusive", at(25), "f i f i f", Rollback, &[Cause::Failures]);
        row("Fail NoData Fail", at(25), "f n f", Rollback, &[Cause::Failures]);
        row("Fail NaN Fail", at(25), "f x f", Rollback, &[Cause::Failures]);
        row("Fail Error Fail", at(25), "f e f", Rollback, &[Cause::Failures]);
        row("Fail NoData stays open", at(25), "f n*20", Hold, &[Cause::OpenFailure, Cause::NoData]);
        row("Fail Inconclusive Fail", at(25), "f i f", Hold, &[Cause::OpenFailure]);
        row("a Fail sets the passes back", at(25), "p*10 f p*5", Hold, &[Cause::PassesMissing]);
        row("a Fail beside another's Error", at(25), "f+e f+e", Rollback, &[Cause::Failures, Cause::SourceFails]);
        row("a Fail beside another's NoData", at(25), "f+n", Hold, &[Cause::OpenFailure, Cause::NoData]);
        row("one Fail each is no row", at(25), "f+p p+f", Hold, &[Cause::OpenFailure]);
        row("the second metric fails", at(25), "p+f p+f", Rollback, &[Cause::Failures]);
        row("the last rung fails", at(100), "p*5 f f", Rollback, &[Cause::Failures]);
        row("a critical metric", with(25, "critical = true"), "f", Rollback, &[Cause::Failures]);
        row("a failure is remembered by its trip", with(25, "critical = true"), "f", Rollback, &[Cause::Failures]);
        row(
            "one in a row is enough",
            with(25, "rollback_at_consecutive_failures = 1"),
            "f",
            Rollback,
            &[Cause::Failures],
        );
        // A common outage.
        row("both arms fail", at(25), "c c c c", Hold, &[Cause::CommonOutage]);
        row("both arms fail, critical", with(25, "critical = true"), "c", Hold, &[Cause::CommonOutage]);
        row("too few without the feature to say so", at(25), "cfew cfew", Rollback, &[Cause::Failures]);
        row("a common outage sets the passes back", at(25), "p*10 c p*5", Hold, &[Cause::PassesMissing]);
        // No data, no number, no source.
        row("NoData keeps the passes", at(25), "p*10 n p", Advance, &[]);
        row("NaN at the last moment", at(25), "p*10 x", Hold, &[Cause::Invalid]);
        row("infinite", at(25), "p*10 inf", Hold, &[Cause::Invalid]);
        row("a negative share", at(25), "p*10 -0.01", Hold, &[Cause::Invalid]);
        row("a share above one", at(25), "p*10 1.5", Hold, &[Cause::Invalid]);
        row("a counter reset keeps the passes", at(25), "p*10 reset p", Advance, &[]);
        row("an Error keeps the passes", at(25), "p*10 e p", Advance, &[]);
        row("a dead gauge", at(25), "p*6 e*6", Hold, &[Cause::SourceFails]);
        row("a dead gauge, so told to pause", with(25, "on_error = \"pause\""), "e*4", Pause, &[Cause::SourceFails]);
        row("not yet dead", with(25, "on_error = \"pause\""), "e*3", Hold, &[Cause::SourceFails]);
        row("an answer between errors", with(25, "on_error = \"rollback\""), "e*3 n e", Hold, &[Cause::SourceFails]);
        row("a dead gauge, so told to roll back", with(25, "on_error = \"rollback\""), "e*4", Rollback, &[]);
        row("no data, so told to pause", with(25, "on_nodata = \"pause\""), "n", Pause, &[Cause::NoData]);
        row("no data, so told to roll back", with(25, "on_nodata = \"rollback\""), "n", Rollback, &[Cause::NoData]);
        row("nonsense, so told to pause", with(25, "on_invalid = \"pause\""), "x", Pause, &[Cause::Invalid]);
        row("a pause masks no failure", with(25, "on_nodata = \"pause\""), "f n f", Rollback, &[Cause::Failures]);
        row("no traffic for hours", at(25), "n*200", Pause, &[Cause::NoData]);
        let mut blind = at(25);
        blind.baseline = None;
        row("no baseline to compare with", blind, "p*20", Hold, &[Cause::NoData]);
        // Too few samples.
        row("199 at 25 %", at(25), "0.03/199", Hold, &[Cause::NoData]);
        row("200 at 25 %", at(25), "0.005/200*11", Advance, &[]);
        row("499 at 50 %", at(50), "0.005/499*11", Hold, &[Cause::NoData]);
        row("500 at 50 %", at(50), "0.005/500+1/500*11", Advance, &[]);
        row("10 errors of 39", at(25), "bad10/39 bad10/39", Rollback, &[Cause::Failures]);
        row("10 errors of 40 are a quarter, not more", at(25), "bad10/40 bad10/40", Hold, &[Cause::NoData]);
        row("9 errors of 10", at(25), "bad9/10 bad9/10", Hold, &[Cause::NoData]);
        // Boundaries.
        row("2 % at 25 %", at(25), "p*10 0.02", Hold, &[Cause::Inconclusive]);
        row("just below 2 % at 25 %", at(25), "p*10 0.0199", Advance, &[]);
        row("5 % at 25 %", at(25), "0.05", Hold, &[Cause::Inconclusive]);
        row("just above 5 % at 25 %", at(25), "0.0501", Hold, &[Cause::OpenFailure]);
        row("2 % at 50 %", at(50), "p*10 0.02", Hold, &[Cause::Inconclusive]);
        row("1 % at 50 %", at(50), "p*10 0.01", Hold, &[Cause::Inconclusive]);
        row("just below 1 % at 50 %", at(50), "p*10 0.0099", Advance, &[]);
        row("5 % at 50 %", at(50), "0.05", Hold, &[Cause::Inconclusive]);
        for rung in [25, 50] {
            row("a ratio of 1.20", at(rung), "p+1.2*11", Advance, &[]);
            row("a ratio just above 1.20", at(rung), "p*10 p+1.2001", Hold, &[Cause::Inconclusive]);
            row("a ratio of 1.50", at(rung), "p+1.5", Hold, &[Cause::Inconclusive]);
            row("a ratio just above 1.50", at(rung), "p+1.5001", Hold, &[Cause::OpenFailure]);
        }
        // Inconclusive.
        row("twice", at(25), "i i", Hold, &[Cause::Inconclusive]);
        row("three times", at(25), "i i i", Pause, &[Cause::Inconclusive]);
        row("three times on one rung", at(25), "i p i p i", Pause, &[Cause::Inconclusive]);
        row("forgiven by a person", at(25), "i i i resume i", Hold, &[Cause::Inconclusive]);
        row("it sets the passes back", at(25), "p*10 i p*5", Hold, &[Cause::PassesMissing]);
        // Time.
        row("one minute before the deadline", at(25), "n*30", Hold, &[Cause::NoData]);
        row("the deadline pauses", at(25), "n*31", Pause, &[Cause::Deadline]);
        row("the deadline rolls back", top(25, "on_deadline = \"rollback\""), "n*31", Rollback, &[Cause::Deadline]);
        row("a person resumes after the deadline", at(25), "n*31 resume n*19", Hold, &[Cause::NoData]);
        row("a process restarts in mid-bake", at(25), "p*6 restart p*14", Hold, &[Cause::Baking]);
        row("and bakes again", at(25), "p*6 restart p*15", Advance, &[]);
        row("the clock jumps ahead", at(25), "p*3 jump30 p*7", Hold, &[Cause::Baking]);
        row("the clock goes back", at(25), "p*9 back30 p*2", Hold, &[Cause::Baking]);
        row("the clock goes back a little", at(25), "p*9 back2 p*2", Hold, &[Cause::PassesMissing]);
        row("away longer than a window", at(25), "p*10 gap6 p*10", Hold, &[Cause::Baking]);
        row("away for less: a new window is needed", at(25), "p*10 gap4 p*4", Hold, &[Cause::PassesMissing]);
        row("away for less, with a new window", at(25), "p*10 gap4 p*5", Advance, &[]);
        // People.
        row("paused", at(25), "p*10 pause p*20", Pause, &[Cause::Paused]);
        row("failing while paused", at(25), "pause f f", Rollback, &[Cause::Failures]);
        row("paused time is no bake", at(25), "p*6 pause p*20 resume p*4", Hold, &[Cause::Baking]);
        row("approval is asked", top(25, "approve = [25]"), "p*11", Hold, &[Cause::Approval]);
        row("approval waits for ever", top(25, "approve = [25]"), "p*90", Hold, &[Cause::Approval]);
        row("approved", top(25, "approve = [25]"), "p*20 promote p", Advance, &[]);
        row("failing while it waits for approval", top(25, "approve = [25]"), "p*20 f f", Rollback, &[Cause::Failures]);
        // Roles.
        row("a signal only holds", with(25, "role = \"signal\""), "f*12", Hold, &[Cause::Signal]);
        row("a shadow is only shown", with(25, "role = \"shadow\""), "f*11", Advance, &[]);
        // Processes and other people.
        row("some process is not proven", agreeing(at(25), Agreement::Partial), "p*12", Hold, &[Cause::NotConverged]);
        row("sampled where proof is asked", top(25, "require = \"proved\""), "p*12", Hold, &[Cause::NotConverged]);
        row("proved", agreeing(top(25, "require = \"proved\""), Agreement::Proved), "p*11", Advance, &[]);
        row("a foreign edit", foreign(at(25), Narrowing::Narrows), "p*12", Conflict, &[Cause::ForeignEdit]);
        row(
            "back over an edit, narrowing",
            foreign(at(25), Narrowing::Narrows),
            "f f",
            Rollback,
            &[Cause::ForeignEdit],
        );
        let both = [Cause::RollbackWidens, Cause::Failures];
        row("back over an edit, widening", foreign(at(25), widens()), "f f", Conflict, &both);
        row(
            "an edit while paused",
            foreign(at(25), widens()),
            "pause p",
            Conflict,
            &[Cause::Paused, Cause::ForeignEdit],
        );
    }

    #[test]
    fn a_rung_without_a_guardrail_is_left_only_by_a_person() {
        let plan = "flag = \"f\"\nbake = \"5m\"\napprove = [10, 25, 50, 100]\n";
        row("nobody came", Run::new(plan, 25), ".*3", Action::Hold, &[Cause::Approval]);
        row("promoted", Run::new(plan, 25), "promote .", Action::Advance, &[]);
    }

    #[test]
    fn all_reasons_are_listed_the_worst_first_and_evidence_says_what_was_measured() {
        let mut run = with(25, "on_nodata = \"pause\"");
        let decision = run.walk("n+f n+f");
        let told: Vec<String> =
            decision.reasons.iter().map(|reason| format!("{}: {reason}", reason.calls_for)).collect();
        assert_eq!(
            told,
            [
                "rollback: latency: failed 2 times in a row",
                "pause: errors: no data: no rows",
                "pause: paused: llmhub rollout resume",
                "hold: errors: 0 of 3 passes",
                "hold: latency: 0 of 3 passes",
                "hold: baked 05:00 of 15:00",
            ]
        );
        let latency = decision.evidence.last().unwrap();
        assert_eq!((latency.query.as_str(), latency.source.as_str()), ("@cohort_p95", "sql"));
        assert_eq!((latency.value, latency.samples, latency.verdict), (Some(1.6), Some(1000), Verdict::Fail));
        assert_eq!(latency.reason, "1.6 fails (> 1.5)");
        let stored = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&stored).unwrap(), decision);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn it_never_goes_up_without_its_passes_and_never_masks_a_failure(
            rung in prop::sample::select(vec![10_u8, 25, 50, 100]),
            tokens in prop::collection::vec(
                prop::sample::select(vec![
                    "p", "p", "p", "p", "f", "i", "n", "x", "e", "c", "f+e", "p+f", "n+f", "p+n", "restart", "gap4", "gap9",
                    "jump30", "back3", "pause", "resume", ".",
                ]),
                1..60,
            ),
        ) {
            let mut run = at(rung);
            for token in tokens {
                let Some(decision) = run.step(token) else { continue };
                let tripped = run.counters.iter().any(|counters| counters.tripped.is_some());
                prop_assert_eq!(tripped, decision.action == Action::Rollback, "{:?}", decision);
                if matches!(decision.action, Action::Advance | Action::Complete) {
                    prop_assert!(decision.reasons.is_empty());
                    prop_assert!(run.bake.left(&run.plan).is_zero());
                    for counters in &run.counters {
                        prop_assert!(counters.consecutive_passes >= 3);
                        prop_assert_eq!(counters.verdict(), Some(Verdict::Pass));
                        prop_assert_eq!(counters.consecutive_failures, 0);
                        let from = counters.last.as_ref().unwrap().window.from;
                        prop_assert!(from >= run.bake.started_at && from >= run.since);
                    }
                }
            }
        }
    }
}
