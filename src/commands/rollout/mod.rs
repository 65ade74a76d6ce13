//! `llmhub rollout`: a flag stepped up by itself, as long as what is measured allows it.

mod narrate;
mod plan;
mod run;
mod status;
mod steer;
mod summary;
pub mod view;

use clap::Subcommand;

use super::Globals;
use crate::app::{Answer, App};
use crate::error::Error;

/// Step a flag up by a plan, with gates that hold it or take it back
///
/// Example: llmhub rollout plan unified_llm_hub > plan.toml
#[derive(Debug, Subcommand)]
pub enum Rollout {
    Plan(plan::Plan),
    Run(run::Run),
    Status(status::Status),
    Pause(steer::Pause),
    Resume(run::Resume),
    Promote(steer::Promote),
    Abort(steer::Abort),
}

impl Rollout {
    /// Run the chosen verb.
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::Plan(args) => args.run(app, globals).await,
            Self::Run(args) => args.run(app, globals).await,
            Self::Status(args) => args.run(app, globals).await,
            Self::Pause(args) => args.run(app, globals).await,
            Self::Resume(args) => args.run(app, globals).await,
            Self::Promote(args) => args.run(app, globals).await,
            Self::Abort(args) => args.run(app, globals).await,
        }
    }
}
