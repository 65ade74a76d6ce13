//! A run that is killed: whoever takes it up repeats no step and skips none.

use super::{Desk, FLAG};
use crate::support::cli::Started;

/// Kill it as soon as the stored state is this one.
fn kill_at(desk: &Desk, started: Started, state: &str, rung: u8) {
    let begun = std::time::Instant::now();
    let sql = format!("SELECT state FROM llmhub.rollout_run WHERE state = '{state}' AND progress->>'rung' = '{rung}'");
    loop {
        let exists = desk.place.query("SELECT coalesce(to_regclass('llmhub.rollout_run')::text, '')");
        if exists != [""] && !desk.place.query(&sql).is_empty() {
            break;
        }
        assert!(begun.elapsed().as_secs() < 60, "never {state} at {rung} %");
    }
    started.signal("KILL");
    assert_eq!(started.wait().status, -9);
}

/// What happened, but for who took it up.
fn events(desk: &Desk) -> Vec<String> {
    desk.place.query(
        "SELECT kind || ' ' || coalesce(details::jsonb->>'rung', '') FROM llmhub.rollout_event \
         WHERE kind NOT IN ('taken_over', 'taken_up', 'holding') ORDER BY number",
    )
}

fn steps(desk: &Desk) -> Vec<String> {
    desk.place.query(
        "SELECT rung || ' ' || direction || ' ' || (applied_at IS NOT NULL) FROM llmhub.rollout_step ORDER BY number",
    )
}

const TAKE_OVER: &str = " --take-over --reason 'the other one died'";

#[test]
fn a_run_killed_in_every_state_ends_as_if_nothing_had_happened() {
    let undisturbed = Desk::new();
    let started = undisturbed.run("").spawn();
    undisturbed.until_state("awaiting_approval");
    undisturbed.line(&format!("promote {FLAG} --reason testers")).exits(0);
    assert_eq!(started.wait().status, 0);

    let desk = Desk::new();
    let mut started = desk.run("").spawn();
    kill_at(&desk, started, "applying", 0);
    started = desk.run(TAKE_OVER).spawn();
    kill_at(&desk, started, "awaiting_approval", 0);
    started = desk.run(TAKE_OVER).spawn();
    desk.line(&format!("promote {FLAG} --reason testers")).exits(0);
    for state in ["applying", "converging", "baking"] {
        kill_at(&desk, started, state, 50);
        started = desk.run(TAKE_OVER).spawn();
    }
    kill_at(&desk, started, "converging", 100);
    let last = desk.line(&format!("resume {FLAG}{TAKE_OVER}")).done();
    assert_eq!(last.status, 0, "{}{}", last.stdout, last.stderr);
    desk.everywhere(true, 100);
    assert_eq!(steps(&desk), steps(&undisturbed));
    assert_eq!(events(&desk), events(&undisturbed));
    assert_eq!(desk.standing()["history_broken_at"], serde_json::Value::Null);
}

#[test]
fn a_way_back_that_was_killed_is_finished_by_whoever_comes() {
    let desk = Desk::new();
    let started = desk.begin("");
    desk.until("at 50", |standing| standing["wanted"] == 50 && standing["applied"] == true);
    desk.measure("0.2");
    kill_at(&desk, started, "rolling_back", 50);
    // The lease has to run out first: nobody is forced to take it.
    let done = desk.line(&format!("abort {FLAG} --reason 'the run died' -y")).done();
    assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);
    desk.everywhere(false, 0);
    assert_eq!(steps(&desk).iter().filter(|step| step.contains("down")).count(), 1);
    desk.line(&format!("status {FLAG}")).exits(8);
}

#[test]
fn a_holder_that_was_stopped_and_wakes_up_after_another_has_taken_over_writes_nothing() {
    let desk = Desk::new();
    let sleeper = desk.run("").spawn();
    desk.until_state("awaiting_approval");
    sleeper.signal("STOP");
    let other = desk.run(TAKE_OVER).spawn();
    let id = other.id().to_string();
    desk.until("taken over", |standing| {
        standing["lease"]["holder"].as_str().is_some_and(|holder| holder.contains(&id))
    });
    sleeper.signal("CONT");
    let done = sleeper.wait();
    assert_eq!(done.status, 5, "{}", done.stderr);
    done.says("has taken over");
    // Back, and a write of the old holder that was on its way arrives after it: the second look takes it back too.
    let abort = desk.line(&format!("abort {FLAG} --reason done -y")).spawn();
    let begun = std::time::Instant::now();
    while desk.place.double().member(FLAG, "enabled").contains(&serde_json::json!(true)) {
        assert!(begun.elapsed().as_secs() < 60, "never off");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::thread::sleep(std::time::Duration::from_secs(1));
    desk.place.double().set_flag(2, FLAG, serde_json::json!({"enabled": true, "rollout_percentage": 50}));
    assert_eq!(abort.wait().status, 0);
    assert_eq!(other.wait().status, 8);
    desk.everywhere(false, 0);
}

#[test]
fn a_feature_that_was_switched_off_by_hand_while_nobody_ran_it_stays_off() {
    let desk = Desk::new();
    let started = desk.begin("");
    kill_at(&desk, started, "applying", 50);
    desk.place.double().set_flag_everywhere(FLAG, serde_json::json!({"enabled": false, "rollout_percentage": 0}));
    desk.line(&format!("resume {FLAG}{TAKE_OVER}")).exits(5).says("somebody else edited");
    desk.everywhere(false, 0);
}
