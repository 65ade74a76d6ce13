//! The verbs that change one flag: each builds a [`Change`] and says what it means. `edit` does the rest.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;

use super::edit::execute;
use super::intent::{Asking, Decision, Intent, Rivals, Verb};
use crate::app::{Answer, App, Source};
use crate::commands::{Globals, complete, quote};
use crate::domain::flags::change::DateEdit;
use crate::domain::flags::dates::{Moment, MomentError};
use crate::domain::flags::ladder::{Steps, Target};
use crate::domain::flags::{Change, Flag, FlagKey, ListName, Percent, StoredPercent};
use crate::error::Error;

fn verb(operation: &'static str) -> Verb {
    Verb { operation, asking: Asking::Protected, rivals: Rivals::Refuse }
}

/// Switch a flag on; its percentage stays as it is
///
/// The hub's own /enable forces 100 %; this never does.
///
/// Example: llmhub flags enable unified_llm_hub --via hub
#[derive(Debug, Args)]
pub struct Enable {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
}

impl Enable {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let decide = |_: Source, states: &[Flag]| {
            let mut decision = Decision::new(Change::Enable);
            let stored = states.iter().filter_map(|flag| flag.percentage.effective()).max();
            if let Some(stored) = stored.filter(|stored| *stored > Percent::ZERO)
                && states.iter().any(|flag| !flag.is_enabled())
            {
                decision.notes.push(format!(
                    "this switches {stored} % of the users on at once (the stored percentage); see who: llmhub flags preview"
                ));
            }
            Ok(decision)
        };
        execute(app, globals, verb("enable"), Intent { key: self.name.clone(), decide: Box::new(decide) }).await
    }
}

/// Switch a flag off for everybody, the white list included; its percentage stays
///
/// Example: llmhub flags disable unified_llm_hub
#[derive(Debug, Args)]
pub struct Disable {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
}

impl Disable {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let decide = |_: Source, _: &[Flag]| Ok(Decision::new(Change::Disable));
        execute(app, globals, verb("disable"), Intent { key: self.name.clone(), decide: Box::new(decide) }).await
    }
}

/// Set the percentage of users: one rung of the ladder up at most, any way down
///
/// Example: llmhub flags rollout unified_llm_hub 25
#[derive(Debug, Args)]
#[command(
    override_usage = "llmhub flags rollout <NAME> <PERCENT|--next|--back> [OPTIONS]",
    group(clap::ArgGroup::new("target").required(true).args(["percent", "next", "back"]))
)]
pub struct Rollout {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// A whole number from 0 to 100
    #[arg(allow_negative_numbers = true)]
    percent: Option<Percent>,
    /// The next rung up
    #[arg(long)]
    next: bool,
    /// The next rung down
    #[arg(long)]
    back: bool,
    /// Leave the ladder on the way up; needs --reason
    #[arg(long)]
    skip_steps: bool,
}

impl Rollout {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        if self.skip_steps && globals.reason.is_none() {
            return Err(Error::ReasonNeeded("--skip-steps".to_owned()));
        }
        let target = match (self.percent, self.next) {
            (Some(percent), _) => Target::Exactly(percent),
            (None, true) => Target::Next,
            (None, false) => Target::Back,
        };
        let steps = if self.skip_steps { Steps::Skipped } else { Steps::Kept };
        let ladder = app.ladder();
        let decide = |_: Source, states: &[Flag]| {
            let seen: Vec<StoredPercent> = states.iter().map(|flag| flag.percentage.clone()).collect();
            let step = ladder
                .guard(&seen, target, steps)
                .map_err(|refusal| Error::Ladder { hint: refusal_hint(&self.name, &refusal), refusal })?;
            let mut decision = Decision::new(Change::Percentage(step.to));
            if let Some(next) = step.off_ladder_next {
                decision
                    .warnings
                    .push(format!("{} % is between two rungs ({ladder}); the next step up is {next} %", step.to));
            }
            if states.iter().all(|flag| !flag.is_enabled()) {
                decision.notes.push("the flag is disabled: the percentage takes effect when it is enabled".to_owned());
            }
            if step.to == Percent::ZERO && states.iter().any(|flag| flag.is_enabled() && !flag.white().is_empty()) {
                decision
                    .notes
                    .push("0 % is not off: white-listed users stay on; `flags disable` is the kill".to_owned());
            }
            Ok(decision)
        };
        execute(app, globals, verb("rollout"), Intent { key: self.name.clone(), decide: Box::new(decide) }).await
    }
}

fn refusal_hint(name: &FlagKey, refusal: &crate::domain::flags::ladder::Refusal) -> String {
    use crate::domain::flags::ladder::Refusal;
    let name = quote(name.as_str());
    match refusal {
        Refusal::Skips { next, to, .. } | Refusal::OffLadder { next, to, .. } => format!(
            "llmhub flags rollout {name} {next}   (or, with a reason: llmhub flags rollout {name} {to} --skip-steps --reason '…')"
        ),
        Refusal::Poisoned => format!("llmhub flags rollout {name} 0"),
        Refusal::Disagree(_) => "llmhub flags diff --between hub; llmhub flags sync --from db --to hub".to_owned(),
    }
}

/// Users named on the command line or in a file.
#[derive(Debug, Args)]
pub struct Users {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// User ids, byte for byte as the hub knows them
    #[arg(required_unless_present = "file")]
    users: Vec<String>,
    /// A file with one id per line; - is stdin
    #[arg(long, short = 'f')]
    file: Option<PathBuf>,
}

impl Users {
    fn read(&self, app: &App) -> Result<Vec<String>, Error> {
        for user in &self.users {
            if user.is_empty() || user.chars().any(char::is_control) {
                return Err(Error::Usage {
                    message: "a user id cannot be empty or hold control characters".to_owned(),
                    hint: "quote the id, or put it into a file: --file users.txt".to_owned(),
                });
            }
            if user.trim() != user {
                app.ui.warn(&format!("the id `{user}` has blanks around it; they are kept, and make it another user"));
            }
        }
        let mut users = self.users.clone();
        if let Some(path) = &self.file {
            users.extend(app.user_list(path)?);
        }
        Ok(users)
    }
}

/// What is done to a list.
#[derive(Clone, Copy)]
enum ListEdit {
    Add,
    Remove,
}

/// Users who are always on while the flag is enabled
///
/// Example: llmhub flags whitelist add unified_llm_hub ana@example.com
#[derive(Debug, Subcommand)]
pub enum Whitelist {
    /// Put users on the white list
    ///
    /// Example: llmhub flags whitelist add unified_llm_hub ana@example.com
    Add(Users),
    /// Take users off the white list
    ///
    /// Example: llmhub flags whitelist remove unified_llm_hub ana@example.com
    Remove(Users),
    /// Print the white list
    ///
    /// Example: llmhub flags whitelist list unified_llm_hub
    List(super::inspect::UserList),
}

impl Whitelist {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::Add(users) => edit_list(app, globals, users, ListName::White, ListEdit::Add).await,
            Self::Remove(users) => edit_list(app, globals, users, ListName::White, ListEdit::Remove).await,
            Self::List(args) => args.run(app, globals, ListName::White).await,
        }
    }
}

/// Users who are always off; the black list wins over the white list
///
/// Example: llmhub flags blacklist add unified_llm_hub eve@example.com
#[derive(Debug, Subcommand)]
pub enum Blacklist {
    /// Put users on the black list
    ///
    /// Example: llmhub flags blacklist add unified_llm_hub ana@example.com
    Add(Users),
    /// Take users off the black list
    ///
    /// Example: llmhub flags blacklist remove unified_llm_hub ana@example.com
    Remove(Users),
    /// Print the black list
    ///
    /// Example: llmhub flags blacklist list unified_llm_hub
    List(super::inspect::UserList),
}

impl Blacklist {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::Add(users) => edit_list(app, globals, users, ListName::Black, ListEdit::Add).await,
            Self::Remove(users) => edit_list(app, globals, users, ListName::Black, ListEdit::Remove).await,
            Self::List(args) => args.run(app, globals, ListName::Black).await,
        }
    }
}

async fn edit_list(app: &App, globals: &Globals, args: Users, list: ListName, edit: ListEdit) -> Result<Answer, Error> {
    let users = args.read(app)?;
    let decide = |_: Source, states: &[Flag]| {
        let mut decision = Decision::new(match edit {
            ListEdit::Add => Change::Add(list, users.clone()),
            ListEdit::Remove => Change::Remove(list, users.clone()),
        });
        let blocked = on_list(&users, states.iter().map(Flag::black)).0;
        if matches!((list, edit), (ListName::White, ListEdit::Add)) && !blocked.is_empty() {
            decision
                .warnings
                .push(format!("on the black list too, which wins: {} stay off", super::view::people(&blocked)));
        }
        let absent = match list {
            ListName::White => on_list(&users, states.iter().map(Flag::white)).1,
            ListName::Black => on_list(&users, states.iter().map(Flag::black)).1,
        };
        if matches!(edit, ListEdit::Remove) && !absent.is_empty() {
            decision.notes.push(format!("not on the {}: {}", list.word(), super::view::people(&absent)));
        }
        Ok(decision)
    };
    let operation = match list {
        ListName::White => "whitelist",
        ListName::Black => "blacklist",
    };
    let verb = Verb { rivals: Rivals::Await, ..verb(operation) };
    execute(app, globals, verb, Intent { key: args.name.clone(), decide: Box::new(decide) }).await
}

/// The users who are on any of these lists, and those who are on none.
fn on_list<'a>(users: &[String], lists: impl Iterator<Item = &'a [String]>) -> (Vec<String>, Vec<String>) {
    let listed: HashSet<&str> = lists.flatten().map(String::as_str).collect();
    users.iter().cloned().partition(|user| listed.contains(user.as_str()))
}

/// Set or clear the dates between which a flag may be on
///
/// Times without a zone are UTC. Only a database or an env file can hold dates; a running hub takes none.
///
/// Example: llmhub flags schedule unified_llm_hub --start 2026-12-01T08:00Z --end none --via db
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("edit").required(true).multiple(true).args(["start", "end", "clear"])))]
pub struct Schedule {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// First moment at which it may be on, or `none`
    #[arg(long, value_name = "TIME", value_parser = date)]
    start: Option<DateEdit>,
    /// Last moment at which it may be on, or `none`
    #[arg(long, value_name = "TIME", value_parser = date)]
    end: Option<DateEdit>,
    /// Clear both
    #[arg(long, conflicts_with_all = ["start", "end"])]
    clear: bool,
}

fn date(text: &str) -> Result<DateEdit, MomentError> {
    if text == "none" {
        return Ok(DateEdit::Clear);
    }
    text.parse::<Moment>().map(|moment| DateEdit::Set(moment.to_string()))
}

impl Schedule {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let missing = if self.clear { DateEdit::Clear } else { DateEdit::Keep };
        let start = self.start.unwrap_or_else(|| missing.clone());
        let end = self.end.unwrap_or(missing);
        if let (DateEdit::Set(start), DateEdit::Set(end)) = (&start, &end)
            && start > end
        {
            return Err(Error::Usage {
                message: format!("the start ({start}) is after the end ({end}): the flag would never be on"),
                hint: "give --start before --end".to_owned(),
            });
        }
        let first_rung = app.ladder().next(Percent::ZERO).unwrap_or(Percent::FULL);
        let decide = |_: Source, states: &[Flag]| {
            let mut decision = Decision::new(Change::Schedule { start: start.clone(), end: end.clone() });
            let exposure = states.iter().map(Flag::exposure).max().unwrap_or(Percent::ZERO);
            if matches!(start, DateEdit::Set(_)) && exposure > first_rung {
                decision.warnings.push(format!(
                    "when the start comes, {exposure} % of the users are switched on at once: that is a jump of the ladder"
                ));
            }
            Ok(decision)
        };
        execute(app, globals, verb("schedule"), Intent { key: self.name.clone(), decide: Box::new(decide) }).await
    }
}
