//! The way back into the loop, for a run whose process is gone: read what it remembers under the lease, and go on from there.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::controller::{Controller, Identity, event, reason_words};
use super::drive::{Drive, Left, Take, driven};
use super::lease::Held;
use super::progress::Progress;
use super::snapshot::Snapshot;
use super::targets::Targets;
use crate::app::{App, Source};
use crate::domain::flags::FlagKey;
use crate::domain::flags::ladder::Ladder;
use crate::domain::rollout::plan::{Plan, parse};
use crate::domain::rollout::state::State;
use crate::error::Error;
use crate::store::StoreError;
use crate::store::metrics::MetricSource;
use crate::store::rollout::{Claim, Commit, RunStore, Stored};

impl App {
    /// Take up the open run of a flag and drive it on.
    ///
    /// # Errors
    /// As [`App::rollout_begin`].
    pub async fn rollout_take_up(&self, flag: &FlagKey, drive: Drive<'_>) -> Result<Left, Error> {
        let store = self.run_store().await?;
        // A lease is a write: a look at a database without any rollout leaves it untouched.
        if store.read(flag).await?.is_none_or(|stored| stored.run.ended_at.is_some()) {
            return Err(no_open_run(flag));
        }
        let (held, late_writes) = self.hold(&store, flag, &drive.claim).await?;
        let taken = self.controller(store, held, flag, late_writes, &drive).await;
        match taken {
            Ok(mut controller) => match self.take(&mut controller, &drive).await {
                Ok(()) => driven(controller).await,
                Err(error) => {
                    let _ = controller.release().await;
                    Err(error)
                }
            },
            Err((held, error)) => {
                let _ = held.release().await;
                Err(error)
            }
        }
    }

    async fn controller<'a>(
        &self,
        store: Arc<dyn RunStore>,
        held: Held,
        flag: &FlagKey,
        late_writes: Duration,
        drive: &Drive<'a>,
    ) -> Result<Controller<'a>, (Held, Error)> {
        let stopper = self.listen();
        self.begun(flag);
        match self.memory(&*store, flag, drive).await {
            Ok(Memory { stored, progress, snapshots, plan, targets, metrics }) => Ok(Controller {
                identity: Identity {
                    flag: flag.clone(),
                    profile: self.profile_name(),
                    run: stored.run.id,
                    started_by: stored.run.started_by,
                    started_at: stored.run.started_at,
                },
                store,
                held,
                targets,
                metrics,
                restart_loads: self.restart_loads(flag),
                plan,
                snapshots,
                kept_state: progress.state,
                progress,
                spectator: drive.spectator,
                stop: stopper.listen(),
                _stopper: stopper,
                mode: drive.mode,
                foreign: None,
                looked: None,
                ticked: None,
                polled: None,
                kept: None,
                trying_since: None,
                late_writes,
                events: stored.events.len(),
            }),
            Err(error) => Err((held, error)),
        }
    }

    /// Everything that is known of the open run, read under the lease.
    async fn memory(&self, store: &dyn RunStore, flag: &FlagKey, drive: &Drive<'_>) -> Result<Memory, Error> {
        let stored = store.read(flag).await?.filter(|stored| stored.run.ended_at.is_none());
        let stored = stored.ok_or_else(|| no_open_run(flag))?;
        let mut progress = remembered(&stored)?;
        let snapshots: Vec<Snapshot> = serde_json::from_value(stored.run.snapshot.clone())
            .map_err(|error| StoreError::Invalid(format!("the snapshot of the run cannot be read: {error}")))?;
        let plan = planned(&stored, &progress)?;
        let via: Vec<Source> = [Source::Hub, Source::Db, Source::Env]
            .into_iter()
            .filter(|source| snapshots.iter().any(|snapshot| snapshot.is_of(*source)))
            .collect();
        let targets = Targets::open(self, &via, flag, self.note("rollout run", drive.reason.as_deref())).await?;
        let metrics = self.metric_sources(&plan).await?;
        let away = Duration::try_from(stored.now.duration_since(stored.run.updated_at)).unwrap_or_default();
        if drive.deadman.is_some_and(|deadman| away > deadman) && drive.wish != Take::AbortKeep {
            progress.going_back = Some(format!("abandoned for {} s: nobody drove it (--deadman)", away.as_secs()));
        }
        // A timer that comes again and again is one watch; whoever was away longer has to see a full window first.
        if !progress.left_cleanly || away > plan.longest_absence() {
            progress.measured_since = Some(stored.now);
        }
        progress.left_cleanly = false;
        Ok(Memory { stored, progress, snapshots, plan, targets, metrics })
    }

    /// What taking the run up does to it.
    async fn take(&self, controller: &mut Controller<'_>, drive: &Drive<'_>) -> Result<(), Error> {
        if controller.progress.state == State::RollingBack {
            return Ok(());
        }
        let details = json!({"by": controller.held.grant().holder, "reason": drive.reason});
        let kind = match &drive.claim {
            Claim::WhenFree => "taken_up",
            Claim::TakeOver { .. } => "taken_over",
        };
        let back = match (drive.wish, controller.progress.going_back.clone()) {
            (Take::Abort, _) => Some(format!("aborted{}", reason_words(drive.reason.as_deref()))),
            (_, abandoned) => abandoned,
        };
        if let Some(why) = back {
            controller.keep(Commit { events: vec![event(kind, details)], ..Commit::default() }).await?;
            controller.turn_back(why).await?;
            return Ok(());
        }
        match drive.wish {
            Take::Resume => controller.take_up_again(),
            Take::AbortKeep => controller.progress.state = State::AbortedKept,
            Take::AsItIs | Take::Abort => {}
        }
        let kept = (drive.wish == Take::AbortKeep).then(|| event("aborted_kept", details.clone()));
        let events = std::iter::once(event(kind, details)).chain(kept).collect();
        controller.keep(Commit { events, ..Commit::default() }).await?;
        Ok(())
    }
}

/// Everything that is known of an open run.
struct Memory {
    stored: Stored,
    progress: Progress,
    snapshots: Vec<Snapshot>,
    plan: Plan,
    targets: Targets,
    metrics: Arc<dyn MetricSource>,
}

pub(super) fn no_open_run(flag: &FlagKey) -> Error {
    Error::NotFound {
        message: format!("`{flag}` has no rollout that is under way"),
        hint: format!("begin one: llmhub rollout run {flag} --plan plan.toml"),
    }
}

/// The memory of a stored run.
pub(super) fn remembered(stored: &Stored) -> Result<Progress, Error> {
    let progress = serde_json::from_value(stored.run.progress.clone());
    Ok(progress.map_err(|error| StoreError::Invalid(format!("the memory of the run cannot be read: {error}")))?)
}

/// The plan of a stored run, with the rungs that it began with.
pub(super) fn planned(stored: &Stored, progress: &Progress) -> Result<Plan, Error> {
    let ladder = Ladder::try_from(progress.steps.as_slice()).unwrap_or_default();
    let parsed = parse(&stored.run.plan, &ladder).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(|fault| fault.at("the stored plan")).collect();
        StoreError::Invalid(faults.join("; "))
    })?;
    Ok(parsed.plan)
}
