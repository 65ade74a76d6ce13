//! `db adopt`: come from another tool.

mod ledger;

use clap::Args;

use super::super::Globals;
use crate::app::{Answer, App};
use crate::error::Error;

/// Take over what another tool has applied: its ledger, read and left as it is
///
/// What is recorded there becomes applied here, once its files, replayed on a scratch database, make the live schema.
///
/// Example: llmhub db adopt --from sqlx --dir migrations
#[derive(Debug, Args)]
pub struct Adopt {
    #[command(flatten)]
    ledger: ledger::FromLedger,
}

impl Adopt {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        self.ledger.run(app, globals).await
    }
}
