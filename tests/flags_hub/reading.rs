//! What a hub holds is shown as it is: flags, poisoned ones too, and an API that is not there.

use serde_json::{Value, json};

use super::{Desk, FLAG, ONE, hub};
use crate::support::hub::{Fault, Hub, Mount, When};

#[test]
fn a_hub_without_the_flag_api_is_told_apart_from_an_unknown_flag() {
    let desk = Desk::new(Hub::builder().mount(Mount::Missing));
    for line in [
        "list".to_owned(),
        format!("show {FLAG}"),
        format!("rollout {FLAG} 10"),
        format!("enable {FLAG}"),
        format!("whitelist add {FLAG} ana"),
        format!("check {FLAG} --user ana --via hub"),
        "export".to_owned(),
    ] {
        let done = desk.flags(&line).exits(7);
        assert_eq!(done.code(), "unsupported", "{line}");
        let error = done.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains("not mounted"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("llmhub doctor"), "{error}");
    }
    assert_eq!(desk.writes(), 0);
}

#[test]
fn an_unknown_flag_is_exit_4_with_the_nearest_names() {
    let desk = Desk::new(hub(2, 10));
    for line in [
        "show unified_llm_hu".to_owned(),
        "rollout unified_llm_hu 25".to_owned(),
        "disable Unified_LLM_Hub".to_owned(),
        "check unified_llm_hu --user ana".to_owned(),
        "check unified_llm_hu --user ana --via hub".to_owned(),
        "whitelist list unified_llm_hu".to_owned(),
    ] {
        let done = desk.flags(&line).exits(4);
        assert_eq!(done.code(), "flag_not_found", "{line}");
        assert!(done.json()["error"].to_string().contains(FLAG), "{}", done.stdout);
    }
    assert_eq!(desk.writes(), 0);
}

#[test]
fn a_read_shows_one_process_and_says_of_how_many() {
    let desk = Desk::new(hub(4, 25));
    let done = desk.flags(&format!("show {FLAG}")).exits(0).says("read 1 of 4 processes");
    let expected = json!({
        "flag": FLAG, "enabled": true, "rollout_percentage": 25, "whitelist_users": [], "blacklist_users": [],
        "start_date": null, "end_date": null, "description": "Unified LLM management interface (replaces 4 old pages)",
        "tags": ["llm", "ui", "admin"], "owner": "platform-team", "revision": null, "source": "hub",
    });
    assert_eq!(done.json(), expected);
    let list = desk.flags("list").exits(0).says("read 1 of 4 processes").json();
    let names: Vec<&Value> = list.as_array().unwrap().iter().map(|flag| &flag["flag"]).collect();
    assert_eq!(names, [FLAG, "advanced_analytics", "model_recommendations"]);
    assert_eq!(list[0], expected);
}

#[test]
fn poisoned_flags_are_shown_and_listed_with_their_problems() {
    #[track_caller]
    fn case(members: Value, member: &str, shown: Value) {
        let desk = Desk::new(hub(1, 10));
        desk.hub.set_flag_everywhere(FLAG, members);
        let flag = desk.flags(&format!("show {FLAG}")).exits(0).json();
        assert_eq!(flag[member], shown);
        let problems = flag["problems"].as_array().unwrap_or_else(|| panic!("no problems: {flag}"));
        assert!(!problems.is_empty());
        let list = desk.flags("list").exits(0).json();
        assert_eq!((&list[0], list[1].get("problems")), (&flag, None));
        desk.plain("list").exits(0).prints(problems[0].as_str().unwrap());
        desk.plain(&format!("show {FLAG}")).exits(0).prints("problem");
    }
    case(json!({"rollout_percentage": null}), "rollout_percentage", Value::Null);
    case(json!({"rollout_percentage": 150}), "rollout_percentage", json!(150));
    case(json!({"rollout_percentage": -5}), "rollout_percentage", json!(-5));
    case(json!({"whitelist_users": null}), "whitelist_users", Value::Null);
    case(json!({"blacklist_users": null}), "blacklist_users", Value::Null);
    case(json!({"enabled": null}), "enabled", Value::Null);
    case(json!({"start_date": "2026-01-16T00:00:00+00:00"}), "start_date", json!("2026-01-16T00:00:00+00:00"));
    case(json!({"end_date": "20260116"}), "end_date", json!("20260116"));
}

#[test]
fn a_percentage_beyond_64_bits_is_shown_as_null_with_the_problem() {
    let desk = Desk::new(hub(1, format!("1{}", "0".repeat(30))));
    let flag = desk.flags(&format!("show {FLAG}")).exits(0).json();
    assert_eq!(flag["rollout_percentage"], Value::Null);
    assert!(!flag["problems"].as_array().unwrap().is_empty());
}

#[test]
fn a_good_write_repairs_a_poisoned_flag() {
    #[track_caller]
    fn case(members: Value, line: &str, member: &str, then: Value) {
        let desk = Desk::new(hub(2, 10));
        desk.hub.set_flag_everywhere(FLAG, members);
        assert_eq!(desk.flags(&format!("{line} -y")).exits(0).json()["changed"], true);
        assert_eq!(desk.hub.member(FLAG, member), [then.clone(), then]);
        let flag = desk.flags(&format!("show {FLAG}")).exits(0).json();
        assert_eq!(flag.get("problems"), None);
    }
    case(json!({"rollout_percentage": null}), &format!("rollout {FLAG} 0"), "rollout_percentage", json!(0));
    case(json!({"rollout_percentage": 150}), &format!("rollout {FLAG} 100"), "rollout_percentage", json!(100));
    case(json!({"whitelist_users": null}), &format!("whitelist add {FLAG} ana"), "whitelist_users", json!(["ana"]));
    case(json!({"blacklist_users": null}), &format!("blacklist add {FLAG} eve"), "blacklist_users", json!(["eve"]));
    case(json!({"enabled": null}), &format!("disable {FLAG}"), "enabled", json!(false));
    case(json!({"enabled": null}), &format!("enable {FLAG}"), "enabled", json!(true));
}

/// Ids that try a client: blanks, slashes, other scripts, what a query would break on, and the bucket's own separator.
const USERS: [&str; 14] = [
    "user-0001",
    "bob",
    "Alice@Example.com",
    "ALICE@example.com",
    "ana",
    "eve",
    "a b",
    "a+b",
    "a/b",
    "a&b#c?d%41",
    "jörg@example.com",
    "用户",
    "a:b",
    "5d1f9a52-4f6e-4a57-9c5e-0c1b7d1c7a11",
];

#[test]
fn check_agrees_with_the_hub_for_every_user() {
    let flags = [
        json!({"rollout_percentage": 0}),
        json!({"rollout_percentage": 25}),
        json!({"rollout_percentage": 50}),
        json!({"rollout_percentage": 100}),
        json!({"rollout_percentage": 150}),
        json!({"rollout_percentage": -5, "whitelist_users": ["ana", "eve", "a b"], "blacklist_users": ["eve"]}),
        json!({"enabled": false, "rollout_percentage": 100, "whitelist_users": ["ana"]}),
        json!({"rollout_percentage": 100, "end_date": "2020-01-01"}),
        json!({"rollout_percentage": 100, "start_date": "2099-01-01T00:00:00", "whitelist_users": ["ana"]}),
        json!({"rollout_percentage": 50, "end_date": "2020-01-01T00:00:00Z"}),
    ];
    for members in flags {
        let desk = Desk::new(hub(1, 0));
        desk.hub.set_flag_everywhere(FLAG, members.clone());
        for user in USERS {
            let done = desk.flags(&format!("check {FLAG} --via hub --user '{user}'")).done();
            let answer = done.json();
            assert!(matches!(done.status, 0 | 1), "{members} {user}: {}{}", done.stdout, done.stderr);
            assert_eq!(answer["enabled"], json!(done.status == 0), "{members} {user}");
            assert_eq!(answer.get("disagreement"), None, "{members} {user}: {answer}");
        }
        assert_eq!(desk.hub.count("GET", ONE), USERS.len(), "the hub itself was asked");
    }
}

#[test]
fn check_fails_where_the_hub_would_fail() {
    #[track_caller]
    fn case(members: Value, user: &str) {
        let desk = Desk::new(hub(1, 50));
        desk.hub.set_flag_everywhere(FLAG, members);
        for via in ["", " --via hub"] {
            let answer = desk.flags(&format!("check {FLAG} --user '{user}'{via}")).exits(1).json();
            assert_eq!((&answer["enabled"], &answer["reason"]), (&Value::Null, &json!("hub_error")));
        }
    }
    case(json!({"rollout_percentage": null}), "bob");
    case(json!({"whitelist_users": null}), "bob");
    case(json!({"blacklist_users": null}), "bob");
    case(json!({"start_date": "2020-01-01T00:00:00+00:00"}), "bob");
}

#[test]
fn a_hub_that_answers_otherwise_is_a_disagreement() {
    #[track_caller]
    fn case(fault: Fault, words: &str) {
        let desk = Desk::new(hub(1, 100));
        desk.hub.fail(When::always().path(ONE), fault);
        let line = format!("check {FLAG} --user bob --via hub");
        let done = desk.flags(&line).exits(10);
        assert_eq!(done.json()["enabled"], true, "our own answer stays");
        assert!(done.json()["disagreement"].as_str().unwrap().contains(words), "{}", done.stdout);
        desk.plain(&line).exits(10).prints("hub says");
    }
    let body = br#"{"flag":"unified_llm_hub","enabled":false,"config":{},"reason":"rollout_not_reached"}"#;
    let off = Fault::Answer { status: 200, content_type: "application/json", body: body.to_vec() };
    case(off, "off (rollout_not_reached)");
    case(Fault::Json500, "500");
}

#[test]
fn a_read_is_repeated_once_when_the_kept_connection_is_dead() {
    let desk = Desk::new(hub(1, 100));
    desk.hub.fail(
        When::always().method("GET").path(&format!("/api/v1/features/{FLAG}")).first(1),
        Fault::CloseBeforeAnswer,
    );
    desk.flags(&format!("check {FLAG} --user ana --via hub")).exits(0);
    desk.hub.fail(When::always().method("GET").path(&format!("/api/v1/features/{FLAG}")), Fault::CloseBeforeAnswer);
    desk.flags(&format!("check {FLAG} --user ana --via hub")).exits(6);
}
