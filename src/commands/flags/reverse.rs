//! The command that takes a change back, printed after it was made.

use super::words::without;
use crate::app::Source;
use crate::commands::quote;
use crate::domain::flags::{Flag, differences};

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
