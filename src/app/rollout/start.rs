//! Before the first change: everything that can refuse a run is asked first. Then the lease, the record, and the way into the
//! loop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::controller::{Controller, Identity, event};
use super::drive::{Drive, Left, driven};
use super::progress::Progress;
use super::snapshot::Snapshot;
use super::targets::Targets;
use crate::app::plan_file::PlanFile;
use crate::app::{App, Source};
use crate::domain::flags::digest::{Digest, digest, digest_of_users};
use crate::domain::flags::{Flag, FlagKey};
use crate::domain::rollout::plan::{Plan, Relative};
use crate::domain::rollout::reach::{Reach, reach};
use crate::domain::rollout::reading::Window;
use crate::domain::rollout::state::State;
use crate::domain::rollout::verdict::baseline;
use crate::error::Error;
use crate::store::StoreError;
use crate::store::metrics::{MetricSource, Question};
use crate::store::rollout::{NewRun, RunId};

/// The span before rung 0 that a baseline is taken over.
const BASELINE: Duration = Duration::from_secs(3600);

/// A run that nothing refuses, before its first change.
pub struct Prospect {
    plan: Plan,
    text: String,
    targets: Targets,
    metrics: Arc<dyn MetricSource>,
    reach: Vec<Reach>,
    /// The flag of each source as it was seen.
    pub seen: Vec<(Source, Flag)>,
}

/// Refuse users that are not those of the plan.
fn bound(plan: &Plan, users: Option<&[String]>) -> Result<(), Error> {
    match (&plan.seen.cohort, users) {
        (Some(_), None) => Err(Error::Usage {
            message: "the plan is bound to a list of users, and none is given".to_owned(),
            hint: "give it with --users FILE, or take cohort_digest out of the plan".to_owned(),
        }),
        (Some(wanted), Some(users)) if digest_of_users(users.iter().map(String::as_str)) != *wanted => {
            let message = "the users are not those that the plan was made for; nothing was written".to_owned();
            Err(Error::Store(StoreError::Conflict(message)))
        }
        _ => Ok(()),
    }
}

impl Prospect {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl App {
    /// Ask everything that can refuse a run. Nothing is written anywhere.
    ///
    /// # Errors
    /// The first thing that stands in the way: a source that does not answer, a flag that is not there, processes that disagree,
    /// a flag that moved since the plan was written, a query that cannot be asked.
    pub async fn rollout_prospect(
        &self,
        file: PlanFile,
        via: &[Source],
        users: Option<&Path>,
    ) -> Result<Prospect, Error> {
        let PlanFile { plan, text } = file;
        let users = users.map(|path| self.user_list(path)).transpose()?;
        bound(&plan, users.as_deref())?;
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
        let reach = users.zip(seen.first()).map(|(users, (_, flag))| reach(flag, &plan.steps, &users, self.utc_now()));
        Ok(Prospect { plan, text, targets, metrics, seen, reach: reach.unwrap_or_default() })
    }

    /// Begin a run and drive it.
    ///
    /// # Errors
    /// [`Error::Store`] with a conflict when somebody else runs it or the flag moved meanwhile; what the run ends with.
    pub async fn rollout_begin(&self, prospect: Prospect, drive: Drive<'_>) -> Result<Left, Error> {
        let Prospect { plan, text, targets, metrics, reach, seen } = prospect;
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
        let steps = plan.steps.rungs().iter().map(|rung| rung.get()).collect();
        let mut progress = Progress { steps, reach, ..Progress::default() };
        self.take_baseline(&plan, &*metrics, &seen, held.now(), &mut progress).await;
        let id = RunId::fresh();
        let started_by = self.note("rollout run", None).actor;
        // The history names no users: it cannot be changed later.
        let before: Vec<String> = seen.iter().map(|(source, flag)| format!("{source} {}", digest(flag))).collect();
        let details = json!({
            "plan": Digest::of(text.as_bytes()), "snapshot": before, "reason": drive.reason, "baseline": progress.baseline,
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
            kept: None,
            kept_state: State::Planned,
            trying_since: None,
            late_writes,
            events: 1,
        };
        driven(controller).await
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
