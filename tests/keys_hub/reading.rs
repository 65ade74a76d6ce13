//! Lists, and what every refusal of one means (CONTRACT 2, 4.2, 5).

use std::time::Duration;

use serde_json::{Value, json};

use super::{Desk, KEYS, SESSION, user};
use crate::support::cli::{Home, PROVIDER_KEY};
use crate::support::hub::{Database, Fault, Service, When};

#[test]
fn both_services_list_the_same() {
    let list = |service| {
        let desk = Desk::new();
        desk.hub.seed_providers();
        desk.hub.add_provider("Mine", "custom", Some(PROVIDER_KEY), json!({"base_url": "http://127.0.0.1:58090/ok"}));
        desk.hub.set_service(service);
        let listed = desk.keys("list").exits(0).json();
        assert_eq!(desk.told("Mine").base_url.as_deref(), Some("http://127.0.0.1:58090/ok"));
        listed
    };
    let (as_is, repaired) = (list(Service::AsIs), list(Service::Repaired));
    assert_eq!(as_is, repaired, "config is a text on one and an object on the other");
    assert_eq!(as_is.as_array().map(Vec::len), Some(8));
    assert_eq!(as_is[0]["name"], "Mine", "keyed rows first, as the hub lists them");
}

#[test]
fn the_list_says_where_the_hub_takes_each_key_from() {
    let desk = Desk::new();
    desk.hub.add_provider("Stored", "openai", Some(PROVIDER_KEY), json!({}));
    desk.hub.add_provider("my-prov", "mistral", None, json!({}));
    desk.hub.add_provider("Bare", "cohere", None, json!({}));
    desk.hub.add_provider("Lost", "groq", Some(PROVIDER_KEY), json!({}));
    desk.hub.edit_provider("Lost", |row| row.key = Some((PROVIDER_KEY.to_owned(), "another master key".to_owned())));
    desk.hub.set_env("MY_PROV_API_KEY", "x-env");
    let listed = desk.keys("list").exits(0).json();
    let told = |name: &str| -> (Value, Value) {
        let row = listed.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        (row["source"].clone(), row["master_key"].clone())
    };
    assert_eq!(told("Stored"), (json!("database"), json!("current")), "a preview proves that the hub can open it");
    assert_eq!(told("my-prov"), (json!("environment"), json!("empty")));
    assert_eq!(told("Bare"), (json!("none"), json!("empty")));
    assert_eq!(told("Lost"), (Value::Null, Value::Null), "three stars: short, or the hub cannot open it");
    desk.plain("list").exits(0).prints("my-prov");
}

#[test]
fn without_a_session_nothing_is_sent() {
    let desk = Desk::new();
    let home = Home::new();
    let done = home.line(&format!("keys list --hub {} -o json", desk.hub.url())).exits(3);
    assert_eq!(done.code(), "credentials");
    assert!(done.stdout.contains("LLMHUB_SESSION_TOKEN"), "{}", done.stdout);
    assert_eq!(desk.hub.requests().len(), 0);
}

#[test]
fn who_may_not_see_keys_is_told_why() {
    #[track_caller]
    fn case(desk: &Desk, session: &str, status: i32, says: &str) {
        let done = desk.keys("list").env("LLMHUB_SESSION_TOKEN", session).exits(status);
        assert!(done.stdout.contains(says), "{}", done.stdout);
        assert_eq!(done.code(), if status == 3 { "credentials" } else { "denied" });
    }
    let desk = Desk::new();
    for (token, who) in [
        ("token-of-viewer", Some(user(Some("viewer")))),
        ("token-of-capital", Some(user(Some("Admin")))),
        ("token-of-roleless", Some(user(None))),
        ("token-of-nobody", None),
    ] {
        desk.hub.install_session(token, who, None);
    }
    case(&desk, "token-of-unknown", 3, "does not know the session");
    case(&desk, "token-of-nobody", 3, "belongs to nobody");
    case(&desk, "token-of-viewer", 7, "the role `admin`");
    case(&desk, "token-of-capital", 7, "the role `admin`");
    case(&desk, "token-of-roleless", 7, "the role `admin`");
    desk.keys("list").exits(0);
    assert_eq!(desk.hub.session_user(SESSION), Some(Some(user(Some("admin")))), "the admin is still logged in");
}

#[test]
fn a_key_and_a_session_never_travel_in_clear_text() {
    let home = Home::new().variable("LLMHUB_SESSION_TOKEN", SESSION);
    for line in ["keys list", "keys set openai --stdin --no-verify", "keys remove openai -y"] {
        let done = home.line(&format!("{line} --hub http://hub.example.com -o json")).stdin(PROVIDER_KEY).exits(7);
        assert_eq!(done.code(), "refused");
        assert!(done.stdout.contains("clear text"), "{}", done.stdout);
    }
}

#[test]
fn every_answer_to_a_read_has_its_code() {
    #[track_caller]
    fn case(fault: Fault, status: i32, code: &str, says: &str) {
        let desk = Desk::new();
        let shown = format!("{fault:.60?}");
        // Sixteen megabytes take a busy machine their time.
        let limit = if matches!(fault, Fault::Huge(_) | Fault::GzipBomb(_)) { 20 } else { 3 };
        desk.hub.fail(When::always().path(KEYS), fault);
        let done = desk.keys(&format!("list --timeout {limit}s")).exits(status).within(Duration::from_secs(limit + 5));
        // A request that hangs ends by its own limit or by the command's, whichever is first.
        let hung = code == "timed_out" && done.code() == "unreachable";
        assert!(hung || done.code() == code, "{shown}: {}", done.stdout);
        assert!(done.stdout.contains(says), "{shown}: {}", done.stdout);
    }
    let json =
        |status, body: &str| Fault::Answer { status, content_type: "application/json", body: body.as_bytes().to_vec() };
    case(json(404, r#"{"detail":"Not Found"}"#), 7, "unsupported", "the route is not there");
    case(json(405, r#"{"detail":"Method Not Allowed"}"#), 7, "unsupported", "the route is not there");
    case(json(418, "{}"), 6, "invalid_answer", "status 418");
    case(json(200, "[]"), 6, "invalid_answer", "something unexpected");
    case(json(200, r#"{"providers":[{"id":7}]}"#), 6, "invalid_answer", "something unexpected");
    case(Fault::TooManyRequests, 6, "rate_limited", "1000 requests");
    case(Fault::Json500, 6, "unreachable", "status 500");
    case(Fault::Text500, 6, "unreachable", "status 500");
    case(Fault::Html502, 6, "unreachable", "status 502");
    case(Fault::NoContent, 6, "invalid_answer", "status 204");
    case(Fault::Garbage, 6, "unreachable", "does not answer");
    case(Fault::CloseBeforeAnswer, 6, "unreachable", "does not answer");
    case(Fault::Truncated, 6, "unreachable", "broke off");
    case(Fault::Huge(17 << 20), 6, "unreachable", "larger than 16 MiB");
    case(Fault::GzipBomb(1 << 30), 6, "unreachable", "larger than 16 MiB");
    case(Fault::Silence, 6, "timed_out", "");
    case(Fault::HeadersOnly, 6, "timed_out", "");
    case(Fault::Drip(Duration::from_millis(200)), 6, "timed_out", "");
    case(Fault::Redirect("http://127.0.0.1:1/".to_owned()), 6, "invalid_answer", "follows no redirects");
}

#[test]
fn ten_megabytes_of_rows_are_read() {
    let desk = Desk::new();
    let description = "x".repeat(10_000);
    for number in 0..1000 {
        desk.hub.add_provider(&format!("p{number}"), "custom", None, json!({ "about": description }));
    }
    let done = desk.keys("list").exits(0).within(Duration::from_secs(10));
    assert_eq!(done.json().as_array().map(Vec::len), Some(1000));
}

#[test]
fn a_hub_that_cannot_read_its_own_keys_is_told_apart() {
    let desk = Desk::new();
    desk.hub.unset_env("BYOK_ENCRYPTION_KEY");
    assert!(desk.keys("list").exits(6).stdout.contains("BYOK_ENCRYPTION_KEY is missing or malformed"));
    let desk = Desk::new();
    desk.hub.set_database(Database::NoPool);
    assert!(desk.keys("list").exits(6).stdout.contains("has no database"));
    desk.hub.set_database(Database::NoTable);
    assert!(desk.keys("list").exits(6).stdout.contains("its table is missing"));
}

#[test]
fn a_cached_list_is_no_list() {
    let desk = Desk::new();
    desk.hub.fail(When::always(), Fault::Cached);
    desk.keys("list").exits(0);
    assert!(desk.keys("list").exits(6).stdout.contains("a cache answered instead"));
}

#[test]
fn what_only_a_database_can_do_is_refused() {
    let desk = Desk::new();
    desk.hub.seed_providers();
    for line in ["enable Groq", "disable Groq"] {
        assert_eq!(desk.keys(line).exits(7).code(), "unsupported", "{line}");
    }
}

#[test]
fn a_row_without_a_name_or_with_an_id_that_is_no_text_is_shown_and_never_acted_on() {
    let desk = Desk::new();
    let row = |id: Value, name: Value, kind: &str| {
        json!({"id": id, "name": name, "provider_type": kind, "has_key": true, "key_source": "database",
               "enabled": true, "key_preview": "sk-proj...ijkl", "config": {}})
    };
    let rows = [row(json!("i"), json!(null), "groq"), row(json!(7), json!("Numbered"), "mistral")];
    let sound = row(json!("a59fab65-0e1f-4a2b-8c3d-4e5f60718293"), json!("OpenAI"), "openai");
    let body = json!({"success": true, "total": 3, "providers": [rows[0], rows[1], sound]}).to_string().into_bytes();
    let answer = Fault::Answer { status: 200, content_type: "application/json", body };
    desk.hub.fail(When::always().method("GET").path(KEYS), answer);
    let done = desk.keys("list").exits(0).says("has no text as its name").says("has no text as its id");
    let names: Vec<Value> = done.json().as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, [Value::Null, json!("Numbered"), json!("OpenAI")]);
    for line in ["remove Numbered -y", "remove groq -y", "test Numbered"] {
        desk.keys(line).exits(7).prints("nothing names it for certain");
    }
    assert_eq!(desk.hub.requests().iter().filter(|request| request.method != "GET").count(), 0);
}
