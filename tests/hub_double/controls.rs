//! The controls of the double that other tests rely on: workers and routing, restarts, sessions, the log.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hub::{Hub, Routing, STICKY_COOKIE};
use crate::support::raw_http::{Answer, Connection, Lost, RawRequest, fetch};

const FLAG: &str = "unified_llm_hub";
const LIST: &str = "/api/v1/features/";
const ONE: &str = "/api/v1/features/unified_llm_hub";

/// Four workers at 10 %, without CSRF, which has tests of its own.
fn four_workers(routing: Routing) -> Hub {
    Hub::builder()
        .workers(4)
        .routing(routing)
        .env([("FEATURE_UNIFIED_LLM_HUB", "true"), ("FEATURE_LLM_HUB_ROLLOUT", "10"), ("CSRF_ENABLED", "false")])
        .rate_limit(u32::MAX)
        .start()
}

fn rollout(percentage: u8) -> RawRequest {
    RawRequest::new("PUT", ONE).json(&json!({"rollout_percentage": percentage}))
}

fn percentage(answer: &Answer) -> Value {
    answer.json()[FLAG]["rollout_percentage"].clone()
}

fn fresh_list(hub: &Hub) -> Value {
    percentage(&fetch(hub.address(), RawRequest::get(LIST)).expect("an answer"))
}

/// How many of `connections` fresh connections each worker got.
fn shares(hub: &Hub, connections: usize) -> Vec<usize> {
    hub.forget_requests();
    for _ in 0..connections {
        fresh_list(hub);
    }
    let mut shares = vec![0; hub.workers()];
    for request in hub.requests() {
        shares[request.worker] += 1;
    }
    shares
}

#[test]
fn a_write_reaches_one_worker_and_the_others_keep_the_old_value() {
    // CONTRACT 3.8 and recording 40: after one write of 25, about a quarter of 40 fresh reads shows it.
    let hub = four_workers(Routing::EvenRandom);
    fetch(hub.address(), rollout(25)).expect("an answer");
    let mut members: Vec<u64> = hub.member(FLAG, "rollout_percentage").iter().filter_map(Value::as_u64).collect();
    members.sort_unstable();
    assert_eq!(members, [10, 10, 10, 25]);
    let seen = (0..40).filter(|_| fresh_list(&hub) == 25).count();
    assert!((3..=20).contains(&seen), "the new value was seen {seen} times of 40");
}

#[test]
fn one_connection_stays_with_one_worker() {
    let hub = four_workers(Routing::EvenRandom);
    let mut connection = Connection::open(hub.address()).expect("a connection");
    connection.send(&rollout(25)).expect("an answer");
    for _ in 0..40 {
        assert_eq!(percentage(&connection.send(&RawRequest::get(LIST)).expect("an answer")), 25);
    }
    let workers: BTreeSet<usize> = hub.requests().iter().map(|request| request.worker).collect();
    assert_eq!(workers.len(), 1);
    assert_eq!(hub.connections(), 1);
}

#[test]
fn random_routing_is_even_and_repeatable() {
    let first = shares(&four_workers(Routing::EvenRandom), 200);
    assert!(first.iter().all(|share| (30..=70).contains(share)), "{first:?}");
    assert_eq!(first, shares(&four_workers(Routing::EvenRandom), 200));
}

#[test]
fn round_robin_gives_each_worker_its_turn() {
    assert_eq!(shares(&four_workers(Routing::RoundRobin), 8), [2, 2, 2, 2]);
}

#[test]
fn a_skewed_worker_gets_its_share_of_an_even_share() {
    for (share, expected) in [(0.5, 25..=75), (0.1, 2..=22)] {
        let shares = shares(&four_workers(Routing::skewed(4, share)), 400);
        assert!(expected.contains(&shares[3]), "r = {share}: {shares:?}");
    }
}

#[test]
fn a_sticky_proxy_pins_by_cookie_and_not_by_connection() {
    let hub = four_workers(Routing::Sticky);
    let first = fetch(hub.address(), RawRequest::get(LIST)).expect("an answer");
    let cookie = first.header("set-cookie").expect("the proxy's cookie");
    let cookie = cookie.split(';').next().expect("name and value").to_owned();
    assert!(cookie.starts_with(STICKY_COOKIE));
    for _ in 0..10 {
        let answer = fetch(hub.address(), RawRequest::get(LIST).header("Cookie", cookie.as_str())).expect("an answer");
        assert_eq!(answer.header("set-cookie"), None);
    }
    let workers: BTreeSet<usize> = hub.requests().iter().map(|request| request.worker).collect();
    assert_eq!(workers.len(), 1);
}

#[test]
fn a_hopping_proxy_changes_worker_on_one_connection() {
    let hub = four_workers(Routing::Hopping);
    let mut connection = Connection::open(hub.address()).expect("a connection");
    for _ in 0..40 {
        connection.send(&RawRequest::get(LIST)).expect("an answer");
    }
    let workers: BTreeSet<usize> = hub.requests().iter().map(|request| request.worker).collect();
    assert_eq!(workers.len(), 4);
    assert_eq!(hub.connections(), 1);
}

#[test]
fn a_restarted_worker_reads_the_environment_and_cuts_its_connections() {
    let hub = four_workers(Routing::RoundRobin);
    hub.set_flag_everywhere(FLAG, json!({"rollout_percentage": 50}));
    let mut connections: Vec<Connection> =
        (0..2).map(|_| Connection::open(hub.address()).expect("a connection")).collect();
    for connection in &mut connections {
        connection.send(&RawRequest::get(LIST)).expect("an answer");
    }
    hub.set_env("FEATURE_LLM_HUB_ROLLOUT", "30");
    hub.restart_worker(0);
    assert_eq!(hub.member(FLAG, "rollout_percentage"), [json!(30), json!(50), json!(50), json!(50)]);
    assert!(connections[0].is_closed());
    assert_eq!(percentage(&connections[1].send(&RawRequest::get(LIST)).expect("an answer")), 50);
}

#[test]
fn workers_share_sessions_but_not_limits() {
    let hub = Hub::builder().workers(2).routing(Routing::RoundRobin).rate_limit(2).start();
    let session = hub.mint_session("admin");
    let cookie = format!("session_token={session}");
    let list = || fetch(hub.address(), RawRequest::get(LIST).header("Cookie", cookie.as_str())).expect("an answer");
    let tokens: BTreeSet<Option<String>> = (0..2).map(|_| list().header("set-cookie")).collect();
    assert_eq!(tokens.len(), 1, "both workers know the session and its token");
    let statuses: Vec<u16> = (0..4).map(|_| list().status).collect();
    assert_eq!(statuses, [200, 200, 429, 429]);
    hub.restart_worker(0);
    assert_eq!([list().status, list().status], [200, 429], "the limit is in the worker's memory");
    hub.expire_sessions();
    assert_eq!(list().header("set-cookie"), None);
    assert_eq!(hub.session_user(&session), None);
}

#[test]
fn a_session_ends_after_its_lifetime_and_a_token_prolongs_it_once() {
    // CONTRACT 2: two hours from the last write to the session, and minting the token is such a write.
    let hub = Hub::builder().start();
    let cookie = format!("session_token={}", hub.mint_session("admin"));
    let list = || fetch(hub.address(), RawRequest::get(LIST).header("Cookie", cookie.as_str())).expect("an answer");
    let most_of_its_life = Duration::from_secs(5000);
    hub.age_sessions(most_of_its_life);
    assert!(list().header("set-cookie").is_some(), "this mints the token and starts the lifetime again");
    hub.age_sessions(most_of_its_life);
    assert!(list().header("set-cookie").is_some(), "this does not");
    hub.age_sessions(most_of_its_life);
    assert_eq!(list().header("set-cookie"), None);
}

#[test]
fn asking_for_a_token_first_logs_a_fresh_login_out() {
    // CONTRACT 2: only a provider route shows it, which is why the recordings alone do not prove it here.
    let hub = Hub::builder().start();
    let get = |target: &str, session: &str| {
        let request = RawRequest::get(target).header("Cookie", format!("session_token={session}"));
        fetch(hub.address(), request).expect("an answer")
    };
    let careful = hub.mint_session("admin");
    get(LIST, &careful);
    get("/api/v1/auth/csrf-token", &careful);
    let user = hub.session_user(&careful).flatten().expect("still logged in");
    assert_eq!(user.role.as_deref(), Some("admin"));

    let hasty = hub.mint_session("admin");
    get("/api/v1/auth/csrf-token", &hasty);
    assert_eq!(hub.session_user(&hasty), Some(None), "a session of nobody");
}

#[test]
fn the_log_tells_worker_connection_request_and_status() {
    let hub = four_workers(Routing::RoundRobin);
    fresh_list(&hub);
    fetch(hub.address(), rollout(25).header("X-User-ID", "op@host")).expect("an answer");
    let requests = hub.requests();
    let [read, write] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((read.worker, read.connection, write.worker, write.connection), (0, 1, 1, 2));
    assert_eq!((write.method.as_str(), write.path(), write.status), ("PUT", ONE, Some(200)));
    assert_eq!(write.body, br#"{"rollout_percentage":25}"#);
    assert!(write.headers.contains(&("x-user-id".to_owned(), b"op@host".to_vec())));
    assert_eq!((hub.count("GET", LIST), hub.count("PUT", ONE)), (1, 1));
    assert_eq!(hub.counts().into_keys().collect::<Vec<_>>(), [format!("GET {LIST}"), format!("PUT {ONE}")]);
}

#[test]
fn a_dropped_hub_refuses_connections() {
    let hub = Hub::builder().start();
    let address = hub.address();
    let mut open = Connection::open(address).expect("a connection");
    assert_eq!(hub.url(), format!("http://{address}"));
    drop(hub);
    assert!(open.is_closed());
    assert_eq!(Connection::open(address).err(), Some(Lost::Refused));
}
