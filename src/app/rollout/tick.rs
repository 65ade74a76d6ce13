//! One round on a rung that stands: look, measure, decide, and write down what came of it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::controller::{Controller, Happening, Mode, POLL, Round, event};
use super::targets::Known;
use crate::domain::flags::Percent;
use crate::domain::rollout::bake::{BakeClock, Ticked};
use crate::domain::rollout::counters::{Counters, Observation};
use crate::domain::rollout::decide::{Action, Agreement, Decision, Gate, Reason, Tick, decide};
use crate::domain::rollout::next_event::{NextEvent, next_event};
use crate::domain::rollout::plan::Metric;
use crate::domain::rollout::reading::Window;
use crate::domain::rollout::state::State;
use crate::domain::rollout::verdict::{Context, judge};
use crate::store::StoreError;
use crate::store::metrics::Question;
use crate::store::rollout::{Commit, MeasurementRecord};

/// Steady watch: one batch of reads a minute at each address (rollout.md 3, Request budget).
const WATCH: Duration = Duration::from_secs(60);

/// A run in which nothing happens writes down so often that it is driven: `--deadman` and the bake count from there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The shortest pause between two rounds.
const BREATH: Duration = Duration::from_millis(20);

/// How long a measurement may take beyond what its source allows itself.
const PATIENCE: Duration = Duration::from_secs(60);

impl Controller<'_> {
    /// Look, measure, decide.
    pub(super) async fn tick(&mut self) -> Result<Round, StoreError> {
        let Some(rung) = self.progress.rung() else { return Ok(Round::Over) };
        if self.looked.is_none_or(|looked| looked.elapsed() >= WATCH) && self.targets.may_look().await {
            self.look(rung).await?;
        }
        let mut bake = self.bake();
        let now = self.held.now();
        let passed = self.ticked.map(|ticked| ticked.elapsed());
        self.ticked = Some(Instant::now());
        let mut commit = Commit::default();
        let ticked = bake.tick(&self.plan, self.progress.state, now, passed);
        self.progress.bake = Some(bake);
        if ticked == Ticked::Restarted {
            self.progress.begin_bake_again(now);
            commit.events.push(event("bake_restarted", json!({"because": "nobody watched it, or a clock jumped"})));
        }
        let bake = self.bake();
        commit.measurements = self.measure(rung, &bake).await?;
        let mut decision = self.decision(rung, &bake);
        // What goes up must be what this run wrote, seen now and not a minute ago.
        if matches!(decision.0.action, Action::Advance | Action::Complete) {
            self.look(rung).await?;
            let bake = self.bake();
            decision = self.decision(rung, &bake);
        }
        self.act(rung, decision, commit).await
    }

    fn bake(&self) -> BakeClock {
        self.progress.bake.clone().unwrap_or_else(|| BakeClock::start(self.held.now()))
    }

    /// Ask every source that is due, all at once.
    async fn measure(&mut self, rung: Percent, bake: &BakeClock) -> Result<Vec<MeasurementRecord>, StoreError> {
        let now = self.held.now();
        let flag = self.wanted();
        let due: Vec<&Metric> = self.plan.metrics.iter().filter(|metric| now >= self.due(metric, bake)).collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let asked = due.iter().map(|metric| {
            let from = now.checked_sub(metric.window).unwrap_or(now);
            let window = Window { from, to: now };
            let question = Question { flag: &flag, rung, query: &metric.query, window };
            let metrics = &self.metrics;
            async move {
                let reading = tokio::time::timeout(PATIENCE, metrics.measure(&question)).await;
                let silent =
                    || crate::domain::rollout::reading::Reading::Failed("no answer within a minute".to_owned());
                (window, reading.unwrap_or_else(|_| silent()))
            }
        });
        let readings = self.held.guard(join_all(asked)).await?;
        let at = self.held.now();
        let mut records = Vec::new();
        let judged: Vec<(Metric, Window, _)> = due
            .into_iter()
            .zip(readings)
            .map(|(metric, (window, reading))| {
                let baseline = self.progress.baseline.get(&metric.name).copied();
                let context = Context { rung, window, converged_at: bake.started_at, now: at, baseline };
                (metric.clone(), window, judge(metric, &reading, &context))
            })
            .collect();
        for (metric, window, judgement) in judged {
            records.push(MeasurementRecord {
                rung: rung.get(),
                metric: metric.name.clone(),
                verdict: judgement.verdict.word().to_owned(),
                details: json!({
                    "value": judgement.value, "samples": judgement.samples, "reason": judgement.reason,
                    "from": window.from, "to": window.to,
                }),
            });
            self.progress.spark(&metric.name, judgement.value);
            let counters = self.progress.counters.entry(metric.name.clone()).or_default();
            counters.record(&metric, Observation { window, at, judgement });
        }
        Ok(records)
    }

    /// When a metric is measured next: its first window lies wholly after the begin of the bake.
    fn due(&self, metric: &Metric, bake: &BakeClock) -> Timestamp {
        let first = bake.started_at.checked_add(metric.initial_delay.max(metric.window)).unwrap_or(bake.started_at);
        let last = self.progress.counters.get(&metric.name).and_then(|counters| counters.last.as_ref());
        match last.and_then(|last| last.at.checked_add(metric.interval).ok()) {
            Some(next) => next.max(first),
            None => first,
        }
    }

    fn decision(&self, rung: Percent, bake: &BakeClock) -> (Decision, Option<NextEvent>) {
        let none = Counters::default();
        let gates: Vec<Gate<'_>> = self
            .plan
            .metrics
            .iter()
            .map(|metric| Gate { metric, counters: self.progress.counters.get(&metric.name).unwrap_or(&none) })
            .collect();
        let tick = Tick {
            plan: &self.plan,
            rung,
            state: self.progress.state,
            now: self.held.now(),
            bake,
            measured_since: self.progress.measured_since.unwrap_or(bake.started_at),
            gates: &gates,
            // A source that is no hub has one state: what was read back is proved.
            agreement: self.progress.live.as_ref().map_or(Agreement::Proved, Known::agreement),
            foreign: self.foreign.as_ref(),
            approval: self.progress.approval(),
        };
        let decision = decide(&tick);
        let next = next_event(&tick, &decision);
        (decision, next)
    }

    async fn act(
        &mut self,
        rung: Percent,
        (decision, next): (Decision, Option<NextEvent>),
        mut commit: Commit,
    ) -> Result<Round, StoreError> {
        let before = self.progress.state;
        let action = decision.action;
        let state = decision.state();
        let text = match decision.reasons.first() {
            Some(reason) => reason.to_string(),
            None if state == State::Completed => format!("{} % baked and passed", rung.get()),
            None => String::new(),
        };
        // The words carry numbers that change with every second; what they are about does not.
        let news = state != before || causes(self.progress.decision.as_ref()) != causes(Some(&decision));
        let reasons: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
        let decisive = decision.reasons.iter().filter(|reason| reason.calls_for == action);
        let decisive: Vec<String> = decisive.map(ToString::to_string).collect();
        self.progress.decided_at = Some(self.held.now());
        self.progress.decision = Some(decision);
        self.progress.next = next;
        let measured = !commit.measurements.is_empty();
        match action {
            Action::Advance => {
                if measured || !commit.events.is_empty() {
                    self.keep(commit).await?;
                }
                let next = self.plan.steps.rungs().iter().find(|next| **next > rung).copied();
                self.enter(next.unwrap_or(Percent::FULL)).await?;
                return Ok(Round::Again(Duration::ZERO));
            }
            Action::Rollback => {
                if measured {
                    self.keep(std::mem::take(&mut commit)).await?;
                }
                self.turn_back(decisive.join("; ")).await?;
                return Ok(Round::Again(Duration::ZERO));
            }
            Action::Complete | Action::Hold | Action::Pause | Action::Conflict => {}
        }
        self.progress.state = state;
        // A bake that ends and a measurement that is awaited happen on every rung; what keeps a run from going on is told.
        let kind = match state {
            State::Completed => Some("completed"),
            State::Holding => Some("holding"),
            State::Paused => Some("paused"),
            State::Conflict => Some("conflict"),
            State::AwaitingApproval => Some("awaiting_approval"),
            _ => None,
        };
        let told = kind.filter(|_| state != before);
        commit.events.extend(told.map(|kind| event(kind, json!({"rung": rung.get(), "reasons": reasons}))));
        let silent = self.kept.is_none_or(|kept| kept.elapsed() >= HEARTBEAT);
        let changed = state != before || measured || !commit.events.is_empty() || silent;
        if changed {
            self.keep(commit).await?;
        }
        if news || told.is_some() {
            let kind = kind.unwrap_or(state.word());
            self.show(Some(Happening { kind, text }));
        }
        if matches!(state, State::Completed | State::Conflict) || self.mode == Mode::Once {
            return Ok(Round::Over);
        }
        Ok(Round::Again(self.until_due()))
    }

    /// How long nothing is due: no measurement, no end of the bake, no look for requests.
    fn until_due(&self) -> Duration {
        let bake = self.bake();
        let now = self.held.now();
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let measured = self.plan.metrics.iter().map(|metric| until(self.due(metric, &bake)));
        let baked = Some(bake.left(&self.plan)).filter(|left| !left.is_zero());
        measured.chain(baked).fold(POLL, Duration::min).max(BREATH)
    }
}

/// What a decision is about, without its words.
fn causes(decision: Option<&Decision>) -> BTreeSet<(Action, String, Option<String>)> {
    let one = |reason: &Reason| (reason.calls_for, format!("{:?}", reason.cause), reason.metric.clone());
    decision.map(|decision| decision.reasons.iter().map(one).collect()).unwrap_or_default()
}
