//! Several processes, several states: which one an edit starts from (rollout.md 3 and 4).
//!
//! A hub's processes may hold different states of one flag. An edit that can only take users away goes on from the narrowest
//! of them; one that can put users on a feature needs them to agree first in everything it does not itself bring together.

use std::collections::HashSet;

use super::change::{Change, Member, narrows};
use super::flag::Flag;

/// What an edit comes to, given all states that were seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The flag to write; only the edit's members of it matter.
    pub wanted: Flag,
    /// Whether no state has to change.
    pub already: bool,
    /// Whether no user can be on afterwards who was off in the state their process holds.
    pub narrows: bool,
    /// Members outside the edit in which the states differ; the edit goes on and leaves them.
    pub left_apart: Vec<Member>,
}

/// Why the states must be brought together first.
#[derive(Debug, PartialEq, Eq)]
pub struct Apart {
    /// The members in which they differ.
    pub members: Vec<Member>,
}

impl Change {
    /// The members that this edit sets.
    pub fn members(&self) -> Vec<Member> {
        use super::change::{DateEdit, ListName};
        match self {
            Self::Enable | Self::Disable => vec![Member::Enabled],
            Self::Percentage(_) => vec![Member::Percentage],
            Self::Add(list, _) | Self::Remove(list, _) => vec![match list {
                ListName::White => Member::Whitelist,
                ListName::Black => Member::Blacklist,
            }],
            Self::Schedule { start, end } => [(start, Member::Start), (end, Member::End)]
                .into_iter()
                .filter(|(edit, _)| **edit != DateEdit::Keep)
                .map(|(_, member)| member)
                .collect(),
            Self::Take(members, _) => members.clone(),
        }
    }
}

/// Apply `change` to the states that were seen, most frequent first (at least one).
///
/// # Errors
/// [`Apart`] when the states differ in a way that this edit must not paper over.
pub fn merge(first: &Flag, others: &[Flag], change: &Change) -> Result<Merged, Apart> {
    let members = change.members();
    let states = || std::iter::once(first).chain(others);
    let differs = |member: &Member| others.iter().any(|other| !member.same(first, other));
    let outside: Vec<Member> =
        Member::DECIDING.into_iter().filter(|member| !members.contains(member) && differs(member)).collect();
    // A set operation starts from what is there, so the lists themselves must agree, or be taken at their narrowest.
    let lists_apart = change.commutes() && members.iter().any(differs);

    let mut base = first.clone();
    if lists_apart {
        base.whitelist = Some(intersection(first.white(), others.iter().map(Flag::white)));
        base.blacklist = Some(union(first.black(), others.iter().map(Flag::black)));
    }
    let wanted = change.apply(&base);
    let after = |state: &Flag| {
        let mut after = state.clone();
        for member in &members {
            member.copy(&wanted, &mut after);
        }
        after
    };
    let narrowing = states().all(|state| narrows(state, &after(state)));
    let already = states().all(|state| members.iter().all(|member| member.same(state, &wanted)));
    if !narrowing && !already && (lists_apart || !outside.is_empty()) {
        let members = if lists_apart { members } else { outside };
        return Err(Apart { members });
    }
    Ok(Merged { wanted, already, narrows: narrowing, left_apart: outside })
}

fn intersection<'a>(first: &[String], others: impl Iterator<Item = &'a [String]>) -> Vec<String> {
    let mut kept = first.to_vec();
    for other in others {
        let other: HashSet<&str> = other.iter().map(String::as_str).collect();
        kept.retain(|user| other.contains(user.as_str()));
    }
    kept
}

fn union<'a>(first: &'a [String], others: impl Iterator<Item = &'a [String]>) -> Vec<String> {
    let mut known: HashSet<&str> = HashSet::new();
    let all = first.iter().chain(others.flatten());
    all.filter(|user| known.insert(user)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flags::{ListName, StoredPercent};

    fn flag(percent: i64, white: &[&str], black: &[&str]) -> Flag {
        let mut flag = Flag::off("f".parse().unwrap());
        flag.enabled = Some(true);
        flag.percentage = StoredPercent::Number(percent);
        flag.whitelist = Some(white.iter().map(|&user| user.to_owned()).collect());
        flag.blacklist = Some(black.iter().map(|&user| user.to_owned()).collect());
        flag
    }

    fn percent(value: i64) -> Change {
        Change::Percentage(value.try_into().unwrap())
    }

    #[test]
    fn one_state_needs_no_merging() {
        let merged = merge(&flag(10, &[], &[]), &[], &percent(25)).unwrap();
        assert_eq!(
            (merged.already, merged.narrows, merged.wanted.percentage),
            (false, false, StoredPercent::Number(25))
        );
        assert!(merge(&flag(25, &[], &[]), &[], &percent(25)).unwrap().already);
    }

    #[test]
    fn the_edited_member_itself_may_differ() {
        let merged = merge(&flag(25, &[], &[]), &[flag(10, &[], &[])], &percent(25)).unwrap();
        assert!(!merged.already && !merged.narrows);
    }

    #[test]
    fn a_widening_edit_stops_where_other_members_differ() {
        let apart = merge(&flag(10, &["a"], &[]), &[flag(10, &[], &[])], &percent(25)).unwrap_err();
        assert_eq!(apart.members, [Member::Whitelist]);
    }

    #[test]
    fn a_narrowing_edit_goes_on_and_names_what_it_leaves_apart() {
        let merged = merge(&flag(10, &["a"], &[]), &[flag(25, &[], &[])], &Change::Disable).unwrap();
        assert!(merged.narrows);
        assert_eq!(merged.left_apart, [Member::Percentage, Member::Whitelist]);
    }

    #[test]
    fn set_operations_on_lists_that_differ_only_narrow() {
        let (one, other) = (flag(10, &["a", "b"], &["x"]), flag(10, &["a", "c"], &["y"]));
        let add = Change::Add(ListName::White, vec!["d".into()]);
        assert!(merge(&one, std::slice::from_ref(&other), &add).is_err());
        let remove = Change::Remove(ListName::White, vec!["b".into()]);
        assert_eq!(merge(&one, std::slice::from_ref(&other), &remove).unwrap().wanted.white(), ["a"]);
        let block = Change::Add(ListName::Black, vec!["z".into()]);
        assert_eq!(merge(&one, &[other], &block).unwrap().wanted.black(), ["x", "y", "z"]);
    }
}
