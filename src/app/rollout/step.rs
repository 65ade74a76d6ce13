//! One rung up: intent committed, hub written and verified, kept, committed (rollout.md 5).
//!
//! Every part may be done twice: values are whole. So whoever takes the run over after a death does the same again, after a
//! look that nobody else has written meanwhile.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::controller::{Controller, Happening, Round, event};
use super::targets::{Known, Look, differing};
use crate::domain::flags::{Flag, Percent};
use crate::domain::rollout::bake::BakeClock;
use crate::domain::rollout::decide::Agreement;
use crate::domain::rollout::plan::OnDeadline;
use crate::domain::rollout::state::State;
use crate::store::rollout::{Commit, Direction, StepWrite};
use crate::store::{Source, StoreError};

/// Pause between two tries to bring a rung to the processes.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl Controller<'_> {
    /// The rung that a run begins with: 0, or where an enabled flag stands already. A run never takes users away to begin.
    pub(super) fn first_rung(&self) -> Percent {
        let snapshot = self.snapshot();
        let exposure = snapshot.exposure();
        let rungs = self.plan.steps.rungs();
        rungs.iter().rev().find(|rung| **rung <= exposure).copied().unwrap_or(Percent::ZERO)
    }

    /// The flag before the run, as the hub held it; without a hub, as the first source did.
    pub(super) fn snapshot(&self) -> Flag {
        let hub = self.snapshots.iter().find(|snapshot| snapshot.is_of(Source::Hub));
        let key = &self.identity.flag;
        hub.or(self.snapshots.first()).map_or_else(|| Flag::off(key.clone()), |snapshot| snapshot.flag(key))
    }

    /// The flag as the hub shall hold it now.
    pub(super) fn wanted(&self) -> Flag {
        let before = self.snapshot();
        match self.progress.rung() {
            Some(rung) => super::snapshot::on_rung(&before, rung),
            None => before,
        }
    }

    /// Commit the intent to go to a rung.
    pub(super) async fn enter(&mut self, rung: Percent) -> Result<(), StoreError> {
        let before = self.wanted();
        self.progress.enter(rung, self.held.now());
        self.progress.state = State::Applying;
        let (before, wanted) = (digest(&before), digest(&self.wanted()));
        let step = StepWrite::Intent {
            number: self.progress.step,
            rung: rung.get(),
            direction: Direction::Up,
            before,
            wanted: wanted.clone(),
        };
        let events = vec![event("intent", json!({"rung": rung.get(), "wanted": wanted}))];
        self.keep(Commit { steps: vec![step], events, ..Commit::default() }).await?;
        self.show(Some(Happening { kind: "intent", text: format!("to {rung} %") }));
        Ok(())
    }

    /// Bring the rung to the processes, prove it, have it kept, and start the bake.
    pub(super) async fn apply(&mut self) -> Result<Round, StoreError> {
        let Some(rung) = self.progress.rung() else { return Ok(Round::Over) };
        let look = self.held.guard(self.targets.look()).await?;
        if let Some(members) = self.stranger(&look, rung) {
            return self.conflict(members).await;
        }
        if !look.silent.is_empty() {
            return self.not_yet(look.silent.join("; ")).await;
        }
        // Right before the write: a lease that is not ours any more ends it here.
        self.held.check().await?;
        let raised = self.held.guard(self.targets.raise_live(&self.snapshots, rung)).await?;
        match raised {
            Err(StoreError::Conflict(why)) => return self.conflict(vec![why]).await,
            Err(error) => return self.not_yet(error.to_string()).await,
            Ok(Some(saved)) => {
                let live = saved.live.as_ref().map(Known::of);
                self.progress.live = live.clone();
                if live.as_ref().is_some_and(|live| live.agreement() == Agreement::Partial) {
                    let evidence = live.map(|live| live.evidence).unwrap_or_default();
                    return self.not_yet(format!("not all processes hold {rung} %: {evidence}")).await;
                }
            }
            Ok(None) => self.progress.live = None,
        }
        if self.progress.state != State::Converging {
            self.progress.state = State::Converging;
            let live = json!({"rung": rung.get(), "live": self.progress.live});
            self.keep(Commit { events: vec![event("written", live)], ..Commit::default() }).await?;
            let words = self.progress.live.as_ref().map_or_else(|| "nothing runs here".to_owned(), Known::words);
            self.show(Some(Happening { kind: "written", text: format!("{rung} %: {words}") }));
        }
        self.held.check().await?;
        if let Err(error) = self.held.guard(self.targets.raise_kept(&self.snapshots, rung)).await? {
            self.progress.persisted = Some(false);
            return self.not_yet(format!("{rung} % is live, but not kept: {error}")).await;
        }
        self.applied(rung).await?;
        Ok(Round::Again(Duration::ZERO))
    }

    async fn applied(&mut self, rung: Percent) -> Result<(), StoreError> {
        let now = self.held.now();
        self.progress.applied = true;
        self.progress.persisted = self.targets.keeps().then_some(true);
        self.progress.bake = Some(BakeClock::start(now));
        self.progress.measured_since = Some(now);
        self.progress.state = State::Baking;
        self.trying_since = None;
        (self.foreign, self.looked, self.ticked) = (None, Some(Instant::now()), Some(Instant::now()));
        let steps = vec![StepWrite::Applied { number: self.progress.step }];
        let events = vec![event("applied", json!({"rung": rung.get()}))];
        self.keep(Commit { steps, events, ..Commit::default() }).await?;
        self.show(Some(Happening { kind: "applied", text: format!("{rung} % stands; the bake begins") }));
        Ok(())
    }

    /// The rung is not proven yet. It is tried again, for no longer than a rung may be held.
    async fn not_yet(&mut self, why: String) -> Result<Round, StoreError> {
        let since = *self.trying_since.get_or_insert_with(Instant::now);
        let news = self.progress.live.as_ref().is_none_or(|live| live.evidence != why);
        self.progress.live = Some(Known {
            agree: self.progress.live.as_ref().map_or(0, |live| live.agree),
            of: self.progress.live.as_ref().and_then(|live| live.of),
            verdict: "partial".to_owned(),
            evidence: why.clone(),
        });
        if since.elapsed() >= self.plan.max_hold {
            match self.plan.on_deadline {
                OnDeadline::Pause => {
                    self.progress.state = State::Paused;
                    let events = vec![event("paused", json!({"by": "the deadline", "reason": why}))];
                    self.keep(Commit { events, ..Commit::default() }).await?;
                    self.show(Some(Happening { kind: "paused", text: why }));
                }
                OnDeadline::Rollback => self.turn_back(format!("not proven before the deadline: {why}")).await?,
            }
            return Ok(Round::Again(Duration::ZERO));
        }
        if news {
            self.keep(Commit { events: vec![event("not_proven", json!({"reason": why}))], ..Commit::default() })
                .await?;
            self.show(Some(Happening { kind: "not_proven", text: why }));
        }
        Ok(self.waits(TRY_AGAIN))
    }

    /// Somebody else wrote: nothing goes up any more until a person has settled it.
    pub(super) async fn conflict(&mut self, members: Vec<String>) -> Result<Round, StoreError> {
        self.progress.state = State::Conflict;
        let text = format!("somebody else edited the flag: {}", members.join(", "));
        let events = vec![event("conflict", json!({"members": members}))];
        self.keep(Commit { events, ..Commit::default() }).await?;
        self.show(Some(Happening { kind: "conflict", text }));
        Ok(Round::Over)
    }

    /// The members in which some state is neither what this step wants nor what was there before it.
    fn stranger(&self, look: &Look, rung: Percent) -> Option<Vec<String>> {
        let mut members: Vec<String> = Vec::new();
        for state in &look.states {
            let Some(snapshot) = self.snapshots.iter().find(|snapshot| snapshot.is_of(state.source)) else { continue };
            let before = snapshot.flag(&self.identity.flag);
            let known = self.around(&before, rung);
            let holds = |flag: &Flag| known.iter().any(|known| differing(flag, known).is_empty());
            // A process that restarted may be back at what was before the run, while others are not. When all are, somebody
            // has taken the feature back by hand, and that is never overruled.
            let some_hold = state.source == Source::Hub && look.of(Source::Hub).iter().any(holds);
            if holds(&state.flag) || (some_hold && differing(&state.flag, &before).is_empty()) {
                continue;
            }
            // The first is what this step wants; the differences from it are the ones to be shown.
            for member in known.first().map(|flag| differing(&state.flag, flag)).unwrap_or_default() {
                let named = format!("{member} ({})", state.source);
                if !members.contains(&named) {
                    members.push(named);
                }
            }
        }
        (!members.is_empty()).then_some(members)
    }

    /// What a source may hold around this step: the rung, and the one before it; before the first that is the snapshot.
    fn around(&self, before: &Flag, rung: Percent) -> Vec<Flag> {
        let lower = self.plan.steps.rungs().iter().rev().find(|lower| **lower < rung);
        let below = match lower {
            Some(lower) if self.progress.step > 1 => super::snapshot::on_rung(before, *lower),
            _ => before.clone(),
        };
        vec![super::snapshot::on_rung(before, rung), below]
    }
}

/// A flag's digest as text.
pub(super) fn digest(flag: &Flag) -> String {
    crate::domain::flags::digest::digest(flag).to_string()
}
