//! Ways in which a run ends that nobody wished for: a process that hangs on the way back, a database that is gone.

use std::time::Duration;

use serde_json::json;

use super::{Desk, FLAG};
use crate::support::cli::Home;
use crate::support::hub::{Fault, Hub, When};
use crate::support::places::Place;
use crate::support::postgres::Cluster;

#[test]
fn a_process_that_hangs_on_the_way_back_is_named_and_nothing_is_claimed() {
    let desk = Desk::hub_only();
    let started = desk.begin("");
    desk.until("at 50", |standing| standing["wanted"] == 50 && standing["applied"] == true);
    let hung = desk.place.double().fail(When::always().on_worker(3), Fault::Hang);
    desk.measure("0.2");
    let done = started.wait();
    assert_eq!(done.status, 10, "{}", done.stderr);
    done.prints("rollback_unverified").prints("not proven: ");
    let enabled = desk.place.double().member(FLAG, "enabled");
    assert_eq!(enabled[..3], [json!(false), json!(false), json!(false)], "the others are back");
    desk.place.double().repair(hung);
    desk.line(&format!("status {FLAG}")).exits(10);
}

#[test]
fn a_database_that_hangs_delays_no_way_back_and_its_outcome_is_called_unknown() {
    let desk = Desk::new();
    let started = desk.begin("");
    desk.until("at 50", |standing| standing["wanted"] == 50 && standing["applied"] == true);
    let target = desk.place.database.as_ref().unwrap();
    std::thread::scope(|scope| {
        // Somebody has the row and does not let go.
        let lock = "BEGIN; SELECT name FROM feature_flags FOR UPDATE; SELECT pg_sleep(25); COMMIT";
        scope.spawn(|| crate::support::places::runtime().block_on(target.sql(lock)));
        std::thread::sleep(Duration::from_millis(300));
        let since = std::time::Instant::now();
        desk.measure("0.2");
        let hub = desk.place.double();
        while hub.member(FLAG, "enabled").contains(&json!(true)) {
            assert!(since.elapsed() < Duration::from_secs(15), "the processes wait for the database");
            std::thread::sleep(Duration::from_millis(50));
        }
        let done = started.wait();
        assert_eq!(done.status, 11, "{}", done.stderr);
        done.prints("rollback_unverified").prints("db: ");
        desk.everywhere(false, 0);
    });
}

#[test]
fn what_is_not_live_is_not_kept_for_the_next_restart_either() {
    let desk = Desk::new();
    let started = desk.run("").spawn();
    desk.until_state("awaiting_approval");
    desk.place.double().fail(When::always().method("PUT"), Fault::Json500);
    desk.line(&format!("promote {FLAG} --reason testers")).exits(0);
    desk.until("tried", |standing| standing["wanted"] == 50 && standing["live"]["verdict"] == "partial");
    let kept = desk.place.query("SELECT rollout_percentage::text FROM feature_flags WHERE name = 'unified_llm_hub'");
    assert_eq!(kept, ["0"], "a restart must find the smaller exposure");
    desk.place.double().repair_all();
    desk.line(&format!("abort {FLAG} --reason done -y")).exits(0);
    assert_eq!(started.wait().status, 8);
    desk.everywhere(false, 0);
}

#[test]
fn a_run_whose_database_is_gone_stops_by_itself_before_another_could_begin() {
    let cluster = Cluster::start();
    let hub = Hub::builder().workers(4).rate_limit(1_000_000).start();
    let home = Home::new().variable("LLMHUB_DATABASE_URL", cluster.url());
    let folder = home.path().join("xdg").display().to_string();
    home.file("xdg/llmhub/config.toml", format!("[profiles.test]\nhub = \"{}\"\nworkers = 4\n", hub.url()));
    let place =
        Place { name: "", source: "", home: home.variable("XDG_CONFIG_HOME", folder), hub: Some(hub), database: None };
    place.line("db apply").exits(0);
    let desk = Desk::at(place, " --via hub,db");
    let started = desk.run("").spawn();
    desk.until("applied", |standing| standing["applied"] == true);
    let writes = desk.place.double().count("PUT", "/api/v1/features/unified_llm_hub");
    cluster.stop_immediately();
    let since = std::time::Instant::now();
    let done = started.wait();
    assert!(since.elapsed() < Duration::from_secs(14), "{:?}", since.elapsed());
    assert_eq!(done.status, 10, "{}", done.stderr);
    done.says("stopped acting").says("the exposure stays");
    assert_eq!(desk.place.double().count("PUT", "/api/v1/features/unified_llm_hub"), writes);
}

#[test]
fn a_run_that_nobody_drove_for_too_long_is_taken_back_by_the_deadman() {
    let desk = Desk::hub_only();
    desk.run(" --once").exits(1);
    desk.run(" --once --deadman 10m").exits(1);
    desk.everywhere(true, 0);
    std::thread::sleep(Duration::from_millis(1_500));
    let done = desk.run(" --once --deadman 1s").exits(8);
    done.says("abandoned for").says("--deadman").prints("rolled_back");
    desk.everywhere(false, 0);
}

#[test]
fn a_run_in_which_nothing_happens_writes_down_that_it_is_driven() {
    let desk = Desk::new();
    desk.plan(&super::PLAN.replace("bake = \"1s\"", "bake = \"20m\"").replace("window = \"1s\"", "window = \"10m\""));
    let started = desk.run("").spawn();
    desk.until("applied", |standing| standing["applied"] == true);
    let written = || desk.place.query("SELECT updated_at::text FROM llmhub.rollout_run");
    let (first, since) = (written(), std::time::Instant::now());
    // What comes with the begin of the bake is written within a second; then only time passes.
    std::thread::sleep(Duration::from_secs(2));
    let settled = written();
    while written() == settled {
        assert!(since.elapsed() < Duration::from_secs(60), "silent since {first:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    started.signal("TERM");
    assert_eq!(started.wait().status, 143);
}

#[test]
fn a_plan_may_go_back_to_off_instead_of_what_was_before() {
    let desk = Desk::hub_only();
    let before = json!({"enabled": true, "rollout_percentage": 50, "whitelist_users": ["ana@example.com"]});
    desk.place.double().set_flag_everywhere(FLAG, before);
    desk.plan(&super::PLAN.replace("bake = \"1s\"", "bake = \"1s\"\nrollback_to = \"off\""));
    let started = desk.run("").spawn();
    desk.until("at 50", |standing| standing["wanted"] == 50 && standing["applied"] == true);
    desk.measure("0.2");
    let done = started.wait();
    assert_eq!(done.status, 8, "{}", done.stderr);
    assert_eq!(desk.place.double().member(FLAG, "enabled"), vec![json!(false); 4]);
}
