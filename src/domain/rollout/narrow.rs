//! Whether a rollback over somebody else's edit can only take users away (rollout.md 5, Rollback).
//!
//! Exposure that nobody measured must not come back by itself. What cannot be compared counts as widening.

use serde::{Deserialize, Serialize};

use super::plan::RollbackTo;
use crate::domain::flags::Flag;

/// What writing the target over the present state does to who is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Narrowing {
    /// It can only take users away.
    Narrows,
    /// It may switch users on, by these members.
    Widens(Vec<String>),
}

/// What a rollback over these present states (of one process each) does.
pub fn narrowing<'a>(target: RollbackTo, snapshot: &Flag, now: impl IntoIterator<Item = &'a Flag>) -> Narrowing {
    if target == RollbackTo::Off {
        return Narrowing::Narrows;
    }
    let mut widening: Vec<String> = Vec::new();
    for flag in now {
        for member in widened(snapshot, flag) {
            if !widening.iter().any(|known| known == member) {
                widening.push(member.to_owned());
            }
        }
    }
    if widening.is_empty() { Narrowing::Narrows } else { Narrowing::Widens(widening) }
}

/// The members by which the snapshot may switch somebody on who is off now.
fn widened(snapshot: &Flag, now: &Flag) -> Vec<&'static str> {
    let percentage = match (snapshot.percentage.effective(), now.percentage.effective()) {
        (Some(then), Some(now)) => then <= now,
        // Null on both sides is the same poison; on one side it cannot be compared.
        (None, None) => true,
        _ => false,
    };
    let white = match (&snapshot.whitelist, &now.whitelist) {
        (Some(then), Some(now)) => then.iter().all(|user| now.contains(user)),
        (then, now) => then == now,
    };
    let black = match (&snapshot.blacklist, &now.blacklist) {
        (Some(then), Some(now)) => now.iter().all(|user| then.contains(user)),
        (then, now) => then == now,
    };
    let rules = [
        ("enabled", !snapshot.is_enabled() || now.is_enabled()),
        ("rollout_percentage", percentage),
        ("whitelist_users", white),
        ("blacklist_users", black),
        ("start_date", snapshot.start == now.start),
        ("end_date", snapshot.end == now.end),
    ];
    rules.into_iter().filter(|(_, narrows)| !narrows).map(|(member, _)| member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flags::StoredPercent;

    fn flag(enabled: bool, percentage: i64, white: &[&str], black: &[&str]) -> Flag {
        let list = |users: &[&str]| Some(users.iter().map(|user| (*user).to_owned()).collect());
        Flag {
            enabled: Some(enabled),
            percentage: StoredPercent::Number(percentage),
            whitelist: list(white),
            blacklist: list(black),
            ..Flag::off("f".parse().unwrap())
        }
    }

    #[track_caller]
    fn case(snapshot: &Flag, now: &Flag, widens: &[&str]) {
        let wanted = if widens.is_empty() {
            Narrowing::Narrows
        } else {
            Narrowing::Widens(widens.iter().map(|member| (*member).to_owned()).collect())
        };
        assert_eq!(narrowing(RollbackTo::Snapshot, snapshot, [now]), wanted);
        assert_eq!(narrowing(RollbackTo::Off, snapshot, [now]), Narrowing::Narrows);
    }

    #[test]
    fn a_rollback_narrows_only_when_no_member_can_switch_anybody_on() {
        let snapshot = flag(true, 10, &["ana"], &["eve"]);
        case(&snapshot, &flag(true, 10, &["ana"], &["eve"]), &[]);
        case(&snapshot, &flag(true, 50, &["ana", "bob"], &[]), &[]);
        case(&snapshot, &flag(true, 150, &["ana"], &["eve"]), &[]);
        case(&snapshot, &flag(false, 50, &["ana"], &["eve"]), &["enabled"]);
        case(&snapshot, &flag(true, 9, &["ana"], &["eve"]), &["rollout_percentage"]);
        case(&snapshot, &flag(true, 50, &[], &["eve"]), &["whitelist_users"]);
        case(&snapshot, &flag(true, 50, &["ana"], &["eve", "bob"]), &["blacklist_users"]);
        case(&flag(false, 0, &[], &[]), &flag(false, 50, &[], &[]), &[]);
    }

    #[test]
    fn what_cannot_be_compared_counts_as_widening() {
        let snapshot = flag(true, 0, &[], &[]);
        let mut now = flag(true, 50, &[], &[]);
        now.percentage = StoredPercent::Null;
        case(&snapshot, &now, &["rollout_percentage"]);
        now.percentage = StoredPercent::Huge { negative: false, digits: "9".repeat(30) };
        case(&snapshot, &now, &[]);
        now.blacklist = None;
        case(&snapshot, &now, &["blacklist_users"]);
        now = flag(true, 50, &[], &[]);
        now.end = Some("2026-12-31".to_owned());
        case(&snapshot, &now, &["end_date"]);
    }

    #[test]
    fn one_process_that_it_would_widen_is_enough() {
        let (snapshot, wide, narrow) = (flag(true, 10, &[], &[]), flag(true, 50, &[], &[]), flag(true, 0, &[], &[]));
        let both = narrowing(RollbackTo::Snapshot, &snapshot, [&wide, &narrow]);
        assert_eq!(both, Narrowing::Widens(vec!["rollout_percentage".to_owned()]));
    }
}
