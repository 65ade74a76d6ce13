//! Gated rollouts: where their state lives, and the run that steps, measures, decides and goes back by itself (rollout.md 5).

mod back;
mod controller;
mod drive;
mod lease;
mod look;
mod progress;
mod resume;
mod snapshot;
mod standing;
mod start;
mod steer;
mod step;
mod targets;
mod tick;

use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use self::controller::{Happening, Mode, Spectator};
pub use self::drive::{Drive, Left, Take};
pub use self::standing::{GateView, Standing};
pub use self::start::Prospect;
pub use self::steer::Steered;
pub use self::targets::Known;
use super::{App, Source};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::postgres::Target;
use crate::store::rollout::{FileRuns, PostgresRuns, RunStore, Timing};

impl App {
    /// Where the state of rollouts lives: the profile's database, or this machine where there is none. Nothing is contacted.
    ///
    /// # Errors
    /// As [`App::postgres`]; [`Error::Store`] where this machine has no folder for state.
    pub async fn run_store(&self) -> Result<Arc<dyn RunStore>, Error> {
        let target = if self.configured().contains(&Source::Db) { Some(self.target().await?) } else { None };
        self.run_store_in(target)
    }

    /// The same where the database, if there is one, was opened before.
    ///
    /// # Errors
    /// [`Error::Store`] where this machine has no folder for state.
    pub(super) fn run_store_in(&self, database: Option<Target>) -> Result<Arc<dyn RunStore>, Error> {
        if let Some(target) = database {
            return Ok(Arc::new(PostgresRuns::new(target, self.rollout_scope(), Timing::default())));
        }
        let home = self.state_folder().ok_or_else(|| {
            StoreError::Local(
                "the rollout has no place for its state: neither HOME nor XDG_STATE_HOME is set".to_owned(),
            )
        })?;
        Ok(Arc::new(FileRuns::new(home.join("rollouts").join(self.rollout_folder()), Timing::default(), Self::now)))
    }

    /// The profile, by which rollouts of one flag on several hubs are told apart.
    fn rollout_scope(&self) -> String {
        self.config().profile.as_ref().map_or_else(String::new, |profile| profile.value.clone())
    }

    /// The profile's folder; without a profile, the same for the same addresses.
    fn rollout_folder(&self) -> String {
        match &self.config().profile {
            Some(profile) => format!("profile-{}", profile.value.replace('/', "%2F")),
            None => {
                let digest = Sha256::digest(self.target_words());
                let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                format!("target-{name}")
            }
        }
    }
}
