//! The database's schema: what is pending, and applying it.

use std::sync::Arc;
use std::time::Duration;

use super::App;
use crate::domain::migrations::embedded;
use crate::error::Error;
use crate::store::database::{Applied, AppliedNow, Holder, Operator, Run, applied, apply_embedded};

/// How long to wait for another run before it is a conflict.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

impl App {
    /// What an apply would do now. Creates nothing.
    ///
    /// # Errors
    /// As [`App::postgres`].
    pub async fn pending_migrations(&self) -> Result<Applied, Error> {
        let ledger = applied(&self.target().await?).await?;
        let pending = embedded()
            .into_iter()
            .filter(|migration| ledger.iter().all(|entry| entry.version != migration.version.to_string()))
            .map(|migration| AppliedNow {
                version: migration.version.to_string(),
                name: migration.name,
                duration_ms: 0,
            })
            .collect();
        Ok(Applied { applied: pending, current: ledger.last().map(|entry| entry.version.clone()) })
    }

    /// Apply what is pending, all or nothing; says once whom it waits for.
    ///
    /// # Errors
    /// As [`apply_embedded`].
    pub async fn apply_migrations(&self) -> Result<Applied, Error> {
        let target = self.target().await?;
        let ui = Arc::clone(&self.ui);
        let on_wait = move |holder: &Holder| ui.note(&format!("waiting for another run: {holder}"));
        let (user, host) = self.who();
        let run = Run { operator: Operator { user, host }, patience: PATIENCE, on_wait: &on_wait };
        Ok(apply_embedded(&target, &run).await?)
    }
}
