//! It never says more than it has proven, and goes on where others would give up.

use std::time::Duration;

use llmhub::store::rollout::{Acquired, Claim, PostgresRuns, RunStore, Timing};
use serde_json::{Value, json};

use super::resume::struck_after;
use super::{ALL, FLAG, Parts, Scene, sentences, step};
use crate::flags_hub::until;
use crate::support::cli::{Done, Home};
use crate::support::hub::{Fault, Hub, Routing, When};
use crate::support::postgres::block_on;

const LIST: &str = "/api/v1/features/";

fn hub_and_env() -> Parts {
    Parts { database: false, ..ALL }
}

/// Reads of the list from the second batch on: the first look, which nothing is written after, is let through.
fn later_reads() -> When {
    When::always().method("GET").path(LIST).from(9)
}

#[test]
fn a_hub_that_answers_anything_else_is_not_called_off() {
    let case = |name: &str, fault: Fault| {
        let scene = Scene::new(Parts { workers: 2, ..hub_and_env() });
        scene.hubs[0].fail(later_reads(), fault);
        let done = scene.rollback("").done().within(Duration::from_secs(60));
        assert_eq!(done.status, 10, "{name}: {}\n{}", done.stdout, done.stderr);
        let document = done.json();
        assert_ne!(document["live"]["verdict"], "proved", "{name}");
        assert_ne!(document["live"]["verdict"], "sampled", "{name}");
        assert_eq!(document["verified_after_ms"], Value::Null, "{name}");
        assert!(scene.env_text().contains("HUB=false"), "{name}: what can be persisted is");
    };
    let html = Fault::Answer { status: 200, content_type: "text/html", body: b"<h1>Maintenance</h1>".to_vec() };
    let none = Fault::Answer { status: 200, content_type: "application/json", body: b"{}".to_vec() };
    // Most of each is waiting.
    std::thread::scope(|cases| {
        cases.spawn(|| case("a page", html));
        cases.spawn(|| case("a list without the flag", none));
        cases.spawn(|| case("a redirect", Fault::Redirect("http://127.0.0.1:9/".to_owned())));
        cases.spawn(|| case("10 MB", Fault::Huge(10 * 1024 * 1024)));
        cases.spawn(|| case("the CSRF failure", Fault::Text500));
        cases.spawn(|| case("a gateway", Fault::Html502));
    });
}

#[test]
fn a_process_of_another_build_keeps_no_other_one_on() {
    let scene = Scene::new(hub_and_env());
    let none = Fault::Answer { status: 200, content_type: "application/json", body: b"{}".to_vec() };
    scene.hubs[0].fail(When::always().on_worker(3).method("GET").path(LIST), none);
    let document = scene.rollback("").exits(10).json();
    assert_eq!(scene.hubs[0].member(FLAG, "enabled")[..3], vec![json!(false); 3]);
    assert!(sentences(&document, "not_done")[0].contains("does not list"), "{document:#}");
}

#[test]
fn a_write_whose_answer_is_lost_and_that_nobody_can_read_back_is_unknown() {
    let scene = Scene::new(Parts { workers: 1, ..hub_and_env() });
    scene.hubs[0].fail(When::always().method("POST"), Fault::LostAnswer);
    // The look and the batch before the write are answered.
    scene.hubs[0].fail(When::always().method("GET").path(LIST).from(17), Fault::CloseBeforeAnswer);
    let document = scene.rollback("").exits(11).json();
    assert_eq!(document["live"]["state"], "unknown", "{:#}", document["live"]);
}

#[test]
fn a_proxy_that_hops_is_sampled_and_not_counted() {
    let env = [("FEATURE_UNIFIED_LLM_HUB", "true"), ("FEATURE_LLM_HUB_ROLLOUT", "25")];
    let hub = Hub::builder().workers(4).env(env).seed(3).rate_limit(1_000_000).routing(Routing::Hopping).start();
    let address = format!("\"{}\"", hub.url());
    let scene = Scene::with(hub_and_env(), vec![hub], &[address]);
    let document = scene.rollback("").exits(0).json();
    scene.is_off();
    assert_eq!(document["live"]["verdict"], "sampled", "{:#}", document["live"]);
}

#[test]
fn a_list_that_is_limited_from_the_start_keeps_nobody_on_where_the_hub_knows_the_flag() {
    let scene = Scene::new(Parts { env: false, ..hub_and_env() });
    scene.hubs[0].fail(When::always().method("GET").path(LIST), Fault::TooManyRequests);
    scene.home.line("rollback no_such_flag --reason x -y -o json").exits(6);
    assert_eq!((scene.writes(), scene.incidents().len()), (0, 0));
    scene.rollback("").exits(10);
    scene.is_off();
}

#[test]
fn a_document_that_cannot_be_shown_does_not_hide_what_was_proven() {
    fn to_full_disk(home: &Home) -> (Option<i32>, String) {
        let script = format!("exec llmhub rollback {FLAG} --reason x -y -o json > /dev/full");
        let output = home.command("bash", ["-c", &script]).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
    let scene = Scene::new(Parts { workers: 1, ..hub_and_env() });
    let (status, told) = to_full_disk(&scene.home);
    assert!(status == Some(3) && told.contains("verified off 1/1 PROVED"), "{status:?}: {told}");
    // Without an env file it is partial, and that weighs more than the pipe.
    let scene = Scene::new(Parts { workers: 1, env: false, ..hub_and_env() });
    let (status, told) = to_full_disk(&scene.home);
    assert!(status == Some(10) && told.contains("cannot be written to stdout"), "{status:?}: {told}");
}

#[test]
fn without_a_journal_the_next_command_begins_anew() {
    let scene = Scene::new(Parts { workers: 1, env: false, ..hub_and_env() });
    let line = format!("rollback {FLAG} --reason 'a b' -y");
    let next = |done: &Done| done.stderr.lines().last().unwrap().to_owned();
    let kept = scene.home.line(&line).exits(10);
    assert_eq!(next(&kept), format!("note: next: llmhub rollback {FLAG} --resume"));
    let lost = scene.home.line(&line).env("XDG_STATE_HOME", "/proc/nowhere").exits(10);
    assert_eq!(next(&lost), format!("note: next: llmhub rollback {FLAG} --reason 'a b'"));
}

#[test]
fn an_env_file_that_somebody_holds_is_not_waited_for_and_processes_are_not_to_be_made_anew() {
    let scene = Scene::new(Parts { workers: 1, ..hub_and_env() });
    let mut holder = scene.home.command("flock", ["-F", ".env.auth.lock", "sleep", "60"]).spawn().unwrap();
    until("the lock", || scene.home.path().join(".env.auth.lock").exists());
    let document = scene.rollback("").exits(11).within(Duration::from_secs(40)).json();
    scene.is_off();
    let (result, evidence) = step(&document, 6);
    assert_eq!(result, "not_done");
    assert!(evidence.contains("ON") && evidence.contains("do not make the processes anew"), "{evidence}");
    assert!(!sentences(&document["commands"], "finish").iter().any(|command| command.contains("recreate")));
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_program_that_hangs_over_the_password_does_not_keep_the_flag_on() {
    const HANGS: &str = "database_url_command = [\"sleep\", \"100\"]\n";
    let scene = Scene::new(Parts { workers: 1, profile: HANGS, ..hub_and_env() });
    let run = scene.rollback("").spawn();
    let started = std::time::Instant::now();
    // Otherwise a minute would pass before the first write.
    until("every process off", || scene.hubs[0].member(FLAG, "enabled") == vec![json!(false)]);
    assert!(started.elapsed() < Duration::from_secs(40));
    run.signal("INT");
    assert_eq!(run.wait().status, 130);
}

/// A rollout that holds the flag until `ttl` is over.
fn held(scene: &Scene, ttl: u64) {
    let timing = Timing { ttl: Duration::from_secs(ttl), ..Timing::default() };
    let runs = PostgresRuns::new(scene.database.as_ref().unwrap().target(), "prod".to_owned(), timing);
    let flag = FLAG.parse().unwrap();
    let acquired = block_on(async { runs.acquire(&flag, "ana", &Claim::WhenFree).await }).unwrap();
    assert!(matches!(acquired, Acquired::Granted(_)));
}

#[test]
fn what_was_verified_and_does_not_answer_any_more_is_not_verified() {
    let mut scene = Scene::new(ALL);
    held(&scene, 5);
    let run = scene.rollback("").spawn();
    let verified = || {
        let journal =
            scene.incidents().first().and_then(|path| std::fs::read_to_string(path.join("journal.ndjson")).ok());
        journal.is_some_and(|text| text.contains("{\"record\":\"begun\"") && text.contains("\"step\":4}"))
    };
    until("the second verification", verified);
    scene.hubs.clear();
    let done = run.wait();
    assert_eq!(done.status, 10, "{}\n{}", done.stdout, done.stderr);
    let document = done.json();
    assert_eq!((step(&document, 3).0, step(&document, 4).0), ("done".to_owned(), "not_done".to_owned()));
    assert_eq!(document["verified_after_ms"], Value::Null);
    assert!(document["messages"]["status_page_mitigated"].as_str().unwrap().contains("may still see it"));
}

#[test]
fn a_rollout_that_the_killed_run_has_fenced_is_still_waited_for() {
    let scene = Scene::new(ALL);
    held(&scene, 20);
    let (status, told) = struck_after(&scene, 2, "KILL");
    assert_eq!(status, None, "{told}");
    let run = scene.rollback("--resume").spawn();
    let journal =
        || scene.journal().into_iter().rev().find(|record| record["record"] == "begun" && record["step"] == 4);
    until("the second verification", || journal().is_some());
    // It waits: the rest of the twenty seconds is not the matter here.
    run.signal("INT");
    let done = run.wait();
    assert!(done.stderr.contains("a rollout that was stopped before may write for"), "{}", done.stderr);
}

#[test]
fn a_torn_line_swallows_no_record_and_one_incident_has_one_worker() {
    use std::io::Write as _;
    let scene = Scene::new(Parts { workers: 1, ..hub_and_env() });
    scene.rollback("").exits(0);
    let path = scene.incidents()[0].join("journal.ndjson");
    let mut journal = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    journal.write_all(b"{\"record\":\"beg").unwrap();
    drop(journal);
    scene.rollback("--resume").exits(0);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().any(|line| line.starts_with("{\"record\":\"resumed\"")), "{text}");
    let mut holder = scene.home.command("flock", ["-F", path.to_str().unwrap(), "sleep", "60"]).spawn().unwrap();
    let taken = || {
        let free = scene.home.command("flock", ["-n", path.to_str().unwrap(), "true"]).status().unwrap();
        !free.success()
    };
    until("the lock", taken);
    let done = scene.rollback("--resume").exits(5);
    assert!(done.json()["error"]["message"].as_str().unwrap().contains("another llmhub works on the incident"));
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn what_was_proven_before_the_crash_is_looked_at_again() {
    let scene = Scene::new(ALL);
    let (status, told) = struck_after(&scene, 5, "KILL");
    assert_eq!(status, None, "{told}");
    scene.hubs[0].set_flag(2, FLAG, json!({"enabled": true}));
    let on = scene.env_text().replace("HUB=false", "HUB=true");
    scene.home.file(".env.auth", on);
    scene.rollback("--resume").exits(0);
    scene.is_off();
    assert!(scene.env_text().contains("HUB=false"), "{}", scene.env_text());
}

#[test]
fn a_listed_user_who_is_still_on_contradicts_the_list() {
    let scene = Scene::new(Parts { workers: 1, ..hub_and_env() });
    let still = format!("{{\"{FLAG}\": true}}").into_bytes();
    let asked = When::always().path("/api/v1/features/user/ana@example.com/enabled");
    scene.hubs[0].fail(asked, Fault::Answer { status: 200, content_type: "application/json", body: still });
    let document = scene.rollback("").exits(10).json();
    assert!(sentences(&document, "not_done")[0].contains("a listed user is still on"), "{document:#}");
}
