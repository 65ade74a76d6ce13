//! `rollout run` and `rollout resume`: drive a run by its plan, from its begin or from where it stands.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::narrate::{Manner, Narrator};
use super::view::StatusView;
use crate::app::{Answer, App, Claim, Drive, Left, Mode, RolloutProspect, Take};
use crate::commands::{Globals, complete, duration, quote};
use crate::domain::flags::FlagKey;
use crate::domain::rollout::state::State;
use crate::error::Error;
use crate::ui::Format;

/// Step a flag up by its plan: bake, measure, advance, hold or go back
///
/// Runs until it is completed or rolled back. Exits 0 completed, 1 ended while it waits, 5 somebody else edited or runs it,
/// 8 rolled back and verified, 10 not verified, 11 outcome unknown. A second run of the same flag goes on where the first
/// one died. The hub knows no lease: other tools can still write to it.
///
/// Example: llmhub rollout run unified_llm_hub --plan plan.toml -y
#[derive(Debug, Args)]
pub struct Run {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// The plan, as `rollout plan` writes it; - is stdin. A run that is under way keeps its own
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// The users, one id a line: says whom each step reaches. A plan that was made for a list of users wants that list
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// Go on with a run that was paused, or whose process is gone
///
/// Example: llmhub rollout resume unified_llm_hub
#[derive(Debug, Args)]
pub struct Resume {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    #[command(flatten)]
    how: How,
}

/// What both have in common.
#[derive(Debug, Args)]
struct How {
    /// Make one decision and leave, for timers
    #[arg(long)]
    once: bool,
    /// Roll back instead, where nobody drove the run for this long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    deadman: Option<Duration>,
    /// Take the lease from whoever holds it; needs --reason
    #[arg(long)]
    take_over: bool,
    /// One JSON document a line on stdout for each event
    #[arg(long)]
    events: bool,
}

impl How {
    fn claim(&self, globals: &Globals) -> Result<Claim, Error> {
        match (self.take_over, &globals.reason) {
            (false, _) => Ok(Claim::WhenFree),
            (true, Some(reason)) => Ok(Claim::TakeOver { reason: reason.clone() }),
            (true, None) => Err(Error::ReasonNeeded("--take-over".to_owned())),
        }
    }

    fn manner(&self, app: &App, globals: &Globals) -> Manner {
        match self.events {
            true => Manner::Events,
            false if globals.format() == Format::Table && app.ui.is_live() && app.ui.may_redraw() => Manner::Picture,
            false => Manner::Lines,
        }
    }

    fn mode(&self) -> Mode {
        if self.once { Mode::Once } else { Mode::ToTheEnd }
    }

    async fn take_up(&self, app: &App, globals: &Globals, name: &FlagKey, wish: Take) -> Result<Answer, Error> {
        let manner = self.manner(app, globals);
        let narrator = Narrator::new(&app.ui, manner);
        let drive = Drive {
            mode: self.mode(),
            deadman: self.deadman,
            claim: self.claim(globals)?,
            wish,
            reason: globals.reason.clone(),
            spectator: &narrator,
        };
        let left = app.rollout_take_up(name, drive).await?;
        end(app, left, manner)
    }
}

/// What a run came to, and how it goes on.
fn end(app: &App, left: Left, manner: Manner) -> Result<Answer, Error> {
    let answer = answer(&left);
    if let Some(lost) = &left.lost {
        app.ui.warn(&format!("{lost}; the exposure stays as it is"));
    }
    let flag = quote(&left.standing.flag);
    match left.standing.state {
        State::Conflict => app.ui.note(&format!(
            "settle it, then: llmhub rollout resume {flag}; or go back: llmhub rollout abort {flag} --reason WHY"
        )),
        _ if left.lost.is_some() => app.ui.note(&format!("go on: llmhub rollout resume {flag}")),
        _ => {}
    }
    // A picture stands on stdout as it was drawn last, and of events the last one was the end.
    if manner == Manner::Lines {
        app.show(&StatusView(left.standing))?;
    }
    Ok(answer)
}

/// The exit status of a run.
fn answer(left: &Left) -> Answer {
    match (left.standing.stored_state, left.back_status) {
        _ if left.lost.is_some() => Answer::Partial,
        (State::Completed, _) => Answer::Yes,
        (State::RolledBack, _) => Answer::RolledBack,
        (State::RollbackUnverified, Some(11)) => Answer::Unknown,
        (State::RollbackUnverified, _) => Answer::Partial,
        (State::Conflict, _) => Answer::Conflict,
        _ => Answer::No,
    }
}

impl Run {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        let claim = self.how.claim(globals)?;
        let file = self.plan.as_deref().map(|path| app.read_plan(path, &self.name)).transpose()?;
        let open = app.rollout_open_plan(&self.name).await?;
        if claim == Claim::WhenFree {
            app.rollout_idle(&self.name).await?;
        }
        match (open, file) {
            (Some(stored), Some(file)) if stored != file.text => Err(Error::Refused {
                message: format!("`{}` has a run under way by another plan; nothing was written", self.name),
                hint: format!(
                    "go on with it: llmhub rollout resume {0}; or end it: llmhub rollout abort {0}",
                    quote(self.name.as_str())
                ),
            }),
            (Some(_), _) => {
                app.ui.note("this run is under way already: going on with it");
                if globals.dry_run {
                    return super::status::show(app, &self.name).await;
                }
                self.confirm(app, globals, format!("Go on with the rollout of `{}`?", self.name)).await?;
                self.how.take_up(app, globals, &self.name, Take::AsItIs).await
            }
            (None, None) => Err(Error::Usage {
                message: "a new run needs a plan".to_owned(),
                hint: format!(
                    "llmhub rollout plan {0} > plan.toml; llmhub rollout run {0} --plan plan.toml",
                    quote(self.name.as_str())
                ),
            }),
            (None, Some(file)) => {
                let prospect = app.rollout_prospect(file, &globals.via, self.users.as_deref()).await?;
                self.begin(app, globals, prospect, claim).await
            }
        }
    }

    async fn begin(
        self,
        app: &App,
        globals: &Globals,
        prospect: RolloutProspect,
        claim: Claim,
    ) -> Result<Answer, Error> {
        let plan = prospect.plan();
        let sources: Vec<&str> = prospect.seen.iter().map(|(source, _)| source.word()).collect();
        let words = format!("`{}` along {} on {}", self.name, plan.steps, sources.join(", "));
        if globals.dry_run {
            app.ui.note(&format!("would step {words}; nothing was written"));
            return Ok(Answer::Yes);
        }
        self.confirm(app, globals, format!("Step {words}, going back by itself when a gate fails?")).await?;
        let manner = self.how.manner(app, globals);
        let narrator = Narrator::new(&app.ui, manner);
        let drive = Drive {
            mode: self.how.mode(),
            deadman: self.how.deadman,
            claim,
            wish: Take::AsItIs,
            reason: globals.reason.clone(),
            spectator: &narrator,
        };
        let left = app.rollout_begin(prospect, drive).await?;
        end(app, left, manner)
    }

    async fn confirm(&self, app: &App, globals: &Globals, question: String) -> Result<(), Error> {
        app.authorise(question, true, globals.reason.as_deref()).await
    }
}

impl Resume {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        if globals.dry_run {
            return super::status::show(app, &self.name).await;
        }
        let question = format!("Resume the rollout of `{}`?", self.name);
        app.authorise(question, false, globals.reason.as_deref()).await?;
        if self.how.claim(globals)? == Claim::WhenFree && app.rollout_idle(&self.name).await.is_err() {
            // Somebody drives it: it only has to be told.
            return super::steer::tell(app, globals, &self.name, crate::app::Wish::Resume).await;
        }
        self.how.take_up(app, globals, &self.name, Take::Resume).await
    }
}
