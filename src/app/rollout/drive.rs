//! Driving a run in this process: how it is asked for, the lease that it needs, and how the process leaves it.

use std::sync::Arc;
use std::time::Duration;

use super::controller::{Controller, Mode, Spectator};
use super::lease::Held;
use super::standing::Standing;
use crate::app::App;
use crate::domain::flags::{Flag, FlagKey};
use crate::error::{Error, Stage};
use crate::store::StoreError;
use crate::store::rollout::{Claim, Commit, Lease, RunStore, Timing};

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
    /// Get the lease, or say who has it.
    pub(super) async fn hold(
        &self,
        store: &Arc<dyn RunStore>,
        flag: &FlagKey,
        claim: &Claim,
    ) -> Result<(Held, Duration), Error> {
        let before = store.lease(flag).await?.filter(Lease::is_live);
        let (user, host) = self.who();
        let holder = format!("{user}@{host} (process {})", std::process::id());
        match Held::acquire(Arc::clone(store), flag, &holder, claim, Timing::default()).await? {
            Ok(held) => Ok((held, before.map_or(Duration::ZERO, |lease| lease.left))),
            Err(lease) => Err(busy(flag, &lease)),
        }
    }

    /// What stands when a second signal ends it in the middle of something.
    pub(super) fn begun(&self, flag: &FlagKey) {
        let stands = format!("the exposure stays as it is now; go on: llmhub rollout resume {flag}");
        self.stage(Stage::Stopped(stands));
    }

    pub(super) fn restart_loads(&self, flag: &FlagKey) -> Option<Flag> {
        self.env_file().ok()?.predict(flag).ok()
    }

    pub(super) fn profile_name(&self) -> Option<String> {
        self.config().profile.as_ref().map(|profile| profile.value.clone())
    }
}

pub(super) async fn driven(mut controller: Controller<'_>) -> Result<Left, Error> {
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

pub(super) fn busy(flag: &FlagKey, lease: &Lease) -> Error {
    let holder = lease.holder.as_deref().unwrap_or("somebody");
    Error::Store(StoreError::Conflict(format!(
        "{holder} runs the rollout of `{flag}`, and its lease has {} s left; look: llmhub rollout status {flag}, or take it: \
         llmhub rollout resume {flag} --take-over --reason WHY",
        lease.left.as_secs()
    )))
}
