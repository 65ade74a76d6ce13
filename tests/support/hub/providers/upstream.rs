//! The providers behind the hub: what the live test of a key comes to.
//!
//! A custom endpoint tells by the last part of its address how it answers (`http://127.0.0.1:58090/unauth`), as the recorder's
//! did. Nothing is sent anywhere.

use serde_json::{Value, json};

/// How a provider answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// With this many models.
    Models(u32),
    /// With this status.
    Status(u16),
    /// Not at all.
    Unreachable,
}

/// What a live test came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The models found, or the words of the failure; no words where the test itself could not be made.
    pub outcome: Result<u32, String>,
    /// How long it is said to have taken.
    pub latency: u32,
}

const UNREACHABLE: &str = "Connection failed - unable to reach API endpoint";

impl Probe {
    fn failed(words: &str, latency: u32) -> Self {
        Self { outcome: Err(words.to_owned()), latency }
    }

    fn found(models: u32) -> Self {
        Self { outcome: Ok(models), latency: 18 }
    }

    fn status(status: u16) -> Self {
        match status {
            401 => Self::failed("Invalid API key - authentication failed", 22),
            403 => Self::failed("API key lacks required permissions", 20),
            other => Self::failed(&format!("API error: HTTP {other}"), 21),
        }
    }

    /// The result as the hub words it.
    pub fn to_json(&self) -> Value {
        match &self.outcome {
            Ok(models) => {
                json!({"success": true, "latency_ms": self.latency, "models_found": models, "error": null})
            }
            Err(words) => {
                json!({"success": false, "latency_ms": self.latency, "models_found": null, "error": words})
            }
        }
    }
}

/// Test a key of a provider that has an address of its own.
pub fn known(upstream: Upstream, key: &str) -> Probe {
    if let Some((at, c)) = key.chars().enumerate().find(|(_, c)| !c.is_ascii()) {
        let at = at + "Bearer ".len();
        let words = format!(
            "Test failed: 'ascii' codec can't encode character '\\x{:02x}' in position {at}: ordinal not in range(128)",
            u32::from(c)
        );
        return Probe::failed(&words, 0);
    }
    match upstream {
        Upstream::Models(models) => Probe::found(models),
        Upstream::Status(status) => Probe::status(status),
        Upstream::Unreachable => Probe::failed(UNREACHABLE, 0),
    }
}

/// Test a key at a custom endpoint.
pub fn custom(config: Option<&Value>, key: &str) -> Probe {
    let Some(base) = config.and_then(|config| config.get("base_url")).filter(|base| !base.is_null()) else {
        return Probe::failed("Custom endpoint URL required for custom provider", 0);
    };
    let Some(base) = base.as_str() else {
        return Probe::failed("", 0);
    };
    if !base.starts_with("http") {
        return Probe::failed("Test failed: Request URL is missing an 'http://' or 'https://' protocol.", 0);
    }
    let Some((_, mode)) = base.trim_end_matches('/').split_once("127.0.0.1:58090/") else {
        return Probe::failed(UNREACHABLE, 0);
    };
    match mode {
        "ok" => Probe::found(3),
        "checked" if key.starts_with("good") => Probe::found(3),
        "modelskey" => Probe::found(2),
        "array" | "empty" => Probe::found(0),
        "slow3" => Probe { latency: 3018, ..Probe::found(3) },
        "slow" => Probe::failed("Request timeout - API not responding", 10000),
        "checked" | "unauth" => Probe::status(401),
        "forbid" => Probe::status(403),
        "err" => Probe::status(500),
        "throttle" => Probe::status(429),
        "redir" => Probe::status(307),
        "text" => Probe::failed("Test failed: Expecting value: line 1 column 1 (char 0)", 0),
        "datanull" => Probe::failed("Test failed: object of type 'NoneType' has no len()", 0),
        _ => Probe::status(404),
    }
}
