//! Removing a key: by id after the name was matched, read back, the row kept (CONTRACT 4.5).

use llmhub::store::StoreError;
use llmhub::store::keys::{KeySource, KeyStore};
use serde_json::json;

use super::{Desk, Fault, KEYS, detail};
use crate::support::cli::PROVIDER_KEY;
use crate::support::hub::{Database, When};
use crate::support::postgres::block_on;

fn desk() -> Desk {
    let desk = Desk::new();
    desk.hub.add_provider("OpenAI", "openai", Some(PROVIDER_KEY), json!({}));
    desk.hub.add_provider("Other", "openai", Some("sk-of-the-other-row-00000"), json!({}));
    desk
}

fn deletes(desk: &Desk) -> usize {
    desk.hub.requests().iter().filter(|request| request.method == "DELETE").count()
}

#[test]
fn the_key_goes_and_the_row_stays() {
    let desk = desk();
    let before = desk.row("OpenAI");
    desk.keys("remove OpenAI").exits(9);
    desk.keys("remove OpenAI -y --dry-run").exits(0);
    assert_eq!(deletes(&desk), 0, "nobody said yes");
    desk.keys("remove openai -y").exits(0);
    let after = desk.row("OpenAI");
    assert_eq!((after.key, after.id.as_str()), (None, before.id.as_str()));
    assert_eq!(desk.hub.count("DELETE", &format!("{KEYS}/{}", before.id)), 1);
    desk.keys("remove openai -y").exits(0);
    assert_eq!(deletes(&desk), 1, "already so");
    assert!(desk.key("Other").is_some());
}

#[test]
fn what_the_hub_falls_back_to_is_told() {
    let desk = desk();
    desk.hub.set_env("OPENAI_API_KEY", "sk-env-0123456789");
    let after = block_on(desk.store().clear(&desk.told("OpenAI"))).unwrap();
    assert_eq!(after.source, Some(KeySource::Environment));
}

#[test]
fn a_hub_without_its_master_key_cannot_be_read_so_nothing_is_removed() {
    let desk = desk();
    desk.hub.unset_env("BYOK_ENCRYPTION_KEY");
    desk.keys("remove Other -y").exits(6);
    assert_eq!(deletes(&desk), 0);
}

#[test]
fn every_end_of_a_removal_is_told_apart() {
    #[track_caller]
    fn case(fault: Fault, expected: Result<(), &str>) {
        let desk = desk();
        let shown = format!("{fault:?}");
        let seen = desk.told("OpenAI");
        desk.hub.fail(When::always().method("DELETE"), fault);
        let ended = block_on(desk.store().clear(&seen)).map(|_| ());
        let kind = ended.as_ref().map_err(|error| match error {
            StoreError::Unsupported { .. } => "unsupported",
            StoreError::OutcomeUnknown(_) => "unknown",
            StoreError::Conflict(_) => "conflict",
            StoreError::Credentials(_) => "credentials",
            StoreError::Unreachable(_) => "unreachable",
            StoreError::Invalid(_) => "invalid",
            other => panic!("{other:?}"),
        });
        assert_eq!(kind.copied(), expected, "{shown}: {ended:?}");
        assert_eq!(deletes(&desk), 1, "sent once: {shown}");
        assert!(desk.key("Other").is_some());
    }
    case(detail(500, "Failed to delete provider key"), Err("unsupported"));
    case(detail(404, "Provider not found"), Err("conflict"));
    case(detail(401, "Invalid session - please login again"), Err("credentials"));
    case(detail(503, "Database connection not available"), Err("unreachable"));
    case(Fault::LostAnswer, Ok(()));
    case(Fault::Truncated, Ok(()));
    case(Fault::NoContent, Ok(()));
    case(Fault::CloseBeforeAnswer, Err("unknown"));
    case(Fault::Garbage, Err("unknown"));
    case(Fault::Html502, Err("unknown"));
    case(Fault::Text500, Err("unknown"));
    case(Fault::Redirect("http://127.0.0.1:1/".to_owned()), Err("invalid"));
}

#[test]
fn a_removal_that_cannot_be_read_back_is_unknown() {
    let desk = desk();
    let seen = desk.told("OpenAI");
    desk.hub.fail(When::always().method("GET").path(KEYS).from(2), Fault::Html502);
    let error = block_on(desk.store().clear(&seen)).unwrap_err();
    assert!(matches!(&error, StoreError::OutcomeUnknown(_)), "{error}");
    assert_eq!(desk.key("OpenAI"), None);
}

#[test]
fn a_row_that_is_not_the_one_that_was_seen_keeps_its_key() {
    let desk = desk();
    let seen = desk.told("OpenAI");
    desk.hub.edit_provider("OpenAI", |row| row.id = desk.hub.mint_session("id"));
    let error = block_on(desk.store().clear(&seen)).unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(_)), "{error}");
    desk.hub.set_database(Database::NoPool);
    assert!(block_on(desk.store().clear(&seen)).is_err());
    assert_eq!(deletes(&desk), 0);
}
