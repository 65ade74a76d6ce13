//! Prometheus as a source: a real one that scrapes a test exporter, and doubles that lie, stall and redirect.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use llmhub::domain::flags::{Flag, Percent};
use llmhub::domain::rollout::plan::{Prometheus, Sources};
use llmhub::domain::rollout::query::{Query, SourceKind};
use llmhub::domain::rollout::reading::{Measured, Reading, Window};
use llmhub::store::StoreError;
use llmhub::store::metrics::{Access, MetricSource, Metrics, Question};
use serde_json::json;

use crate::support::prometheus;
use crate::support::provider::{Provider, Reply};

const TOKEN: &str = "CANARY-prometheus-4d1b77a0c9e35f28";

fn query(text: &str) -> Query {
    Query::parse(SourceKind::Prometheus, text, None, None).unwrap()
}

fn open(url: &str, prefix: Option<&str>, limit: Duration) -> Metrics {
    let described = Prometheus {
        url: url.parse().unwrap(),
        prefix: prefix.map(str::to_owned),
        scrape_interval: Duration::from_secs(1),
        bearer_env: None,
    };
    let sources = Sources { prometheus: Some(described), ..Sources::default() };
    let access = Access { database: None, bearer: Some(TOKEN.to_owned().into()), ca_file: None, limit };
    Metrics::open(&sources, &[&query("up")], access).unwrap()
}

async fn measure(metrics: &Metrics, query: &Query) -> Reading {
    let flag = Flag::off("unified_llm_hub".parse().unwrap());
    let to = Timestamp::now();
    let window = Window { from: to - Duration::from_secs(3), to };
    metrics.measure(&Question { flag: &flag, rung: Percent::try_from(25).unwrap(), query, window }).await
}

async fn real(prefix: Option<&str>, text: &str) -> Reading {
    measure(&open(prometheus::server(), prefix, Duration::from_secs(10)), &query(text)).await
}

#[tokio::test]
async fn the_share_of_errors_leaves_our_own_probes_out() {
    let Reading::Number(measured) = real(Some("hub"), "@errors").await else { panic!("a number") };
    assert!((0.02..0.04).contains(&measured.value), "{measured:?}");
    assert!((300..1000).contains(&measured.samples.unwrap()), "{measured:?}");
    assert!((5..40).contains(&measured.errors.unwrap()), "{measured:?}");
    assert!(Timestamp::now().duration_since(measured.at.unwrap()).as_secs() < 3, "{measured:?}");
}

#[tokio::test]
async fn a_quantile_is_a_number_unless_it_lies_in_the_last_bucket() {
    let Reading::Number(Measured { value, samples, .. }) = real(Some("hub"), "@p95").await else { panic!("a number") };
    assert!((0.3..0.5).contains(&value), "{value}");
    assert!(samples.unwrap() > 300);
    let Reading::Unusable(reason) = real(Some("slow"), "@p95").await else { panic!("unusable") };
    assert!(reason.contains("last finite bucket (1 s)"), "{reason}");
}

#[tokio::test]
async fn counters_of_several_processes_behind_one_address_are_no_measurement() {
    let Reading::Unusable(reason) = real(Some("torn"), "@errors").await else { panic!("unusable") };
    assert!(reason.contains("scrape one target per worker"), "{reason}");
    let free = Query::parse(SourceKind::Prometheus, "vector(1)", None, Some("resets(torn_http_requests_total[$W])"));
    let metrics = open(prometheus::server(), None, Duration::from_secs(10));
    assert!(matches!(measure(&metrics, &free.unwrap()).await, Reading::Unusable(_)));
}

#[tokio::test]
async fn an_old_sample_is_nothing() {
    let Reading::Nothing(reason) = real(Some("old"), "@errors").await else { panic!("nothing") };
    assert!(reason.contains("more than two scrape intervals"), "{reason}");
}

#[tokio::test]
async fn every_shape_of_a_result_is_told_apart() {
    #[track_caller]
    fn case(text: &str, reading: &Reading, part: &str) {
        assert!(format!("{reading:?}").contains(part), "{text}: {reading:?}");
    }
    for (text, part) in [
        ("vector(0.5)", "Number(Measured { value: 0.5, samples: None"),
        ("2 * 3", "value: 6.0"),
        ("vector(0) / vector(0)", "value: NaN"),
        ("vector(1) / vector(0)", "value: inf"),
        ("no_such_metric", "Nothing(\"no series"),
        ("arm_errors", "Unusable(\"2 series, such as {__name__"),
        ("\"text\"", "Unusable(\"the query gives a text"),
        ("up[3s]", "Unusable(\"the query gives a range"),
        ("up{", "Failed("),
        (
            "arm_errors{arm=\"$ARM\"}",
            "value: 0.25, samples: None, errors: None, at: None, control: Some(Arm { value: 0.01",
        ),
        ("sum(count_over_time(up[$W]))", "Number"),
    ] {
        case(text, &real(None, text).await, part);
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_at_the_start() {
    let metrics = open(prometheus::server(), None, Duration::from_secs(10));
    for (text, part) in [
        ("sum(rate(up[$W])", "parse error"),
        ("up[3s]", "gives a range"),
        ("\"text\"", "gives a text"),
        ("arm_errors", "2 series"),
        ("@errors", "set `prefix`"),
    ] {
        let Err(StoreError::Refused(words)) = metrics.check(&query(text)).await else { panic!("{text} is refused") };
        assert!(words.contains(part), "{text}: {words}");
    }
    for prefix in ["hub", "slow", "nosuch"] {
        let metrics = open(prometheus::server(), Some(prefix), Duration::from_secs(10));
        metrics.check(&query("@errors")).await.unwrap();
        metrics.check(&query("@p95")).await.unwrap();
    }
}

#[tokio::test]
async fn the_prefix_is_found_in_the_scrape() {
    let provider = Provider::start();
    let names = |names: serde_json::Value| Reply::Json(200, json!({"status": "success", "data": names}));
    let number = json!({"status": "success", "data": {"resultType": "scalar", "result": [1e12, "0.5"]}});
    let url = provider.at("one", "GET", "/api/v1/label/__name__/values", names(json!(["ops_http_requests_total"])));
    provider.at("one", "POST", "/api/v1/query", Reply::Json(200, number));
    let asked = query("sum($P_http_requests_total)");
    let reading = measure(&open(&url, None, Duration::from_secs(5)), &asked).await;
    assert!(matches!(reading, Reading::Number(_)), "{reading:?}");
    let bodies: Vec<String> =
        provider.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    assert!(bodies.iter().any(|body| body.contains("sum%28ops_http_requests_total%29")), "{bodies:?}");

    let url = provider.at("none", "GET", "/api/v1/label/__name__/values", names(json!([])));
    assert!(matches!(measure(&open(&url, None, Duration::from_secs(5)), &asked).await, Reading::Nothing(_)));
}

#[tokio::test]
async fn a_server_that_lies_or_stalls_is_a_failure_in_bounded_time() {
    let provider = Provider::start();
    let vector = |result: serde_json::Value| {
        Reply::Json(200, json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
    };
    let elsewhere =
        provider.at("elsewhere", "GET", "/api/v1/query", vector(json!([{"metric": {}, "value": [1e12, "1"]}])));
    let cases = [
        ("html", Reply::Text(200, "text/html", b"<html>login</html>".to_vec()), "not Prometheus"),
        ("garbage", Reply::Garbage, "Prometheus at"),
        ("silence", Reply::Silence, "timed out"),
        ("slow", Reply::Slow(Duration::from_secs(30), json!({})), "timed out"),
        ("drip", Reply::Drip(Duration::from_millis(100)), "timed out"),
        ("close", Reply::Close, "Prometheus at"),
        ("huge", Reply::Huge, "larger than 10 MiB"),
        ("bomb", Reply::Bomb(20_000_000), "larger than 10 MiB"),
        ("redirect", Reply::Redirect(302, format!("{elsewhere}/api/v1/query")), "redirect"),
        ("echo", Reply::Echo(500), "not Prometheus"),
        ("locked", Reply::Json(401, json!({})), "refuses the login"),
        ("number", vector(json!([{"metric": {}, "value": [1e12, 1]}])), "not Prometheus"),
        ("negative", vector(json!([{"metric": {}, "histogram": [1, {"count": "-3"}]}])), "native histogram"),
    ];
    for (name, reply, part) in cases {
        let limit = Duration::from_secs(if part == "timed out" { 1 } else { 8 });
        let url = provider.at(name, "POST", "/api/v1/query", reply);
        let started = Instant::now();
        let reading = measure(&open(&url, None, limit), &query("up")).await;
        let said = format!("{reading:?}");
        assert!(matches!(reading, Reading::Failed(_) | Reading::Unusable(_)), "{name}: {said}");
        assert!(said.contains(part), "{name}: {said}");
        assert!(!said.contains(TOKEN) && !said.contains("CANARY"), "{name}: {said}");
        assert!(started.elapsed() < Duration::from_secs(10), "{name} took {:?}", started.elapsed());
    }
    let bearers = provider.requests().iter().filter(|request| request.header("authorization").is_some()).count();
    assert!(bearers > 0, "the token is sent to the address it is for");
    assert!(
        !provider.requests().iter().any(|request| request.path().starts_with("/elsewhere")),
        "no redirect is followed"
    );
}

#[tokio::test]
async fn a_stale_answer_is_nothing_and_a_dead_server_a_failure() {
    let provider = Provider::start();
    let old =
        json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1e9, "1"]}]}});
    let url = provider.at("old", "POST", "/api/v1/query", Reply::Json(200, old));
    assert!(matches!(measure(&open(&url, None, Duration::from_secs(5)), &query("up")).await, Reading::Nothing(_)));
    let dead = format!("http://127.0.0.1:{}/", crate::support::postgres::free_port());
    let metrics = open(&dead, None, Duration::from_secs(5));
    let Reading::Failed(reason) = measure(&metrics, &query("up")).await else { panic!("a failure") };
    assert!(reason.contains("refused"), "{reason}");
    assert!(matches!(metrics.check(&query("up")).await, Err(StoreError::Unreachable(_))));
}

#[test]
fn a_token_does_not_travel_in_clear_text() {
    let described = Prometheus {
        url: "http://prometheus.example.com:9090/".parse().unwrap(),
        prefix: None,
        scrape_interval: Duration::from_secs(1),
        bearer_env: None,
    };
    let sources = Sources { prometheus: Some(described), ..Sources::default() };
    let access =
        Access { database: None, bearer: Some(TOKEN.to_owned().into()), ca_file: None, limit: Duration::from_secs(1) };
    let Err(StoreError::Refused(words)) = Metrics::open(&sources, &[&query("up")], access) else { panic!("refused") };
    assert!(words.contains("clear text") && !words.contains(TOKEN), "{words}");
}
