//! Runs that are killed or interrupted, and what goes on with them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use llmhub::store::rollout::{Claim, PostgresRuns, RunStore, Timing};
use serde_json::Value;

use super::{ALL, FLAG, Parts, RUNBOOK_STEPS, Scene};
use crate::support::postgres::{block_on, free_port};

/// Start a rollback and send a signal as soon as it tells the end of this step; the exit status, if it had one.
pub fn struck_after(scene: &Scene, step: usize, signal: &str) -> (Option<i32>, String) {
    let arguments = ["rollback", FLAG, "--reason", "errors", "-y"];
    let mut command = scene.home.command(env!("CARGO_BIN_EXE_llmhub"), arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    let mut struck = false;
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if !struck && line.contains(&format!(" s  {step} {}:", RUNBOOK_STEPS[step])) {
            let id = child.id().to_string();
            assert!(std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
            struck = true;
        }
        told += &(line + "\n");
    }
    assert!(struck, "step {step} was never told:\n{told}");
    (child.wait().unwrap().code(), told)
}

/// What a journal must be at the end: every step that began has ended, and the incident is closed.
#[track_caller]
fn whole(journal: &[Value]) {
    assert_eq!(journal[0]["record"], "opened");
    assert_eq!(journal.last().unwrap()["record"], "closed");
    let since = journal.iter().rposition(|record| record["record"] == "resumed").unwrap_or(0);
    let steps = |kind: &str| -> Vec<u64> {
        let records = journal[since..].iter().filter(|record| record["record"] == kind);
        records.map(|record| record["step"].as_u64().unwrap()).collect()
    };
    let mut ended = steps("ended");
    ended.sort_unstable();
    assert_eq!(ended, (0..10).collect::<Vec<u64>>());
    assert!(steps("begun").iter().all(|step| ended.contains(step)));
}

#[track_caller]
fn killed_after(step: usize) {
    let scene = Scene::new(Parts { workers: 2, ..ALL });
    let (status, _) = struck_after(&scene, step, "KILL");
    // The last step may be told a moment before the run is over by itself.
    assert!(status.is_none() || step == 9, "{status:?}");
    let done = scene.rollback("--resume").exits(0);
    scene.is_off();
    assert!(scene.env_text().contains("HUB=false"), "{}", scene.env_text());
    whole(&scene.journal());
    let document = done.json();
    assert_eq!((&document["outcome"], &document["changed"]), (&"done".into(), &true.into()), "step {step}");
    assert_eq!(document["before"][0]["enabled"], true, "what was there before the first run");
    let events = scene.home.line(&format!("flags history {FLAG} -o json")).exits(0).json();
    let rollbacks = events.as_array().unwrap().iter().filter(|event| event["operation"] == "rollback").count();
    assert_eq!(rollbacks, 1, "one edit, however often it was begun");
    let disables = scene.hubs[0].count("POST", &format!("/api/v1/features/{FLAG}/disable"));
    assert_eq!(disables, 2, "one write for each process, step {step}");
}

#[test]
fn a_run_that_is_killed_early_ends_the_same_when_it_is_resumed() {
    (0..5).for_each(killed_after);
}

#[test]
fn a_run_that_is_killed_late_ends_the_same_when_it_is_resumed() {
    (5..10).for_each(killed_after);
}

#[test]
fn ctrl_c_says_what_stands_and_how_to_go_on() {
    let scene = Scene::new(ALL);
    let timing = Timing { ttl: Duration::from_secs(60), ..Timing::default() };
    let runs = PostgresRuns::new(scene.database.as_ref().unwrap().target(), "prod".to_owned(), timing);
    let flag = FLAG.parse().unwrap();
    block_on(async { runs.acquire(&flag, "ana", &Claim::WhenFree).await }).unwrap();
    // It now waits for the lease to run out.
    let (status, told) = struck_after(&scene, 3, "INT");
    assert_eq!(status, Some(130), "{told}");
    assert!(told.contains("verified off 4/4") && told.contains("--resume"), "{told}");
    scene.is_off();
    scene.rollback("--resume").exits(0);
    whole(&scene.journal());
}

#[test]
fn a_database_that_was_down_gets_its_history_entry_from_resume() {
    let scene = Scene::new(Parts { workers: 1, ..ALL });
    let gone = format!("postgres://u:p@127.0.0.1:{}/d", free_port());
    scene.rollback("").env("LLMHUB_DATABASE_URL", gone).exits(0);
    let newest = || scene.home.line(&format!("flags history {FLAG} -o json")).exits(0).json()[0].clone();
    assert_eq!(newest()["operation"], "enable");
    let line = format!("rollback {FLAG} --resume -y -o json");
    let document = scene.home.line(&line).exits(0).json();
    assert_eq!((&newest()["operation"], &newest()["reason"]), (&"rollback".into(), &"errors at 12 percent".into()));
    assert_eq!(document["not_done"], serde_json::json!([]));
    assert_eq!(scene.incidents().len(), 1, "the same incident");
    let check = "cd \"$0\" && sha256sum -c --quiet SHA256SUMS";
    let folder = scene.incidents().remove(0);
    let checked = scene.home.command("bash", ["-c", check, folder.to_str().unwrap()]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn the_folder_is_for_its_owner_and_a_damaged_journal_is_not_gone_on_with() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new(Parts { workers: 1, database: false, ..ALL });
    scene.rollback("").exits(0);
    let folder = scene.incidents().remove(0);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    std::fs::write(folder.join("journal.ndjson"), "{half").unwrap();
    scene.rollback("--resume").exits(4);
}
