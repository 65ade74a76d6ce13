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
