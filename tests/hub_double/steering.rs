//! What the recorder did to the database of the provider keys between requests, and what in its answers is made up anew by each
//! hub: ids of rows, moments, milliseconds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::hub::{Database, Hub, MASTER_KEY, Pydantic, Service};

/// A hub as the first step of a recording finds it.
pub fn prepare(recording: &str, hub: &Hub) {
    if recording.ends_with("pydantic1") {
        hub.set_pydantic(Pydantic::One);
    }
    match recording.get(..2) {
        Some("35") => {
            hub.add_provider(
                "Loop",
                "custom",
                Some("good-key-0123456789abcdef"),
                json!({"base_url": "http://127.0.0.1:58090/checked"}),
            );
            hub.edit_provider("Loop", |row| {
                row.last_tested = Some("2026-11-21T01:00:00.000001".to_owned());
                row.test_status = Some("success");
            });
        }
        Some("36") => hub.set_database(Database::NoPool),
        Some("37") => hub.seed_providers(),
        _ => {}
    }
}

/// Do what a note says; whether it was understood.
pub fn steer(hub: &Hub, note: &str) -> bool {
    let master = |key: &str| hub.set_env("BYOK_ENCRYPTION_KEY", key);
    let service = |service| {
        hub.drop_providers(|_| true);
        hub.set_service(service);
    };
    match note {
        "harness: priority of 'Loop B' (bad key) set to 99" => hub.edit_provider("Loop B", |row| row.priority = 99),
        "harness: stored ciphertext of 'Loop A' replaced by 'garbage', 'Loop B' row removed" => {
            hub.edit_provider("Loop A", |row| row.key = Some(("garbage".to_owned(), "nobody's".to_owned())));
            hub.drop_providers(|row| row.name == "Loop B");
        }
        "harness: config of 'Local vLLM' set in SQL to hold a base_url" => {
            hub.edit_provider("Local vLLM", |row| row.config = json!({"base_url": "http://127.0.0.1:58090/ok"}));
        }
        "--- BYOK_ENCRYPTION_KEY missing ---" => hub.unset_env("BYOK_ENCRYPTION_KEY"),
        "--- BYOK_ENCRYPTION_KEY empty ---" => master(""),
        "--- BYOK_ENCRYPTION_KEY not base64 / wrong length ---" => master("not-a-key"),
        "--- BYOK_ENCRYPTION_KEY rotated (another valid key) ---" => master(&MASTER_KEY.replace('8', "9")),
        "--- pool present, table missing ---" => hub.set_database(Database::NoTable),
        "--- no codec, api_base_url NOT NULL: as the service stands ---" => service(Service::AsIs),
        "--- codec, api_base_url NOT NULL: codec alone ---" => service(Service::Codec),
        "--- no codec, api_base_url nullable: schema change alone ---" => service(Service::Nullable),
        "--- codec, api_base_url nullable: both ---" => service(Service::Repaired),
        _ => return false,
    }
    true
}

/// The rows as the recorder found them.
pub fn compare_rows(hub: &Hub, recorded: &[BTreeMap<String, Value>]) -> Vec<String> {
    let rows = hub.providers();
    recorded
        .iter()
        .filter_map(|recorded| {
            let row = rows.iter().find(|row| recorded["name"] == row.name.as_str());
            let own = row.map(|row| [json!(row.provider), json!(row.health), json!(row.test_status)]);
            let wanted = ["type", "health_status", "api_key_test_status"].map(|member| recorded[member].clone());
            (own.as_ref() != Some(&wanted)).then(|| format!("row {own:?}, recorded {wanted:?}"))
        })
        .collect()
}

/// Ids and moments that stand at the same place of two answers; ids also as they are written differently in paths.
pub fn pair_up(recorded: &Value, own: &Value, pairs: &mut Vec<(String, String)>) {
    match (recorded, own) {
        (Value::Object(recorded), Value::Object(own)) => {
            for (name, value) in recorded {
                if let Some(own) = own.get(name) {
                    pair_up(value, own, pairs);
                }
            }
        }
        (Value::Array(recorded), Value::Array(own)) => {
            recorded.iter().zip(own).for_each(|(recorded, own)| pair_up(recorded, own, pairs));
        }
        (Value::String(recorded), Value::String(own)) if is_made_up(recorded) && is_made_up(own) => {
            for form in [str::to_owned, str::to_uppercase, |text: &str| text.replace('-', "")] {
                pairs.push((form(recorded), form(own)));
            }
        }
        _ => {}
    }
}

/// A UUID, or a moment with microseconds.
fn is_made_up(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
    shape == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" || shape == "xxxx-xx-xxTxx:xx:xx.xxxxxx"
}

/// Replace how long a live test took by the number of its digits.
pub fn times_by_length(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::Number(number) if name == "latency_ms" => *value = json!(number.to_string().len()),
                    other => times_by_length(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(times_by_length),
        _ => {}
    }
}
