//! A write reaches every process behind the address, and what is said about it is never more than what is known.

use std::time::Duration;

use serde_json::json;

use super::{Desk, FLAG, LIST, ONE, hub, live, live_data, until, writes};
use crate::support::cli::{Home, rounds};
use crate::support::hub::{Fault, Hub, Routing, When};
use crate::support::raw_http::{RawRequest, fetch};

#[test]
fn one_post_reaches_one_worker_and_rollout_reaches_all_of_them() {
    let desk = Desk::new(hub(4, 10).env([("CSRF_ENABLED", "false")]));
    fetch(desk.hub.address(), RawRequest::new("POST", format!("{ONE}/rollout/25"))).unwrap();
    assert_eq!(desk.percentages().iter().filter(|seen| **seen == 25).count(), 1);

    desk.hub.set_flag_everywhere(FLAG, json!({"rollout_percentage": 10}));
    desk.flags(&format!("rollout {FLAG} 25")).exits(0);
    desk.everywhere(25);
}

#[test]
fn a_write_is_proved_with_exactly_one_put_for_each_worker() {
    for seed in 1..=rounds(6, 100) {
        for routing in [Routing::EvenRandom, Routing::RoundRobin] {
            let desk = Desk::new(hub(4, 10).seed(seed).routing(routing));
            let done = desk.plain(&format!("rollout {FLAG} 25")).exits(0);
            let (agree, of, verdict, evidence) = live(&done);
            assert_eq!((agree, of, verdict.as_str()), (4, Some(4), "proved"), "seed {seed}");
            assert!(evidence.contains("counted"), "{evidence}");
            assert_eq!(desk.writes(), 4, "seed {seed}");
            let mut workers: Vec<usize> =
                desk.hub.requests().iter().filter(|request| request.method == "PUT").map(|put| put.worker).collect();
            workers.sort_unstable();
            assert_eq!(workers, [0, 1, 2, 3], "seed {seed}");
            desk.everywhere(25);
        }
    }
}

#[test]
fn a_skewed_balancer_hides_no_worker() {
    for seed in 1..=rounds(4, 100) {
        let desk = Desk::new(hub(4, 10).seed(seed).routing(Routing::skewed(4, 0.5)));
        let done = desk.plain(&format!("rollout {FLAG} 25")).exits(0);
        assert_eq!(live(&done).2, "proved", "seed {seed}");
        desk.everywhere(25);
    }
}

#[test]
fn the_line_for_people_says_what_is_proven() {
    let desk = Desk::new(hub(4, 10));
    desk.plain(&format!("rollout {FLAG} 25"))
        .exits(0)
        .prints("live 4/4 PROVED (1 address × 4 workers, counted)")
        .prints("persisted no")
        .prints("survives restart unknown");
}

#[test]
fn what_is_already_so_is_sampled_and_not_written() {
    let desk = Desk::new(hub(4, 25));
    let done = desk.flags(&format!("rollout {FLAG} 25")).exits(0);
    assert_eq!(done.json()["changed"], false);
    assert_eq!(live_data(&done), json!({"agree": 4, "of": 4, "verdict": "sampled"}));
    let evidence = live(&desk.plain(&format!("rollout {FLAG} 25")).exits(0)).3;
    assert_eq!(desk.writes(), 0);
    assert!(evidence.contains("k=4 declared, 56 reads, p ≤ 0.001 nominal"), "{evidence}");
}

#[test]
fn fewer_repairs_than_workers_are_a_sample() {
    let desk = Desk::new(hub(4, 10));
    desk.hub.set_flag(2, FLAG, json!({"rollout_percentage": 25}));
    let done = desk.plain(&format!("rollout {FLAG} 25")).exits(0);
    assert_eq!((live(&done).2.as_str(), desk.writes()), ("sampled", 3));
    desk.everywhere(25);
}

#[test]
fn undeclared_workers_are_never_proved() {
    for workers in [1, 4] {
        let desk = Desk::new(hub(workers, 10)).declared(None);
        let done = desk.plain(&format!("rollout {FLAG} 25")).exits(0);
        let (_, of, verdict, evidence) = live(&done);
        assert_eq!((of, verdict.as_str()), (None, "sampled"));
        assert!(evidence.contains("k not declared, sampled as for 4"), "{evidence}");
        desk.everywhere(25);
    }
}

#[test]
fn a_single_declared_worker_is_proved_also_without_a_write() {
    let desk = Desk::new(hub(1, 10));
    for puts in [1, 1] {
        let done = desk.plain(&format!("rollout {FLAG} 25")).exits(0);
        assert_eq!((live(&done).2.as_str(), desk.writes()), ("proved", puts));
    }
}

#[test]
fn one_worker_more_than_declared_is_partial() {
    let desk = Desk::new(hub(5, 10)).declared(Some(4));
    let done = desk.plain(&format!("rollout {FLAG} 25")).exits(10);
    let (agree, of, verdict, evidence) = live(&done);
    assert_eq!((agree, of, verdict.as_str()), (3, Some(4), "partial"));
    assert!(evidence.contains("more processes than declared"), "{evidence}");
    assert!(evidence.contains(&desk.hub.url()), "the address is named: {evidence}");
}

#[test]
fn more_than_four_workers_behind_one_address_have_no_known_chance_of_a_miss() {
    let desk = Desk::new(hub(6, 25));
    let evidence = live(&desk.plain(&format!("rollout {FLAG} 25")).exits(0)).3;
    assert!(evidence.contains("p unknown") && evidence.contains("`replicas`"), "{evidence}");
}

#[test]
fn proxies_that_do_not_pin_a_connection_leave_a_sample_and_a_note() {
    for routing in [Routing::Hopping, Routing::Sticky] {
        for seed in 1..=3 {
            let desk = Desk::new(hub(4, 10).routing(routing.clone()).seed(seed));
            let done = desk.plain(&format!("rollout {FLAG} 25")).exits(0);
            assert_eq!(live(&done).2, "sampled", "{routing:?}, seed {seed}");
            done.says("not pinned");
            desk.everywhere(25);
        }
    }
}

#[test]
fn no_request_carries_a_cookie_that_a_balancer_could_pin_by() {
    let desk = Desk::new(hub(4, 10).routing(Routing::Sticky));
    desk.flags(&format!("rollout {FLAG} 25")).exits(0);
    for request in desk.hub.requests() {
        for (name, value) in &request.headers {
            assert!(!(name == "cookie" && value.windows(9).any(|part| part == b"hub_route")), "{}", request.target);
        }
    }
}

#[test]
fn three_replicas_are_proved_each_on_its_own() {
    let hubs: Vec<Hub> = (1..=3).map(|seed| hub(4, 10).seed(seed).start()).collect();
    let home = Home::new();
    let addresses: Vec<String> = hubs.iter().map(|hub| format!("--hub {}", hub.url())).collect();
    let done = home.line(&format!("flags rollout {FLAG} 25 --workers 4 {}", addresses.join(" "))).exits(0);
    let (agree, of, verdict, evidence) = live(&done);
    assert_eq!((agree, of, verdict.as_str()), (12, Some(12), "proved"));
    assert!(evidence.contains("3 addresses × 4 workers, counted"), "{evidence}");
    for hub in &hubs {
        assert_eq!((writes(hub), hub.member(FLAG, "rollout_percentage")), (4, vec![25.into(); 4]));
    }
}

#[test]
fn a_replica_that_is_down_stops_a_step_up_before_anything_is_written() {
    let (up, down) = (hub(2, 10).start(), hub(2, 10).start());
    let gone = down.url();
    drop(down);
    let home = Home::new();
    for order in [[&up.url(), &gone], [&gone, &up.url()]] {
        let line = format!("flags rollout {FLAG} 25 --workers 2 -o json --hub {} --hub {}", order[0], order[1]);
        let done = home.line(&line).exits(6);
        assert_eq!(done.code(), "unreachable");
        assert!(done.json()["error"]["message"].as_str().unwrap().contains(&gone));
    }
    assert_eq!((writes(&up), up.member(FLAG, "rollout_percentage")), (0, vec![10.into(); 2]));
}

#[test]
fn a_replica_that_is_down_does_not_keep_the_others_from_being_switched_off() {
    let (up, down) = (hub(2, 10).start(), hub(2, 10).start());
    let gone = down.url();
    drop(down);
    let home = Home::new();
    for order in [[&gone, &up.url()], [&up.url(), &gone]] {
        up.set_flag_everywhere(FLAG, json!({"enabled": true}));
        let line = format!("flags disable {FLAG} --workers 2 --hub {} --hub {}", order[0], order[1]);
        let done = home.line(&line).exits(10);
        let (agree, of, verdict, evidence) = live(&done);
        assert_eq!((agree, of, verdict.as_str()), (2, Some(4), "partial"));
        assert!(evidence.contains(&gone), "{evidence}");
        assert_eq!(up.member(FLAG, "enabled"), vec![false; 2]);
    }
}

#[test]
fn a_worker_that_hangs_is_partial_in_bounded_time() {
    let desk = Desk::new(hub(4, 10));
    desk.hub.fail(When::always().on_worker(3), Fault::Hang);
    let done = desk.plain(&format!("rollout {FLAG} 25")).exits(10).within(Duration::from_secs(40));
    let (agree, of, verdict, evidence) = live(&done);
    assert_eq!((agree, of, verdict.as_str()), (3, Some(4), "partial"));
    assert!(evidence.contains("did not answer"), "{evidence}");
    assert_eq!(&desk.percentages()[..3], vec![json!(25); 3]);
}

#[test]
fn a_worker_restarted_in_the_middle_is_partial_with_the_cause() {
    let desk = Desk::new(hub(4, 10));
    let puts = || -> Vec<usize> {
        desk.hub.requests().iter().filter(|request| request.method == "PUT").map(|put| put.worker).collect()
    };
    // The third write waits, so that the restart comes after the first was read back.
    let held = desk.hub.fail(When::always().method("PUT").nth(3), Fault::Hang);
    let started = desk.plain(&format!("rollout {FLAG} 25")).spawn();
    until("the third write", || puts().len() == 3);
    desk.hub.restart_worker(puts()[0]);
    desk.hub.repair(held);
    let done = started.wait();
    assert_eq!(done.status, 10, "{}", done.stdout);
    let (_, _, verdict, evidence) = live(&done);
    assert_eq!(verdict, "partial");
    assert!(evidence.contains("restarted meanwhile"), "{evidence}");
}

#[test]
fn a_request_limit_reached_half_way_is_partial_and_before_any_write_is_nothing_written() {
    #[track_caller]
    fn case(first: usize, exit: i32) {
        let desk = Desk::new(hub(4, 10));
        desk.hub.fail(When::always().method("GET").path(LIST).from(first), Fault::TooManyRequests);
        let command = format!("rollout {FLAG} 25");
        if exit == 6 {
            let done = desk.flags(&command).exits(exit);
            assert_eq!((done.code().as_str(), desk.writes()), ("rate_limited", 0));
        } else {
            let done = desk.plain(&command).exits(exit);
            let (_, _, verdict, evidence) = live(&done);
            assert_eq!(verdict, "partial");
            assert!(evidence.contains("rate_limited"), "{evidence}");
            assert!(desk.writes() > 0);
        }
    }
    case(1, 6);
    case(9, 6);
    case(24, 10);
    case(60, 10);
}

#[test]
fn a_hub_that_limits_the_writes_themselves_is_not_proved() {
    let desk = Desk::new(hub(4, 10));
    desk.hub.fail(When::always().method("PUT").from(3), Fault::TooManyRequests);
    let done = desk.plain(&format!("rollout {FLAG} 25")).exits(10);
    assert_eq!(live(&done).2, "partial");
}

#[test]
fn answers_out_of_a_cache_prove_nothing() {
    #[track_caller]
    fn case(first: usize, exit: i32, wrote: bool) {
        let desk = Desk::new(hub(4, 10));
        desk.hub.fail(When::always().method("GET").path(LIST).from(first), Fault::Cached);
        let done = desk.flags(&format!("rollout {FLAG} 25")).exits(exit).within(Duration::from_secs(30));
        assert_eq!(desk.writes() > 0, wrote);
        assert!(!["proved", "sampled"].iter().any(|word| done.stdout.contains(word)), "{}", done.stdout);
        done.says("cache");
    }
    case(1, 6, false);
    case(24, 10, true);
}

#[test]
fn every_probe_asks_past_caches() {
    let desk = Desk::new(hub(2, 10));
    desk.flags(&format!("rollout {FLAG} 25")).exits(0);
    let mut seen = std::collections::HashSet::new();
    for request in desk.hub.requests().iter().filter(|request| request.path() == LIST) {
        let asks = request.headers.iter().any(|(name, value)| name == "cache-control" && value == b"no-cache");
        assert!(asks && seen.insert(request.target.clone()), "{}", request.target);
    }
}
