//! `llmhub db`: the table of contents.

mod adopt;
mod apply;
mod backup;
mod baseline;
mod drift;
mod inspect;
mod lint;
mod new;
mod restore;
mod rollback;
mod seed;
mod setup_test;
mod tuning;
mod verify;

use clap::Subcommand;

use super::Globals;
use crate::app::{Answer, App};
use crate::error::Error;

/// The database: migrations, backups, test databases and seeds
///
/// Example: llmhub db apply --dry-run
#[derive(Debug, Subcommand)]
pub enum Db {
    Status(inspect::Status),
    Plan(inspect::Plan),
    Apply(apply::Apply),
    Rollback(rollback::Rollback),
    Verify(verify::Verify),
    History(inspect::History),
    Drift(drift::Drift),
    Baseline(baseline::Baseline),
    Adopt(adopt::Adopt),
    Lint(lint::Lint),
    New(new::New),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Seed(seed::Seed),
    SetupTest(setup_test::SetupTest),
}

impl Db {
    /// Run the chosen verb.
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::Status(args) => args.run(app).await,
            Self::Plan(args) => args.run(app).await,
            Self::Apply(args) => args.run(app, globals).await,
            Self::Rollback(args) => args.run(app, globals).await,
            Self::Verify(args) => args.run(app, globals).await,
            Self::History(args) => args.run(app).await,
            Self::Drift(args) => args.run(app).await,
            Self::Baseline(args) => args.run(app, globals).await,
            Self::Adopt(args) => args.run(app, globals).await,
            Self::Lint(args) => args.run(app).await,
            Self::New(args) => args.run(app, globals),
            Self::Backup(args) => args.run(app, globals).await,
            Self::Restore(args) => args.run(app, globals).await,
            Self::Seed(args) => args.run(app, globals).await,
            Self::SetupTest(args) => args.run(app, globals).await,
        }
    }
}
