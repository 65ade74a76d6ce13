//! Saves: what was stored, what the hub's own word for it is worth, and what the service as shipped cannot do (CONTRACT 4.3).

use std::time::Duration;

use llmhub::store::StoreError;
use serde_json::json;

use super::{Desk, Fault, KEYS, save};
use crate::support::cli::PROVIDER_KEY;
use crate::support::hub::{Pydantic, Service, Upstream, When};

#[test]
fn a_new_name_is_stored_and_read_back_on_a_repaired_hub() {
    let desk = Desk::new();
    desk.hub.set_upstream("openai", Upstream::Models(3));
    let done = desk.set("openai").exits(0).says("passed: 3 models").json();
    assert_eq!((&done["name"], &done["changed"], &done["created"]), (&json!("OpenAI"), &json!(true), &json!(true)));
    assert_eq!(desk.key("OpenAI").as_deref(), Some(PROVIDER_KEY));
    assert_eq!(desk.hub.count("POST", KEYS), 1);
    let requests = desk.hub.requests();
    let last = requests.last().unwrap();
    assert_eq!((last.method.as_str(), last.path()), ("GET", KEYS), "the list has the last word");
}

#[test]
fn a_stored_key_that_failed_its_test_is_stored_and_said_to_have_failed() {
    let desk = Desk::new();
    desk.set("openai").exits(0).says("it does not say why");
    assert_eq!(desk.key("OpenAI").as_deref(), Some(PROVIDER_KEY));
    let desk = Desk::new();
    desk.hub.set_pydantic(Pydantic::One);
    desk.set("openai").exits(0).says("the hub cannot reach the provider");
    desk.hub.set_upstream("groq", Upstream::Status(401));
    desk.set("groq").exits(0).says("the provider refuses the key");
}

#[test]
fn a_hub_as_shipped_saves_onto_the_names_of_its_seed() {
    let desk = Desk::new();
    desk.hub.set_service(Service::AsIs);
    desk.hub.seed_providers();
    let before = desk.row("Platform OpenAI");
    desk.set("'Platform OpenAI'").exits(0);
    let after = desk.row("Platform OpenAI");
    assert_eq!(after.key.map(|(key, _)| key).as_deref(), Some(PROVIDER_KEY));
    assert_eq!((after.id, after.config), (before.id, before.config));
    desk.set("openrouter").exits(0);
    assert_eq!(desk.key("OpenRouter").as_deref(), Some(PROVIDER_KEY));
}

#[test]
fn a_hub_as_shipped_cannot_save_a_new_name_and_the_database_is_named() {
    for service in [Service::AsIs, Service::Codec, Service::Nullable] {
        let desk = Desk::new();
        desk.hub.set_service(service);
        desk.hub.seed_providers();
        let done = desk.set("openai").exits(7);
        assert_eq!(done.code(), "unsupported");
        for word in ["cannot save a new name", "--via db", "may have sent the key to the provider"] {
            assert!(done.stdout.contains(word), "{word}: {}", done.stdout);
        }
        assert_eq!(desk.hub.count("POST", KEYS), 1, "asked once");
        assert!(desk.hub.providers().iter().all(|row| row.key.is_none()));
    }
}

#[test]
fn an_endpoint_is_added_to_the_config_that_is_there() {
    let line = "custom --name 'Local vLLM' --base-url http://127.0.0.1:58090/ok";
    let desk = Desk::new();
    desk.hub.seed_providers();
    desk.set(line).exits(0).says("passed: 3 models").says("was `local` and is `custom`");
    assert_eq!(desk.row("Local vLLM").config, json!({"timeout": 60000, "base_url": "http://127.0.0.1:58090/ok"}));

    let desk = Desk::new();
    desk.hub.set_service(Service::AsIs);
    desk.hub.seed_providers();
    let refused = desk.set(line).exits(7);
    assert!(refused.stdout.contains("cannot save an endpoint"), "{}", refused.stdout);
    assert_eq!((desk.key("Local vLLM"), desk.row("Local vLLM").provider.as_str()), (None, "local"));
    // The endpoint that is there already need not be sent.
    desk.hub.edit_provider("Local vLLM", |row| row.config = json!({"base_url": "http://127.0.0.1:58090/ok"}));
    desk.set(line).exits(0);
    assert_eq!(desk.key("Local vLLM").as_deref(), Some(PROVIDER_KEY));
}

#[test]
fn a_dry_run_sends_nothing_but_reads() {
    let desk = Desk::new();
    desk.set("openai --dry-run").exits(0);
    assert!(desk.hub.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn what_the_hub_would_repeat_or_choke_on_is_refused_before_it_travels() {
    let desk = Desk::new();
    let long = "n".repeat(101);
    desk.keys("set openai --stdin --no-verify").stdin("short-key").exits(7);
    desk.set(&format!("openai --name {long}")).exits(7);
    assert_eq!(desk.hub.count("POST", KEYS), 0);
    desk.keys("set openai --stdin --no-verify").stdin("ten-chars-").exits(0).says("is not proven");
    desk.set("azure").exits(4);
}

#[test]
fn a_row_that_changed_since_it_was_seen_is_left_alone() {
    let desk = Desk::new();
    desk.hub.add_provider("OpenAI", "openai", Some("sk-somebody-elses-key-0001"), json!({}));
    let seen = desk.told("OpenAI");
    desk.hub.edit_provider("OpenAI", |row| {
        row.key = row.key.take().map(|(_, master)| ("sk-somebody-elses-key-0002".to_owned(), master));
    });
    let changed = save(&desk.store(), Some(&seen), "OpenAI").unwrap_err();
    assert!(matches!(&changed, StoreError::Conflict(_)), "{changed}");
    let made = save(&desk.store(), None, "openai").unwrap_err();
    assert!(matches!(&made, StoreError::Conflict(_)), "{made}: a row of that name in another case");
    desk.hub.drop_providers(|_| true);
    let gone = save(&desk.store(), Some(&seen), "OpenAI").unwrap_err();
    assert!(matches!(&gone, StoreError::Conflict(_)), "{gone}");
    assert_eq!(desk.hub.count("POST", KEYS), 0);
}

#[test]
fn a_save_outlasts_the_ten_seconds_of_the_hubs_own_test() {
    let desk = Desk::new();
    desk.hub.fail(When::always().method("POST"), Fault::Slow(Duration::from_millis(10_200)));
    desk.set("openai").exits(0).within(Duration::from_secs(20));
    assert_eq!(desk.key("OpenAI").as_deref(), Some(PROVIDER_KEY));
}
