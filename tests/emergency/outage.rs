//! Every row of the outage table (rollout.md 7): what is up, what it exits with, and what it says is not done.

use super::{ALL, FLAG, Parts, Scene, sentences, start, step};
use crate::support::postgres::{block_on, free_port};

#[derive(Clone, Copy, PartialEq)]
enum Is {
    Up,
    Down,
    /// One of two replicas is down.
    Half,
}
use Is::{Down, Half, Up};

/// The flag in the database.
fn stored(scene: &Scene) -> bool {
    let sql = format!("SELECT enabled::text FROM feature_flags WHERE name = '{FLAG}'");
    block_on(scene.database.as_ref().unwrap().lines(&sql)) == ["true"]
}

#[track_caller]
fn case(hub: Is, db: Is, env: Is, exit: i32, not_done: &[&str], not_proven: &[&str]) {
    let scene = Scene::new(Parts { replicas: if hub == Half { 2 } else { 1 }, workers: 2, ..ALL });
    let Scene { home, mut hubs, database } = scene;
    if hub != Up {
        drop(hubs.pop());
    }
    if env == Down {
        std::fs::remove_file(home.path().join(".env.auth")).unwrap();
    }
    let scene = Scene { home, hubs, database };
    let mut run = scene.rollback("");
    if db == Down {
        run = run.env("LLMHUB_DATABASE_URL", format!("postgres://u:p@127.0.0.1:{}/d", free_port()));
    }
    let done = run.exits(exit);
    scene.is_off();
    assert_eq!(stored(&scene), db == Down);
    if env == Up && exit != 6 {
        assert!(scene.env_text().contains("FEATURE_UNIFIED_LLM_HUB=false"), "{}", scene.env_text());
    }
    let document = done.json();
    if exit == 6 {
        assert_eq!(done.code(), "unreachable");
        assert_eq!(scene.incidents().len(), 0);
        return;
    }
    for (list, expected) in [("not_done", not_done), ("not_proven", not_proven)] {
        let found = sentences(&document, list);
        for expected in expected {
            assert!(found.iter().any(|sentence| sentence.contains(expected)), "{expected}: {found:?}");
        }
        if list == "not_done" {
            assert_eq!(found.len(), expected.len(), "{found:?}");
        }
    }
    assert_eq!(document["survives_restart"], if env == Up { true.into() } else { serde_json::Value::Null });
}

#[test]
fn every_row_of_the_outage_table_ends_as_it_must() {
    const KEPT_ON: &str = "what a restart loads";
    // Most of each is waiting for what is down, so they wait together.
    std::thread::scope(|rows| {
        rows.spawn(|| case(Up, Up, Up, 0, &[], &["page not in this build", "share of errors"]));
        rows.spawn(|| case(Up, Down, Up, 0, &["history entry is queued"], &[]));
        rows.spawn(|| case(Up, Up, Down, 10, &["the env file was not written"], &[KEPT_ON]));
        rows.spawn(|| case(Up, Down, Down, 10, &["the env file", "the database"], &[KEPT_ON]));
        rows.spawn(|| case(Half, Up, Up, 10, &["not every process is off (2/4 PARTIAL)"], &[]));
        rows.spawn(|| case(Half, Up, Down, 10, &["does not answer", "the env file"], &[KEPT_ON]));
        rows.spawn(|| case(Half, Down, Up, 10, &["does not answer", "the database"], &[]));
        rows.spawn(|| case(Down, Up, Up, 10, &[], &["live unknown"]));
        rows.spawn(|| case(Down, Down, Up, 10, &["the database"], &["live unknown"]));
        rows.spawn(|| case(Down, Up, Down, 10, &["the env file"], &["live unknown", KEPT_ON]));
        rows.spawn(|| case(Down, Down, Down, 6, &[], &[]));
    });
}

#[test]
fn each_source_alone_says_what_it_cannot_prove() {
    let none = Parts { replicas: 0, workers: 2, database: false, env: false, profile: "" };
    let hub = Scene::new(Parts { replicas: 1, ..none });
    let document = hub.rollback("").exits(10).json();
    hub.is_off();
    assert_eq!((&document["live"]["verdict"], &document["persisted"]), (&"proved".into(), &serde_json::json!([])));
    assert_eq!(step(&document, 1).0, "left_out");

    let env = Scene::new(Parts { env: true, ..none });
    let document = env.rollback("").exits(10).json();
    assert!(env.env_text().contains("FEATURE_UNIFIED_LLM_HUB=false\n"), "{}", env.env_text());
    assert_eq!((&document["live"]["state"], &document["survives_restart"]), (&"not_configured".into(), &true.into()));

    let db = Scene::new(Parts { database: true, ..none });
    let document = db.rollback("").exits(10).json();
    assert_eq!((stored(&db), &document["persisted"]), (false, &serde_json::json!(["db"])));
    let history = db.home.line(&format!("flags history {FLAG} -o json")).exits(0).json();
    assert_eq!((&history[0]["operation"], &history[0]["reason"]), (&"rollback".into(), &"errors at 12 percent".into()));
}

#[test]
fn three_replicas_of_four_workers_are_proven_with_one_write_each() {
    let scene = Scene::new(Parts { replicas: 3, ..ALL });
    let done = scene.rollback("").exits(0).within(std::time::Duration::from_secs(30));
    scene.is_off();
    let document = done.json();
    let live = serde_json::json!({"state": "seen", "agree": 12, "of": 12, "verdict": "proved",
        "evidence": "3 addresses × 4 workers, counted"});
    assert_eq!(document["live"], live);
    assert_eq!(scene.writes(), 12);
    for hub in &scene.hubs {
        assert_eq!(hub.count("POST", &format!("/api/v1/features/{FLAG}/disable")), 4);
        assert_eq!(hub.member(FLAG, "rollout_percentage"), vec![serde_json::json!(25); 4], "the percentage stays");
    }
}

#[test]
fn a_second_run_writes_nothing_anywhere() {
    let scene = Scene::new(ALL);
    scene.rollback("").exits(0);
    let (writes, env) = (scene.writes(), scene.env_text());
    let events = || block_on(scene.database.as_ref().unwrap().lines("SELECT count(*)::text FROM feature_flag_events"));
    let before = events();
    let document = scene.rollback("").exits(0).json();
    assert_eq!((scene.writes(), scene.env_text(), events()), (writes, env, before));
    assert_eq!((&document["changed"], &document["outcome"]), (&false.into(), &"done".into()));
    assert_eq!((step(&document, 1).0, step(&document, 2).0), ("already_so".to_owned(), "already_so".to_owned()));
}

#[test]
fn an_address_that_comes_back_in_time_is_switched_off_too() {
    let port = free_port();
    let up = start(2, 1, 0);
    let addresses = [format!("\"{}\"", up.url()), format!("\"http://127.0.0.1:{port}\"")];
    let mut scene = Scene::with(Parts { workers: 2, database: false, ..ALL }, vec![up], &addresses);
    let run = scene.rollback("").spawn();
    std::thread::sleep(std::time::Duration::from_secs(3));
    scene.hubs.push(start(2, 2, port));
    let done = run.wait();
    assert_eq!(done.status, 0, "{}\n{}", done.stdout, done.stderr);
    scene.is_off();
    assert_eq!(done.json()["live"]["agree"], 4);
}
