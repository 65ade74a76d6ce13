//! Several operators on one hub, which has no compare-and-set: nobody's edit is lost without a word.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Desk, FLAG, LIST, hub, until};
use crate::support::cli::Done;
use crate::support::hub::{Fault, When};
use crate::support::raw_http::{RawRequest, fetch};

#[test]
fn users_added_at_once_are_all_on_the_list() {
    let desk = Desk::new(hub(2, 10));
    let started: Vec<_> =
        (0..6).map(|number| desk.flags(&format!("whitelist add {FLAG} user-{number}")).spawn()).collect();
    for done in started.into_iter().map(|started| started.wait()) {
        assert_eq!(done.status, 0, "{}", done.stderr);
    }
    let wanted: BTreeSet<String> = (0..6).map(|number| format!("user-{number}")).collect();
    for list in desk.hub.member(FLAG, "whitelist_users") {
        let list: BTreeSet<String> = serde_json::from_value(list).unwrap();
        assert_eq!(list, wanted);
    }
}

#[test]
fn two_steps_at_once_never_take_two_rungs() {
    let desk = Desk::new(hub(4, 10));
    // The first one is in the middle of its write when the second one starts.
    let held = desk.hub.fail(When::always().method("PUT").nth(2), Fault::Hang);
    let first = desk.flags(&format!("rollout {FLAG} --next")).spawn();
    until("the second write", || desk.hub.requests().iter().filter(|request| request.method == "PUT").count() == 2);
    let second = desk.flags(&format!("rollout {FLAG} --next")).exits(5);
    assert_eq!(second.code(), "conflict");
    assert!(second.json()["error"]["message"].as_str().unwrap().contains("another llmhub"));
    desk.hub.repair(held);
    assert_eq!(first.wait().status, 0);
    desk.everywhere(25);
}

#[test]
fn steps_started_at_the_same_moment_move_once_for_each_that_reports_success() {
    for _ in 0..3 {
        let desk = Desk::new(hub(2, 0));
        let started: Vec<_> = (0..2).map(|_| desk.flags(&format!("rollout {FLAG} 10")).spawn()).collect();
        let ended: Vec<Done> = started.into_iter().map(|started| started.wait()).collect();
        let changed = ended.iter().filter(|done| done.status == 0 && done.json()["changed"] == true).count();
        assert!(ended.iter().all(|done| matches!(done.status, 0 | 5)), "{:?}", ended[0].stderr);
        assert_eq!(changed, 1);
        desk.everywhere(10);
    }
}

#[test]
fn a_foreign_edit_in_the_middle_of_a_step_up_is_a_conflict() {
    let desk = Desk::new(hub(4, 10).env([("CSRF_ENABLED", "false")]));
    let held = desk.hub.fail(When::always().method("PUT").nth(2), Fault::Hang);
    let started = desk.flags(&format!("rollout {FLAG} 25")).spawn();
    let puts = || -> Vec<usize> {
        desk.hub.requests().iter().filter(|request| request.method == "PUT").map(|put| put.worker).collect()
    };
    until("the second write", || puts().len() == 2);
    // Somebody with another tool takes the percentage to 5 on a process that was not written yet.
    let untouched = (0..4).find(|worker| !puts().contains(worker)).unwrap();
    desk.hub.set_flag(untouched, FLAG, json!({"rollout_percentage": 5}));
    desk.hub.repair(held);
    let done = started.wait();
    assert_eq!((done.status, done.code().as_str()), (5, "conflict"), "{}", done.stderr);
    assert!(done.json()["error"]["message"].as_str().unwrap().contains("somebody else edited"));
    assert_eq!(desk.percentages()[untouched], 5, "their value stands");
}

#[test]
fn a_foreign_edit_in_the_middle_does_not_keep_a_flag_from_going_off() {
    let desk = Desk::new(hub(4, 10));
    let held = desk.hub.fail(When::always().method("PUT").nth(2), Fault::Hang);
    let started = desk.flags(&format!("rollout {FLAG} 0")).spawn();
    let puts = || -> Vec<usize> {
        desk.hub.requests().iter().filter(|request| request.method == "PUT").map(|put| put.worker).collect()
    };
    until("the second write", || puts().len() == 2);
    let untouched = (0..4).find(|worker| !puts().contains(worker)).unwrap();
    desk.hub.set_flag(untouched, FLAG, json!({"rollout_percentage": 50}));
    desk.hub.repair(held);
    let done = started.wait();
    assert_eq!(done.status, 0, "{}", done.stderr);
    done.says("overwrote a state");
    desk.everywhere(0);
}

#[test]
fn an_edit_between_reading_and_writing_is_not_overwritten_by_a_list_edit() {
    let desk = Desk::new(hub(1, 10).env([("CSRF_ENABLED", "false")]));
    // The reads of the survey are answered; then the next read waits, and somebody else adds a user.
    let held = desk.hub.fail(When::always().method("GET").path(LIST).nth(9), Fault::Hang);
    let started = desk.flags(&format!("whitelist add {FLAG} ana")).spawn();
    until("the ninth read", || desk.hub.count("GET", LIST) >= 9);
    fetch(desk.hub.address(), RawRequest::new("PUT", super::ONE).json(&json!({"whitelist_users": ["bob"]}))).unwrap();
    desk.hub.repair(held);
    let done = started.wait();
    let list: BTreeSet<String> = serde_json::from_value(desk.hub.member(FLAG, "whitelist_users").remove(0)).unwrap();
    assert!(list.contains("bob"), "the other edit stands: {list:?}");
    assert!(matches!(done.status, 0 | 5), "{}", done.stderr);
    assert_eq!(list.contains("ana"), done.status == 0);
}
