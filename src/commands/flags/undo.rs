//! `flags undo`, and the command that takes a change back, printed after it was made.

use clap::Args;
use clap_complete::ArgValueCandidates;

use super::edit::{Asking, Decision, Intent, Verb, execute};
use super::words::without;
use crate::app::{Answer, App, Source};
use crate::commands::{Globals, complete, quote};
use crate::domain::flags::{Change, Flag, FlagKey, Member, differences};
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
        let verb = Verb { operation: "undo", asking: Asking::Always };
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

/// A runnable command, or `None` where only a snapshot could restore the flag (a poisoned value, a mixed change).
pub fn command(before: &Flag, after: &Flag, source: Source) -> Option<String> {
    if let Some(revision) = before.revision
        && after.revision != before.revision
    {
        return Some(format!("llmhub flags undo {} --to {revision} --via {source}", quote(before.key.as_str())));
    }
    let diffs = differences(before, after);
    let [diff] = diffs.as_slice() else {
        return None;
    };
    let name = quote(before.key.as_str());
    let users = |from: &[String], other: &[String]| {
        let users: Vec<String> = without(from, other).iter().map(|user| quote(user)).collect();
        (!users.is_empty() && users.len() <= 20).then(|| users.join(" "))
    };
    let list = |word: &str, old: &[String], new: &[String]| match (users(new, old), users(old, new)) {
        (Some(added), None) => Some(format!("{word} remove {name} {added}")),
        (None, Some(removed)) => Some(format!("{word} add {name} {removed}")),
        _ => None,
    };
    let verb = match diff.member {
        "enabled" if before.enabled == Some(true) => format!("enable {name}"),
        "enabled" if before.enabled == Some(false) => format!("disable {name}"),
        "rollout_percentage" => {
            let percent = before.percentage.as_i64().filter(|percent| (0..=100).contains(percent))?;
            let up = after.percentage.effective().is_some_and(|now| i64::from(now.get()) < percent);
            let steps = if up { " --skip-steps --reason 'undo'" } else { "" };
            format!("rollout {name} {percent}{steps}")
        }
        "whitelist_users" => list("whitelist", before.white(), after.white())?,
        "blacklist_users" => list("blacklist", before.black(), after.black())?,
        "start_date" | "end_date" => {
            let (option, value) = match diff.member {
                "start_date" => ("start", &before.start),
                _ => ("end", &before.end),
            };
            match value {
                Some(moment) => format!("schedule {name} --{option} {}", quote(moment)),
                None => format!("schedule {name} --{option} none"),
            }
        }
        _ => return None,
    };
    Some(format!("llmhub flags {verb} --via {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flags::{Change, ListName};

    fn flag() -> Flag {
        let mut flag = Flag::off("f".parse().unwrap());
        flag.percentage = crate::domain::flags::StoredPercent::Number(25);
        flag
    }

    #[track_caller]
    fn case(change: Change, expected: &str) {
        let before = flag();
        assert_eq!(command(&before, &change.apply(&before), Source::Hub).as_deref(), Some(expected));
    }

    #[test]
    fn every_verb_names_its_opposite() {
        case(Change::Enable, "llmhub flags disable f --via hub");
        case(Change::Percentage("50".parse().unwrap()), "llmhub flags rollout f 25 --via hub");
        case(
            Change::Percentage("0".parse().unwrap()),
            "llmhub flags rollout f 25 --skip-steps --reason 'undo' --via hub",
        );
        case(
            Change::Add(ListName::White, vec!["a@b".into(), "it's".into()]),
            r"llmhub flags whitelist remove f a@b 'it'\''s' --via hub",
        );
    }

    #[test]
    fn a_database_goes_back_to_the_revision() {
        let mut before = flag();
        before.revision = Some(7);
        let mut after = Change::Enable.apply(&before);
        after.revision = Some(8);
        assert_eq!(command(&before, &after, Source::Db).as_deref(), Some("llmhub flags undo f --to 7 --via db"));
    }
}
