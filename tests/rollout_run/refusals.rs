//! What refuses a run does so before the first change, in every source.

use serde_json::json;

use super::{Desk, FLAG, PLAN};
use crate::support::places::Place;

/// Nothing was written to the hub, to the flags or to the state.
#[track_caller]
fn untouched(desk: &Desk) {
    desk.everywhere(false, 0);
    let hub = desk.place.double();
    assert_eq!(hub.requests().iter().filter(|request| request.method != "GET").count(), 0);
    assert_eq!(desk.place.query("SELECT count(*)::text FROM pg_namespace WHERE nspname = 'llmhub'"), ["0"]);
}

#[test]
fn a_run_that_cannot_be_is_refused_before_the_first_change() {
    let desk = Desk::at(Place::several(Some(4), true, None), " --via hub,db");
    // What the harness has applied is no state of rollouts; without it nothing of ours is there.
    desk.place.sql("DROP SCHEMA IF EXISTS llmhub CASCADE");
    let case = |plan: &str, options: &str, status: i32, says: &str| {
        desk.plan(plan);
        desk.run(options).exits(status).says(says);
        untouched(&desk);
    };
    case(&PLAN.replace("[0, 50, 100]", "[0, 50, 25, 100]"), "", 7, "plan.toml:2");
    case(&PLAN.replace("[0, 50, 100]", "[0, 50, 150]"), "", 7, "plan.toml:2");
    case(&PLAN.replace("\"command\"\ncommand", "\"nonsense\"\ncommand"), "", 7, "plan.toml:");
    case(&PLAN.replace("unified_llm_hub", "another_flag"), "", 7, "another_flag");
    case(PLAN, " --via env", 3, "no env file");
    let digest = format!("{PLAN}\n");
    let moved =
        digest.replacen("steps", &format!("seen = {{ flag_digest = \"sha256:{}\" }}\nsteps", "0".repeat(64)), 1);
    case(&moved, "", 5, "not as it was when the plan was written");
    desk.plan(PLAN);
    desk.line(&format!("run {FLAG} --plan plan.toml --via hub,db")).exits(9).says("-y");
    untouched(&desk);
    desk.line(&format!("run {FLAG} -y --via hub,db")).exits(2).says("needs a plan");
    desk.run(" --dry-run").exits(0).says("nothing was written");
    untouched(&desk);
    desk.line("run no_such_flag --plan plan.toml -y --via hub,db").exits(7);
    desk.plan(&PLAN.replace("unified_llm_hub", "no_such_flag"));
    desk.line("run no_such_flag --plan plan.toml -y --via hub,db").exits(4);
    untouched(&desk);
    for line in ["status", "pause", "resume", "abort -y", "promote --reason x"] {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        desk.line(&format!("{verb} {FLAG} {rest}")).exits(4);
    }
    desk.line(&format!("promote {FLAG}")).exits(7).says("needs a reason");
    untouched(&desk);
}

#[test]
fn a_plan_that_is_bound_to_users_runs_with_these_users_only() {
    let desk = Desk::hub_only();
    let users: String = (1..=400).map(|number| format!("user-{number:04}\n")).collect();
    desk.place.home.file("users.txt", format!("ana@example.com\n{users}"));
    desk.place.home.file("others.txt", users);
    let plan = desk.line(&format!("plan {FLAG} --users users.txt")).exits(0).stdout;
    desk.plan(&plan);
    desk.run(" --once").exits(2).says("bound to a list of users").says("--users FILE");
    desk.run(" --once --users others.txt").exits(5).says("not those that the plan was made for");
    desk.everywhere(false, 0);
    desk.run(" --once --users users.txt").exits(1).prints("COHORT +0, now 1 of 401");
    assert_eq!(desk.standing()["cohort"], json!({"to": 0, "gained": 0, "on": 1, "of": 401}));
    desk.line(&format!("status {FLAG} -o markdown")).done().prints("| users | +0, now 1 of 401 |");
}

#[test]
fn processes_that_disagree_are_brought_together_first() {
    let desk = Desk::hub_only();
    desk.place.double().set_flag(2, FLAG, json!({"rollout_percentage": 25}));
    desk.run("").exits(5).says("disagree");
    assert_eq!(desk.place.double().member(FLAG, "rollout_percentage"), [json!(0), json!(0), json!(25), json!(0)]);
}

#[test]
fn a_hub_that_does_not_answer_is_said_before_anything_is_written() {
    let desk = Desk::new();
    desk.line(&format!("run {FLAG} --plan plan.toml -y --via hub,db --hub http://127.0.0.1:1")).exits(6);
    assert_eq!(desk.place.query("SELECT count(*)::text FROM pg_class WHERE relname = 'rollout_run'"), ["0"]);
}
