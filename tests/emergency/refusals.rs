//! What ends before anything is written, and what a dry run shows.

use super::{ALL, FLAG, Parts, RUNBOOK_STEPS, Scene};

#[track_caller]
fn nothing_happened(scene: &Scene) {
    assert_eq!((scene.writes(), scene.incidents().len()), (0, 0));
    assert!(scene.env_text().contains("FEATURE_UNIFIED_LLM_HUB=true"));
}

#[test]
fn nobody_to_ask_and_no_consent_is_not_confirmed() {
    let scene = Scene::new(Parts { database: false, ..ALL });
    scene.home.line(&format!("rollback {FLAG} --reason x")).exits(9);
    nothing_happened(&scene);
}

#[test]
fn a_reason_is_needed() {
    let scene = Scene::new(Parts { database: false, ..ALL });
    let done = scene.home.line(&format!("rollback {FLAG} -y -o json")).exits(7);
    assert_eq!(done.code(), "reason_needed");
    nothing_happened(&scene);
}

#[test]
fn a_flag_that_no_source_knows_is_written_nowhere() {
    let scene = Scene::new(ALL);
    for options in ["-y", "--dry-run"] {
        let line = format!("rollback unified_llm_hup --reason x {options} -o json");
        let done = scene.home.line(&line).exits(4);
        assert_eq!(done.code(), "flag_not_found");
        assert!(done.json()["error"]["message"].as_str().unwrap().contains("unified_llm_hub"));
    }
    nothing_happened(&scene);
}

#[test]
fn a_flag_that_is_not_known_where_somebody_answers_is_not_written_behind_those_who_do_not() {
    let mut scene = Scene::new(Parts { database: false, ..ALL });
    scene.hubs.clear();
    let done = scene.home.line("rollback no_such_flag --reason x -y -o json").exits(6);
    assert!(done.json()["error"]["message"].as_str().unwrap().contains("nothing was written"));
    assert_eq!(scene.incidents().len(), 0);
}

#[test]
fn a_dry_run_shows_the_very_steps_and_writes_nothing() {
    let scene = Scene::new(Parts { database: false, ..ALL });
    let document = scene.home.line(&format!("rollback {FLAG} --dry-run -o json")).exits(0).json();
    let steps: Vec<&str> = document["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(steps, RUNBOOK_STEPS);
    assert_eq!((&document["dry_run"], &document["before"][0]["enabled"]), (&true.into(), &true.into()));
    nothing_happened(&scene);
    let report = scene.rollback("").exits(0).json();
    let taken: Vec<&str> =
        document["steps"].as_array().unwrap().iter().map(|s| s["action"].as_str().unwrap()).collect();
    let told: Vec<&str> =
        report["timeline"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(told, taken, "the run tells the steps that the dry run showed");
}

#[test]
fn a_protected_profile_wants_its_name() {
    let scene = Scene::new(Parts { profile: "protected = true\n", database: false, workers: 1, ..ALL });
    let line = format!("-p prod rollback {FLAG} --reason x -o json");
    assert_eq!(scene.home.line(&format!("{line} -y")).exits(7).code(), "protected");
    nothing_happened(&scene);
    scene.home.line(&format!("{line} --confirm=prod")).exits(0);
    scene.is_off();
}

#[test]
fn with_db_does_not_guess_a_version_and_resume_needs_an_incident() {
    let scene = Scene::new(Parts { database: false, ..ALL });
    assert_eq!(scene.rollback("--with-db").exits(2).code(), "usage");
    assert_eq!(scene.rollback("--resume").exits(4).code(), "not_found");
    nothing_happened(&scene);
}

#[test]
fn no_source_at_all_says_how_to_configure_one() {
    let home = crate::support::cli::Home::new();
    assert_eq!(home.line(&format!("rollback {FLAG} --reason x -y -o json")).exits(3).code(), "no_source");
}

#[test]
fn a_page_that_people_read_ends_with_what_to_type_next() {
    let scene = Scene::new(Parts { database: false, workers: 1, ..ALL });
    let done = scene.home.line(&format!("rollback {FLAG} --reason x -y")).exits(0);
    let last: Vec<&str> = done.stderr.lines().rev().take(3).collect();
    assert!(last[0].starts_with("note: next: docker compose up -d --force-recreate"), "{last:?}");
    assert!(last[1].contains("persisted yes (env) · survives restart yes"), "{last:?}");
    assert!(last[2].contains("verified off 1/1 PROVED"), "{last:?}");
    assert!(done.stdout.starts_with("INCIDENT "), "{}", done.stdout);
}
