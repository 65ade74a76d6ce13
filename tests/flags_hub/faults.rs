//! Servers that fail, lie, dawdle or flood: every command ends in bounded time, with a true exit status and a hint.

use std::time::Duration;

use serde_json::json;

use super::{Desk, FLAG, LIST, hub, live};
use crate::support::cli::{CANARIES, Done};
use crate::support::hub::{Fault, Hub, When};

/// A generous bound against hangs: `--timeout` is 3 s at most where it is used.
const BOUND: Duration = Duration::from_secs(12);

fn answer(status: u16, content_type: &'static str, body: &str) -> Fault {
    Fault::Answer { status, content_type, body: body.as_bytes().to_vec() }
}

/// A failure has one line of hint on stderr and the same in the document.
#[track_caller]
fn hinted(done: Done) -> Done {
    if done.status > 1 && done.status != 10 {
        assert!(!done.code().is_empty());
        return done.says("hint: ");
    }
    done
}

#[test]
fn a_read_from_a_broken_hub_is_exit_6_in_bounded_time() {
    #[track_caller]
    fn case(fault: Fault, code: &str) {
        let desk = Desk::new(hub(1, 10));
        let name = format!("{fault:.60?}");
        desk.hub.fail(When::always(), fault);
        for line in ["list".to_owned(), format!("show {FLAG}"), format!("check {FLAG} --user bob --via hub")] {
            let done = hinted(desk.flags(&format!("{line} --timeout 3s")).exits(6)).within(BOUND);
            assert_eq!(done.code(), code, "{name}: {line}");
        }
        assert_eq!(desk.writes(), 0, "{name}");
    }
    case(Fault::Json500, "unreachable");
    case(Fault::Text500, "unreachable");
    case(Fault::Html502, "unreachable");
    case(answer(503, "text/plain", "busy"), "unreachable");
    case(Fault::TooManyRequests, "rate_limited");
    case(Fault::Redirect("http://127.0.0.1:1/login".to_owned()), "invalid_answer");
    case(answer(200, "text/html", "<html>please log in</html>"), "invalid_answer");
    case(answer(200, "application/json", "[]"), "invalid_answer");
    case(answer(200, "application/json", "{\"unified_llm_hub\":"), "invalid_answer");
    case(answer(200, "application/json", "\u{feff}{}garbage"), "invalid_answer");
    case(answer(200, "application/json", &"[".repeat(100_000)), "invalid_answer");
    case(answer(418, "text/plain", "teapot"), "invalid_answer");
    case(Fault::NoContent, "invalid_answer");
    case(Fault::Huge(10 << 20), "invalid_answer");
    case(Fault::Garbage, "unreachable");
    case(Fault::CloseBeforeAnswer, "unreachable");
    case(Fault::LostAnswer, "unreachable");
    case(Fault::Truncated, "unreachable");
    case(Fault::Huge(17 << 20), "unreachable");
}

#[test]
fn a_hub_that_dawdles_is_exit_6_when_the_timeout_is_over() {
    for fault in [
        Fault::Silence,
        Fault::Hang,
        Fault::HeadersOnly,
        Fault::Slow(Duration::from_secs(60)),
        Fault::Drip(Duration::from_millis(200)),
    ] {
        let name = format!("{fault:?}");
        let desk = Desk::new(hub(1, 10));
        desk.hub.fail(When::always(), fault);
        let done = hinted(desk.flags(&format!("show {FLAG} --timeout 2s")).exits(6)).within(BOUND);
        assert!(matches!(done.code().as_str(), "timed_out" | "unreachable"), "{name}");
        hinted(desk.flags(&format!("rollout {FLAG} 25 --timeout 2s")).exits(6)).within(BOUND);
        assert_eq!(desk.writes(), 0, "{name}");
    }
}

#[test]
fn a_compressed_flood_is_never_unpacked() {
    let desk = Desk::new(hub(1, 10));
    desk.hub.fail(When::always(), Fault::GzipBomb(1 << 30));
    hinted(desk.flags(&format!("show {FLAG} --timeout 5s")).exits(6)).within(Duration::from_secs(7));
    hinted(desk.flags(&format!("rollout {FLAG} 25 --timeout 5s")).exits(6)).within(Duration::from_secs(7));
}

#[test]
fn a_long_user_list_is_not_a_flood() {
    let desk = Desk::new(hub(1, 10));
    let users: Vec<String> = (0..100_000).map(|number| format!("user-{number:06}@some.example.com")).collect();
    desk.hub.set_flag_everywhere(FLAG, json!({"whitelist_users": users}));
    let shown = desk.flags(&format!("show {FLAG}")).exits(0).json();
    assert_eq!(shown["whitelist_users"].as_array().map(Vec::len), Some(100_000));
}

#[test]
fn nothing_that_nobody_listens_on_is_waited_for() {
    let home = crate::support::cli::Home::new();
    let gone = hub(1, 10).start();
    let url = gone.url();
    drop(gone);
    for line in [format!("flags show {FLAG}"), format!("flags rollout {FLAG} 25"), format!("flags disable {FLAG}")] {
        let done = hinted(home.line(&format!("{line} --hub {url} -o json")).exits(6)).within(BOUND);
        assert_eq!(done.code(), "unreachable");
    }
}

#[test]
fn a_write_to_a_hub_that_refuses_it_says_that_nothing_was_written() {
    #[track_caller]
    fn case(fault: Fault, exit: i32, code: &str) {
        let desk = Desk::new(hub(2, 10));
        let name = format!("{fault:.60?}");
        desk.hub.fail(When::always().method("PUT"), fault);
        let done = hinted(desk.flags(&format!("rollout {FLAG} 25 --timeout 4s")).exits(exit));
        assert_eq!(done.within(BOUND).code(), code, "{name}");
        desk.everywhere(10);
    }
    case(Fault::Json500, 6, "unreachable");
    case(Fault::Html502, 6, "unreachable");
    case(answer(503, "text/plain", "busy"), 6, "unreachable");
    case(Fault::Text500, 3, "credentials");
    case(Fault::TooManyRequests, 6, "unreachable");
    case(answer(401, "application/json", "{\"detail\":\"log in\"}"), 3, "credentials");
    case(answer(403, "application/json", "{\"detail\":\"no\"}"), 7, "denied");
    case(answer(404, "application/json", "{\"detail\":\"Not Found\"}"), 7, "unsupported");
    case(answer(405, "application/json", "{\"detail\":\"Method Not Allowed\"}"), 7, "unsupported");
    case(answer(422, "application/json", "{\"detail\":[]}"), 7, "refused");
    case(Fault::Redirect("http://127.0.0.1:1/login".to_owned()), 6, "invalid_answer");
}

#[test]
fn a_hub_that_says_yes_and_stores_something_else_is_refused() {
    let desk = Desk::new(hub(1, 10));
    let body = r#"{"flag":"unified_llm_hub","new_config":{"enabled":true,"rollout_percentage":30}}"#;
    desk.hub.fail(When::always().method("PUT"), answer(200, "application/json", body));
    desk.flags(&format!("rollout {FLAG} 25")).exits(7);
}

#[test]
fn a_write_whose_answer_is_lost_is_settled_by_reading() {
    for fault in [
        Fault::LostAnswer,
        Fault::Truncated,
        Fault::NoContent,
        Fault::CloseAfterAnswer,
        Fault::ContentType("text/html"),
        Fault::HeadersOnly,
    ] {
        let name = format!("{fault:?}");
        let desk = Desk::new(hub(2, 10));
        desk.hub.fail(When::always().method("PUT"), fault);
        let done = desk.plain(&format!("rollout {FLAG} 25")).exits(0).within(Duration::from_secs(40));
        assert!(matches!(live(&done).2.as_str(), "proved" | "sampled"), "{name}");
        assert_eq!(desk.writes(), 2, "{name}: what was applied is not written again");
        desk.everywhere(25);
    }
}

#[test]
fn a_lost_write_that_was_not_applied_is_repeated() {
    for fault in [Fault::CloseBeforeAnswer, Fault::Garbage] {
        let desk = Desk::new(hub(2, 10));
        desk.hub.fail(When::always().method("PUT").first(2), fault);
        desk.flags(&format!("rollout {FLAG} 25")).exits(0);
        assert_eq!(desk.writes(), 4);
        desk.everywhere(25);
    }
}

#[test]
fn writes_that_are_all_lost_on_a_hub_that_falls_silent_are_unknown() {
    for fault in [Fault::LostAnswer, Fault::CloseBeforeAnswer] {
        let desk = Desk::new(hub(2, 10));
        desk.hub.fail(When::always().method("PUT"), fault);
        // The survey and the first batch are answered.
        desk.hub.fail(When::always().method("GET").path(LIST).from(17), Fault::CloseBeforeAnswer);
        let done = hinted(desk.flags(&format!("rollout {FLAG} 25")).exits(11));
        assert_eq!(done.code(), "outcome_unknown");
    }
}

#[test]
fn a_timeout_in_the_middle_of_a_write_is_unknown() {
    let desk = Desk::new(hub(2, 10));
    desk.hub.fail(When::always().method("PUT"), Fault::Silence);
    let done = hinted(desk.flags(&format!("rollout {FLAG} 25 --timeout 3s")).exits(11)).within(BOUND);
    assert!(matches!(done.code().as_str(), "timed_out" | "outcome_unknown"));
}

#[test]
fn one_process_that_always_fails_is_partial() {
    for fault in [Fault::Json500, Fault::CloseBeforeAnswer, Fault::Garbage] {
        let desk = Desk::new(hub(4, 10));
        desk.hub.fail(When::always().on_worker(2), fault);
        let done = desk.plain(&format!("rollout {FLAG} 25")).exits(10).within(Duration::from_secs(40));
        let (agree, of, verdict, _) = live(&done);
        assert_eq!((agree, of, verdict.as_str()), (3, Some(4), "partial"));
    }
}

#[test]
fn a_redirect_takes_no_secret_to_another_host() {
    let session = CANARIES[0];
    let elsewhere = Hub::builder().start();
    for (when, exit) in [(When::always(), 6), (When::always().method("PUT"), 6)] {
        let desk = Desk::new(hub(2, 10));
        desk.hub.install_session(session, None, Some("known"));
        desk.hub.fail(when, Fault::Redirect(format!("{}{LIST}", elsewhere.url())));
        let line = format!("rollout {FLAG} 25");
        let done = hinted(desk.flags(&line).env("LLMHUB_SESSION_TOKEN", session).exits(exit));
        assert!(done.says("redirects").stderr.contains(&elsewhere.url()), "the target is named");
        desk.everywhere(10);
    }
    assert_eq!((elsewhere.connections(), elsewhere.requests().len()), (0, 0));
}

/// Nothing that moves a cursor, colours, or turns the writing direction round.
#[track_caller]
fn tame(done: &Done) {
    for text in [&done.stdout, &done.stderr] {
        let wild = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!text.contains(wild), "{text:?}");
    }
}

#[test]
fn what_a_hub_says_cannot_drive_the_terminal() {
    let desk = Desk::new(hub(2, 10));
    let users = ["\u{1b}[31mred", "\u{9b}2Jclear", "\u{202e}txet", "\u{1b}]0;title\u{7}", "back\u{8}space\rline"];
    desk.hub.set_flag_everywhere(
        FLAG,
        json!({"whitelist_users": users, "start_date": "\u{1b}[2J2026", "end_date": "\u{9b}31m\u{202e}"}),
    );
    desk.hub.fail(When::always(), Fault::TerminalEscapes);
    let lines = [
        format!("show {FLAG}"),
        "list".to_owned(),
        "export".to_owned(),
        format!("whitelist list {FLAG}"),
        "diff --between hub".to_owned(),
        "user bob".to_owned(),
        format!("rollout {FLAG} 25"),
        format!("whitelist remove {FLAG} bob"),
        format!("blacklist add {FLAG} bob"),
        "show unified_llm_hu".to_owned(),
    ];
    for line in &lines {
        tame(&desk.plain(line).done());
        tame(&desk.flags(line).done());
        tame(&desk.plain(&format!("{line} -o markdown")).done());
        if !line.ends_with("_hu") {
            tame(&desk.plain(&format!("{line} -o yaml")).done());
        }
    }
    desk.everywhere(25);

    // What was escaped for the terminal is the same value for a program.
    assert_eq!(desk.flags(&format!("whitelist list {FLAG}")).exits(0).json(), json!(users));
    desk.home.file("state.toml", desk.plain("export").exits(0).stdout);
    let exported: toml::Value =
        toml::from_str(&std::fs::read_to_string(desk.home.path().join("state.toml")).unwrap()).unwrap();
    let list = exported["flags"][FLAG]["whitelist_users"].as_array().unwrap();
    assert_eq!(list.iter().map(|user| user.as_str().unwrap()).collect::<Vec<_>>(), users);
}
