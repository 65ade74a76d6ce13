//! Each fault of the double does what its name says, and takes effect or not as its description says.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::hub::{ESCAPES, Fault, Hub, Routing, When};
use crate::support::raw_http::{Answer, Connection, Lost, RawRequest, fetch};

const FLAG: &str = "unified_llm_hub";
const LIST: &str = "/api/v1/features/";
const ONE: &str = "/api/v1/features/unified_llm_hub";

fn hub() -> Hub {
    Hub::builder().env([("CSRF_ENABLED", "false")]).start()
}

/// Write 25 % on a hub with that fault; what came back in time, and whether the write took effect.
fn write(fault: Fault, patience: Duration) -> (Result<Answer, Lost>, bool) {
    let hub = hub();
    hub.fail(When::always(), fault);
    let request = RawRequest::new("PUT", ONE).json(&json!({"rollout_percentage": 25}));
    let outcome = Connection::open(hub.address())
        .and_then(|connection| connection.patience(patience))
        .and_then(|mut connection| connection.send(&request));
    (outcome, hub.member(FLAG, "rollout_percentage") == [json!(25)])
}

#[test]
fn faults_answer_lose_or_apply_as_described() {
    #[track_caller]
    fn case(fault: Fault, status: Result<u16, Lost>, applied: bool) {
        let name = format!("{fault:?}");
        // An answer may take its time on a busy machine; its absence need not be waited for as long.
        let patience = Duration::from_millis(if status == Err(Lost::TimedOut) { 600 } else { 20_000 });
        let (outcome, was_applied) = write(fault, patience);
        assert_eq!((outcome.map(|answer| answer.status), was_applied), (status, applied), "{name}");
    }
    let pause = Duration::from_millis(1);
    case(Fault::Json500, Ok(500), false);
    case(Fault::Text500, Ok(500), false);
    case(Fault::Html502, Ok(502), false);
    case(Fault::TooManyRequests, Ok(429), false);
    case(Fault::Redirect("http://elsewhere.example/".to_owned()), Ok(302), false);
    case(Fault::Answer { status: 503, content_type: "text/plain", body: b"busy".to_vec() }, Ok(503), false);
    case(Fault::Huge(100_000), Ok(200), false);
    case(Fault::GzipBomb(10 << 20), Ok(200), false);
    case(Fault::Garbage, Err(Lost::Closed), false);
    case(Fault::CloseBeforeAnswer, Err(Lost::Closed), false);
    case(Fault::Silence, Err(Lost::TimedOut), false);
    case(Fault::Hang, Err(Lost::TimedOut), false);
    case(Fault::Slow(Duration::from_millis(50)), Ok(200), true);
    case(Fault::Slow(Duration::from_secs(5)), Err(Lost::TimedOut), true);
    case(Fault::LostAnswer, Err(Lost::Closed), true);
    case(Fault::Truncated, Err(Lost::Closed), true);
    case(Fault::Drip(pause), Ok(200), true);
    case(Fault::HeadersOnly, Err(Lost::TimedOut), true);
    case(Fault::NoContent, Ok(204), true);
    case(Fault::ContentType("text/html"), Ok(200), true);
    case(Fault::TerminalEscapes, Ok(200), true);
    case(Fault::CloseAfterAnswer, Ok(200), true);
    case(Fault::Cached, Ok(200), true);
}

#[test]
fn a_rule_can_be_for_one_worker_method_path_or_place_in_line() {
    let hub = Hub::builder().workers(2).routing(Routing::RoundRobin).start();
    let statuses = |count: usize, path: &str| -> Vec<u16> {
        (0..count).map(|_| fetch(hub.address(), RawRequest::get(path)).expect("an answer").status).collect()
    };
    hub.fail(When::always().on_worker(1), Fault::Json500);
    assert_eq!(statuses(4, LIST), [200, 500, 200, 500]);
    hub.repair_all();

    hub.fail(When::always().method("GET").path(ONE).nth(2), Fault::Html502);
    assert_eq!(statuses(2, LIST), [200, 200]);
    assert_eq!(statuses(3, ONE), [200, 502, 200]);
    hub.repair_all();

    hub.fail(When::always().first(2), Fault::Html502);
    let later = hub.fail(When::always().from(4), Fault::Json500);
    assert_eq!(statuses(5, LIST), [502, 502, 200, 500, 500]);
    hub.repair(later);
    hub.fail(When::always().method("PUT"), Fault::Json500);
    assert_eq!(statuses(2, LIST), [200, 200]);
}

#[test]
fn a_hanging_worker_goes_on_once_repaired() {
    let hub = hub();
    let hang = hub.fail(When::always(), Fault::Hang);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fetch(hub.address(), RawRequest::get(LIST)));
        let started = Instant::now();
        while hub.requests().is_empty() && started.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert!(!waiting.is_finished());
        hub.repair(hang);
        assert_eq!(waiting.join().expect("a client").map(|answer| answer.status), Ok(200));
    });
}

#[test]
fn a_cache_repeats_body_and_request_id_with_an_age() {
    let hub = hub();
    hub.fail(When::always(), Fault::Cached);
    let read = |target: &str| {
        fetch(hub.address(), RawRequest::get(target).header("Cache-Control", "no-cache")).expect("an answer")
    };
    let first = read(LIST);
    hub.set_flag_everywhere(FLAG, json!({"rollout_percentage": 25}));
    let second = read(&format!("{LIST}?_=1f"));
    assert_eq!(first.header("age"), None);
    assert_eq!(second.header("age").as_deref(), Some("1"));
    assert_eq!(second.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(second.body, first.body);
    hub.repair_all();
    assert_ne!(read(LIST).body, first.body);
}

#[test]
fn escapes_reach_descriptions_details_and_request_ids() {
    let hub = hub();
    hub.fail(When::always(), Fault::TerminalEscapes);
    let list = fetch(hub.address(), RawRequest::get(LIST)).expect("an answer");
    assert!(list.json()[FLAG]["description"].as_str().is_some_and(|text| text.ends_with(ESCAPES)));
    assert!(list.header("x-request-id").is_some_and(|id| id.contains('\u{9b}')));
    let missing = fetch(hub.address(), RawRequest::get("/api/v1/features/nope")).expect("an answer");
    assert!(missing.json()["detail"].as_str().is_some_and(|text| text.ends_with(ESCAPES)));
}

#[test]
fn a_gzip_bomb_is_small_until_unpacked() {
    let hub = hub();
    hub.fail(When::always(), Fault::GzipBomb(20 << 20));
    let answer = fetch(hub.address(), RawRequest::get(LIST)).expect("an answer");
    assert!(answer.body.len() < 100_000, "{} bytes", answer.body.len());
    assert_eq!(answer.content().len(), 20 << 20, "sound to the last checksum");
}

#[test]
fn a_dead_pooled_connection_is_closed_without_a_word() {
    let hub = Hub::builder().keep_alive(Duration::from_millis(50)).start();
    let mut idle = Connection::open(hub.address()).expect("a connection");
    assert_eq!(idle.send(&RawRequest::get(LIST)).expect("an answer").header("connection"), None);
    assert!(idle.is_closed());

    hub.fail(When::always(), Fault::CloseAfterAnswer);
    let mut cut = Connection::open(hub.address()).expect("a connection");
    assert_eq!(cut.send(&RawRequest::get(LIST)).expect("an answer").header("connection"), None);
    assert_eq!(cut.send(&RawRequest::get(LIST)).map(|answer| answer.status), Err(Lost::Closed));
}
