//! Migrations: what is applied, what is pending, and running them.

use std::time::Duration;

use super::App;
use super::progress::Progress;
use crate::domain::migrations::{Set, Statement, Version};
use crate::error::Error;
use crate::store::database::{
    self, Applied, DryRun, Ledger, LedgerEvent, LockBudget, Operator, Ran, Run, Undecided, Wanted,
};
use crate::store::{Stopper, StoreError};

/// How long to wait for another run before it is a conflict.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What the operator says about waiting.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// How long to wait for locks.
    pub locks: LockBudget,
    /// How long one statement may take.
    pub statement_timeout: Option<Duration>,
    /// About a part whose end nobody knows.
    pub undecided: Undecided,
}

impl App {
    /// Who runs llmhub.
    pub(super) fn operator(&self) -> Operator {
        let (user, host) = self.who();
        Operator { user, host }
    }

    /// What is applied. Creates nothing.
    ///
    /// # Errors
    /// As [`App::postgres`].
    pub async fn ledger(&self) -> Result<Ledger, Error> {
        Ok(database::ledger(&self.target().await?).await?)
    }

    /// What ever happened, newest first.
    ///
    /// # Errors
    /// As [`App::postgres`].
    pub async fn ledger_history(&self, limit: u32) -> Result<Vec<LedgerEvent>, Error> {
        Ok(database::history(&self.target().await?, limit).await?)
    }

    /// The database without its password.
    ///
    /// # Errors
    /// As [`App::postgres`].
    pub async fn database_name(&self) -> Result<String, Error> {
        Ok(self.target().await?.to_string())
    }

    /// Apply what is pending.
    ///
    /// # Errors
    /// As [`database::apply`].
    pub async fn apply(
        &self,
        set: &Set,
        wanted: &Wanted,
        tuning: &Tuning,
        reason: Option<&str>,
    ) -> Result<Applied, Error> {
        let target = self.target().await?;
        let progress = Progress::new(&self.ui);
        let stopper = self.listen();
        let run = self.run(tuning, reason, &progress, &stopper);
        Ok(database::apply(&target, set, wanted, &run).await?)
    }

    /// Run what is pending, and roll it back.
    ///
    /// # Errors
    /// As [`database::dry_run`].
    pub async fn try_apply(&self, set: &Set, wanted: &Wanted, tuning: &Tuning) -> Result<DryRun, Error> {
        let target = self.target().await?;
        let progress = Progress::new(&self.ui);
        let stopper = self.listen();
        let run = self.run(tuning, None, &progress, &stopper);
        Ok(database::dry_run(&target, set, wanted, &run).await?)
    }

    /// What a baseline would record: its files create no table that the database lacks.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown version, [`Error::Refused`] with the tables that are not there.
    pub async fn baseline_of(&self, set: &Set, version: &Version) -> Result<Vec<Ran>, Error> {
        let known = || set.migrations().iter().map(|migration| migration.version.to_string()).collect();
        let last =
            set.find(version).ok_or_else(|| StoreError::NoMigration { wanted: version.to_string(), known: known() })?;
        let there = database::tables(&self.target().await?).await?;
        let (mut chosen, mut absent) = (Vec::new(), Vec::new());
        for migration in set.migrations() {
            if set.numbering().compare(&migration.version, &last.version).is_gt() {
                break;
            }
            let phases = migration.up.phases().map_err(|error| StoreError::Refused(error.to_string()))?;
            for table in phases.statements().filter_map(Statement::creates_table) {
                let name = format!("{}.{}", table.schema.as_deref().unwrap_or("public"), table.name);
                if !there.contains(&name) {
                    absent.push(format!("{name} of {}", migration.up.file()));
                }
            }
            let (version, name) = (migration.version.to_string(), migration.name.clone());
            chosen.push(Ran { version, name, duration_ms: 0 });
        }
        if absent.is_empty() {
            return Ok(chosen);
        }
        Err(Error::Refused {
            message: format!(
                "the database lacks tables that these files create: {}; nothing was written",
                absent.join(", ")
            ),
            hint: "name an older version, or run the files: llmhub db apply".to_owned(),
        })
    }

    /// Put everything up to `version` on the ledger without running it.
    ///
    /// # Errors
    /// As [`database::baseline`].
    pub async fn baseline(&self, set: &Set, version: &Version, reason: Option<&str>) -> Result<Vec<Ran>, Error> {
        let target = self.target().await?;
        let run = Run { reason: reason.map(str::to_owned), ..Run::new(self.operator(), PATIENCE) };
        Ok(database::baseline(&target, set, version, &run).await?)
    }

    pub(super) fn run<'a>(
        &self,
        tuning: &Tuning,
        reason: Option<&str>,
        progress: &'a Progress,
        stopper: &Stopper,
    ) -> Run<'a> {
        Run {
            operator: self.operator(),
            reason: reason.map(str::to_owned),
            patience: PATIENCE,
            locks: tuning.locks,
            statement_timeout: tuning.statement_timeout,
            undecided: tuning.undecided,
            watch: progress,
            stop: stopper.listen(),
        }
    }
}
