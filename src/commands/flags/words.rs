//! A change in words, for questions, results and the history.

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
        let added: Vec<String> = new.iter().filter(|user| !old.contains(user)).cloned().collect();
        let removed: Vec<String> = old.iter().filter(|user| !new.contains(user)).cloned().collect();
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

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}
