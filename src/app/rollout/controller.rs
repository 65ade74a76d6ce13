//! The run itself: one loop that obeys, applies, measures, decides and goes back, and writes down each of it before it acts.
//!
//! It stops acting the moment its lease is lost. Whatever ends it leaves a record from which another process goes on.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::lease::Held;
use super::progress::Progress;
use super::snapshot::Snapshot;
use super::standing::{LeaseView, Parts, Standing};
use super::targets::Targets;
use crate::domain::flags::FlagKey;
use crate::domain::rollout::decide::ForeignEdit;
use crate::domain::rollout::plan::Plan;
use crate::domain::rollout::state::State;
use crate::store::metrics::MetricSource;
use crate::store::rollout::{Commit, End, NewEvent, Request, RunId, RunStore, Wish};
use crate::store::{Stop, Stopper, StoreError};

/// How often the run looks for what people ask of it.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// Pause before a write of state is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Whoever watches a run.
pub trait Spectator: Send + Sync {
    /// Something happened, or time went by.
    fn see(&self, standing: &Standing, happening: Option<&Happening>);
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Happening {
    /// One word.
    pub kind: &'static str,
    /// In words.
    pub text: String,
}

/// For how long a run is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One decision, for timers.
    Once,
    /// Until it comes to its end.
    ToTheEnd,
}

/// Which run, as it was begun.
pub struct Identity {
    /// The flag.
    pub flag: FlagKey,
    /// The profile, if one is chosen.
    pub profile: Option<String>,
    /// The run's name.
    pub run: RunId,
    /// Who began it.
    pub started_by: String,
    /// When.
    pub started_at: Timestamp,
}

/// One run in the hands of this process.
pub struct Controller<'a> {
    pub(super) identity: Identity,
    pub(super) store: Arc<dyn RunStore>,
    pub(super) held: Held,
    pub(super) targets: Targets,
    pub(super) metrics: Arc<dyn MetricSource>,
    pub(super) plan: Plan,
    pub(super) snapshots: Vec<Snapshot>,
    /// What a process loads when it starts again, where an env file says it.
    pub(super) restart_loads: Option<crate::domain::flags::Flag>,
    pub(super) progress: Progress,
    pub(super) spectator: &'a dyn Spectator,
    pub(super) stop: Stop,
    /// Kept, so that signals know that somebody listens.
    pub(super) _stopper: Arc<Stopper>,
    pub(super) mode: Mode,
    /// What was seen of strangers at the last look.
    pub(super) foreign: Option<ForeignEdit>,
    pub(super) looked: Option<Instant>,
    pub(super) ticked: Option<Instant>,
    pub(super) polled: Option<Instant>,
    /// When the state was written last, and which it was.
    pub(super) kept: Option<Instant>,
    pub(super) kept_state: State,
    /// Since when a rung is being brought to the processes without success.
    pub(super) trying_since: Option<Instant>,
    /// How long a holder from whom the lease was taken may still act.
    pub(super) late_writes: Duration,
    /// How many events were written by this process and those before it.
    pub(super) events: usize,
}

/// What one round of the loop came to.
pub(super) enum Round {
    /// Look again after this time.
    Again(Duration),
    /// The run waits for a person who has to act elsewhere, or has ended.
    Over,
}

impl Controller<'_> {
    /// Drive the run. Returns the state in which this process leaves it.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when the operator asked for the end; [`StoreError::Fenced`] and [`StoreError::Unreachable`] when
    /// the lease is lost: this process has stopped acting then.
    pub async fn drive(&mut self) -> Result<State, StoreError> {
        loop {
            if self.stop.is_asked() {
                return Err(self.leave().await);
            }
            self.obey().await?;
            let round = self.round().await?;
            let pause = match round {
                Round::Over => return Ok(self.progress.state),
                Round::Again(pause) => pause,
            };
            self.show(None);
            let stop = self.stop.clone();
            let wait = async {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stop.asked() => {}
                }
            };
            self.held.guard(wait).await?;
        }
    }

    async fn round(&mut self) -> Result<Round, StoreError> {
        match self.progress.state {
            state if state.is_terminal() => Ok(Round::Over),
            State::RollingBack => {
                self.go_back().await?;
                Ok(Round::Over)
            }
            State::Planned => {
                let first = self.first_rung();
                self.enter(first).await?;
                Ok(Round::Again(Duration::ZERO))
            }
            State::Conflict => Ok(Round::Over),
            // A rung that was never proven is not measured; paused, it is not brought further either.
            State::Paused if !self.progress.applied => Ok(self.waits(POLL)),
            _ if !self.progress.applied => self.apply().await,
            _ => self.tick().await,
        }
    }

    /// Look again later, or never in this process.
    pub(super) fn waits(&self, pause: Duration) -> Round {
        match self.mode {
            Mode::Once => Round::Over,
            Mode::ToTheEnd => Round::Again(pause),
        }
    }

    /// Keep the exposure, give the lease back, and say how it goes on.
    async fn leave(&mut self) -> StoreError {
        let rung = self.progress.rung.map_or_else(|| "as it was".to_owned(), |rung| format!("{rung} %"));
        let (state, flag) = (self.progress.state, self.identity.flag.clone());
        let kept = self.keep(Commit { events: vec![event("stopped", json!({}))], ..Commit::default() }).await;
        let note = kept.err().map(|error| format!("; this could not be recorded: {error}")).unwrap_or_default();
        StoreError::Stopped(format!(
            "run {} was {state}; the exposure stays {rung}, and nobody watches it now{note}; go on: llmhub rollout resume {flag}",
            self.identity.run.as_str()
        ))
    }

    /// Do what people asked of the run.
    async fn obey(&mut self) -> Result<(), StoreError> {
        if self.polled.is_some_and(|polled| polled.elapsed() < POLL) || self.progress.state == State::RollingBack {
            return Ok(());
        }
        self.polled = Some(Instant::now());
        let asked = self.held.guard(self.store.requests(&self.identity.flag, &self.identity.run)).await?;
        // A look that fails is made again: the lease decides when it is too late.
        for request in asked.unwrap_or_default() {
            self.grant_wish(&request).await?;
            // A way back that has begun is finished, and an end is an end: who asks the opposite at the same moment is too late.
            if self.progress.state == State::RollingBack || self.progress.state.is_terminal() {
                break;
            }
        }
        Ok(())
    }

    /// Do what one person asked.
    pub(super) async fn grant_wish(&mut self, request: &Request) -> Result<(), StoreError> {
        let by = json!({"by": request.actor, "reason": request.reason});
        let kind = match request.wish {
            Wish::Pause => {
                self.progress.state = State::Paused;
                "paused"
            }
            Wish::Resume => {
                self.take_up_again();
                "resumed"
            }
            Wish::Promote => self.progress.promote(request.asked_at),
            Wish::Abort => {
                self.begin_back(format!("aborted by {}{}", request.actor, reason_words(request.reason.as_deref())));
                "aborted"
            }
            Wish::AbortKeep => {
                self.progress.state = State::AbortedKept;
                "aborted_kept"
            }
        };
        let answered = vec![request.id];
        let mut commit = Commit { events: vec![event(kind, by)], answered, ..Commit::default() };
        if self.progress.state == State::RollingBack {
            commit.steps.push(self.intent_down());
        }
        self.keep(commit).await?;
        self.show(Some(Happening { kind, text: format!("{} by {}", kind.replace('_', " "), request.actor) }));
        Ok(())
    }

    /// A person resumed the run.
    pub(super) fn take_up_again(&mut self) {
        self.progress.take_up_again(self.held.now());
        self.trying_since = None;
    }

    /// Write state, whole or not at all; tried again until it stands or the lease is lost.
    pub(super) async fn keep(&mut self, mut commit: Commit) -> Result<(), StoreError> {
        let (from, to) = (self.kept_state, self.progress.state);
        // The table is the specification, and a way back must not fail because of it: a build for tests holds the code against it.
        debug_assert!(from == to || from.may_become(to), "{from} → {to}");
        self.progress.sequence += 1;
        self.events += commit.events.len();
        commit.state = self.progress.state.word().to_owned();
        commit.progress = serde_json::to_value(&self.progress)
            .map_err(|error| StoreError::Invalid(format!("the state cannot be written as JSON: {error}")))?;
        commit.end = if self.progress.state.is_terminal() { End::Closed } else { End::Open };
        loop {
            let grant = self.held.grant();
            let written = self.held.guard(self.store.commit(&grant, &self.identity.run, &commit)).await?;
            match written {
                Ok(()) => break,
                Err(StoreError::OutcomeUnknown(_)) if self.stands().await? => break,
                Err(StoreError::Unreachable(_) | StoreError::OutcomeUnknown(_)) => {
                    self.held.guard(sleep(AGAIN)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        (self.kept, self.kept_state) = (Some(Instant::now()), self.progress.state);
        Ok(())
    }

    /// Whether the newest state is stored, after a write whose answer was lost.
    async fn stands(&self) -> Result<bool, StoreError> {
        loop {
            match self.held.guard(self.store.read(&self.identity.flag)).await? {
                Ok(stored) => {
                    let sequence = stored.and_then(|stored| stored.run.progress.get("sequence")?.as_u64());
                    return Ok(sequence == Some(self.progress.sequence));
                }
                Err(StoreError::Unreachable(_)) => self.held.guard(sleep(AGAIN)).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let now = self.held.now();
        let grant = self.held.grant();
        let left = Duration::try_from(grant.expires_at.duration_since(now)).unwrap_or_default();
        Standing::new(Parts {
            flag: self.identity.flag.as_str(),
            profile: self.identity.profile.clone(),
            run: self.identity.run.as_str(),
            started_by: &self.identity.started_by,
            started_at: self.identity.started_at,
            plan: &self.plan,
            progress: &self.progress,
            lease: Some(LeaseView { holder: grant.holder, seconds_left: left.as_secs() }),
            events: (self.events, None),
            now,
        })
    }

    pub(super) fn show(&self, happening: Option<Happening>) {
        self.spectator.see(&self.standing(), happening.as_ref());
    }

    /// Give the lease back.
    pub async fn release(self) -> Result<(), StoreError> {
        self.held.release().await
    }
}

pub(super) fn event(kind: &'static str, details: serde_json::Value) -> NewEvent {
    NewEvent { kind, details }
}

pub(super) fn reason_words(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}
