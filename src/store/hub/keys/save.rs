//! Saving a key through the hub (CONTRACT 4.3), and finding out what really became of it.
//!
//! The hub's own word is not enough in either direction: its success means "stored", not "works", and its 500 is what the
//! service as shipped says to every new name. The list decides. An old key cannot be put back, since the hub never tells one.

use serde_json::{Map, Value, json};

use super::refusal::refusal;
use super::wire::{self, Listed, LiveTest};
use super::{HubKeys, KEYS, Reply, Silence};
use crate::store::StoreError;
use crate::store::hub::connection::{Answer, CallError};
use crate::store::keys::{KeySource, Material, NewKey, SavedKey};

/// Fewer characters the hub answers with a 422 that repeats them.
const SHORTEST: usize = 10;
/// More characters of a name it answers with a 500.
const LONGEST_NAME: usize = 100;

/// What is known after the request, before anything was read back.
enum Sent {
    /// It was stored, says the hub; its live test came to this.
    Stored(LiveTest),
    /// The router's own 500: it has stopped, and will store nothing any more.
    Failed(String),
    /// No answer, or one that leaves open whether the hub is still at it.
    Open(String),
}

/// See [`crate::store::keys::KeyStore::save`].
pub async fn save(hub: &HubKeys, new: &NewKey<'_>) -> Result<SavedKey, StoreError> {
    fits(new)?;
    let before = match new.seen {
        Some(seen) => Some(hub.unchanged(seen).await?),
        None => match hub.find(new.name).await? {
            None => None,
            Some(_) => {
                return Err(StoreError::Conflict(format!(
                    "somebody else made a row `{}` meanwhile; nothing was written",
                    new.name
                )));
            }
        },
    };
    let config = config(new, before.as_ref());
    let with_config = config.is_some();
    let sent = send(hub, new, config).await?;
    let after = hub.find(new.name).await;
    let name = new.name;
    let after = match (after, &sent) {
        (Ok(Some(after)), sent) if is_ours(new, before.as_ref(), &after, sent) => after,
        (Err(error), Sent::Stored(_)) => {
            return Err(StoreError::OutcomeUnknown(format!(
                "the hub says that it stored the key of `{name}`, but it could not be read back: {error}"
            )));
        }
        (Err(error), Sent::Failed(said) | Sent::Open(said)) => {
            return Err(StoreError::OutcomeUnknown(format!(
                "the key of `{name}` was sent; {said}, and it could not be read back: {error}"
            )));
        }
        (Ok(_), Sent::Stored(_)) => {
            return Err(StoreError::OutcomeUnknown(format!(
                "the hub says that it stored the key of `{name}`, but its list does not show this key there"
            )));
        }
        (Ok(after), Sent::Failed(said)) => return Err(not_stored(name, before.as_ref(), after, said, with_config)),
        (Ok(_), Sent::Open(said)) => {
            return Err(StoreError::OutcomeUnknown(format!(
                "the key of `{name}` was sent; {said}, and the list does not show it: the hub may still be testing it"
            )));
        }
    };
    let notes = notes(new, before.as_ref(), &after, &sent);
    Ok(SavedKey { after: after.row, notes })
}

/// What the hub would answer with a 422 or 500, said before the key travels.
fn fits(new: &NewKey<'_>) -> Result<(), StoreError> {
    let refused = |why: &str| Err(StoreError::Refused(format!("{why}; nothing was sent")));
    if new.key.expose().chars().count() < SHORTEST {
        return refused("the hub takes no key of fewer than 10 characters");
    }
    if new.name.chars().count() > LONGEST_NAME || new.name.contains('\0') {
        return refused("the hub takes no name of more than 100 characters, and none with a NUL");
    }
    Ok(())
}

/// The config to send: none where it stays, for the service as shipped fails on any; else the whole of it, for it is replaced.
fn config(new: &NewKey<'_>, before: Option<&Listed>) -> Option<Map<String, Value>> {
    let base_url = new.base_url?;
    let mut config = before.map(|before| before.config.clone()).unwrap_or_default();
    if config.get("base_url").and_then(Value::as_str) == Some(base_url) {
        return None;
    }
    config.insert("base_url".to_owned(), json!(base_url));
    Some(config)
}

async fn send(hub: &HubKeys, new: &NewKey<'_>, config: Option<Map<String, Value>>) -> Result<Sent, StoreError> {
    let mut body = json!({"provider_type": new.provider, "api_key": new.key.expose(), "name": new.name});
    if let (Some(config), Some(members)) = (config, body.as_object_mut()) {
        members.insert("config".to_owned(), Value::Object(config));
    }
    match hub.try_send(reqwest::Method::POST, &KEYS, Some(body.to_string())).await? {
        Ok(Reply { address, answer }) => judge(&address, &answer),
        Err(Silence { address, error: CallError::NotSent(why) }) => {
            Err(StoreError::Unreachable(format!("{address} does not answer: {why}")))
        }
        Err(Silence { address, error: CallError::Lost(why) }) => {
            Ok(Sent::Open(format!("{address} gave no answer ({why})")))
        }
    }
}

fn judge(address: &str, answer: &Answer) -> Result<Sent, StoreError> {
    let status = answer.status.as_u16();
    let said = || format!("{address} answered {status}{}", answer.reference());
    match status {
        200 => {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            Ok(match body.get("success").and_then(Value::as_bool) {
                Some(true) => Sent::Stored(LiveTest::read(body.get("test_result").unwrap_or(&Value::Null))),
                _ => Sent::Open(format!("{address} answered something unexpected{}", answer.reference())),
            })
        }
        500 if super::refusal::says(answer, "Failed to save provider key") => Ok(Sent::Failed(said())),
        503 if super::refusal::says(answer, "Database connection not available") => Err(refusal(address, answer)),
        // A proxy's page, a crash, or a redirect: something else than the router spoke.
        201..=299 | 500..=599 => Ok(Sent::Open(said())),
        _ => Err(refusal(address, answer)),
    }
}

/// Whether the list shows this very save.
fn is_ours(new: &NewKey<'_>, before: Option<&Listed>, after: &Listed, sent: &Sent) -> bool {
    let preview = Material::Hidden { preview: wire::preview(new.key.expose()) };
    let shown = after.row.material == preview && after.row.source != Some(KeySource::Environment);
    // The same key may have been there before, and short keys all look alike; but each save sets the moment anew.
    let fresh = before.is_none_or(|before| before.moment != after.moment);
    let kind = after.row.provider == new.provider.to_lowercase();
    shown && kind && (fresh || matches!(sent, Sent::Stored(_)))
}

/// The hub refused to store it. The service as shipped does so for every new name and for any config (CONTRACT 4.3).
fn not_stored(name: &str, before: Option<&Listed>, after: Option<Listed>, said: &str, with_config: bool) -> StoreError {
    let same = |before: &Listed, after: &Listed| before.row.material == after.row.material;
    let untouched = match (before, &after) {
        (None, None) => true,
        (Some(before), Some(after)) => same(before, after) && before.moment == after.moment,
        _ => false,
    };
    if !untouched {
        return StoreError::OutcomeUnknown(format!(
            "{said} to the key of `{name}`, and the row is neither as it was nor as it was to be"
        ));
    }
    let why = match (before, with_config) {
        (None, _) => "a hub as shipped cannot save a new name",
        (Some(_), true) => "a hub as shipped cannot save an endpoint (config)",
        (Some(_), false) => "it does not say why",
    };
    StoreError::Unsupported {
        message: format!(
            "{said} and did not store the key of `{name}`: {why}; it may have sent the key to the provider for its test"
        ),
        hint: "the database can do it: --via db".to_owned(),
    }
}

fn notes(new: &NewKey<'_>, before: Option<&Listed>, after: &Listed, sent: &Sent) -> Vec<String> {
    let mut notes = Vec::new();
    match sent {
        Sent::Stored(LiveTest::Passed { models, .. }) => notes.push(match models {
            Some(models) => format!("the hub's own live test of the key passed: {models} models"),
            None => "the hub's own live test of the key passed".to_owned(),
        }),
        Sent::Stored(LiveTest::Failed(Some(cause))) => {
            notes.push(format!("stored, but the hub's own live test of the key failed: {}", cause.words()));
        }
        Sent::Stored(LiveTest::Failed(None)) => notes.push(
            "stored, but the hub's own live test of the key failed, and it does not say why: a bad key, an error of the \
             provider, a timeout or no connection"
                .to_owned(),
        ),
        Sent::Failed(said) | Sent::Open(said) => notes.push(format!("{said}, but its list shows that the key was stored")),
    }
    if let Some(before) = before.filter(|before| before.row.provider != after.row.provider) {
        notes.push(format!("the type of the row was `{}` and is `{}` now", before.row.provider, after.row.provider));
    }
    if !after.row.enabled {
        notes.push("the provider is switched off: the hub does not use it".to_owned());
    }
    if wire::preview(new.key.expose()) == wire::HIDDEN {
        notes.push(
            "a hub shows keys of up to 20 characters as `***`, as it does those that it cannot open: that it can open this one \
             is not proven"
                .to_owned(),
        );
    }
    notes
}
