//! Saves whose answer is lost, broken or nonsense: the list decides, and what it cannot decide is said to be unknown.

use std::time::Duration;

use llmhub::store::StoreError;
use serde_json::json;

use super::{Desk, Fault, KEYS, detail, save, silent};
use crate::support::cli::PROVIDER_KEY;
use crate::support::hub::{Hub, When};

/// How a save ended.
fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::OutcomeUnknown(_) => "unknown",
        StoreError::Unsupported { .. } => "unsupported",
        StoreError::Credentials(_) => "credentials",
        StoreError::Denied(_) => "denied",
        StoreError::Refused(_) => "refused",
        StoreError::RateLimited(_) => "rate_limited",
        StoreError::Unreachable(_) => "unreachable",
        StoreError::Invalid(_) => "invalid",
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn case(fault: Fault, expected: Result<(), &'static str>) {
    let shown = format!("{fault:.80?}");
    for name in ["OpenAI", "New"] {
        let desk = Desk::new();
        desk.hub.add_provider("OpenAI", "openai", Some("sk-the-key-before-0000001"), json!({}));
        let seen = (name == "OpenAI").then(|| desk.told(name));
        desk.break_saves(fault.clone());
        let ended = save(&desk.impatient(Some(Duration::from_secs(1))), seen.as_ref(), name);
        let told = ended.as_ref().map(|_| ()).map_err(kind);
        assert_eq!(told, expected, "{shown} {name}: {:?}", ended.as_ref().err());
        silent(&format!("{ended:?}"));
        assert_eq!(desk.hub.count("POST", KEYS), 1, "sent once: {shown}");
        let stored =
            desk.hub.providers().iter().any(|row| row.key.as_ref().is_some_and(|(key, _)| key == PROVIDER_KEY));
        assert!(stored || expected.is_err(), "{shown}: said to be stored");
        if let Ok(saved) = ended {
            assert!(saved.notes[0].contains("its list shows that the key was stored"), "{:?}", saved.notes);
        }
    }
}

#[test]
fn a_save_that_was_made_is_found_though_its_answer_is_lost() {
    case(Fault::LostAnswer, Ok(()));
    case(Fault::Truncated, Ok(()));
    case(Fault::NoContent, Ok(()));
    case(Fault::HeadersOnly, Ok(()));
    case(Fault::Drip(Duration::from_millis(100)), Ok(()));
    case(Fault::Slow(Duration::from_millis(1500)), Ok(()));
}

#[test]
fn a_save_that_left_no_trace_is_unknown_and_never_repeated() {
    case(Fault::CloseBeforeAnswer, Err("unknown"));
    case(Fault::Silence, Err("unknown"));
    case(Fault::Garbage, Err("unknown"));
    case(Fault::Text500, Err("unknown"));
    case(Fault::Html502, Err("unknown"));
    case(Fault::Huge(10_000_000), Err("unknown"));
    case(Fault::Huge(17 << 20), Err("unknown"));
    case(Fault::GzipBomb(1 << 30), Err("unknown"));
}

#[test]
fn a_save_that_was_refused_is_told_apart() {
    case(detail(500, "Failed to save provider key"), Err("unsupported"));
    case(detail(503, "Database connection not available"), Err("unreachable"));
    case(detail(401, "Not authenticated - no session token"), Err("credentials"));
    case(detail(403, "Admin access required (current role: viewer)"), Err("denied"));
    case(detail(400, "Invalid provider type. Supported: openrouter"), Err("refused"));
    case(detail(405, "Method Not Allowed"), Err("unsupported"));
    case(Fault::TooManyRequests, Err("rate_limited"));
}

#[test]
fn a_success_that_the_list_does_not_show_is_unknown() {
    let body = json!({"success": true, "provider_id": "x", "test_result": null}).to_string().into_bytes();
    let lie = Fault::Answer { status: 200, content_type: "application/json", body };
    case(lie, Err("unknown"));
    let desk = Desk::new();
    desk.hub.fail(When::always().method("GET").path(KEYS).from(2), Fault::Html502);
    let ended = save(&desk.store(), None, "OpenAI").unwrap_err();
    assert_eq!(kind(&ended), "unknown", "{ended}");
    assert!(ended.to_string().contains("could not be read back"), "{ended}");
    let desk = Desk::new();
    desk.hub.fail(When::always().method("GET").path(KEYS).from(3), Fault::Html502);
    assert_eq!(desk.set("openai").exits(11).code(), "outcome_unknown");
}

#[test]
fn a_redirect_carries_nothing_to_another_host() {
    let elsewhere = Hub::builder().start();
    let desk = Desk::new();
    desk.break_saves(Fault::Redirect(format!("{}{KEYS}", elsewhere.url())));
    assert_eq!(kind(&save(&desk.store(), None, "OpenAI").unwrap_err()), "invalid");
    assert_eq!((elsewhere.connections(), elsewhere.requests().len()), (0, 0));
}

#[test]
fn the_next_replica_is_asked_only_where_nothing_could_be_sent() {
    let desk = Desk::new();
    let line = format!("keys set openai --stdin --no-verify --hub http://127.0.0.1:1 --hub {} -o json", desk.hub.url());
    desk.home.line(&line).stdin(PROVIDER_KEY).exits(0);
    assert_eq!(desk.key("OpenAI").as_deref(), Some(PROVIDER_KEY));
    let gone = desk.home.line("keys list --hub http://127.0.0.1:1 -o json").exits(6);
    assert_eq!(gone.code(), "unreachable");
}
