//! People beside the run: who steers it, who runs it at the same time, who edits the flag behind its back.

use serde_json::json;

use super::{Desk, FLAG};

#[test]
fn a_run_is_paused_resumed_and_aborted_from_another_terminal() {
    let desk = Desk::new();
    let started = desk.begin("");
    desk.line(&format!("pause {FLAG} --reason 'no support'")).exits(0).prints("paused");
    let at = desk.standing()["wanted"].clone();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let standing = desk.standing();
    assert_eq!((&standing["state"], &standing["wanted"]), (&json!("paused"), &at), "paused, it goes no further");
    desk.line(&format!("resume {FLAG}")).exits(0);
    desk.until("on its way", |standing| standing["state"] != "paused");
    desk.line(&format!("abort {FLAG} --reason complaints")).exits(9).says("-y");
    desk.line(&format!("abort {FLAG} --reason complaints -y")).exits(0).prints("rolled_back").prints("complaints");
    assert_eq!(started.wait().status, 8);
    desk.everywhere(false, 0);
}

#[test]
fn of_two_runs_at_once_one_is_told_who_has_the_lease() {
    let desk = Desk::new();
    let (one, other) = (desk.run("").spawn(), desk.run("").spawn());
    desk.until("applied", |standing| standing["applied"] == true);
    let ids = [one.id(), other.id()];
    let holder = desk.standing()["lease"]["holder"].as_str().unwrap().to_owned();
    let (winner, loser) = if holder.contains(&ids[0].to_string()) { (one, other) } else { (other, one) };
    let lost = loser.wait();
    assert_eq!(lost.status, 5, "{}", lost.stderr);
    let id = winner.id();
    lost.says(&format!("process {id}"));
    assert_eq!(desk.place.query("SELECT count(*)::text FROM llmhub.rollout_run"), ["1"]);
    winner.signal("TERM");
    assert_eq!(winner.wait().status, 143);
}

#[test]
fn somebody_elses_edit_stops_the_way_up_and_a_person_settles_it() {
    let desk = Desk::new();
    let started = desk.run("").spawn();
    desk.until("applied", |standing| standing["applied"] == true);
    desk.place.double().set_flag_everywhere(FLAG, json!({"enabled": false, "whitelist_users": []}));
    // The run may have seen the edit before it hears the promotion.
    let promoted = desk.line(&format!("promote {FLAG} --reason testers")).done().status;
    assert!([0, 5].contains(&promoted), "{promoted}");
    let done = started.wait();
    assert_eq!(done.status, 5, "{}", done.stderr);
    done.says("enabled").prints("conflict");
    assert_eq!(desk.place.double().member(FLAG, "enabled"), vec![json!(false); 4], "nothing goes up over it");
    desk.line(&format!("status {FLAG}")).exits(5);
    desk.line(&format!("resume {FLAG}")).exits(5);
    desk.line(&format!("abort {FLAG} --reason settled -y")).exits(0).prints("rolled_back");
    desk.everywhere(false, 0);
}

#[test]
fn a_conflict_that_was_settled_by_hand_bakes_again() {
    let desk = Desk::hub_only();
    let started = desk.run("").spawn();
    let before = desk.until_state("awaiting_approval")["bake"]["started_at"].as_str().unwrap().to_owned();
    let hub = desk.place.double();
    hub.set_flag_everywhere(FLAG, json!({"rollout_percentage": 25}));
    // It may be in conflict before it has answered: then this is told.
    desk.line(&format!("promote {FLAG} --reason testers")).done();
    assert_eq!(started.wait().status, 5);
    hub.set_flag_everywhere(FLAG, json!({"rollout_percentage": 0}));
    let again = desk.line(&format!("resume {FLAG}")).spawn();
    let after = desk.until("taken up", |standing| standing["state"] != "conflict" && standing["applied"] == true);
    assert!(after["bake"]["started_at"].as_str().unwrap() > before.as_str(), "{after:#}");
    desk.line(&format!("abort {FLAG} --reason done -y")).exits(0);
    assert_eq!(again.wait().status, 8);
}

#[test]
fn an_edit_that_nobody_was_told_of_is_seen_before_the_end_is_called_one() {
    let desk = Desk::hub_only();
    desk.plan(&super::PLAN.replace("bake = \"1s\"", "bake = \"4s\"").replace("[0, 50, 100]", "[0, 100]"));
    let started = desk.begin("");
    desk.until("at 100", |standing| standing["wanted"] == 100 && standing["applied"] == true);
    desk.place.double().set_flag_everywhere(FLAG, json!({"rollout_percentage": 30}));
    let done = started.wait();
    assert_eq!(done.status, 5, "{}", done.stderr);
    done.says("rollout_percentage (hub)").prints("conflict");
    desk.everywhere(true, 30);
}

#[test]
fn an_emergency_between_the_look_and_the_write_leaves_the_write_undone() {
    use crate::support::hub::{Fault, When};
    use llmhub::store::rollout::{PostgresRuns, RunStore, Timing};
    let desk = Desk::new();
    let started = desk.run("").spawn();
    desk.until_state("awaiting_approval");
    let hub = desk.place.double();
    let writes = hub.count("PUT", "/api/v1/features/unified_llm_hub");
    hub.fail(When::always(), Fault::Slow(std::time::Duration::from_millis(700)));
    desk.line(&format!("promote {FLAG} --reason testers")).exits(0);
    desk.until("on its way", |standing| standing["wanted"] == 50);
    let store = PostgresRuns::new(desk.place.database.as_ref().unwrap().target(), "test".to_owned(), Timing::default());
    let flag = FLAG.parse().unwrap();
    crate::support::places::runtime().block_on(store.bump_fence(&flag, "ben@ops", "smoke")).unwrap();
    let done = started.wait();
    assert_eq!(done.status, 5, "{}", done.stderr);
    hub.repair_all();
    assert_eq!(hub.count("PUT", "/api/v1/features/unified_llm_hub"), writes);
    desk.everywhere(true, 0);
}

#[test]
fn who_pauses_in_the_moment_of_an_abort_is_too_late() {
    use llmhub::store::rollout::{Ask, PostgresRuns, RunId, RunStore, Timing, Wish};
    let desk = Desk::new();
    let started = desk.run("").spawn();
    desk.until_state("awaiting_approval");
    let store = PostgresRuns::new(desk.place.database.as_ref().unwrap().target(), "test".to_owned(), Timing::default());
    let flag = FLAG.parse().unwrap();
    // Both are there before the run can look.
    started.signal("STOP");
    crate::support::places::runtime().block_on(async {
        let run: RunId = store.read(&flag).await.unwrap().unwrap().run.id;
        for wish in [Wish::Abort, Wish::Pause, Wish::Promote, Wish::AbortKeep] {
            store.ask(&flag, &run, &Ask { wish, actor: "ben@ops".to_owned(), reason: None }).await.unwrap();
        }
    });
    started.signal("CONT");
    let done = started.wait();
    assert_eq!(done.status, 8, "{}", done.stderr);
    desk.everywhere(false, 0);
    let steps = desk
        .place
        .query("SELECT direction || ' ' || (applied_at IS NOT NULL) FROM llmhub.rollout_step ORDER BY number");
    assert_eq!(steps, ["up true", "down true"]);
}

#[test]
fn whoever_asks_a_run_that_has_just_died_gets_what_was_asked_and_no_promotion() {
    let desk = Desk::hub_only();
    let started = desk.run("").spawn();
    desk.until_state("awaiting_approval");
    started.signal("KILL");
    started.wait();
    // The lease of the dead one is alive for some seconds: the request waits for an answer that does not come.
    desk.line(&format!("resume {FLAG}")).exits(0).says("asked").says("nobody drives the run");
    desk.run(" --once").exits(1);
    let standing = desk.standing();
    assert_eq!((&standing["state"], &standing["wanted"]), (&json!("awaiting_approval"), &json!(0)), "{standing:#}");
    desk.everywhere(true, 0);
}

#[test]
fn the_exposure_can_be_kept_at_the_end() {
    let desk = Desk::hub_only();
    let started = desk.run("").spawn();
    desk.until("applied", |standing| standing["applied"] == true);
    desk.line(&format!("abort {FLAG} --keep -y")).exits(0).prints("aborted_kept");
    assert_eq!(started.wait().status, 1);
    desk.everywhere(true, 0);
}

#[test]
fn an_emergency_takes_the_right_to_act_from_the_run() {
    use llmhub::store::rollout::{PostgresRuns, RunStore, Timing};
    let desk = Desk::new();
    let started = desk.run("").spawn();
    desk.until_state("awaiting_approval");
    let target = desk.place.database.as_ref().unwrap().target();
    let store = PostgresRuns::new(target, "test".to_owned(), Timing::default());
    let flag = FLAG.parse().unwrap();
    let bumped = crate::support::places::runtime().block_on(store.bump_fence(&flag, "ben@ops", "smoke")).unwrap();
    assert!(bumped.was_held_by.is_some_and(|(holder, _)| holder.contains(&started.id().to_string())));
    let done = started.wait();
    assert_eq!(done.status, 5, "{}", done.stderr);
    done.says("stopped from outside");
    desk.everywhere(true, 0);
    assert_eq!(desk.standing()["state"], "abandoned");
}

#[test]
fn a_process_that_restarted_is_brought_back_and_the_bake_begins_again() {
    let desk = Desk::hub_only();
    desk.place.double().set_env("FEATURE_LLM_HUB_WHITELIST", "ana@example.com");
    let started = desk.run("").spawn();
    desk.until_state("awaiting_approval");
    desk.place.double().restart_worker(2);
    desk.line(&format!("promote {FLAG} --reason testers")).exits(0);
    let done = started.wait();
    assert_eq!(done.status, 0, "{}", done.stderr);
    done.says("a process restarted");
    desk.everywhere(true, 100);
}
