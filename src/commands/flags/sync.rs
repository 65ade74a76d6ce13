//! `flags apply` and `flags sync`: bring many flags to a wanted state, from a file or from another source.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::edit::carry_out;
use super::intent::{Asking, Decide, Decision, Intent, Rivals, Verb};
use super::state_file::{self, Wanted};
use super::view::WriteView;
use crate::app::{Answer, App, Depth, FlagStore, Source, StoreError};
use crate::commands::Globals;
use crate::domain::flags::dates::canonical;
use crate::domain::flags::ladder::{Steps, Target};
use crate::domain::flags::{Change, Flag, FlagKey, Member, StoredPercent};
use crate::error::Error;
use crate::ui::{Page, View};

/// Several writes, one after another.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct WritesView(Vec<WriteView>);

impl View for WritesView {
    fn page(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("nothing to do");
        }
        for view in &self.0 {
            view.page(page);
        }
    }
}

/// Make the flags equal to a state file; members that are not in the file are left alone
///
/// Asks first. A step up the ladder is guarded as in `flags rollout`.
///
/// Example: llmhub flags apply flags.toml --via db
#[derive(Debug, Args)]
pub struct Apply {
    /// A state file in TOML or JSON (see `flags export`); - is stdin
    file: PathBuf,
    /// Leave the ladder on the way up; needs --reason
    #[arg(long)]
    skip_steps: bool,
}

impl Apply {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        if self.skip_steps && globals.reason.is_none() {
            return Err(Error::ReasonNeeded("--skip-steps".to_owned()));
        }
        let steps = if self.skip_steps { Steps::Skipped } else { Steps::Kept };
        let wanted = state_file::parse(&self.file, &app.read_text(&self.file)?)?;
        let intents: Vec<Intent<'_>> = wanted
            .iter()
            .filter(|wanted| !wanted.members.is_empty())
            .map(|wanted| Intent { key: wanted.flag.key.clone(), decide: guarded(app, wanted, steps) })
            .collect();
        let stores = app.writers(&globals.via).await?;
        let verb = Verb { operation: "apply", asking: Asking::Always, rivals: Rivals::Refuse };
        let (views, answer) = carry_out(app, globals, verb, &intents, stores).await?;
        app.show(&WritesView(views))?;
        Ok(answer)
    }
}

fn guarded<'a>(app: &App, wanted: &'a Wanted, steps: Steps) -> Decide<'a> {
    let ladder = app.ladder();
    Box::new(move |source, states| {
        let key = &wanted.flag.key;
        if wanted.members.contains(&Member::Percentage)
            && let Some(percent) = wanted.flag.percentage.effective()
        {
            let seen: Vec<StoredPercent> = states.iter().map(|flag| flag.percentage.clone()).collect();
            ladder.guard(&seen, Target::Exactly(percent), steps).map_err(|refusal| Error::Ladder {
                hint: format!("step by step: llmhub flags rollout {key} --next   (or --skip-steps --reason '…')"),
                refusal,
            })?;
        }
        Ok(Decision::new(Change::Take(
            settable(source, &wanted.members, states, &wanted.flag)?,
            Box::new(wanted.flag.clone()),
        )))
    })
}

/// The members that `source` has to be told; those it cannot set must be equal already.
fn settable(source: Source, members: &[Member], states: &[Flag], wanted: &Flag) -> Result<Vec<Member>, Error> {
    let can: &[Member] = match source {
        Source::Hub => &Member::LIVE,
        Source::Env => &Member::DECIDING,
        Source::Db => &Member::ALL,
    };
    let cannot = members.iter().find(|member| {
        !can.contains(member)
            && Member::DECIDING.contains(member)
            && states.iter().any(|state| !member.same(state, wanted))
    });
    match cannot {
        Some(member) => Err(Error::Unsupported {
            message: format!(
                "{source} cannot set `{}` of `{}`, and it differs; nothing was written",
                member.name(),
                wanted.key
            ),
            hint: "use --via db or --via env; a hub takes dates from its environment, at its next start".to_owned(),
        }),
        None => Ok(members.iter().copied().filter(|member| can.contains(member)).collect()),
    }
}

/// Push whole flags from one source to others, for instance to a hub that restarted
///
/// Asks first. The ladder does not apply: what is pushed is a state that was reached before.
///
/// Example: llmhub flags sync --from db --to hub
#[derive(Debug, Args)]
pub struct Sync {
    /// The source that is right
    #[arg(long, value_enum)]
    from: Source,
    /// The sources to make equal to it, in this order
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    to: Vec<Source>,
    /// Only these flags; default: all that both sides have
    names: Vec<FlagKey>,
}

impl Sync {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        if self.to.contains(&self.from) {
            return Err(Error::Usage {
                message: format!("--from and --to both name {}", self.from),
                hint: "llmhub flags sync --from db --to hub".to_owned(),
            });
        }
        let flags = self.right_state(app).await?;
        let stores = app.readers(&self.to).await?;
        let mut missing = Vec::new();
        let mut shared = Vec::new();
        let known = known_names(&stores).await?;
        for flag in &flags {
            let lacking: Vec<&str> =
                known.iter().filter(|(_, names)| !names.contains(&flag.key)).map(|(source, _)| source.word()).collect();
            if lacking.is_empty() {
                shared.push(flag);
            } else {
                missing.push(format!("{} has no flag `{}`", lacking.join(" and "), flag.key));
            }
        }
        let intents: Vec<Intent<'_>> = shared
            .iter()
            .map(|flag| {
                let decide: Decide<'_> = Box::new(|source, states: &[Flag]| {
                    let members = settable(source, &Member::DECIDING, states, flag)?;
                    Ok(Decision::restoring(Change::Take(members, Box::new((*flag).clone()))))
                });
                Intent { key: flag.key.clone(), decide }
            })
            .collect();
        let verb = Verb { operation: "sync", asking: Asking::Always, rivals: Rivals::Refuse };
        let (views, answer) = carry_out(app, globals, verb, &intents, stores).await?;
        missing.iter().for_each(|text| app.ui.warn(&format!("not pushed: {text}")));
        app.show(&WritesView(views))?;
        Ok(if missing.is_empty() { answer } else { answer.worse(Answer::Partial) })
    }

    /// The flags to push: healthy, and the same on every process they were read from.
    async fn right_state(&self, app: &App) -> Result<Vec<Flag>, Error> {
        let stores = app.readers(&[self.from]).await?;
        let store = stores.into_iter().next().ok_or(Error::NoSource)?;
        let mut survey = store.survey(Depth::Sample).await?;
        if survey.variants.len() != 1 || !survey.unreachable.is_empty() {
            return Err(Error::Disagree {
                message: format!(
                    "the processes of {} do not agree, or not all answer; it is no state to push",
                    self.from
                ),
                hint: format!("look first: llmhub flags diff --between {}", self.from),
            });
        }
        let mut flags = survey.variants.pop().map(|variant| variant.flags).unwrap_or_default();
        for flag in &mut flags {
            flag.start = canonical(flag.start.as_deref());
            flag.end = canonical(flag.end.as_deref());
        }
        let mut wanted = Vec::new();
        for name in &self.names {
            wanted.push(crate::app::pick(self.from, flags.clone(), name)?);
        }
        let wanted = if self.names.is_empty() { flags } else { wanted };
        match wanted.iter().find_map(|flag| flag.problems().into_iter().next().map(|problem| (&flag.key, problem))) {
            Some((key, problem)) => Err(Error::Refused {
                message: format!("`{key}` in {} is not fit to push: {problem}", self.from),
                hint: format!("repair it first: llmhub flags rollout {key} 0 --via {}", self.from),
            }),
            None => Ok(wanted),
        }
    }
}

async fn known_names(stores: &[Box<dyn FlagStore>]) -> Result<Vec<(Source, Vec<FlagKey>)>, StoreError> {
    let mut known = Vec::new();
    for store in stores {
        let names = store.list().await?.into_iter().map(|flag| flag.key).collect();
        known.push((store.source(), names));
    }
    Ok(known)
}
