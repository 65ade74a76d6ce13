//! Edits of a flag: each verb is a [`Change`], applied to the flag that was read.
//!
//! `diff`, `apply`, `history`, `--dry-run` and the verbs all speak of the same [`MemberDiff`], so they cannot disagree about
//! what changed. Set operations are set operations: adding a user twice changes nothing and keeps the order of the rest.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::dates::canonical;
use super::flag::{Flag, Percent};

/// One of the two user lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListName {
    /// Users who are always on.
    White,
    /// Users who are always off.
    Black,
}

impl ListName {
    /// The word an operator uses.
    pub fn word(self) -> &'static str {
        match self {
            Self::White => "white list",
            Self::Black => "black list",
        }
    }
}

/// The parts of a flag that an edit can touch, in the order in which documents show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// The main switch.
    Enabled,
    /// The share of users.
    Percentage,
    /// The white list.
    Whitelist,
    /// The black list.
    Blacklist,
    /// The first moment.
    Start,
    /// The last moment.
    End,
    /// The description.
    Description,
    /// The tags.
    Tags,
    /// The owning team.
    Owner,
}

impl Member {
    /// Every member.
    pub const ALL: [Self; 9] = [
        Self::Enabled,
        Self::Percentage,
        Self::Whitelist,
        Self::Blacklist,
        Self::Start,
        Self::End,
        Self::Description,
        Self::Tags,
        Self::Owner,
    ];

    /// The four that the hub can take over HTTP (CONTRACT 3.4).
    pub const LIVE: [Self; 4] = [Self::Enabled, Self::Percentage, Self::Whitelist, Self::Blacklist];

    /// The six that decide who is on.
    pub const DECIDING: [Self; 6] =
        [Self::Enabled, Self::Percentage, Self::Whitelist, Self::Blacklist, Self::Start, Self::End];

    /// Its name in JSON, in the hub's answers and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Percentage => "rollout_percentage",
            Self::Whitelist => "whitelist_users",
            Self::Blacklist => "blacklist_users",
            Self::Start => "start_date",
            Self::End => "end_date",
            Self::Description => "description",
            Self::Tags => "tags",
            Self::Owner => "owner",
        }
    }

    /// Its value in `flag`, lists as stored.
    pub fn value(self, flag: &Flag) -> Value {
        match self {
            Self::Enabled => json!(flag.enabled),
            Self::Percentage => match &flag.percentage {
                super::StoredPercent::Huge { .. } => json!(flag.percentage.to_string()),
                other => json!(other),
            },
            Self::Whitelist => json!(flag.whitelist),
            Self::Blacklist => json!(flag.blacklist),
            Self::Start => json!(flag.start),
            Self::End => json!(flag.end),
            Self::Description => json!(flag.description),
            Self::Tags => json!(flag.tags),
            Self::Owner => json!(flag.owner),
        }
    }

    /// Whether two flags mean the same by this member: lists as sets, dates by the moment that the hub reads, everything else
    /// by value.
    pub fn same(self, one: &Flag, other: &Flag) -> bool {
        fn same_set(one: &Option<Vec<String>>, other: &Option<Vec<String>>) -> bool {
            match (one, other) {
                (Some(one), Some(other)) if one != other => {
                    let set: HashSet<&str> = one.iter().map(String::as_str).collect();
                    let others: HashSet<&str> = other.iter().map(String::as_str).collect();
                    set == others
                }
                (one, other) => one == other,
            }
        }
        match self {
            Self::Whitelist => same_set(&one.whitelist, &other.whitelist),
            Self::Blacklist => same_set(&one.blacklist, &other.blacklist),
            Self::Enabled => one.enabled == other.enabled,
            Self::Percentage => one.percentage == other.percentage,
            Self::Start => canonical(one.start.as_deref()) == canonical(other.start.as_deref()),
            Self::End => canonical(one.end.as_deref()) == canonical(other.end.as_deref()),
            Self::Description => one.description == other.description,
            Self::Tags => one.tags == other.tags,
            Self::Owner => one.owner == other.owner,
        }
    }

    /// Give `to` this member of `from`.
    pub fn copy(self, from: &Flag, to: &mut Flag) {
        match self {
            Self::Enabled => to.enabled = from.enabled,
            Self::Percentage => to.percentage = from.percentage.clone(),
            Self::Whitelist => to.whitelist = from.whitelist.clone(),
            Self::Blacklist => to.blacklist = from.blacklist.clone(),
            Self::Start => to.start = from.start.clone(),
            Self::End => to.end = from.end.clone(),
            Self::Description => to.description = from.description.clone(),
            Self::Tags => to.tags = from.tags.clone(),
            Self::Owner => to.owner = from.owner.clone(),
        }
    }
}

/// One member that differs between two flags.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberDiff {
    /// The member's JSON name.
    pub member: &'static str,
    /// Its value on the left, or before.
    pub before: Value,
    /// Its value on the right, or after.
    pub after: Value,
}

/// The members by which two flags differ, in document order; lists compare as sets.
pub fn differences(before: &Flag, after: &Flag) -> Vec<MemberDiff> {
    changed_members(before, after)
        .into_iter()
        .map(|member| MemberDiff { member: member.name(), before: member.value(before), after: member.value(after) })
        .collect()
}

/// The members by which two flags differ.
pub fn changed_members(before: &Flag, after: &Flag) -> Vec<Member> {
    Member::ALL.into_iter().filter(|member| !member.same(before, after)).collect()
}

/// What to do with one end of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DateEdit {
    /// Leave it as it is.
    Keep,
    /// No bound.
    Clear,
    /// A moment in the one form the hub reads on every Python: naive UTC, `YYYY-MM-DDTHH:MM:SS`.
    Set(String),
}

impl DateEdit {
    fn apply(&self, old: &Option<String>) -> Option<String> {
        match self {
            Self::Keep => old.clone(),
            Self::Clear => None,
            Self::Set(moment) => Some(moment.clone()),
        }
    }
}

/// An edit of one flag.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Switch on; the percentage stays (the hub's own `/enable` would force 100).
    Enable,
    /// Switch off; the percentage stays.
    Disable,
    /// Store a percentage.
    Percentage(Percent),
    /// Put users on a list.
    Add(ListName, Vec<String>),
    /// Take users off a list.
    Remove(ListName, Vec<String>),
    /// Set or clear the dates.
    Schedule {
        /// The first moment.
        start: DateEdit,
        /// The last moment.
        end: DateEdit,
    },
    /// Make these members equal to those of another snapshot.
    Take(Vec<Member>, Box<Flag>),
}

impl Change {
    /// The flag after this edit. Touching a poisoned list replaces its null by a list.
    pub fn apply(&self, flag: &Flag) -> Flag {
        let mut after = flag.clone();
        match self {
            Self::Enable => after.enabled = Some(true),
            Self::Disable => after.enabled = Some(false),
            Self::Percentage(percent) => after.percentage = (*percent).into(),
            Self::Add(list, users) => {
                let list = list_mut(&mut after, *list);
                let mut known: HashSet<String> = list.iter().cloned().collect();
                list.extend(users.iter().filter(|user| known.insert((*user).clone())).cloned());
            }
            Self::Remove(list, users) => {
                let gone: HashSet<&str> = users.iter().map(String::as_str).collect();
                list_mut(&mut after, *list).retain(|user| !gone.contains(user.as_str()));
            }
            Self::Schedule { start, end } => {
                after.start = start.apply(&flag.start);
                after.end = end.apply(&flag.end);
            }
            Self::Take(members, from) => {
                for member in members {
                    member.copy(from, &mut after);
                }
            }
        }
        after
    }

    /// Whether the edit may be made again on a newer version of the flag after a lost race: its outcome does not depend on
    /// what the operator saw. True for set operations only.
    pub fn commutes(&self) -> bool {
        matches!(self, Self::Add(..) | Self::Remove(..))
    }
}

fn list_mut(flag: &mut Flag, list: ListName) -> &mut Vec<String> {
    match list {
        ListName::White => flag.whitelist.get_or_insert_default(),
        ListName::Black => flag.blacklist.get_or_insert_default(),
    }
}

/// Whether an edit can only take users away: nobody is on after it who was off before, whatever their id.
pub fn narrows(before: &Flag, after: &Flag) -> bool {
    if !after.is_enabled() {
        return true;
    }
    let subset = |small: &[String], big: &[String]| {
        let big: HashSet<&str> = big.iter().map(String::as_str).collect();
        small.iter().all(|user| big.contains(user.as_str()))
    };
    before.is_enabled()
        && after.exposure() <= before.exposure()
        && subset(after.white(), before.white())
        && subset(before.black(), after.black())
        && Member::Start.same(before, after)
        && Member::End.same(before, after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flags::StoredPercent;

    fn flag() -> Flag {
        let mut flag = Flag::off("f".parse().unwrap());
        flag.whitelist = Some(vec!["b".into(), "a".into()]);
        flag.percentage = StoredPercent::Number(40);
        flag
    }

    #[test]
    fn enable_keeps_the_percentage() {
        let after = Change::Enable.apply(&flag());
        assert_eq!((after.enabled, after.percentage), (Some(true), StoredPercent::Number(40)));
    }

    #[test]
    fn adding_is_a_set_operation_that_keeps_the_order() {
        let users = vec!["c".into(), "a".into(), "c".into()];
        let after = Change::Add(ListName::White, users.clone()).apply(&flag());
        assert_eq!(after.white(), ["b", "a", "c"]);
        assert_eq!(Change::Add(ListName::White, users).apply(&after), after);
    }

    #[test]
    fn removing_the_absent_changes_nothing() {
        assert_eq!(Change::Remove(ListName::White, vec!["zz".into()]).apply(&flag()), flag());
    }

    #[test]
    fn a_poisoned_list_becomes_a_list_when_it_is_edited() {
        let mut poisoned = flag();
        poisoned.blacklist = None;
        let after = Change::Add(ListName::Black, vec!["x".into()]).apply(&poisoned);
        assert_eq!(after.blacklist, Some(vec!["x".to_owned()]));
    }

    #[test]
    fn lists_differ_as_sets() {
        let mut other = flag();
        other.whitelist = Some(vec!["a".into(), "b".into(), "a".into()]);
        assert_eq!(differences(&flag(), &other), vec![]);
        other.whitelist = None;
        assert_eq!(differences(&flag(), &other).len(), 1);
    }

    #[test]
    fn only_edits_that_can_lose_users_and_never_win_any_narrow() {
        let mut on = flag();
        on.enabled = Some(true);
        on.blacklist = Some(vec!["x".into()]);
        #[track_caller]
        fn case(before: &Flag, change: Change, expected: bool) {
            assert_eq!(narrows(before, &change.apply(before)), expected, "{change:?}");
        }
        case(&on, Change::Disable, true);
        case(&on, Change::Percentage("10".parse().unwrap()), true);
        case(&on, Change::Percentage("50".parse().unwrap()), false);
        case(&on, Change::Add(ListName::Black, vec!["y".into()]), true);
        case(&on, Change::Add(ListName::White, vec!["y".into()]), false);
        case(&on, Change::Remove(ListName::White, vec!["a".into()]), true);
        case(&on, Change::Remove(ListName::Black, vec!["x".into()]), false);
        case(&on, Change::Schedule { start: DateEdit::Clear, end: DateEdit::Set("2030-01-01T00:00:00".into()) }, false);
        case(&flag(), Change::Enable, false);
        case(&flag(), Change::Percentage("100".parse().unwrap()), true);
    }
}
