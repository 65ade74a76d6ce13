//! Process tags: a disabled, unused flag of the profile tells the hub's processes apart.

use serde_json::json;

use super::{Desk, FLAG, hub, live};

const SCRATCH: &str = "model_recommendations";

fn desk(workers: usize, percentage: i64) -> Desk {
    let desk = Desk::new(hub(workers, percentage));
    let profile = format!("default_profile = \"dev\"\n[profiles.dev]\nidentity_flag = \"{SCRATCH}\"\n");
    desk.home.file("llmhub.toml", profile);
    desk
}

fn tags(desk: &Desk) -> Vec<String> {
    let lists = desk.hub.member(SCRATCH, "blacklist_users");
    lists.iter().flat_map(|list| list.as_array().unwrap()).map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

/// PUTs to a flag.
fn puts(desk: &Desk, flag: &str) -> usize {
    desk.hub.count("PUT", &format!("/api/v1/features/{flag}"))
}

#[test]
fn a_write_that_changes_nothing_is_proved_by_tags() {
    let desk = desk(4, 25);
    let (agree, of, verdict, evidence) = live(&desk.plain(&format!("rollout {FLAG} 25")).exits(0));
    assert_eq!((agree, of, verdict.as_str()), (4, Some(4), "proved"));
    assert!(evidence.contains("tagged"), "{evidence}");
    assert_eq!((puts(&desk, FLAG), puts(&desk, SCRATCH)), (0, 4));
    let planted = tags(&desk);
    assert_eq!(planted.iter().collect::<std::collections::HashSet<_>>().len(), 4, "{planted:?}");

    // The tags that are there serve the next command.
    assert_eq!(live(&desk.plain(&format!("rollout {FLAG} 25")).exits(0)).2, "proved");
    assert_eq!((puts(&desk, SCRATCH), tags(&desk)), (4, planted));
}

#[test]
fn tags_prove_a_write_where_some_processes_were_so_already() {
    let desk = desk(4, 10);
    desk.hub.set_flag(1, FLAG, json!({"rollout_percentage": 25}));
    assert_eq!(live(&desk.plain(&format!("rollout {FLAG} 25")).exits(0)).2, "proved");
    assert_eq!(puts(&desk, FLAG), 3);
    desk.everywhere(25);
}

#[test]
fn more_than_four_workers_are_proved_by_tags() {
    let desk = desk(6, 25);
    let (agree, of, verdict, _) = live(&desk.plain(&format!("rollout {FLAG} 25")).exits(0));
    assert_eq!((agree, of, verdict.as_str()), (6, Some(6), "proved"));
}

#[test]
fn tags_show_one_process_more_than_declared() {
    let desk = desk(5, 25).declared(Some(4));
    assert_eq!(live(&desk.plain(&format!("rollout {FLAG} 25")).exits(10)).2, "partial");
}

#[test]
fn tags_are_hidden_from_everything_that_is_shown() {
    let desk = desk(2, 25);
    desk.flags(&format!("rollout {FLAG} 25")).exits(0);
    assert_eq!(tags(&desk).len(), 2);
    let state = desk.plain("export").exits(0).stdout;
    desk.home.file("state.toml", &state);
    let lines =
        [format!("show {SCRATCH}"), "list".to_owned(), "export".to_owned(), format!("blacklist list {SCRATCH}")];
    for line in &lines {
        for done in [desk.flags(line).exits(0), desk.plain(line).exits(0)] {
            assert!(!format!("{}{}", done.stdout, done.stderr).contains("llmhub-process"), "{line}: {}", done.stdout);
        }
    }
    // Two processes with different tags hold the same flags.
    for line in ["diff state.toml", "diff --between hub"] {
        let done = desk.plain(line).exits(0);
        assert!(!format!("{}{}", done.stdout, done.stderr).contains("llmhub-process"), "{line}: {}", done.stdout);
    }
}

#[test]
fn a_flag_that_is_in_use_carries_no_tags() {
    #[track_caller]
    fn case(members: serde_json::Value, why: &str) {
        let desk = desk(2, 25);
        desk.hub.set_flag_everywhere(SCRATCH, members);
        let done = desk.plain(&format!("rollout {FLAG} 25")).exits(0);
        assert_eq!((live(&done).2.as_str(), desk.writes()), ("sampled", 0));
        done.says("processes are not tagged").says(why);
    }
    case(json!({"enabled": true}), "is not disabled");
    case(json!({"blacklist_users": ["eve"]}), "has listed users");
    case(json!({"whitelist_users": ["ana"]}), "has listed users");
}
