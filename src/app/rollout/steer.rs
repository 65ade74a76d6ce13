//! People who steer a run: looking at it, and asking something of it, wherever it runs.
//!
//! A run in another process is asked by a request that its holder obeys within seconds. A run that nobody holds is changed
//! here, under a lease of our own.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::controller::{Mode, Spectator};
use super::drive::{Drive, Left, Take, busy};
use super::resume::{no_open_run, planned, remembered};
use super::standing::{LeaseView, Parts, Standing};
use crate::app::App;
use crate::domain::flags::FlagKey;
use crate::domain::rollout::plan::{Metric, Plan};
use crate::domain::rollout::state::State;
use crate::error::Error;
use crate::store::StoreError;
use crate::store::rollout::{Acquired, Ask, Claim, Commit, Grant, RunStore, Stored, Wish, broken_at};

/// How long a holder may take to obey; one that is gone has lost its lease before.
const OBEY: Duration = Duration::from_secs(40);

/// How long a way back may take, from the wish on.
const BACK: Duration = Duration::from_secs(180);

/// How often the answer is looked for.
const LOOK: Duration = Duration::from_millis(300);

/// What came of a wish.
pub struct Steered {
    /// How the run stands.
    pub standing: Standing,
    /// The exit status of the way back, where it went back.
    pub back_status: Option<u8>,
}

impl App {
    /// How the newest run of a flag stands; `None` where there never was one. Nothing is written.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn rollout_standing(&self, flag: &FlagKey) -> Result<Option<Steered>, Error> {
        let stored = self.run_store().await?.read(flag).await?;
        stored.map(|stored| self.standing_of(flag, &stored)).transpose()
    }

    fn standing_of(&self, flag: &FlagKey, stored: &Stored) -> Result<Steered, Error> {
        let progress = remembered(stored)?;
        let plan = planned(stored, &progress)?;
        let lease = stored.lease.holder.clone().filter(|_| stored.lease.is_live());
        let standing = Standing::new(Parts {
            flag: flag.as_str(),
            profile: self.profile_name(),
            run: stored.run.id.as_str(),
            started_by: &stored.run.started_by,
            started_at: stored.run.started_at,
            plan: &plan,
            progress: &progress,
            lease: lease.map(|holder| LeaseView { holder, seconds_left: stored.lease.left.as_secs() }),
            events: (stored.events.len(), broken_at(&stored.run.id, &stored.events)),
            now: stored.now,
        });
        Ok(Steered { standing, back_status: progress.back_status })
    }

    /// Whether the open run has this plan; `None` where no run is open.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn rollout_open_plan(&self, flag: &FlagKey) -> Result<Option<String>, Error> {
        let stored = self.run_store().await?.read(flag).await?;
        Ok(stored.filter(|stored| stored.run.ended_at.is_none()).map(|stored| stored.run.plan))
    }

    /// When the open run began, and what it took in the hour before of the metrics that it shares with this plan; `None` where
    /// no run is open.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn rollout_baseline(
        &self,
        flag: &FlagKey,
        plan: &Plan,
    ) -> Result<Option<(Timestamp, BTreeMap<String, f64>)>, Error> {
        let stored = self.run_store().await?.read(flag).await?;
        let Some(stored) = stored.filter(|stored| stored.run.ended_at.is_none()) else { return Ok(None) };
        let mut progress = remembered(&stored)?;
        let known = planned(&stored, &progress)?;
        // The same name may ask something else in another plan.
        let same = |metric: &Metric| (metric.name.clone(), metric.query.clone(), metric.relative);
        let shared: Vec<_> = known.metrics.iter().map(same).collect();
        let wanted: Vec<_> = plan.metrics.iter().map(same).filter(|metric| shared.contains(metric)).collect();
        progress.baseline.retain(|name, _| wanted.iter().any(|(wanted, ..)| wanted == name));
        Ok(Some((stored.run.started_at, progress.baseline)))
    }

    /// Refuse early when somebody runs it.
    ///
    /// # Errors
    /// [`Error::Store`] with a conflict that names who.
    pub async fn rollout_idle(&self, flag: &FlagKey) -> Result<(), Error> {
        match self.run_store().await?.lease(flag).await? {
            Some(lease) if lease.is_live() => Err(busy(flag, &lease)),
            _ => Ok(()),
        }
    }

    /// Have a wish granted, by whoever holds the run or by ourselves.
    ///
    /// # Errors
    /// [`Error::NotFound`] where no run is open; [`Error::Store`] when the holder neither obeys nor lets go.
    pub async fn rollout_steer(
        &self,
        flag: &FlagKey,
        wish: Wish,
        reason: Option<String>,
        spectator: &dyn Spectator,
    ) -> Result<Steered, Error> {
        let store = self.run_store().await?;
        let begun = Instant::now();
        let limit = if wish == Wish::Abort { BACK } else { OBEY };
        let mut asked = None;
        loop {
            let stored = store.read(flag).await?;
            let Some(stored) = stored.filter(|stored| stored.run.ended_at.is_none() || asked.is_some()) else {
                return Err(no_open_run(flag));
            };
            let answered = asked.is_some() && stored.requests.iter().all(|request| Some(request.id) != asked);
            if stored.run.ended_at.is_some() {
                let steered = self.standing_of(flag, &stored)?;
                let back = matches!(steered.standing.stored_state, State::RolledBack | State::RollbackUnverified);
                return if answered || (back && wish == Wish::Abort) { Ok(steered) } else { Err(too_late(&steered)) };
            }
            if answered && wish != Wish::Abort {
                return self.standing_of(flag, &stored);
            }
            if !stored.lease.is_live() {
                return self.steer_alone(&*store, flag, Alone { wish, reason, asked }, spectator).await;
            }
            if asked.is_none() {
                let actor = self.note("rollout", None).actor;
                let ask = Ask { wish, actor, reason: reason.clone() };
                asked = Some(store.ask(flag, &stored.run.id, &ask).await?);
                let holder = stored.lease.holder.as_deref().unwrap_or("its holder");
                self.ui.note(&format!("asked {holder} to {}", wish.word().replace('_', " ")));
            }
            if begun.elapsed() > limit {
                return Err(Error::Store(StoreError::Unreachable(format!(
                    "the holder of the rollout of `{flag}` keeps its lease and does not answer; the request stands"
                ))));
            }
            sleep(LOOK).await;
        }
    }

    /// Nobody holds the run: what is wished is done here.
    async fn steer_alone(
        &self,
        store: &dyn RunStore,
        flag: &FlagKey,
        alone: Alone,
        spectator: &dyn Spectator,
    ) -> Result<Steered, Error> {
        let take = match alone.wish {
            Wish::Abort => Take::Abort,
            Wish::AbortKeep => Take::AbortKeep,
            Wish::Pause | Wish::Promote | Wish::Resume => {
                self.mark(store, flag, &alone).await?;
                self.ui.note(&format!(
                    "nobody drives the run now; it obeys when it is taken up: llmhub rollout resume {flag}"
                ));
                let stored = store.read(flag).await?.ok_or_else(|| no_open_run(flag))?;
                return self.standing_of(flag, &stored);
            }
        };
        self.ui.note("nobody holds the run: doing it from here");
        let (mode, reason) = (Mode::ToTheEnd, alone.reason);
        let drive = Drive { mode, deadman: None, claim: Claim::WhenFree, wish: take, reason, spectator };
        let Left { standing, back_status, lost } = self.rollout_take_up(flag, drive).await?;
        match lost {
            Some(why) => Err(Error::Store(StoreError::OutcomeUnknown(why))),
            None => Ok(Steered { standing, back_status }),
        }
    }

    /// Write a wish into the memory of a run that nobody holds; whoever takes it up obeys.
    async fn mark(&self, store: &dyn RunStore, flag: &FlagKey, alone: &Alone) -> Result<(), Error> {
        let actor = self.note("rollout", None).actor;
        let grant = match store.acquire(flag, &actor, &Claim::WhenFree).await? {
            Acquired::Granted(grant) => grant,
            Acquired::Held(lease) => return Err(busy(flag, &lease)),
        };
        let marked = self.mark_under(store, flag, &grant, alone).await;
        // The next one shall not wait for a lease that served one write.
        let released = store.release(&grant).await;
        marked?;
        Ok(released?)
    }

    async fn mark_under(
        &self,
        store: &dyn RunStore,
        flag: &FlagKey,
        grant: &Grant,
        alone: &Alone,
    ) -> Result<(), Error> {
        let stored = store.read(flag).await?.filter(|stored| stored.run.ended_at.is_none());
        let stored = stored.ok_or_else(|| no_open_run(flag))?;
        let mut progress = remembered(&stored)?;
        let kind = progress.mark(alone.wish, stored.now).ok_or_else(|| {
            StoreError::Conflict(format!(
                "the run of `{flag}` is on its way back, and that is finished: llmhub rollout resume {flag}"
            ))
        })?;
        progress.sequence += 1;
        let details = serde_json::json!({"by": grant.holder, "reason": alone.reason});
        let commit = Commit {
            state: progress.state.word().to_owned(),
            progress: serde_json::json!(progress),
            events: vec![super::controller::event(kind, details)],
            // Whoever takes the run up must not obey the same request a second time.
            answered: alone.asked.into_iter().collect(),
            ..Commit::default()
        };
        Ok(store.commit(grant, &stored.run.id, &commit).await?)
    }
}

/// What is wished of a run that nobody holds.
struct Alone {
    wish: Wish,
    reason: Option<String>,
    /// The request that its last holder did not answer.
    asked: Option<i64>,
}

/// The run ended before it could be told.
fn too_late(steered: &Steered) -> Error {
    let Standing { flag, run, stored_state, .. } = &steered.standing;
    Error::Store(StoreError::Conflict(format!(
        "run {run} of `{flag}` came to its end before it was told: it is {stored_state}; look: llmhub rollout status {flag}"
    )))
}
