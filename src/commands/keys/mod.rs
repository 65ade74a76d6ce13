//! `llmhub keys`: the table of contents.

mod audit;
mod entry;
mod import;
mod list;
mod providers;
mod remove;
mod rotate;
mod rotate_view;
mod set;
mod switch;
mod target;
mod test;
mod write;

use clap::Subcommand;

use crate::app::{Answer, App};
use crate::commands::Globals;
use crate::error::Error;

/// API keys of providers: stored right, shown as fingerprints, never as themselves
///
/// Example: llmhub keys list
#[derive(Debug, Subcommand)]
pub enum Keys {
    List(list::List),
    Set(set::Set),
    Test(test::Test),
    Remove(remove::Remove),
    Enable(switch::Enable),
    Disable(switch::Disable),
    Import(import::Import),
    Rotate(rotate::Rotate),
    Audit(audit::Audit),
    Providers(providers::Providers),
}

impl Keys {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::List(command) => command.run(app, globals).await,
            Self::Set(command) => command.run(app, globals).await,
            Self::Test(command) => command.run(app, globals).await,
            Self::Remove(command) => command.run(app, globals).await,
            Self::Enable(command) => command.run(app, globals).await,
            Self::Disable(command) => command.run(app, globals).await,
            Self::Import(command) => command.run(app, globals).await,
            Self::Rotate(command) => command.run(app, globals).await,
            Self::Audit(command) => command.run(app, globals).await,
            Self::Providers(command) => command.run(app),
        }
    }
}
