//! Migrations: what is applied, what is pending, and running them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::App;
use super::progress::Progress;
use crate::domain::migrations::{Dropped, ObjectName, Set, Version};
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

    /// What a baseline would record, and the tables that its files make and the database lacks, each with its file.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown version.
    pub async fn baseline_of(&self, set: &Set, version: &Version) -> Result<(Vec<Ran>, Vec<String>), Error> {
        let known = || set.migrations().iter().map(|migration| migration.version.to_string()).collect();
        let last =
            set.find(version).ok_or_else(|| StoreError::NoMigration { wanted: version.to_string(), known: known() })?;
        let there = database::tables(&self.target().await?).await?;
        let (mut chosen, mut made) = (Vec::new(), BTreeMap::new());
        for migration in set.migrations() {
            if set.numbering().compare(&migration.version, &last.version).is_gt() {
                break;
            }
            let phases = migration.up.phases().map_err(|error| StoreError::Refused(error.to_string()))?;
            for statement in phases.statements() {
                if let Some(table) = statement.creates_table() {
                    made.insert(qualified(&table), migration.up.file().to_owned());
                }
                for dropped in statement.drops() {
                    if let Dropped::Object(table) = dropped {
                        made.remove(&qualified(&table));
                    }
                }
            }
            let (version, name) = (migration.version.to_string(), migration.name.clone());
            chosen.push(Ran { version, name, duration_ms: 0 });
        }
        let absent = made.into_iter().filter(|(table, _)| !there.contains(table));
        Ok((chosen, absent.map(|(table, file)| format!("{table} of {file}")).collect()))
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

/// The full name of a table, in the schema where a run looks for it.
fn qualified(table: &ObjectName) -> String {
    format!("{}.{}", table.schema.as_deref().unwrap_or("public"), table.name)
}
