//! What the provider-key routes remember: the rows of the one database that all processes share, and how far the service was
//! repaired (CONTRACT 4: "as-is" and "repaired").

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::upstream::Upstream;

/// How far the service was repaired: a jsonb codec on its pool, and `api_base_url` nullable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// As shipped.
    AsIs,
    /// With the codec alone.
    Codec,
    /// With the column alone.
    Nullable,
    /// With both: new names can be saved.
    Repaired,
}

impl Service {
    /// Whether config travels as an object.
    pub fn has_codec(self) -> bool {
        matches!(self, Self::Codec | Self::Repaired)
    }
}

/// Whose way of refusing and of failing it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pydantic {
    /// 1.10: a failed test has a result, a 422 has no `input`.
    One,
    /// 2.6, as pinned: a failed test has none, a 422 repeats what was sent.
    Two,
}

/// What is behind the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// A database with the table.
    Up,
    /// No pool.
    NoPool,
    /// A database without the table.
    NoTable,
}

/// One row of `llm_providers`.
#[derive(Clone, Debug)]
pub struct Row {
    /// A UUID.
    pub id: String,
    /// As it was first saved.
    pub name: String,
    /// Also types that the router does not know.
    pub provider: String,
    /// The key in clear, and the master key that sealed it; `None` when there is none.
    pub key: Option<(String, String)>,
    /// As it is.
    pub enabled: bool,
    /// The highest is tested.
    pub priority: i64,
    /// As it is.
    pub config: Value,
    /// As it is.
    pub health: &'static str,
    /// Without zone.
    pub last_tested: Option<String>,
    /// `success`, `failed`, or null.
    pub test_status: Option<&'static str>,
}

impl Row {
    /// A row that a seed makes: no key yet.
    pub fn seeded(id: String, name: &str, provider: &str, priority: i64, config: Value) -> Self {
        Self {
            id,
            name: name.to_owned(),
            provider: provider.to_owned(),
            key: None,
            enabled: true,
            priority,
            config,
            health: "unknown",
            last_tested: None,
            test_status: None,
        }
    }
}

/// The table and its surroundings.
#[derive(Debug)]
pub struct Providers {
    /// In the order of their making.
    pub rows: Vec<Row>,
    /// How far it was repaired.
    pub service: Service,
    /// How it refuses and fails.
    pub pydantic: Pydantic,
    /// What is behind it.
    pub database: Database,
    /// What the providers of the other types answer; those that are not named cannot be reached.
    pub upstreams: HashMap<String, Upstream>,
    /// Distinguishes moments when the clock stands still.
    pub moments: i64,
}

impl Default for Providers {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            service: Service::Repaired,
            pydantic: Pydantic::Two,
            database: Database::Up,
            upstreams: HashMap::new(),
            moments: 0,
        }
    }
}

/// The rows that the service's own seed makes: name, type, priority, config (recording 37).
pub fn seed() -> [(&'static str, &'static str, i64, Value); 7] {
    [
        ("Local vLLM", "local", 100, json!({"timeout": 60000})),
        ("Groq", "groq", 90, json!({"timeout": 30000})),
        (
            "OpenRouter",
            "openrouter",
            80,
            json!({"timeout": 30000, "app_name": "Ops-Center", "site_url": "https://kubeworkz.io"}),
        ),
        ("Platform Anthropic", "anthropic", 70, json!({"timeout": 30000})),
        ("Platform OpenAI", "openai", 70, json!({"timeout": 30000})),
        ("Together AI", "together", 60, json!({"timeout": 30000})),
        ("Hugging Face", "huggingface", 50, json!({"timeout": 45000})),
    ]
}

/// Tests of the last minute, by admin, in the memory of one process.
#[derive(Debug, Default)]
pub struct TestLimiter(HashMap<String, Vec<Instant>>);

impl TestLimiter {
    /// Count a test; whether it is within 10 a minute. A refused one is not counted.
    pub fn admits(&mut self, admin: &str) -> bool {
        let now = Instant::now();
        let times = self.0.entry(admin.to_owned()).or_default();
        times.retain(|time| now.duration_since(*time) < Duration::from_secs(60));
        let admitted = times.len() < 10;
        if admitted {
            times.push(now);
        }
        admitted
    }

    /// Let a minute pass.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}
