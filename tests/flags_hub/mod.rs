//! The flag commands against a running hub: the real binary on one side, the double of the hub on the other.
//!
//! What a command says is compared with what the double holds and with the requests that it saw.

mod convergence;
mod faults;
mod ladder;
mod reading;
mod session;
mod tags;
mod together;

use serde_json::{Value, json};

use crate::support::cli::{Done, Home, Run};
use crate::support::hub::{Builder, Hub};

/// The flag that most tests turn.
pub const FLAG: &str = "unified_llm_hub";
pub const LIST: &str = "/api/v1/features/";
pub const ONE: &str = "/api/v1/features/unified_llm_hub";
pub const TOKEN: &str = "/api/v1/auth/csrf-token";

/// A hub whose flag is on at this percentage, in its environment too.
pub fn hub(workers: usize, percentage: impl ToString) -> Builder {
    Hub::builder()
        .workers(workers)
        .env([("FEATURE_UNIFIED_LLM_HUB", "true"), ("FEATURE_LLM_HUB_ROLLOUT", &percentage.to_string())])
}

/// An operator's home and the hub that the operator works on.
pub struct Desk {
    pub home: Home,
    pub hub: Hub,
    declared: Option<usize>,
}

impl Desk {
    /// The number of workers is declared as it is.
    pub fn new(builder: Builder) -> Self {
        let hub = builder.start();
        Self { home: Home::new(), declared: Some(hub.workers()), hub }
    }

    /// Declare another number of workers, or none.
    pub fn declared(self, workers: Option<usize>) -> Self {
        Self { declared: workers, ..self }
    }

    /// `llmhub flags …` on this hub, for people.
    pub fn plain(&self, line: &str) -> Run {
        let workers = self.declared.map(|workers| format!(" --workers {workers}")).unwrap_or_default();
        self.home.line(&format!("flags {line} --hub {}{workers}", self.hub.url()))
    }

    /// The same, as data.
    pub fn flags(&self, line: &str) -> Run {
        self.plain(&format!("{line} -o json"))
    }

    /// The percentage on each worker.
    pub fn percentages(&self) -> Vec<Value> {
        self.hub.member(FLAG, "rollout_percentage")
    }

    /// Whether every worker holds this percentage.
    #[track_caller]
    pub fn everywhere(&self, percentage: i64) {
        assert_eq!(self.percentages(), vec![json!(percentage); self.hub.workers()]);
    }

    /// How many writes of any kind the hub saw.
    pub fn writes(&self) -> usize {
        writes(&self.hub)
    }
}

/// How many writes of any kind a hub saw, on any path.
pub fn writes(hub: &Hub) -> usize {
    hub.requests().iter().filter(|request| request.method != "GET").count()
}

/// What a write says to people of the processes: how many of how many agree, the verdict, and how that is known.
#[track_caller]
pub fn live(done: &Done) -> (u64, Option<u64>, String, String) {
    let line = done.stdout.lines().find(|line| line.starts_with("live ")).unwrap_or_else(|| panic!("{}", done.stdout));
    let mut words = line.splitn(4, ' ').skip(1);
    let (agree, of) = words.next().unwrap().split_once('/').unwrap();
    let verdict = words.next().unwrap().to_lowercase();
    let evidence = words.next().unwrap().split(" · ").next().unwrap();
    (agree.parse().unwrap(), of.parse().ok(), verdict, evidence.to_owned())
}

/// The same from the document, which leaves out how it is known.
#[track_caller]
pub fn live_data(done: &Done) -> Value {
    done.json()["results"][0]["live"].clone()
}

/// Wait, bounded, until something holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "never happened: {what}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
