//! The documents that scripts depend on, member by member: one more, one less, or another type fails the test that reads it.

#![allow(dead_code, reason = "a member is declared because it must be there, also where no test looks at its value")]

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::cli::Done;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    pub flag: String,
    pub enabled: bool,
    pub rollout_percentage: i64,
    pub whitelist_users: Vec<String>,
    pub blacklist_users: Vec<String>,
    #[serde(deserialize_with = "present")]
    pub start_date: Option<String>,
    #[serde(deserialize_with = "present")]
    pub end_date: Option<String>,
    #[serde(deserialize_with = "present")]
    pub description: Option<String>,
    pub tags: Vec<String>,
    #[serde(deserialize_with = "present")]
    pub owner: Option<String>,
    #[serde(deserialize_with = "present")]
    pub revision: Option<i64>,
    pub source: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    pub flag: String,
    pub changed: bool,
    pub before: Shown,
    pub after: Shown,
    pub results: Vec<Result>,
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Result {
    pub source: String,
    pub changed: bool,
    #[serde(deserialize_with = "present")]
    pub live: Option<Value>,
    pub persisted: bool,
    #[serde(deserialize_with = "present")]
    pub survives_restart: Option<bool>,
    #[serde(default)]
    pub error: Option<Failure>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub hint: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    pub flag: String,
    #[serde(deserialize_with = "present")]
    pub user: Option<String>,
    #[serde(deserialize_with = "present")]
    pub enabled: Option<bool>,
    pub reason: String,
    #[serde(deserialize_with = "present")]
    pub bucket: Option<u8>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub revision: i64,
    pub at: String,
    pub actor: String,
    pub operation: String,
    #[serde(deserialize_with = "present")]
    pub reason: Option<String>,
    pub changes: Vec<Value>,
}

/// Null is a value, absence is a mistake.
pub fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    d: D,
) -> std::result::Result<Option<T>, D::Error> {
    Option::deserialize(d)
}

impl Done {
    /// The document in its declared form.
    #[track_caller]
    pub fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in\n{}", self.stdout))
    }
}
