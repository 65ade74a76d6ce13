//! The old pages: a 200 proves the shell, not the page.

use serde_json::Value;

use super::{ALL, Parts, Scene, step};
use crate::support::hub::{Fault, When};

fn scene() -> Scene {
    Scene::new(Parts { database: false, workers: 1, ..ALL })
}

/// The state of each page, by its path.
fn states(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pages = document["pages"].as_array().unwrap();
    pages.iter().map(|page| (text(&page["path"]), text(&page["state"]))).collect()
}

#[track_caller]
fn case(prepare: impl Fn(&Scene), state: &str, result: &str, words: &str) {
    let scene = scene();
    prepare(&scene);
    // A page is no part of "off, persisted, verified": the exit is the flag's.
    let document = scene.rollback("").exits(0).json();
    let found = states(&document);
    assert_eq!(found.len(), 4);
    assert!(found.iter().any(|(path, found)| path == "/admin/llm-routing" && found == state), "{found:?}");
    let (ended, evidence) = step(&document, 5);
    assert_eq!(ended, result, "{evidence}");
    assert!(evidence.contains(words), "{evidence}");
    let methods: Vec<String> = scene.hubs[0].requests().iter().map(|request| request.method.clone()).collect();
    assert!(!methods.iter().any(|method| method == "HEAD"), "HEAD is a 405 on every hub");
}

#[test]
fn a_shell_that_answers_nonsense_is_no_page() {
    case(|_| {}, "not_in_this_build", "done", "200, shell only; page not in this build");
}

#[test]
fn a_route_in_the_script_of_the_shell_is_found() {
    let script = "routes=['/admin/llm-provider-keys','/admin/llm-routing']";
    case(|scene| scene.hubs[0].set_page_script(script), "shell_with_route", "done", "a script of it knows the route");
}

#[test]
fn a_page_of_its_own_is_told_from_the_shell() {
    case(
        |scene| scene.hubs[0].add_page("/admin/llm-routing", "<h1>Routing</h1>"),
        "real",
        "done",
        "/admin/llm-routing at",
    );
}

#[test]
fn a_redirect_to_the_login_is_not_followed_and_not_200() {
    // What it hands over is not passed on with the report.
    let to = "http://127.0.0.1:9/login?token=canary-session-5e55#x";
    case(
        |scene| {
            scene.hubs[0].fail(When::always().path("/admin/llm-routing"), Fault::Redirect(to.to_owned()));
        },
        "other_status",
        "not_done",
        "302, not 200 (to http://127.0.0.1:9/login)",
    );
}

#[test]
fn without_a_page_to_compare_with_a_200_proves_nothing() {
    const CONTROL: &str = "/admin/llmhub-no-such-page";
    let other = || Fault::Answer { status: 200, content_type: "text/html", body: b"<p>nonce 1</p>".to_vec() };
    for (when, fault) in [
        // A shell that is another one each time.
        (When::always().path(CONTROL).nth(1), other()),
        (When::always().path(CONTROL), Fault::CloseBeforeAnswer),
    ] {
        let words = "it cannot be told from a page that does not exist";
        let prepare = |scene: &Scene| {
            scene.hubs[0].fail(when.clone(), fault.clone());
        };
        case(prepare, "not_compared", "done", words);
    }
}

#[test]
fn a_script_that_cannot_be_read_leaves_the_question_open() {
    case(
        |scene| {
            scene.hubs[0].fail(When::always().path("/assets/index-4f2a.js"), Fault::Html502);
        },
        "shell_only",
        "done",
        "its scripts could not be read",
    );
}

#[test]
fn pages_that_hang_are_bounded_and_stop_nothing() {
    let scene = scene();
    scene.hubs[0].fail(When::always().path("/admin/llm-routing"), Fault::Silence);
    let done = scene.rollback("").exits(0).within(std::time::Duration::from_secs(30));
    let found = states(&done.json());
    assert!(found.contains(&("/admin/llm-routing".to_owned(), "silent".to_owned())), "{found:?}");
    assert!(found.contains(&("/admin/llm-analytics".to_owned(), "not_in_this_build".to_owned())), "{found:?}");
}
