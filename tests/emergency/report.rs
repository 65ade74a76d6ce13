//! The report: it parses, its hashes are those of the files, and no secret and no user stands in it.

use sha2::{Digest, Sha256};

use super::{ALL, FLAG, Parts, Scene};
use crate::support::cli::CANARIES;

const SECTIONS: [&str; 12] = [
    "## Reason and class",
    "## Timeline",
    "## Before and after",
    "## Evidence",
    "## Not done, not proven",
    "## Commands to finish, commands to undo",
    "## Messages",
    "## Root cause",
    "## Impact",
    "## Communication",
    "## Lessons",
    "## Actions",
];

fn sections(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("## ")).collect()
}

#[test]
fn the_files_are_there_and_their_hashes_match() {
    let scene = Scene::new(ALL);
    let document = scene.rollback("--report out/incident.md").exits(0).json();
    let folder = scene.incidents().remove(0);
    let evidence = document["evidence"].as_array().unwrap();
    assert!(evidence.len() >= 7, "{evidence:?}");
    let hash = |name: &str| -> String {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    for file in evidence {
        let name = file["file"].as_str().unwrap();
        assert_eq!(file["sha256"], hash(name), "{name}");
    }
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert!(sums.contains(&format!("{}  report.md", hash("report.md"))), "{sums}");
    let written = std::fs::read_to_string(scene.home.path().join("out/incident.md")).unwrap();
    assert_eq!(sections(&written), SECTIONS);
    assert_eq!(sections(&std::fs::read_to_string(folder.join("report.md")).unwrap()), SECTIONS);
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap();
    assert_eq!((&kept["incident"], &kept["live"]), (&document["incident"], &document["live"]));
    for path in ["before-hub.json", "after-hub.json", "before-db.json", "after-env.json"] {
        let states: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join(path)).unwrap()).unwrap();
        let enabled = &states[0]["config"]["enabled"];
        assert_eq!(enabled, &serde_json::Value::Bool(path.starts_with("before")), "{path}");
    }
}

#[test]
fn secrets_stand_nowhere_and_users_only_where_names_are_asked_for() {
    let scene = Scene::new(Parts { workers: 1, ..ALL });
    scene.rollback("").env("LLMHUB_SESSION_TOKEN", CANARIES[0]).exits(0);
    let folder = scene.incidents().remove(0);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for canary in CANARIES.into_iter().chain(["CANARY-env"]) {
            assert!(!text.contains(canary), "{canary} in {}", path.display());
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        // The whole snapshot is what a way back needs; the rest counts.
        let snapshot = name.starts_with("before-") || name.starts_with("after-");
        assert!(snapshot || !text.contains("ana@example.com"), "{name}");
    }
    let line = format!("rollback {FLAG} --reason x -y --names -o markdown");
    scene.home.line(&line).exits(0).prints("white list ana@example.com, ben@example.com");
}

#[test]
fn markdown_is_the_whole_report_and_keeps_its_tables() {
    let scene = Scene::new(Parts { workers: 1, database: false, ..ALL });
    let line = format!("rollback {FLAG} --reason 'a | b' -y -o markdown");
    let text = scene.home.line(&line).exits(0).stdout;
    assert_eq!(sections(&text), SECTIONS);
    assert!(text.starts_with("# Incident "), "{text}");
    let status = text.lines().find(|line| line.starts_with("Status: ")).unwrap();
    assert!(status.contains("verified off 1/1 PROVED · persisted yes (env) · survives restart yes"), "{status}");
    assert!(text.contains("llmhub flags enable unified_llm_hub --via hub,env"), "the way back is named: {text}");
}

#[test]
fn a_folder_that_cannot_be_written_does_not_stop_the_emergency() {
    let scene = Scene::new(Parts { workers: 2, database: false, ..ALL });
    let line = format!("rollback {FLAG} --reason x -y");
    let done = scene.home.line(&line).env("XDG_STATE_HOME", "/proc/nowhere").exits(0);
    scene.is_off();
    let done = done.says("no evidence is kept, the emergency goes on");
    assert_eq!(sections(&done.stdout), SECTIONS, "the report is shown where it cannot be kept");
    done.prints("NOT KEPT");
}

#[test]
fn a_disk_that_fills_up_does_not_stop_the_emergency() {
    let scene = Scene::new(Parts { workers: 2, database: false, ..ALL });
    let script = format!("ulimit -f 1; trap '' XFSZ; exec llmhub rollback {FLAG} --reason x -y");
    let output = scene.home.command("bash", ["-c", &script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    scene.is_off();
    assert!(told.contains("no evidence is kept, the emergency goes on"), "{told}");
}
