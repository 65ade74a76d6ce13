//! The embedded database behind `--sandbox`: opened once for a command, migrated and seeded on first use, one process at a time.

use super::App;
#[cfg(feature = "sandbox")]
use crate::domain::migrations::Set;
use crate::error::Error;
use crate::store::postgres::Target;

#[cfg(not(feature = "sandbox"))]
impl App {
    /// This build has none, and says how to get one.
    #[expect(clippy::unused_async, reason = "the build with the sandbox waits here")]
    pub(super) async fn sandbox(&self) -> Result<Target, Error> {
        Err(Error::Unsupported {
            message: "this llmhub was built without the sandbox".to_owned(),
            hint: "cargo install llmhub --features sandbox, or name a real database with --database-url".to_owned(),
        })
    }
}

/// How long to wait for another process that uses the sandbox.
#[cfg(feature = "sandbox")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

#[cfg(feature = "sandbox")]
impl App {
    /// The sandbox, ready for use.
    ///
    /// # Errors
    /// [`Error::Store`] when another process keeps it, or it does not start.
    pub(super) async fn sandbox(&self) -> Result<Target, Error> {
        use crate::store::StoreError;
        use crate::store::sandbox::Sandbox;
        use std::sync::Arc;

        let opened = self.sandbox.get_or_try_init(|| async {
            let home = self.environment().data_home().ok_or_else(|| {
                Error::Store(StoreError::Local(
                    "the sandbox has no folder: neither HOME nor XDG_DATA_HOME is set".to_owned(),
                ))
            })?;
            let folder = home.join("llmhub").join("sandbox");
            if !folder.join("cluster").exists() {
                self.ui.note("preparing the sandbox, an embedded PostgreSQL: some seconds, once");
            }
            let waits = || self.ui.note("waiting for another llmhub that uses the sandbox");
            let sandbox = Arc::new(Sandbox::open(&folder, PATIENCE, waits).await?);
            if !sandbox.is_ready() {
                self.fill(&Target::Sandbox(Arc::clone(&sandbox))).await?;
                sandbox.set_ready()?;
            }
            Ok::<_, Error>(sandbox)
        });
        Ok(Target::Sandbox(Arc::clone(opened.await?)))
    }

    /// The shipped schema and the shipped rows, whatever the profile has: a folder of migrations is applied by `db apply`. What
    /// an interrupted first use has done already is not done again.
    async fn fill(&self, target: &Target) -> Result<(), Error> {
        use crate::domain::seeds::embedded;
        use crate::store::database::{Effect, Run, Wanted, apply, seed};

        let run = Run::new(self.operator(), PATIENCE);
        if let Some(failed) = apply(target, &Set::embedded(), &Wanted::default(), &run).await?.failed {
            return Err(failed.error.into());
        }
        let sets = embedded().map_err(|error| Error::Bug(error.to_string()))?;
        seed(target, &sets, &run, Effect::Keep).await?;
        Ok(())
    }
}
