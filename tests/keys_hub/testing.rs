//! The hub's own test of a stored key (CONTRACT 4.4): by type, with a verdict that is often none.

use std::time::Duration;

use llmhub::domain::keys::provider::KeyStatus;
use llmhub::store::StoreError;
use llmhub::store::hub::keys::Tested;
use serde_json::json;

use super::{Desk, Fault, TEST};
use crate::support::cli::PROVIDER_KEY;
use crate::support::hub::{Pydantic, Upstream, When};
use crate::support::postgres::block_on;

impl Desk {
    fn test(&self, name: &str) -> Result<Tested, StoreError> {
        let row = self.told(name);
        block_on(self.store().test(&row))
    }
}

fn desk(provider: &str) -> Desk {
    let desk = Desk::new();
    desk.hub.add_provider("Row", provider, Some(PROVIDER_KEY), json!({}));
    desk
}

#[track_caller]
fn says(tested: &Tested, text: &str) {
    assert!(tested.notes.iter().any(|note| note.contains(text)), "{text}: {:?}", tested.notes);
}

#[test]
fn a_test_that_passes_is_valid_and_counts_models() {
    let desk = desk("openai");
    desk.hub.set_upstream("openai", Upstream::Models(3));
    let tested = desk.test("Row").unwrap();
    assert_eq!((tested.status, tested.models, tested.latency_ms), (KeyStatus::Valid, Some(3), Some(18)));
    assert!(tested.notes.is_empty(), "{:?}", tested.notes);
}

#[test]
fn openrouters_public_list_says_nothing_of_the_key() {
    let desk = desk("openrouter");
    desk.hub.set_upstream("openrouter", Upstream::Models(300));
    let tested = desk.test("Row").unwrap();
    assert_eq!(tested.status, KeyStatus::Unknown);
    says(&tested, "public list");
}

#[test]
fn a_failure_has_a_cause_only_where_the_hub_gives_one() {
    for (status, said) in [
        (401, KeyStatus::Invalid),
        (403, KeyStatus::ValidLimited),
        (402, KeyStatus::NoFunds),
        (429, KeyStatus::RateLimited),
        (404, KeyStatus::Unknown),
        (500, KeyStatus::Unknown),
    ] {
        let desk = desk("groq");
        desk.hub.set_upstream("groq", Upstream::Status(status));
        let pinned = desk.test("Row").unwrap();
        assert_eq!(pinned.status, KeyStatus::Unknown, "a bare 500 for whatever cause");
        says(&pinned, "does not say why");
        assert_eq!(desk.row("Row").test_status, None, "and nothing is recorded");
        desk.hub.set_pydantic(Pydantic::One);
        let told = desk.test("Row").unwrap();
        assert_eq!(told.status, said, "{status}");
        says(&told, "the hub's test failed: ");
    }
}

#[test]
fn a_network_error_never_turns_a_key_red() {
    let desk = desk("groq");
    desk.hub.set_pydantic(Pydantic::One);
    assert_eq!(desk.test("Row").unwrap().status, KeyStatus::Unreachable);
}

#[test]
fn what_the_hub_cannot_test_is_not_sent() {
    let desk = Desk::new();
    desk.hub.set_env("OPENAI_API_KEY", "sk-env-0123456789");
    desk.hub.add_provider("OpenAI", "openai", None, json!({}));
    desk.hub.add_provider("Bare", "groq", None, json!({}));
    desk.hub.add_provider("Local", "local", Some(PROVIDER_KEY), json!({}));
    for (name, why) in
        [("OpenAI", "from its variable OPENAI_API_KEY"), ("Bare", "no key is stored"), ("Local", "the type `local`")]
    {
        let tested = desk.test(name).unwrap();
        assert_eq!(tested.status, KeyStatus::Unknown);
        says(&tested, why);
    }
    assert_eq!(desk.hub.count("POST", TEST), 0);
}

#[test]
fn of_several_rows_of_a_type_none_is_said_to_be_the_one() {
    let desk = desk("openai");
    desk.hub.set_upstream("openai", Upstream::Models(3));
    desk.hub.add_provider("Second", "openai", Some(PROVIDER_KEY), json!({}));
    let tested = desk.test("Row").unwrap();
    assert_eq!(tested.status, KeyStatus::Unknown);
    says(&tested, "of `Row` and `Second` it does not say which");
    desk.hub.edit_provider("Second", |row| (row.key, row.priority) = (None, 99));
    let hidden = desk.test("Row").unwrap();
    assert_eq!(hidden.status, KeyStatus::Unknown);
    says(&hidden, "the row with the highest priority of this type has no key");
}

#[test]
fn a_key_that_the_hub_cannot_open_fails_without_a_cause() {
    let desk = desk("openai");
    desk.hub.edit_provider("Row", |row| row.key = Some((PROVIDER_KEY.to_owned(), "another".to_owned())));
    says(&desk.test("Row").unwrap(), "one that the hub cannot open");
}

#[test]
fn the_eleventh_test_of_a_minute_is_refused() {
    let desk = desk("openai");
    for _ in 0..10 {
        desk.test("Row").unwrap();
    }
    let error = desk.test("Row").unwrap_err();
    assert!(matches!(&error, StoreError::RateLimited(text) if text.contains("10 tests a minute")), "{error}");
    desk.hub.forget_tests();
    desk.test("Row").unwrap();
    desk.hub.fail(When::always().path(TEST), Fault::TooManyRequests);
    let general = desk.test("Row").unwrap_err();
    assert!(matches!(&general, StoreError::RateLimited(text) if text.contains("1000 requests")), "{general}");
}

#[test]
fn a_test_without_a_whole_answer_is_unreachable() {
    for fault in [Fault::LostAnswer, Fault::Truncated, Fault::Garbage, Fault::Html502, Fault::Silence] {
        let desk = desk("openai");
        let row = desk.told("Row");
        desk.hub.set_upstream("openai", Upstream::Models(3));
        desk.hub.fail(When::always().path(TEST), fault.clone());
        let error = block_on(desk.impatient(Some(Duration::from_secs(1))).test(&row)).unwrap_err();
        assert!(matches!(&error, StoreError::Unreachable(_)), "{fault:?}: {error}");
    }
}

#[test]
fn the_command_tests_through_the_hub_and_says_what_it_learned() {
    let desk = desk("openai");
    desk.hub.set_upstream("openai", Upstream::Models(3));
    let done = desk.keys("test").exits(0).json();
    assert_eq!(
        done,
        json!([{"name": "Row", "provider": "openai", "ok": true, "status": "valid", "latency_ms": 18, "models": 3}])
    );
    assert_eq!(desk.row("Row").test_status, Some("success"));
    desk.hub.set_upstream("openai", Upstream::Status(401));
    assert!(desk.keys("test openai").exits(6).stdout.contains("does not say why"));
    desk.hub.set_pydantic(Pydantic::One);
    assert_eq!(desk.keys("test openai").exits(1).json()[0]["status"], "invalid");
    desk.keys("test openai --base-url http://127.0.0.1:1").exits(7);
    desk.keys("test openai --dry-run").exits(7);
}

#[test]
fn one_test_of_a_type_is_made_for_all_of_its_rows() {
    let desk = desk("openai");
    desk.hub.add_provider("Second", "openai", Some(PROVIDER_KEY), json!({}));
    desk.hub.add_provider("Third", "groq", Some(PROVIDER_KEY), json!({}));
    desk.hub.set_upstream("groq", Upstream::Models(2));
    let rows = desk.keys("test").exits(10).json();
    let words: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["status"].clone()).collect();
    assert_eq!(words, ["unknown", "unknown", "valid"]);
    assert_eq!(desk.hub.count("POST", TEST), 2);
}
