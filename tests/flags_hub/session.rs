//! Who writes: anonymous sessions, an operator's login, and what an expired one looks like (CONTRACT 2).

use serde_json::json;

use super::{Desk, FLAG, LIST, TOKEN, hub};
use crate::support::cli::CANARIES;
use crate::support::hub::{Fault, User, When};

/// A session value that must not be seen anywhere in the output.
const SESSION: &str = CANARIES[0];

fn admin() -> Option<User> {
    Some(User { role: Some("admin".to_owned()), email: "admin@example.com".to_owned() })
}

fn puts(desk: &Desk) -> Vec<u16> {
    desk.hub.requests().iter().filter(|request| request.method == "PUT").filter_map(|put| put.status).collect()
}

#[test]
fn without_a_login_the_write_is_anonymous_and_the_operator_is_told() {
    let desk = Desk::new(hub(2, 10));
    desk.flags(&format!("rollout {FLAG} 25")).exits(0).says("anonymous session");
    assert_eq!((desk.hub.count("GET", TOKEN), puts(&desk)), (1, vec![200, 200]));
    desk.everywhere(25);
}

#[test]
fn a_login_without_a_csrf_token_yet_survives_the_write() {
    let desk = Desk::new(hub(2, 10));
    desk.hub.install_session(SESSION, admin(), None);
    let done = desk.flags(&format!("rollout {FLAG} 25")).env("LLMHUB_SESSION_TOKEN", SESSION).exits(0);
    assert!(!done.stderr.contains("anonymous"), "{}", done.stderr);
    assert_eq!(desk.hub.session_user(SESSION), Some(admin()), "the admin is still logged in");
    assert_eq!(desk.hub.count("GET", TOKEN), 0, "the endpoint that logs a fresh admin out is never asked");
    desk.everywhere(25);
}

#[test]
fn a_login_that_has_its_csrf_token_keeps_it() {
    let desk = Desk::new(hub(1, 10));
    desk.hub.install_session(SESSION, admin(), Some("known"));
    desk.flags(&format!("disable {FLAG}")).env("LLMHUB_SESSION_TOKEN", SESSION).exits(0);
    let requests = desk.hub.requests();
    let put = requests.iter().find(|request| request.method == "PUT").unwrap();
    assert!(put.headers.contains(&("x-csrf-token".to_owned(), b"known".to_vec())));
    assert_eq!(desk.hub.member(FLAG, "enabled"), [false]);
}

#[test]
fn the_session_goes_out_only_where_a_write_needs_it() {
    let desk = Desk::new(hub(2, 10));
    desk.hub.install_session(SESSION, admin(), None);
    desk.flags(&format!("show {FLAG}")).env("LLMHUB_SESSION_TOKEN", SESSION).exits(0);
    for request in desk.hub.requests() {
        assert!(!request.headers.iter().any(|(name, _)| name == "cookie"), "{}", request.target);
    }
}

#[test]
fn an_expired_login_is_exit_3_and_nothing_is_written() {
    let desk = Desk::new(hub(2, 10));
    let done = desk.flags(&format!("rollout {FLAG} 25")).env("LLMHUB_SESSION_TOKEN", SESSION).exits(3);
    assert_eq!(done.code(), "credentials");
    assert!(puts(&desk).iter().all(|status| *status == 500));
    assert_eq!(desk.hub.session_user(SESSION), None, "no session was made under the operator's own value");
    desk.everywhere(10);
}

#[test]
fn a_hub_without_csrf_is_written_without_a_token() {
    let desk = Desk::new(hub(2, 10).env([("CSRF_ENABLED", "false")]));
    desk.flags(&format!("rollout {FLAG} 25")).exits(0);
    desk.flags(&format!("rollout {FLAG} 50")).env("LLMHUB_SESSION_TOKEN", SESSION).exits(0);
    desk.everywhere(50);
}

#[test]
fn a_refused_token_is_renewed_once() {
    #[track_caller]
    fn case(refused: usize, exit: i32, written: i64) {
        let desk = Desk::new(hub(1, 10));
        desk.hub.fail(When::always().method("PUT").first(refused), Fault::Text500);
        let done = desk.flags(&format!("rollout {FLAG} 25")).exits(exit);
        assert!(exit == 0 || done.code() == "credentials");
        assert_eq!(desk.hub.count("GET", TOKEN), 2);
        desk.everywhere(written);
    }
    case(1, 0, 25);
    case(100, 3, 10);
}

#[test]
fn a_session_that_ends_half_way_is_partial_and_says_so() {
    let desk = Desk::new(hub(4, 10));
    desk.hub.install_session(SESSION, admin(), None);
    desk.hub.fail(When::always().method("PUT").from(3), Fault::Text500);
    let done = desk.plain(&format!("rollout {FLAG} 25")).env("LLMHUB_SESSION_TOKEN", SESSION).exits(10);
    let (agree, _, verdict, evidence) = super::live(&done);
    assert_eq!((agree, verdict.as_str()), (2, "partial"));
    assert!(evidence.contains("refused the session"), "{evidence}");
    assert!(!evidence.contains("nothing was written"), "two processes were: {evidence}");
}

#[test]
fn enable_keeps_the_stored_percentage_and_never_calls_the_hubs_own_enable() {
    let desk = Desk::new(hub(2, 40).env([("FEATURE_UNIFIED_LLM_HUB", "false")]));
    desk.flags(&format!("enable {FLAG}")).exits(0).says("40 %");
    desk.everywhere(40);
    assert_eq!(desk.hub.member(FLAG, "enabled"), [true, true]);
    for verb in ["disable", "enable", "disable"] {
        desk.flags(&format!("{verb} {FLAG}")).exits(0);
    }
    desk.everywhere(40);
    assert_eq!(desk.hub.member(FLAG, "enabled"), [false, false]);
    assert!(!desk.hub.requests().iter().any(|request| request.method == "POST"), "no verb of the hub's own");
}

#[test]
fn a_write_sends_only_the_member_that_changes() {
    let desk = Desk::new(hub(1, 10));
    let sent = |line: &str| {
        desk.hub.forget_requests();
        desk.flags(line).exits(0);
        let requests = desk.hub.requests();
        let put = requests.iter().find(|request| request.method == "PUT").unwrap();
        serde_json::from_slice::<serde_json::Value>(&put.body).unwrap()
    };
    assert_eq!(sent(&format!("rollout {FLAG} 25")), json!({"rollout_percentage": 25}));
    assert_eq!(sent(&format!("disable {FLAG}")), json!({"enabled": false}));
    assert_eq!(sent(&format!("enable {FLAG}")), json!({"enabled": true}));
    assert_eq!(sent(&format!("whitelist add {FLAG} ana")), json!({"whitelist_users": ["ana"]}));
    assert_eq!(sent(&format!("blacklist add {FLAG} eve")), json!({"blacklist_users": ["eve"]}));
}

#[test]
fn dates_are_refused_before_any_request_that_writes() {
    let desk = Desk::new(hub(2, 10));
    for dates in ["--start 2026-12-01T08:00Z", "--end 2030-01-01", "--start 2026-12-01 --end 2030-01-01"] {
        let done = desk.flags(&format!("schedule {FLAG} {dates}")).exits(7);
        assert_eq!(done.code(), "unsupported");
        assert!(done.json()["error"]["hint"].as_str().unwrap().contains("--via env"));
    }
    let writes = desk.hub.requests().iter().filter(|request| request.method != "GET").count();
    assert_eq!((writes, desk.hub.count("GET", TOKEN)), (0, 0));
    assert_eq!(desk.hub.member(FLAG, "start_date"), [json!(null), json!(null)]);
    assert!(desk.hub.count("GET", LIST) > 0);
}
