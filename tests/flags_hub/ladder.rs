//! The ladder guard on a hub: one rung up at most, any way down, and how many writes that takes.

use serde_json::{Value, json};

use super::{Desk, FLAG, hub};

/// One row: from these stored percentages, this command; its exit status, the number of writes, and what is stored then.
#[track_caller]
fn row(stored: &[Value], command: &str, exit: i32, writes: usize, then: &[Value]) -> (Value, String) {
    let desk = Desk::new(hub(stored.len(), 0));
    for (worker, value) in stored.iter().enumerate() {
        desk.hub.set_flag(worker, FLAG, json!({"rollout_percentage": value}));
    }
    let done = desk.flags(&format!("rollout {FLAG} {command} --reason trial")).exits(exit);
    assert_eq!((desk.writes(), desk.percentages().as_slice()), (writes, then), "{stored:?} {command}");
    (done.json(), done.stderr)
}

/// The same for one process.
#[track_caller]
fn one(stored: impl Into<Value>, command: &str, exit: i32, writes: usize, then: impl Into<Value>) -> (Value, String) {
    row(&[stored.into()], command, exit, writes, &[then.into()])
}

#[test]
fn one_rung_up_is_written() {
    for (from, to) in [(0, 10), (10, 25), (25, 50), (50, 100)] {
        let (document, _) = one(from, &to.to_string(), 0, 1, to);
        assert_eq!((&document["before"]["rollout_percentage"], &document["changed"]), (&json!(from), &json!(true)));
        assert_eq!(document["after"]["rollout_percentage"], to);
    }
}

#[test]
fn a_jump_up_is_refused_with_the_next_rung_and_no_write() {
    #[track_caller]
    fn case(from: i64, to: i64, next: i64) {
        let (document, _) = one(from, &to.to_string(), 7, 0, from);
        let error = &document["error"];
        assert_eq!(error["code"], "ladder");
        assert!(error["message"].as_str().unwrap().contains(&format!("{next} %")), "{error}");
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains(&format!("rollout {FLAG} {next} ")), "{hint}");
        assert!(hint.contains("--skip-steps --reason"), "{hint}");
    }
    case(10, 50, 25);
    case(0, 100, 10);
    case(0, 25, 10);
    case(25, 30, 50);
    case(40, 45, 50);
    case(0, 1, 10);
}

#[test]
fn down_is_always_written_and_an_off_ladder_target_names_the_next_step_up() {
    #[track_caller]
    fn case(from: i64, to: i64, warned: Option<&str>) {
        let (_, stderr) = one(from, &to.to_string(), 0, 1, to);
        assert_eq!(stderr.contains("next step up is"), warned.is_some(), "{stderr}");
        assert!(warned.is_none_or(|warned| stderr.contains(warned)), "{stderr}");
    }
    case(100, 0, None);
    case(50, 10, None);
    case(25, 7, Some("next step up is 10 %"));
    case(100, 99, Some("next step up is 100 %"));
}

#[test]
fn the_same_value_is_success_without_a_write() {
    for value in [0, 10, 40, 100] {
        let (document, _) = one(value, &value.to_string(), 0, 0, value);
        assert_eq!(document["changed"], false);
    }
}

#[test]
fn from_between_two_rungs_only_the_next_rung_is_up() {
    one(40, "50", 0, 1, 50);
    one(40, "45", 7, 0, 40);
    one(40, "100", 7, 0, 40);
    one(40, "--next", 0, 1, 50);
    one(40, "--back", 0, 1, 25);
}

#[test]
fn leaving_the_ladder_needs_skip_steps_and_skip_steps_needs_a_reason() {
    one(10, "50 --skip-steps", 0, 1, 50);
    one(25, "30 --skip-steps", 0, 1, 30);
    one(0, "100 --skip-steps", 0, 1, 100);

    let desk = Desk::new(hub(1, 10));
    let done = desk.flags(&format!("rollout {FLAG} 50 --skip-steps")).exits(7);
    assert_eq!((done.code().as_str(), desk.hub.requests().len()), ("reason_needed", 0));
}

#[test]
fn values_that_a_hub_should_never_hold_count_as_the_nearest_end() {
    let (document, _) = one(150, "100", 0, 1, 100);
    assert_eq!(document["changed"], true);
    one(-5, "0", 0, 1, 0);
    one(-5, "10", 0, 1, 10);
    one(-5, "25", 7, 0, -5);
    one(150, "50", 0, 1, 50);

    // 10^30 does not fit a JSON number of this test, so the environment brings it in.
    for to in [100, 50, 0] {
        let desk = Desk::new(hub(1, format!("1{}", "0".repeat(30))));
        let done = desk.flags(&format!("rollout {FLAG} {to}")).exits(0);
        assert_eq!((done.json()["changed"].as_bool(), desk.writes()), (Some(true), 1));
        desk.everywhere(to);
    }
}

#[test]
fn a_null_percentage_may_only_go_to_nothing() {
    for up in ["10", "25", "100", "--next"] {
        let (document, _) = one(Value::Null, up, 5, 0, Value::Null);
        assert_eq!(document["error"]["hint"], format!("llmhub flags rollout {FLAG} 0"), "{up}");
    }
    one(Value::Null, "0", 0, 1, 0);
    one(Value::Null, "--back", 0, 1, 0);
}

#[test]
fn processes_that_disagree_are_brought_together_only_downwards_or_by_finishing_a_step() {
    let (low, high) = (json!(10), json!(25));
    let stored = [low.clone(), high.clone()];
    let (document, _) = row(&stored, "25", 0, 1, &[high.clone(), high.clone()]);
    assert_eq!(document["changed"], true);
    row(&stored, "10", 0, 1, &[low.clone(), low.clone()]);
    row(&stored, "0", 0, 2, &[json!(0), json!(0)]);
    row(&stored, "7", 0, 2, &[json!(7), json!(7)]);
    row(&stored, "--next", 0, 1, &[high.clone(), high.clone()]);
    for refused in ["50", "100", "20"] {
        let (document, _) = row(&stored, refused, 5, 0, &stored);
        let message = document["error"]["message"].as_str().unwrap();
        assert!(message.contains("10") && message.contains("25"), "{message}");
    }
}

#[test]
fn a_target_that_is_no_whole_percentage_is_refused_before_any_request() {
    let desk = Desk::new(hub(1, 10));
    for target in ["101", "-1", "25.5", "abc", "''", "' 25'", "1000000000000000000000000000000"] {
        desk.flags(&format!("rollout {FLAG} {target}")).exits(2);
    }
    desk.flags(&format!("rollout {FLAG}")).exits(2);
    desk.flags(&format!("rollout {FLAG} 25 --next")).exits(2);
    assert_eq!(desk.hub.connections(), 0);
}

#[test]
fn a_disabled_flag_is_stepped_and_the_operator_told_that_it_has_no_effect() {
    let desk = Desk::new(hub(2, 10).env([("FEATURE_UNIFIED_LLM_HUB", "false")]));
    desk.flags(&format!("rollout {FLAG} 25")).exits(0).says("takes effect when it is enabled");
    desk.everywhere(25);
    assert_eq!(desk.hub.member(FLAG, "enabled"), [false, false]);
    desk.flags(&format!("rollout {FLAG} 100")).exits(7);
    desk.everywhere(25);
}

#[test]
fn next_and_back_walk_the_ladder_and_stop_at_its_ends() {
    let desk = Desk::new(hub(2, 0));
    for rung in [10, 25, 50, 100] {
        desk.flags(&format!("rollout {FLAG} --next")).exits(0);
        desk.everywhere(rung);
    }
    let writes = desk.writes();
    assert_eq!(desk.flags(&format!("rollout {FLAG} --next")).exits(0).json()["changed"], false);
    assert_eq!(desk.writes(), writes);
    for rung in [50, 25, 10, 0] {
        desk.flags(&format!("rollout {FLAG} --back")).exits(0);
        desk.everywhere(rung);
    }
    let writes = desk.writes();
    assert_eq!(desk.flags(&format!("rollout {FLAG} --back")).exits(0).json()["changed"], false);
    assert_eq!(desk.writes(), writes);
}

#[test]
fn the_ladder_of_the_profile_is_the_one_that_counts() {
    let desk = Desk::new(hub(1, 0));
    desk.home.file("llmhub.toml", "default_profile = \"dev\"\n[profiles.dev]\nladder = [0, 5, 100]\n");
    desk.flags(&format!("rollout {FLAG} 10")).exits(7);
    desk.flags(&format!("rollout {FLAG} 5")).exits(0);
    desk.flags(&format!("rollout {FLAG} 100")).exits(0);
    desk.everywhere(100);
}

#[test]
fn a_dry_run_passes_the_same_guard_and_writes_nothing() {
    let desk = Desk::new(hub(2, 10));
    let done = desk.flags(&format!("rollout {FLAG} 25 --dry-run")).exits(0);
    assert_eq!((&done.json()["dry_run"], &done.json()["changed"]), (&json!(true), &json!(true)));
    desk.flags(&format!("rollout {FLAG} 50 --dry-run")).exits(7);
    assert_eq!(desk.writes(), 0);
    desk.everywhere(10);
}
