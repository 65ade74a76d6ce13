//! A change in words, for questions, results and the history.

use std::collections::HashSet;

use super::view::people;
use crate::domain::flags::{Flag, Member, differences};

/// The change in words, one line per member.
pub fn describe(before: &Flag, after: &Flag) -> Vec<String> {
    let mut lines = Vec::new();
    for (member, name) in [(Member::Whitelist, "white list"), (Member::Blacklist, "black list")] {
        if member.same(before, after) {
            continue;
        }
        let (old, new) = match member {
            Member::Whitelist => (before.white(), after.white()),
            _ => (before.black(), after.black()),
        };
        let (added, removed) = (without(new, old), without(old, new));
        if !added.is_empty() {
            lines.push(format!("{name} + {}", people(&added)));
        }
        if !removed.is_empty() {
            lines.push(format!("{name} − {}", people(&removed)));
        }
        if added.is_empty() && removed.is_empty() {
            lines.push(format!("{name}: null → a list"));
        }
    }
    for diff in differences(before, after) {
        if diff.member != Member::Whitelist.name() && diff.member != Member::Blacklist.name() {
            lines.push(format!("{} {} → {}", diff.member, plain(&diff.before), plain(&diff.after)));
        }
    }
    lines
}

/// The entries of `list` that are not in `other`. Through a set: a list may hold a hundred thousand users.
pub fn without(list: &[String], other: &[String]) -> Vec<String> {
    let other: HashSet<&str> = other.iter().map(String::as_str).collect();
    list.iter().filter(|user| !other.contains(user.as_str())).cloned().collect()
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}
