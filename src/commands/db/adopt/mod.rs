//! `db adopt`: what was there before llmhub, a folder of scripts or another tool's ledger.

mod folder;
mod ledger;

use clap::Args;

use super::super::Globals;
use crate::app::{Answer, App};
use crate::error::Error;

/// Take over what was there before: a folder of legacy scripts, or another tool's ledger
///
/// With a folder: its scripts run on a scratch database, each in a transaction, again and again until no more of them run; the
/// order that worked is written into its llmhub.migrations.toml. No file is moved and nothing is applied. Name a development
/// server, since what a DO block hides is run too. Exit 1 when a file found no place: it is ignored there, with the reason.
///
/// With --from: what that tool records as applied becomes applied here, once its files, replayed on a scratch database, make the
/// live schema. Its table is read and left as it is.
///
/// Example: llmhub db adopt scripts --database-url postgres://unicorn@localhost/unicorn_test
#[derive(Debug, Args)]
pub struct Adopt {
    #[command(flatten)]
    folder: folder::FromFolder,
    #[command(flatten)]
    ledger: ledger::FromLedger,
}

impl Adopt {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self.ledger.from {
            Some(tool) => self.ledger.run(tool, app, globals).await,
            None => self.folder.run(app, globals).await,
        }
    }
}
