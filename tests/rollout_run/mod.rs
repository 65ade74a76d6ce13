//! Gated rollouts through the real binary: a hub with four workers, a database of its own, and a metric that the test steers.

mod ci;
mod crash;
mod ending;
mod flow;
mod people;
mod refusals;
mod store;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cli::{Run, Started};
use crate::support::places::Place;

pub const FLAG: &str = "unified_llm_hub";

/// How long anything may take before a test gives up: a bound against hangs, no figure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A plan whose steps take seconds.
const PLAN: &str = r#"flag = "unified_llm_hub"
steps = [0, 50, 100]
bake = "1s"
[[metric]]
name = "errors"
source = "command"
command = ["cat", "value"]
window = "1s"
interval = "1s"
required_passes = 1
rollback_at_consecutive_failures = 1
at = { 0 = { pass_if = "< 0.02", fail_if = "> 0.05", min_samples = 0 } }
"#;

/// An operator with a plan.
pub struct Desk {
    pub place: Place,
    via: &'static str,
}

impl Desk {
    /// A hub and a database, both written.
    pub fn new() -> Self {
        Self::at(Place::several(Some(4), true, None), " --via hub,db")
    }

    /// A hub alone: the state is in a file.
    pub fn hub_only() -> Self {
        Self::at(Place::several(Some(4), false, None), "")
    }

    pub fn at(place: Place, via: &'static str) -> Self {
        place.double().set_flag_everywhere(FLAG, json!({"whitelist_users": ["ana@example.com"]}));
        let desk = Self { place, via };
        desk.plan(PLAN);
        desk.measure("0.001");
        desk
    }

    pub fn plan(&self, text: &str) {
        std::fs::write(self.place.home.path().join("plan.toml"), text).unwrap();
    }

    /// What the metric says from now on; nothing is no data.
    pub fn measure(&self, value: &str) {
        // Whole or not at all: the metric may be read at any moment.
        let path = self.place.home.path().join("value");
        std::fs::write(path.with_extension("new"), value).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// `llmhub rollout …` on this profile.
    pub fn line(&self, line: &str) -> Run {
        self.place.line(&format!("rollout {line}"))
    }

    /// A run that is begun, or gone on with.
    pub fn run(&self, options: &str) -> Run {
        self.line(&format!("run {FLAG} --plan plan.toml -y{}{options}", self.via))
    }

    /// How it stands; null where nothing is known yet.
    pub fn standing(&self) -> Value {
        let output = self.line(&format!("status {FLAG} -o json")).done_unchecked();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Wait until it stands like this.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let standing = self.standing();
            if holds(&standing) {
                return standing;
            }
            assert!(begun.elapsed() < PATIENCE, "never {what}: {standing:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Wait for a state.
    #[track_caller]
    pub fn until_state(&self, state: &str) -> Value {
        self.until(state, |standing| standing["state"] == state)
    }

    /// Begin a run and let it leave rung 0 as soon as it stands there.
    #[track_caller]
    pub fn begin(&self, options: &str) -> Started {
        let started = self.run(options).spawn();
        self.until("applied", |standing| standing["applied"] == true);
        self.line(&format!("promote {FLAG} --reason testers")).exits(0);
        started
    }

    /// The percentage and the switch of every worker.
    #[track_caller]
    pub fn everywhere(&self, enabled: bool, percentage: i64) {
        let hub = self.place.double();
        assert_eq!(hub.member(FLAG, "enabled"), vec![json!(enabled); 4]);
        assert_eq!(hub.member(FLAG, "rollout_percentage"), vec![json!(percentage); 4]);
        assert_eq!(hub.member(FLAG, "whitelist_users"), vec![json!(["ana@example.com"]); 4]);
    }
}
