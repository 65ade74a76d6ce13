//! `llmhub rollback`, the emergency, through the real binary: sources that are up and down, processes that hang, runs that are
//! killed, and the report of it.
//!
//! What it says is compared with what the doubles hold, what the files say, and with the requests that were seen.

mod database;
mod faults;
mod outage;
mod pages;
mod proof;
mod refusals;
mod report;
mod resume;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::cli::{Home, Run};
use crate::support::hub::Hub;
use crate::support::postgres::Database;

/// The flag that goes wrong.
pub const FLAG: &str = "unified_llm_hub";

/// The names of the steps, in order.
pub const RUNBOOK_STEPS: [&str; 10] = [
    "open",
    "persist off",
    "disable live",
    "verify off",
    "verify again",
    "old pages",
    "restart-proof",
    "database",
    "health",
    "report",
];

/// The env file of a hub on which the flag is on.
const ENV: &str = "# kept\nSECRET_KEY='CANARY-env'\nFEATURE_UNIFIED_LLM_HUB=true\nFEATURE_LLM_HUB_ROLLOUT=25\n";

/// An operator's home with a profile `prod`, and what it names.
pub struct Scene {
    pub home: Home,
    pub hubs: Vec<Hub>,
    pub database: Option<Database>,
}

/// What a scene is made of.
#[derive(Clone, Copy)]
pub struct Parts {
    pub replicas: usize,
    pub workers: usize,
    pub database: bool,
    pub env: bool,
    /// More lines of the profile.
    pub profile: &'static str,
}

pub const ALL: Parts = Parts { replicas: 1, workers: 4, database: true, env: true, profile: "" };

impl Scene {
    /// All of it is there, and the flag is on everywhere.
    pub fn new(parts: Parts) -> Self {
        let hubs: Vec<Hub> = (1..=parts.replicas).map(|seed| start(parts.workers, seed as u64, 0)).collect();
        let addresses: Vec<String> = hubs.iter().map(|hub| format!("\"{}\"", hub.url())).collect();
        Self::with(parts, hubs, &addresses)
    }

    /// The same for hubs that the test starts itself.
    pub fn with(parts: Parts, hubs: Vec<Hub>, addresses: &[String]) -> Self {
        let mut home = Home::new();
        let mut profile = "default_profile = \"prod\"\n[profiles.prod]\n".to_owned();
        if !addresses.is_empty() {
            profile += &format!("replicas = [{}]\nworkers = {}\n", addresses.join(", "), parts.workers);
        }
        if parts.env {
            let file = home.file(".env.auth", ENV);
            profile += &format!("env_file = \"{}\"\n", file.display());
        }
        home.file(".config/llmhub/config.toml", profile + parts.profile);
        let database = parts.database.then(Database::migrated);
        if let Some(database) = &database {
            home = home.variable("LLMHUB_DATABASE_URL", database.url());
        }
        let scene = Self { home, hubs, database };
        if parts.database {
            scene.home.line(&format!("flags enable {FLAG} --via db")).exits(0);
        }
        scene
    }

    /// `llmhub rollback` of the flag with a reason, consent, and JSON.
    pub fn rollback(&self, options: &str) -> Run {
        self.home.line(&format!("rollback {FLAG} --reason 'errors at 12 percent' -y -o json {options}"))
    }

    /// Whether every process of every hub is off.
    #[track_caller]
    pub fn is_off(&self) {
        for hub in &self.hubs {
            assert_eq!(hub.member(FLAG, "enabled"), vec![json!(false); hub.workers()], "{}", hub.url());
        }
    }

    /// Writes of any kind that the hubs saw.
    pub fn writes(&self) -> usize {
        self.hubs.iter().map(crate::flags_hub::writes).sum()
    }

    pub fn env_text(&self) -> String {
        std::fs::read_to_string(self.home.path().join(".env.auth")).unwrap()
    }

    /// The folders of all incidents, oldest first.
    pub fn incidents(&self) -> Vec<PathBuf> {
        let folder = self.home.path().join(".local/state/llmhub/incidents");
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        found
    }

    /// The journal of the only incident.
    #[track_caller]
    pub fn journal(&self) -> Vec<Value> {
        let incidents = self.incidents();
        assert_eq!(incidents.len(), 1, "{incidents:?}");
        let text = std::fs::read_to_string(incidents[0].join("journal.ndjson")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A hub whose flag is on.
pub fn start(workers: usize, seed: u64, port: u16) -> Hub {
    let env = [
        ("FEATURE_UNIFIED_LLM_HUB", "true"),
        ("FEATURE_LLM_HUB_ROLLOUT", "25"),
        ("FEATURE_LLM_HUB_WHITELIST", "ana@example.com,ben@example.com"),
    ];
    Hub::builder().workers(workers).env(env).seed(seed).port(port).rate_limit(1_000_000).start()
}

/// The sentences of a list in the document.
pub fn sentences(document: &Value, list: &str) -> Vec<String> {
    document[list].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// How a step ended, from the document; the last time it was taken.
#[track_caller]
pub fn step(document: &Value, number: u8) -> (String, String) {
    let entry = document["timeline"].as_array().unwrap().iter().rev().find(|entry| entry["step"] == number);
    let entry = entry.unwrap_or_else(|| panic!("no step {number}: {document:#}"));
    (entry["result"].as_str().unwrap().to_owned(), entry["evidence"].as_str().unwrap().to_owned())
}
