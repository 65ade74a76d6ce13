//! The CI job of `examples/ci-gated-rollout.sh`, with users whose requests are measured: a healthy feature arrives, a broken one
//! comes back by itself.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use llmhub::domain::flags::FlagKey;
use llmhub::domain::flags::evaluate::bucket;
use serde_json::{Value, json};

use super::FLAG;
use crate::support::places::Place;

/// A plan like the one that `rollout plan` writes for a database, in seconds.
const PLAN: &str = r#"flag = "unified_llm_hub"
steps = [0, 10, 50, 100]
bake = "2s"
[sources.sql]
identity = "email"
[[metric]]
name = "error_rate"
source = "sql"
query = "@cohort_errors"
window = "1s"
interval = "1s"
required_passes = 1
at = { 0 = { pass_if = "< 0.02", fail_if = "> 0.05", min_samples = 20 } }
"#;

/// A hub, a database, and users who work with it.
struct Site {
    place: Place,
    over: AtomicBool,
}

impl Site {
    fn new() -> Self {
        let place = Place::several(Some(4), true, None);
        place.home.file("plan.toml", PLAN);
        let key: FlagKey = FLAG.parse().unwrap();
        let users: Vec<String> = (0..300)
            .map(|n| format!("user-{n}@example.com"))
            .map(|email| format!("('{email}', {})", bucket(&email, &key)))
            .collect();
        place.sql(&format!(
            "CREATE TABLE crowd AS SELECT email, bucket FROM (VALUES {}) v (email, bucket); \
             INSERT INTO users (email, username) SELECT email, email FROM crowd",
            users.join(",")
        ));
        Self { place, over: AtomicBool::new(false) }
    }

    /// Every user asks a few times a second until it is over. Who has a feature that is broken gets one error in five.
    fn work(&self, broken: bool) {
        while !self.over.load(Ordering::Relaxed) {
            let percentage = &self.place.double().member(FLAG, "rollout_percentage")[0];
            let faulty = if broken { format!("bucket < {percentage} AND n = 1") } else { "false".to_owned() };
            self.place.sql(&format!(
                "INSERT INTO llm_usage_analytics (user_id, provider, model_id, latency_ms, status) \
                 SELECT id, 'p', 'm', 300, CASE WHEN {faulty} THEN 'error' ELSE 'success' END \
                 FROM crowd JOIN users USING (email), generate_series(1, 5) n"
            ));
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// The job, while the users work.
    fn job(&self, broken: bool) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci-gated-rollout.sh").display().to_string();
        std::thread::scope(|scope| {
            scope.spawn(|| self.work(broken));
            let mut command = self.place.home.command("bash", [script.as_str(), FLAG, "plan.toml"]);
            let output = command.env("APPROVED_BY", "ana").env("CI", "1").output().unwrap();
            self.over.store(true, Ordering::Relaxed);
            output
        })
    }

    #[track_caller]
    fn stands(&self, enabled: bool, percentage: i64) {
        let hub = self.place.double();
        assert_eq!(hub.member(FLAG, "enabled"), vec![json!(enabled); 4]);
        assert_eq!(hub.member(FLAG, "rollout_percentage"), vec![json!(percentage); 4]);
        let stored = self
            .place
            .query("SELECT enabled || ' ' || rollout_percentage FROM feature_flags WHERE name = 'unified_llm_hub'");
        assert_eq!(stored, [format!("{enabled} {percentage}")]);
    }
}

/// The events that the job printed, and what stands behind them.
fn parts(output: &Output) -> (Vec<Value>, String) {
    let text = String::from_utf8_lossy(&output.stdout);
    let events = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    (events, format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn the_job_takes_a_healthy_feature_to_everybody() {
    let site = Site::new();
    let output = site.job(false);
    let (events, text) = parts(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(events.last().unwrap()["event"], "completed", "{text}");
    assert!(
        text.contains("Rollout of **unified_llm_hub**: completed\n") && text.contains("\n| error_rate | pass |"),
        "{text}"
    );
    site.stands(true, 100);
}

#[test]
fn the_job_of_a_broken_feature_takes_it_back_and_fails() {
    let site = Site::new();
    let output = site.job(true);
    let (events, text) = parts(&output);
    assert_eq!(output.status.code(), Some(8), "{text}");
    assert_eq!(events.last().unwrap()["event"], "rolled_back", "{text}");
    let highest =
        events.iter().filter(|event| event["event"] == "applied").filter_map(|event| event["rung"].as_u64()).max();
    assert_eq!(highest, Some(10), "it goes no further than where it shows: {text}");
    assert!(text.contains("error_rate"), "{text}");
    site.stands(false, 0);
}
