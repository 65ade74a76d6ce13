//! `llmhub db`: the table of contents.

mod apply;
mod backup;
mod restore;

use clap::Subcommand;

use super::Globals;
use crate::app::{Answer, App};
use crate::error::Error;

/// The database: migrations, backups, test databases and seeds
///
/// Example: llmhub db apply --dry-run
#[derive(Debug, Subcommand)]
pub enum Db {
    Apply(apply::Apply),
    Backup(backup::Backup),
    Restore(restore::Restore),
}

impl Db {
    /// Run the chosen verb.
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::Apply(args) => args.run(app, globals).await,
            Self::Backup(args) => args.run(app, globals).await,
            Self::Restore(args) => args.run(app, globals).await,
        }
    }
}
