//! `llmhub db`: the table of contents.

mod apply;
mod seed;
mod setup_test;

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
    Seed(seed::Seed),
    SetupTest(setup_test::SetupTest),
}

impl Db {
    /// Run the chosen verb.
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::Apply(args) => args.run(app, globals).await,
            Self::Seed(args) => args.run(app, globals).await,
            Self::SetupTest(args) => args.run(app, globals).await,
        }
    }
}
