//! `llmhub keys`: the table of contents.

mod rotate;

use clap::Subcommand;

use crate::app::{Answer, App};
use crate::commands::Globals;
use crate::error::Error;

/// API keys of providers: stored right, shown as fingerprints, never as themselves
///
/// Example: llmhub keys rotate --new-key-env NEW_KEY --dry-run
#[derive(Debug, Subcommand)]
pub enum Keys {
    Rotate(rotate::Rotate),
}

impl Keys {
    /// Run the chosen verb.
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::Rotate(command) => command.run(app, globals).await,
        }
    }
}
