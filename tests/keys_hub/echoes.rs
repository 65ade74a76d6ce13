//! A hub that sends the key back (CONTRACT 4.3, 5): in whatever answer, it is neither said, nor traced, nor in a `Debug`.

use serde_json::json;

use super::{Desk, Fault, KEYS, TEST, echo, save, silent};
use crate::support::cli::PROVIDER_KEY;
use crate::support::hub::When;
use crate::support::postgres::block_on;

/// Answers of every kind with the key in them; the first is the one that was recorded.
const SHAPES: [(u16, &str); 12] = [
    (
        422,
        r#"{"detail":[{"type":"string_too_short","loc":["body","api_key"],"msg":"String should have at least 10 characters","input":"KEY"}]}"#,
    ),
    (422, r#"{"detail":[{"type":"missing","loc":["body","name","KEY"],"msg":"KEY","input":{"api_key":"KEY"}}]}"#),
    (500, r#"{"detail":"Traceback (most recent call last): Authorization: Bearer KEY"}"#),
    (500, r#"Traceback (most recent call last): File "KEY""#),
    (400, r#"{"detail":"Invalid provider type. Supported: KEY"}"#),
    (400, r#"{"detail":"KEY"}"#),
    (401, r#"{"detail":"KEY"}"#),
    (403, r#"{"detail":"Admin access required (current role: KEY)"}"#),
    (404, r#"{"detail":"KEY not found"}"#),
    (429, r#"{"error":"Rate limit exceeded: KEY"}"#),
    (200, r#"{"success":true,"name":"KEY","test_result":{"success":false,"error":"Test failed: KEY"}}"#),
    (200, r#"{"success":"KEY"}"#),
];

#[test]
fn no_answer_to_a_save_is_ever_repeated() {
    for (status, shape) in SHAPES {
        let whole = Fault::Answer { status, content_type: "application/json", body: echo(shape) };
        for fault in [whole, Fault::Dripped { status, body: echo(shape) }] {
            let desk = Desk::new();
            desk.break_saves(fault);
            let error = save(&desk.store(), None, "OpenAI").unwrap_err();
            silent(&format!("{error} {error:?} {error:#?}"));
            // The binary blots out what it knows to be secret; that it had to would be the fault of somebody else.
            let done = desk.set("openai -vv").done();
            assert!(!matches!(done.status, 0 | 70), "{}", done.stderr);
            for text in [&done.stdout, &done.stderr] {
                silent(text);
                assert!(!text.contains("***"), "blotted out: {text}");
            }
        }
    }
}

#[test]
fn no_answer_to_a_test_is_ever_repeated() {
    for (status, shape) in SHAPES {
        let desk = Desk::new();
        desk.hub.add_provider("OpenAI", "openai", Some(PROVIDER_KEY), json!({}));
        let row = desk.told("OpenAI");
        desk.hub
            .fail(When::always().path(TEST), Fault::Answer { status, content_type: "text/html", body: echo(shape) });
        silent(&format!("{:?}", block_on(desk.store().test(&row))));
    }
}

#[test]
fn a_list_that_shows_the_key_is_not_repeated() {
    for preview in ["KEY", "KEY...", "sk-CANARY...", ""] {
        let desk = Desk::new();
        let body = json!({"success": true, "total": 1, "providers": [{
            "id": "a59fab65-ab40-4cbe-9655-4c8e9af7b906", "name": "OpenAI", "provider_type": "openai", "has_key": true,
            "key_source": "database", "enabled": true, "key_preview": preview, "config": {"api_key": "KEY"},
            "test_status": null, "last_tested": null,
        }]});
        let body = echo(&body.to_string());
        desk.hub.fail(When::always().path(KEYS), Fault::Answer { status: 200, content_type: "application/json", body });
        for line in ["list -vv", "list -o yaml", "list -o markdown"] {
            silent(&desk.plain(line).exits(0).stdout);
        }
        silent(&format!("{:?}", desk.told("OpenAI")));
    }
}

#[test]
fn a_request_id_is_repeated_only_if_it_is_one() {
    let desk = Desk::new();
    desk.hub.unset_env("BYOK_ENCRYPTION_KEY");
    assert!(desk.keys("list").exits(6).stdout.contains("request id "));
    desk.hub.fail(When::always(), Fault::TerminalEscapes);
    assert!(!desk.keys("list").exits(6).stdout.contains("request id "));
    // Nor in the log, whichever route was asked.
    let logged = desk.keys("list -vv").exits(6).stderr;
    assert!(logged.contains("answered") && !logged.contains("request_id"), "{logged}");
    let logged = desk.home.line(&format!("flags list -vv --hub {}", desk.hub.url())).done().stderr;
    assert!(logged.contains("answered") && !logged.contains("request_id"), "{logged}");
    desk.hub.repair_all();
    let logged = desk.home.line(&format!("flags list -vv --hub {}", desk.hub.url())).exits(0).stderr;
    assert!(logged.contains("request_id"), "{logged}");
}
