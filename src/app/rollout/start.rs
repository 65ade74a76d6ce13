//! Before the first change: everything that can refuse a run is asked first. Then the lease, the record, and the way into the
//! loop; or the way back into it, for a run whose process is gone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::controller::{Controller, Identity, Mode, Spectator, event};
use super::lease::Held;
use super::progress::Progress;
use super::snapshot::Snapshot;
use super::standing::Standing;
use super::targets::Targets;
use crate::app::plan_file::PlanFile;
use crate::app::{App, Source};
use crate::domain::flags::digest::{Digest, digest};
use crate::domain::flags::ladder::Ladder;
use crate::domain::flags::{Flag, FlagKey};
use crate::domain::rollout::plan::{Plan, Relative, parse};
use crate::domain::rollout::reading::Window;
use crate::domain::rollout::state::State;
use crate::domain::rollout::verdict::baseline;
use crate::error::{Error, Stage};
use crate::store::StoreError;
use crate::store::metrics::{MetricSource, Question};
use crate::store::rollout::{Claim, Commit, Lease, NewRun, RunId, RunStore, Stored, Timing};

/// The span before rung 0 that a baseline is taken over.
const BASELINE: Duration = Duration::from_secs(3600);

/// A run that nothing refuses, before its first change.
pub struct Prospect {
    plan: Plan,
    text: String,
    targets: Targets,
    metrics: Arc<dyn MetricSource>,
    /// The flag of each source as it was seen.
    pub seen: Vec<(Source, Flag)>,
}

impl Prospect {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// How a run is driven by this process.
pub struct Drive<'a> {
    /// For how long.
    pub mode: Mode,
    /// Roll back instead of going on, where nobody drove the run for so long.
    pub deadman: Option<Duration>,
    /// How the lease is asked for.
    pub claim: Claim,
    /// Whether a pause or a conflict ends by this.
    pub wish: Take,
    /// Why, for the history.
    pub reason: Option<String>,
    /// Who watches.
    pub spectator: &'a dyn Spectator,
}

/// What taking up a run does to a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// It stays paused.
    AsItIs,
    /// It goes on.
    Resume,
    /// It goes back.
    Abort,
    /// It ends, and the exposure stays.
    AbortKeep,
}

/// How a process left a run.
pub struct Left {
    /// How it stands.
    pub standing: Standing,
    /// The exit status of the way back, where it went back.
    pub back_status: Option<u8>,
    /// Why this process had to stop acting, where it did not end by itself.
    pub lost: Option<String>,
}

impl App {
    /// Ask everything that can refuse a run. Nothing is written anywhere.
    ///
    /// # Errors
    /// The first thing that stands in the way: a source that does not answer, a flag that is not there, processes that disagree,
    /// a flag that moved since the plan was written, a query that cannot be asked.
    pub async fn rollout_prospect(&self, file: PlanFile, via: &[Source]) -> Result<Prospect, Error> {
        let PlanFile { plan, text } = file;
        let targets = Targets::open(self, via, &plan.flag, self.note("rollout run", None)).await?;
        let seen = steady(&targets, &plan.flag).await?;
        if let (Some(wanted), Some((_, flag))) = (&plan.seen.flag, seen.first())
            && digest(flag) != *wanted
        {
            return Err(Error::Store(StoreError::Conflict(format!(
                "`{}` is not as it was when the plan was written; nothing was written",
                plan.flag
            ))));
        }
        off_ladder(&plan, &seen)?;
        let metrics = self.metric_sources(&plan).await?;
        for metric in &plan.metrics {
            metrics.check(&metric.query).await.map_err(|error| named(&metric.name, error))?;
        }
        Ok(Prospect { plan, text, targets, metrics, seen })
    }

    /// Begin a run and drive it.
    ///
    /// # Errors
    /// [`Error::Store`] with a conflict when somebody else runs it or the flag moved meanwhile; what the run ends with.
    pub async fn rollout_begin(&self, prospect: Prospect, drive: Drive<'_>) -> Result<Left, Error> {
        let Prospect { plan, text, targets, metrics, seen } = prospect;
        let store = self.run_store().await?;
        let flag = plan.flag.clone();
        let (held, late_writes) = self.hold(&store, &flag, &drive.claim).await?;
        let moved = steady(&targets, &flag).await.and_then(|now| {
            let same = now.iter().zip(&seen).all(|(now, seen)| digest(&now.1) == digest(&seen.1));
            let moved = || StoreError::Conflict(format!("`{flag}` was edited meanwhile; nothing was written"));
            if same { Ok(()) } else { Err(Error::Store(moved())) }
        });
        if let Err(error) = moved {
            // Nothing has begun: the next one shall not wait for it.
            let _ = held.release().await;
            return Err(error);
        }
        let snapshots: Vec<Snapshot> = seen.iter().map(|(source, flag)| Snapshot::of(*source, flag)).collect();
        let mut progress =
            Progress { steps: plan.steps.rungs().iter().map(|rung| rung.get()).collect(), ..Progress::default() };
        self.take_baseline(&plan, &*metrics, &seen, held.now(), &mut progress).await;
        let id = RunId::fresh();
        let started_by = self.note("rollout run", None).actor;
        let details = json!({
            "plan": Digest::of(text.as_bytes()), "snapshot": snapshots, "reason": drive.reason, "baseline": progress.baseline,
        });
        let new = NewRun {
            id: id.clone(),
            plan: text.clone(),
            plan_digest: Digest::of(text.as_bytes()).to_string(),
            snapshot: json!(snapshots),
            state: State::Planned.word().to_owned(),
            progress: json!(progress),
            started_by: started_by.clone(),
            events: vec![event("started", details)],
        };
        if let Err(error) = held.guard(store.begin(&held.grant(), &new)).await.and_then(|begun| begun) {
            let _ = held.release().await;
            return Err(error.into());
        }
        let started_at = held.now();
        let stopper = self.listen();
        self.begun(&flag);
        let identity = Identity { flag, profile: self.profile_name(), run: id, started_by, started_at };
        let controller = Controller {
            identity,
            store,
            held,
            targets,
            metrics,
            restart_loads: self.restart_loads(&plan.flag),
            plan,
            snapshots,
            progress,
            spectator: drive.spectator,
            stop: stopper.listen(),
            _stopper: stopper,
            mode: drive.mode,
            foreign: None,
            looked: None,
            ticked: None,
            polled: None,
            trying_since: None,
            late_writes,
            events: 1,
        };
        driven(controller).await
    }

    /// Take up the open run of a flag and drive it on.
    ///
    /// # Errors
    /// As [`App::rollout_begin`].
    pub async fn rollout_take_up(&self, flag: &FlagKey, drive: Drive<'_>) -> Result<Left, Error> {
        let store = self.run_store().await?;
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
                progress,
                spectator: drive.spectator,
                stop: stopper.listen(),
                _stopper: stopper,
                mode: drive.mode,
                foreign: None,
                looked: None,
                ticked: None,
                polled: None,
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
            (Take::Abort, _) => Some(format!("aborted{}", super::controller::reason_words(drive.reason.as_deref()))),
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

    /// Get the lease, or say who has it.
    async fn hold(&self, store: &Arc<dyn RunStore>, flag: &FlagKey, claim: &Claim) -> Result<(Held, Duration), Error> {
        let before = store.lease(flag).await?.filter(Lease::is_live);
        let (user, host) = self.who();
        let holder = format!("{user}@{host} (process {})", std::process::id());
        match Held::acquire(Arc::clone(store), flag, &holder, claim, Timing::default()).await? {
            Ok(held) => Ok((held, before.map_or(Duration::ZERO, |lease| lease.left))),
            Err(lease) => Err(busy(flag, &lease)),
        }
    }

    /// The metrics in the hour before the first rung. One that cannot be taken is said; its gate will have no data.
    async fn take_baseline(
        &self,
        plan: &Plan,
        metrics: &dyn MetricSource,
        seen: &[(Source, Flag)],
        now: Timestamp,
        progress: &mut Progress,
    ) {
        let Some((_, flag)) = seen.first() else { return };
        let window = Window { from: now.checked_sub(BASELINE).unwrap_or(now), to: now };
        for metric in plan.metrics.iter().filter(|metric| metric.relative == Relative::Baseline) {
            let question = Question { flag, rung: flag.exposure(), query: &metric.query, window };
            match baseline(metric, &metrics.measure(&question).await) {
                Ok(value) => drop(progress.baseline.insert(metric.name.clone(), value)),
                Err(why) => self.ui.warn(&format!("{}: no baseline from the hour before: {why}", metric.name)),
            }
        }
    }

    /// What stands when a second signal ends it in the middle of something.
    fn begun(&self, flag: &FlagKey) {
        let stands = format!("the exposure stays as it is now; go on: llmhub rollout resume {flag}");
        self.stage(Stage::Stopped(stands));
    }

    fn restart_loads(&self, flag: &FlagKey) -> Option<Flag> {
        self.env_file().ok()?.predict(flag).ok()
    }

    pub(super) fn profile_name(&self) -> Option<String> {
        self.config().profile.as_ref().map(|profile| profile.value.clone())
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

async fn driven(mut controller: Controller<'_>) -> Result<Left, Error> {
    let outcome = controller.drive().await;
    let ended = match outcome {
        Ok(state) => {
            if controller.mode == Mode::Once && !state.is_terminal() {
                controller.progress.left_cleanly = true;
                controller.keep(Commit::default()).await?;
            }
            Ok(None)
        }
        Err(StoreError::Unreachable(why)) => Ok(Some(why)),
        Err(error) => Err(Error::Store(error)),
    };
    let standing = controller.standing();
    let back_status = controller.progress.back_status;
    if !matches!(ended, Ok(Some(_)) | Err(Error::Store(StoreError::Fenced(_)))) {
        // A lease that cannot be given back runs out by itself.
        let _ = controller.release().await;
    }
    Ok(Left { standing: Standing { lease: None, ..standing }, back_status, lost: ended? })
}

/// The flag in every source, each of one mind.
async fn steady(targets: &Targets, flag: &FlagKey) -> Result<Vec<(Source, Flag)>, Error> {
    let mut seen = Vec::new();
    for store in targets.all() {
        let (states, silent) = targets.states(store).await?;
        if let Some(silent) = silent.first() {
            return Err(Error::Store(StoreError::Unreachable(format!("{silent}; nothing was written"))));
        }
        let mut states = states.into_iter().map(|state| state.flag);
        match (states.next(), states.next()) {
            (Some(state), None) => {
                if let Some(problem) = state.problems().into_iter().next() {
                    let message = format!("{}: {problem}; nothing was written", store.source());
                    return Err(Error::Refused { message, hint: "repair it first: llmhub flags rollout".to_owned() });
                }
                seen.push((store.source(), state));
            }
            _ => {
                return Err(Error::Disagree {
                    message: format!("the hub's processes disagree about `{flag}`; nothing was written"),
                    hint: "bring them together first: llmhub flags sync --from db --to hub".to_owned(),
                });
            }
        }
    }
    Ok(seen)
}

/// A flag that stands between two rungs would be lowered or raised by the mere begin of a run.
fn off_ladder(plan: &Plan, seen: &[(Source, Flag)]) -> Result<(), Error> {
    let Some((_, flag)) = seen.first() else { return Ok(()) };
    let exposure = flag.exposure();
    if !flag.is_enabled() || plan.steps.rungs().contains(&exposure) {
        return Ok(());
    }
    Err(Error::Refused {
        message: format!("`{}` is on for {exposure} %, which is no rung of the plan ({})", plan.flag, plan.steps),
        hint: format!("bring it to a rung first: llmhub flags rollout {} --back", plan.flag),
    })
}

fn named(metric: &str, error: StoreError) -> Error {
    let text = format!("metric {metric}: {error}; nothing was written");
    Error::Store(match error {
        StoreError::Unreachable(_) => StoreError::Unreachable(text),
        StoreError::Credentials(_) => StoreError::Credentials(text),
        StoreError::Denied(_) => StoreError::Denied(text),
        StoreError::Local(_) => StoreError::Local(text),
        _ => StoreError::Refused(text),
    })
}

pub(super) fn busy(flag: &FlagKey, lease: &Lease) -> Error {
    let holder = lease.holder.as_deref().unwrap_or("somebody");
    Error::Store(StoreError::Conflict(format!(
        "{holder} runs the rollout of `{flag}`, and its lease has {} s left; look: llmhub rollout status {flag}, or take it: \
         llmhub rollout resume {flag} --take-over --reason WHY",
        lease.left.as_secs()
    )))
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
