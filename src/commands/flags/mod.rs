//! `llmhub flags`: who a feature is on for, and every way to change it.

mod catalog;
mod change;
mod compare;
mod edit;
mod inspect;
mod intent;
mod plan;
mod preview;
mod reverse;
mod state_file;
mod sync;
mod undo;
mod view;
mod watch;
mod words;
mod write;

use clap::Subcommand;

use super::Globals;
use crate::app::{Answer, App};
use crate::error::Error;

/// Look at flags and change them, on a running hub, in Postgres or in the hub's .env
///
/// Example: llmhub flags list --hub http://localhost:8084
#[derive(Debug, Subcommand)]
pub enum Flags {
    List(inspect::List),
    Show(inspect::Show),
    Check(inspect::Check),
    User(inspect::User),
    Enable(change::Enable),
    Disable(change::Disable),
    Rollout(change::Rollout),
    #[command(subcommand)]
    Whitelist(change::Whitelist),
    #[command(subcommand)]
    Blacklist(change::Blacklist),
    Schedule(change::Schedule),
    Preview(preview::Preview),
    History(inspect::History),
    Undo(undo::Undo),
    Diff(compare::Diff),
    Export(compare::Export),
    Apply(sync::Apply),
    Sync(sync::Sync),
    Create(catalog::Create),
    Delete(catalog::Delete),
    Watch(watch::Watch),
}

impl Flags {
    /// Run the chosen verb.
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::List(args) => args.run(app, globals).await,
            Self::Show(args) => args.run(app, globals).await,
            Self::Check(args) => args.run(app, globals).await,
            Self::User(args) => args.run(app, globals).await,
            Self::Enable(args) => args.run(app, globals).await,
            Self::Disable(args) => args.run(app, globals).await,
            Self::Rollout(args) => args.run(app, globals).await,
            Self::Whitelist(args) => args.run(app, globals).await,
            Self::Blacklist(args) => args.run(app, globals).await,
            Self::Schedule(args) => args.run(app, globals).await,
            Self::Preview(args) => args.run(app, globals).await,
            Self::History(args) => args.run(app, globals).await,
            Self::Undo(args) => args.run(app, globals).await,
            Self::Diff(args) => args.run(app, globals).await,
            Self::Export(args) => args.run(app, globals).await,
            Self::Apply(args) => args.run(app, globals).await,
            Self::Sync(args) => args.run(app, globals).await,
            Self::Create(args) => args.run(app, globals).await,
            Self::Delete(args) => args.run(app, globals).await,
            Self::Watch(args) => args.run(app, globals).await,
        }
    }
}
