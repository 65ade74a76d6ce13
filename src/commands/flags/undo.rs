//! `flags undo`: back to an earlier revision of the history, the whole snapshot.

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::edit::execute;
use super::intent::{Asking, Decision, Intent, Rivals, Verb};
use crate::app::{Answer, App, Source};
use crate::commands::{Globals, complete, quote};
use crate::domain::flags::{Change, Flag, FlagKey, Member};
use crate::error::Error;

/// Restore a flag to an earlier revision of its history: the whole snapshot, lists and dates included
///
/// Asks first. Without --to it takes back the newest change. The ladder does not apply.
///
/// Example: llmhub flags undo unified_llm_hub --to 7
#[derive(Debug, Args)]
pub struct Undo {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// The revision to restore (see `flags history`)
    #[arg(long, value_name = "REV")]
    to: Option<i64>,
}

impl Undo {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let snapshot = self.snapshot(app).await?;
        let decide = move |source: Source, states: &[Flag]| {
            let can: &[Member] = if source == Source::Hub { &Member::LIVE } else { &Member::DECIDING };
            let mut decision = Decision::restoring(Change::Take(can.to_vec(), Box::new(snapshot.clone())));
            let dates = [Member::Start, Member::End];
            if source == Source::Hub && dates.iter().any(|date| states.iter().any(|state| !date.same(state, &snapshot)))
            {
                decision
                    .warnings
                    .push("the dates differ, and a hub takes none over HTTP: they stay as they are".to_owned());
            }
            Ok(decision)
        };
        let verb = Verb { operation: "undo", asking: Asking::Always, rivals: Rivals::Refuse };
        execute(app, globals, verb, Intent { key: self.name.clone(), decide: Box::new(decide) }).await
    }

    /// The flag as it was at the revision, from the database's history.
    async fn snapshot(&self, app: &App) -> Result<Flag, Error> {
        let events = app.history(&[], "undo").await?.history(&self.name, u32::MAX).await?;
        let snapshot = match self.to {
            Some(revision) => {
                events.iter().find(|event| event.revision == revision).and_then(|event| event.after.clone()).or_else(
                    || {
                        // The oldest event may start from a revision that was made before there was a history.
                        let next = events.iter().find(|event| event.revision == revision + 1)?;
                        next.before.clone()
                    },
                )
            }
            None => events.first().and_then(|event| event.before.clone()),
        };
        snapshot.ok_or_else(|| Error::NotFound {
            message: match self.to {
                Some(revision) => format!("the history of `{}` has no revision {revision}", self.name),
                None => format!("`{}` has no change to take back", self.name),
            },
            hint: format!("llmhub flags history {}", quote(self.name.as_str())),
        })
    }
}
