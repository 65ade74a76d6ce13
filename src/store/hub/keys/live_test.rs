//! The hub's own test of a stored key (CONTRACT 4.4): by type, not by name, and with a verdict that is often none.
//!
//! The hub tests the row of that type with the highest priority, and writes a success to all rows of the type. Where several
//! rows share a type, the verdict says so instead of naming one.

use serde_json::{Value, json};

use super::refusal::{refusal, says};
use super::wire::LiveTest;
use super::{HubKeys, Reply, TEST};
use crate::domain::keys::provider::{KeyStatus, ProviderType, env_variable};
use crate::store::StoreError;
use crate::store::keys::{KeySource, Material, StoredKey};

/// What the hub's test says of one row's key.
#[derive(Clone, Debug)]
pub struct Tested {
    /// What it says of the key; `unknown` where the hub cannot test it, or tested what may be another row: the notes say why.
    pub status: KeyStatus,
    /// The models found.
    pub models: Option<u64>,
    /// Milliseconds, by the hub's clock.
    pub latency_ms: Option<u64>,
    /// What the operator should know, one sentence each: which row was tested, why there is no verdict.
    pub notes: Vec<String>,
}

impl Tested {
    fn unknown(notes: Vec<String>) -> Self {
        Self { status: KeyStatus::Unknown, models: None, latency_ms: None, notes }
    }
}

impl HubKeys {
    /// Have the hub test the stored key of a row.
    ///
    /// # Errors
    /// [`StoreError::RateLimited`] at the 11th test of a minute; [`StoreError::Unreachable`] without an answer, which leaves
    /// at most the recorded result of an earlier test changed.
    pub async fn test(&self, row: &StoredKey) -> Result<Tested, StoreError> {
        let none = |why: String| Ok(Tested::unknown(vec![why]));
        let Some(provider) = ProviderType::parse(&row.provider) else {
            return none(format!("the hub cannot test the type `{}`", row.provider));
        };
        match row.source {
            Some(KeySource::Environment) => {
                return none(format!(
                    "the hub takes this key from its variable {}, and cannot test that",
                    env_variable(&row.name)
                ));
            }
            _ if row.material == Material::Empty => return none("no key is stored".to_owned()),
            _ => {}
        }
        let rivals: Vec<String> = self
            .listed()
            .await?
            .into_iter()
            .filter(|other| other.row.provider == row.provider && other.row.id != row.id)
            .map(|other| format!("`{}`", other.row.name))
            .collect();
        let body = json!({"provider_type": provider.word()}).to_string();
        let Reply { address, answer } = self.send(reqwest::Method::POST, &TEST, Some(body)).await?;
        let mut notes = Vec::new();
        if !rivals.is_empty() {
            notes.push(format!(
                "the hub tests one row of a type, the one with the highest priority: of `{}` and {} it does not say which, and \
                 writes a success to all of them",
                row.name,
                rivals.join(", ")
            ));
        }
        let test = match answer.status.as_u16() {
            200 => {
                let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                if body.get("success").and_then(Value::as_bool).is_none() {
                    return Err(StoreError::Invalid(format!("{address} answered something unexpected to a test")));
                }
                LiveTest::read(&body)
            }
            500 if says(&answer, "Failed to test provider key") => {
                notes.push("the hub's test failed, and it does not say why: a bad key, one that the hub cannot open, or no connection; it left the recorded result as it was".to_owned());
                LiveTest::Failed(None)
            }
            400 if says(&answer, &format!("No API key configured for provider: {}", provider.word())) => {
                notes.push(
                    "the row with the highest priority of this type has no key, so the hub tests none".to_owned(),
                );
                return Ok(Tested::unknown(notes));
            }
            _ => return Err(refusal(&address, &answer)),
        };
        if let LiveTest::Failed(Some(cause)) = &test {
            notes.push(format!("the hub's test failed: {}", cause.words()));
        }
        if provider == ProviderType::Openrouter && matches!(test, LiveTest::Passed { .. }) {
            notes.push("the hub asks OpenRouter for a public list, which says nothing of the key".to_owned());
        }
        Ok(match test {
            _ if !rivals.is_empty() => Tested::unknown(notes),
            LiveTest::Passed { models, latency } => {
                Tested { status: test.status(provider), models, latency_ms: latency, notes }
            }
            LiveTest::Failed(_) => Tested { status: test.status(provider), ..Tested::unknown(notes) },
        })
    }
}
