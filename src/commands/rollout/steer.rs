//! `rollout pause`, `promote` and `abort`: what a person asks of a run, wherever it is driven.

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::narrate::{Manner, Narrator};
use super::view::StatusView;
use crate::app::{Answer, App, Steered, Wish};
use crate::commands::{Globals, complete};
use crate::domain::flags::FlagKey;
use crate::domain::rollout::state::State;
use crate::error::Error;

/// Keep a run from going up, with its gates on
///
/// Example: llmhub rollout pause unified_llm_hub --reason 'support is not staffed'
#[derive(Debug, Args)]
pub struct Pause {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
}

/// Let a run leave its rung, where a person has to; needs --reason
///
/// Example: llmhub rollout promote unified_llm_hub --reason 'five testers are content'
#[derive(Debug, Args)]
pub struct Promote {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
}

/// End a run by rolling back to what was before it
///
/// Example: llmhub rollout abort unified_llm_hub --reason 'complaints from two tenants' -y
#[derive(Debug, Args)]
pub struct Abort {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// End it without a rollback: the exposure stays
    #[arg(long)]
    keep: bool,
}

impl Pause {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.authorise(format!("Pause the rollout of `{}`?", self.name), false, globals.reason.as_deref()).await?;
        tell(app, globals, &self.name, Wish::Pause).await
    }
}

impl Promote {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        if globals.reason.is_none() {
            return Err(Error::ReasonNeeded("rollout promote".to_owned()));
        }
        app.authorise(format!("Promote the rollout of `{}`?", self.name), false, globals.reason.as_deref()).await?;
        tell(app, globals, &self.name, Wish::Promote).await
    }
}

impl Abort {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        let (wish, question) = match self.keep {
            true => (Wish::AbortKeep, format!("End the rollout of `{}` and keep its exposure?", self.name)),
            false => (Wish::Abort, format!("Roll `{}` back to what was before its rollout?", self.name)),
        };
        app.authorise(question, true, globals.reason.as_deref()).await?;
        tell(app, globals, &self.name, wish).await
    }
}

/// Have it granted, and show how the run stands then.
pub async fn tell(app: &App, globals: &Globals, name: &FlagKey, wish: Wish) -> Result<Answer, Error> {
    if globals.dry_run {
        return super::status::show(app, name).await;
    }
    let narrator = Narrator::new(&app.ui, Manner::Lines);
    let Steered { standing, back_status } = app.rollout_steer(name, wish, globals.reason.clone(), &narrator).await?;
    let answer = match (standing.stored_state, back_status) {
        (State::RollbackUnverified, Some(11)) => Answer::Unknown,
        (State::RollbackUnverified, _) => Answer::Partial,
        (State::Conflict, _) => Answer::Conflict,
        // What a person asked for is done: for an abort that is the way back.
        _ => Answer::Yes,
    };
    app.show(&StatusView(standing))?;
    Ok(answer)
}
