//! Hubs that hang, limit, forget a login or are written to by somebody else while they are switched off.

use std::time::Duration;

use llmhub::store::rollout::{Acquired, Claim, PostgresRuns, RunStore, Timing};
use serde_json::json;

use super::{ALL, FLAG, Parts, Scene, sentences, step};
use crate::flags_hub::until;
use crate::support::hub::{Fault, When};
use crate::support::postgres::block_on;

const LIST: &str = "/api/v1/features/";

fn hub_and_env() -> Parts {
    Parts { database: false, ..ALL }
}

#[test]
fn a_fourth_worker_that_hangs_stops_no_other_and_is_named() {
    let scene = Scene::new(Parts { replicas: 2, ..hub_and_env() });
    scene.hubs[1].fail(When::always().on_worker(3), Fault::Hang);
    let done = scene.rollback("").exits(10).within(Duration::from_secs(60));
    assert_eq!(scene.hubs[0].member(FLAG, "enabled"), vec![json!(false); 4]);
    assert_eq!(scene.hubs[1].member(FLAG, "enabled")[..3], vec![json!(false); 3]);
    let document = done.json();
    assert_eq!(document["live"]["agree"], 7, "{:#}", document["live"]);
    let not_done = sentences(&document, "not_done");
    assert!(not_done[0].contains(&scene.hubs[1].url()) && not_done[0].contains("7/8 PARTIAL"), "{not_done:?}");
    assert!(scene.env_text().contains("HUB=false"), "what can be persisted is");
}

#[test]
fn twelve_processes_that_are_slow_are_proven_in_time() {
    let scene = Scene::new(Parts { replicas: 3, ..hub_and_env() });
    for hub in &scene.hubs {
        hub.fail(When::always(), Fault::Slow(Duration::from_millis(20)));
    }
    let document = scene.rollback("").exits(0).json();
    scene.is_off();
    assert_eq!(document["live"]["verdict"], "proved");
    let after = |name: &str| Duration::from_millis(document[name].as_u64().unwrap());
    // rollout.md 9: all off within 10 s, verified within 30 s.
    assert!(
        after("all_off_after_ms") <= Duration::from_secs(10) && after("verified_after_ms") <= Duration::from_secs(30)
    );
}

#[test]
fn an_expired_login_does_not_keep_the_flag_on() {
    let scene = Scene::new(hub_and_env());
    let done = scene.rollback("").env("LLMHUB_SESSION_TOKEN", "canary-session-5e55").exits(0);
    scene.is_off();
    done.says("anonymous session");
}

#[test]
fn a_hub_that_limits_its_list_is_written_blindly_and_not_called_off() {
    let scene = Scene::new(hub_and_env());
    // The first look is let through.
    scene.hubs[0].fail(When::always().method("GET").path(LIST).from(9), Fault::TooManyRequests);
    let document = scene.rollback("").exits(10).json();
    scene.is_off();
    assert_eq!(document["live"]["verdict"], "partial", "{:#}", document["live"]);
    assert!(sentences(&document, "not_done")[0].contains("rate_limited"), "{document:#}");
}

#[test]
fn a_lost_answer_is_settled_by_the_next_read() {
    let scene = Scene::new(hub_and_env());
    scene.hubs[0].fail(When::always().method("POST").nth(2), Fault::LostAnswer);
    scene.rollback("").exits(0);
    scene.is_off();
}

#[test]
fn a_stored_null_is_switched_off_like_any_other_state() {
    let scene = Scene::new(Parts { workers: 2, ..hub_and_env() });
    scene.hubs[0].set_flag(1, FLAG, json!({"enabled": null}));
    scene.rollback("").exits(0);
    scene.is_off();
}

#[test]
fn a_worker_more_than_declared_is_switched_off_and_the_count_is_not_believed() {
    let hub = super::start(5, 1, 0);
    let address = format!("\"{}\"", hub.url());
    let scene = Scene::with(hub_and_env(), vec![hub], &[address]);
    let document = scene.rollback("").exits(10).json();
    scene.is_off();
    assert!(sentences(&document, "not_done")[0].contains("more processes than declared"), "{document:#}");
}

#[test]
fn a_controller_that_raises_during_the_emergency_is_fenced_and_taken_back() {
    let scene = Scene::new(ALL);
    let timing = Timing { ttl: Duration::from_secs(6), ..Timing::default() };
    let runs = PostgresRuns::new(scene.database.as_ref().unwrap().target(), "prod".to_owned(), timing);
    let flag = FLAG.parse().unwrap();
    let acquired = block_on(async { runs.acquire(&flag, "ana@ops (process 7)", &Claim::WhenFree).await }).unwrap();
    let Acquired::Granted(grant) = acquired else { panic!("{acquired:?}") };
    let run = scene.rollback("").spawn();
    until("every process off", || scene.hubs[0].member(FLAG, "enabled") == vec![json!(false); 4]);
    // After the first verification, while the lease may still be acted on.
    let path = scene.incidents().remove(0).join("journal.ndjson");
    let waits = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"step\":4}"));
    until("the second verification", waits);
    scene.hubs[0].set_flag_everywhere(FLAG, json!({"enabled": true, "rollout_percentage": 50}));
    let done = run.wait();
    assert_eq!(done.status, 0, "{}\n{}", done.stdout, done.stderr);
    scene.is_off();
    let document = done.json();
    assert!(step(&document, 0).1.contains("ana@ops (process 7) is stopped"), "{document:#}");
    let (result, evidence) = step(&document, 4);
    assert_eq!(result, "done");
    assert!(evidence.contains("a late write was taken back with 4 writes"), "{evidence}");
    assert!(block_on(async { runs.renew(&grant).await }).is_err(), "the holder is fenced");
}

#[test]
fn a_timeout_never_says_that_nothing_was_written() {
    let scene = Scene::new(Parts { replicas: 2, workers: 1, ..hub_and_env() });
    let Scene { home, mut hubs, database } = scene;
    drop(hubs.pop());
    let scene = Scene { home, hubs, database };
    let done = scene.rollback("--timeout 4s").exits(11).within(Duration::from_secs(30));
    scene.is_off();
    assert!(done.json()["error"]["message"].as_str().unwrap().contains("--resume"), "{}", done.stdout);
}

#[test]
fn two_operators_at_once_both_end_with_the_flag_off() {
    let scene = Scene::new(ALL);
    let (one, other) = (scene.rollback("").spawn(), scene.rollback("").spawn());
    for done in [one.wait(), other.wait()] {
        assert_eq!(done.status, 0, "{}\n{}", done.stdout, done.stderr);
    }
    scene.is_off();
    assert_eq!(scene.incidents().len(), 2);
}

#[test]
fn processes_that_are_made_anew_are_looked_at_again() {
    const HOOK: &str = "[profiles.prod.hooks]\nrecreate = [\"sh\", \"-c\", \"touch called; until [ -e go ]; do sleep 0.02; done; \
                        seq 1000; printf 'up \\\\033[31magain\\\\n'\"]\n";
    let scene = Scene::new(Parts { profile: HOOK, ..hub_and_env() });
    let run = scene.rollback("--recreate").spawn();
    until("the hook", || scene.home.path().join("called").exists());
    scene.is_off();
    // The container was created with the old environment after all.
    scene.hubs[0].restart();
    scene.home.file("go", "");
    let done = run.wait();
    assert_eq!(done.status, 0, "{}\n{}", done.stdout, done.stderr);
    scene.is_off();
    let (_, evidence) = step(&done.json(), 6);
    assert!(evidence.contains("made anew") && evidence.contains("4/4 PROVED"), "{evidence}");
    done.says("  … 981 lines before").says("  up [31magain");
}

#[test]
fn a_hook_for_each_replica_runs_one_after_the_other() {
    const HOOK: &str = "[profiles.prod.hooks]\nrecreate = [\"sh\", \"-c\", \"echo {replica} >> order\"]\n";
    let scene = Scene::new(Parts { replicas: 2, workers: 1, profile: HOOK, ..hub_and_env() });
    let document = scene.rollback("--recreate").exits(0).json();
    let order = std::fs::read_to_string(scene.home.path().join("order")).unwrap();
    let urls: Vec<String> = scene.hubs.iter().map(super::Hub::url).collect();
    assert_eq!(order.lines().collect::<Vec<_>>(), urls);
    assert_eq!(document["commands"]["finish"], json!([]), "nothing is left to be done");
}

#[test]
fn processes_are_not_made_anew_while_that_would_bring_the_flag_back() {
    const HOOK: &str = "[profiles.prod.hooks]\nrecreate = [\"touch\", \"called\"]\n";
    let scene = Scene::new(Parts { env: false, profile: HOOK, ..hub_and_env() });
    scene.rollback("--recreate").exits(10).says("not made anew");
    assert!(!scene.home.path().join("called").exists());
}
