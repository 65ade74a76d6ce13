//! The folder of migrations: which one counts, what is in it, and its next migration. No database is contacted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::App;
use crate::domain::migrations::{MigrationName, Set};
use crate::error::Error;
use crate::store::migrations_folder::{self, Added};

/// How long to wait for another one that makes a migration in the same folder.
const PATIENCE: Duration = Duration::from_secs(5);

impl App {
    /// The migrations of `dir`, else of the profile's folder, else those that travel in the binary.
    ///
    /// # Errors
    /// [`Error::Store`] for a folder that cannot be read.
    pub fn migrations(&self, dir: Option<&Path>) -> Result<Set, Error> {
        match self.folder(dir) {
            Some(folder) => Ok(migrations_folder::read(&folder)?),
            None => Ok(Set::embedded()),
        }
    }

    /// `dir`, else the profile's folder.
    ///
    /// # Errors
    /// [`Error::NoMigrationsFolder`].
    pub fn migrations_folder(&self, dir: Option<&Path>) -> Result<PathBuf, Error> {
        self.folder(dir).ok_or(Error::NoMigrationsFolder)
    }

    /// What [`App::add_migration`] would create now.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn plan_migration(&self, folder: &Path, name: &MigrationName) -> Result<Added, Error> {
        Ok(migrations_folder::plan(folder, name, self.utc_now())?)
    }

    /// Create the files of the next migration.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing is left behind.
    pub fn add_migration(&self, folder: &Path, name: &MigrationName) -> Result<Added, Error> {
        Ok(migrations_folder::add(folder, name, self.utc_now(), PATIENCE)?)
    }

    pub(super) fn folder(&self, dir: Option<&Path>) -> Option<PathBuf> {
        let typed = dir.map(|dir| self.environment.directory().join(dir));
        typed.or_else(|| Some(self.config.migrations.as_ref()?.value.clone()))
    }
}
