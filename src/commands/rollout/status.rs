//! `rollout status`: how a run stands, and with `-w` until it has come to its end.

use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;
use tokio::time::sleep;

use super::narrate::{Manner, Narrator};
use super::view::StatusView;
use crate::app::{Answer, App, Happening, Steered};
use crate::commands::{Globals, complete, quote};
use crate::domain::flags::FlagKey;
use crate::error::{Error, Stage};

/// Time between two looks of `-w`.
const INTERVAL: Duration = Duration::from_secs(2);

/// Show how a run stands: steps, processes, gates, what it waits for
///
/// Exits 0 completed or healthy, 1 waiting, 5 conflict, 8 rolled back, 10 not verified.
///
/// Example: llmhub rollout status unified_llm_hub -o markdown
#[derive(Debug, Args)]
pub struct Status {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// Until the run has come to its end
    #[arg(short, long)]
    watch: bool,
}

impl Status {
    pub async fn run(self, app: &App, _globals: &Globals) -> Result<Answer, Error> {
        if !self.watch {
            return show(app, &self.name).await;
        }
        let live = app.ui.is_live() && app.ui.may_redraw();
        let narrator = Narrator::new(&app.ui, if live { Manner::Picture } else { Manner::Lines });
        loop {
            let Steered { standing, .. } = look(app, &self.name).await?;
            let happening = Happening {
                kind: standing.state.word(),
                text: standing.reasons.first().map(ToString::to_string).unwrap_or_default(),
            };
            match narrator.tell(&standing, Some(&happening)) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Answer::Yes),
                Err(error) => return Err(Error::Output(error.to_string(), Stage::NothingWritten)),
            }
            if standing.stored_state.is_terminal() {
                let answer = answer(standing.status());
                if !live {
                    app.show(&StatusView(standing))?;
                }
                return Ok(answer);
            }
            sleep(INTERVAL).await;
        }
    }
}

/// Show it once.
pub async fn show(app: &App, name: &FlagKey) -> Result<Answer, Error> {
    let Steered { standing, .. } = look(app, name).await?;
    let answer = answer(standing.status());
    app.show(&StatusView(standing))?;
    Ok(answer)
}

async fn look(app: &App, name: &FlagKey) -> Result<Steered, Error> {
    app.rollout_standing(name).await?.ok_or_else(|| Error::NotFound {
        message: format!("`{name}` was never rolled out from this profile"),
        hint: format!("llmhub rollout run {} --plan plan.toml", quote(name.as_str())),
    })
}

fn answer(status: u8) -> Answer {
    match status {
        0 => Answer::Yes,
        5 => Answer::Conflict,
        8 => Answer::RolledBack,
        10 => Answer::Partial,
        _ => Answer::No,
    }
}
