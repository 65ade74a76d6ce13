//! One command on several sources: which it writes, in which order, and what it says when one of them fails.

use crate::support::hub::{Fault, When};
use crate::support::places::{ENV, FLAG, Place};
use crate::support::shapes::{Shown, Written};

const PATH: &str = "/api/v1/features/unified_llm_hub";

/// A hub with two processes, a database and an env file.
fn all() -> Place {
    Place::several(Some(2), true, Some(ENV))
}

#[track_caller]
fn percents(place: &Place) -> [i64; 3] {
    ["hub", "db", "env"]
        .map(|source| place.flags(&format!("show {FLAG} --via {source}"), 0).read::<Shown>().rollout_percentage)
}

fn order(written: &Written) -> Vec<&str> {
    written.results.iter().map(|result| result.source.as_str()).collect()
}

/// Add keys to the profile of the place.
fn profile(place: &Place, keys: &str) {
    let path = place.home.path().join("xdg/llmhub/config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text + keys).unwrap();
}

#[test]
fn a_write_does_not_guess_where() {
    let place = all();
    let before = place.env_text();
    for line in [format!("rollout {FLAG} 10"), format!("disable {FLAG}"), format!("whitelist add {FLAG} ana")] {
        let done = place.flags(&line, 3);
        assert_eq!(done.code(), "ambiguous_write", "{line}");
        for choice in ["hub", "db", "env"] {
            assert!(done.stdout.contains(choice), "{line} names {choice}: {}", done.stdout);
        }
    }
    assert_eq!((percents(&place), place.env_text()), ([0, 0, 0], before));
    assert_eq!(place.double().count("PUT", PATH), 0);
}

#[test]
fn a_write_goes_to_the_sources_named_in_their_order() {
    let place = all();
    for (via, expected) in [("hub,db", ["hub", "db"]), ("db,hub", ["db", "hub"]), ("env,db", ["env", "db"])] {
        let written: Written =
            place.flags(&format!("whitelist add {FLAG} {} --via {via}", via.replace(',', "-")), 0).read();
        assert_eq!(order(&written), expected);
        for result in &written.results {
            assert!(result.changed, "{result:?}");
            assert_eq!(result.persisted, result.source != "hub", "{result:?}");
            assert_eq!(result.live.is_some(), result.source == "hub", "{result:?}");
        }
        assert_eq!(written.before.source, expected[0], "the first source is the one that is shown");
    }
    let twice: Written = place.flags(&format!("rollout {FLAG} 10 --via db,db,hub"), 0).read();
    assert_eq!(order(&twice), ["db", "hub"], "named twice is written once");
    assert_eq!(percents(&place), [10, 10, 0]);
}

#[test]
fn a_profile_can_say_once_where_writes_go() {
    let place = all();
    profile(&place, "write = [\"env\", \"hub\"]\n");
    let written: Written = place.flags(&format!("rollout {FLAG} 10"), 0).read();
    assert_eq!(order(&written), ["env", "hub"]);
    let written: Written = place.flags(&format!("rollout {FLAG} 10 --via db"), 0).read();
    assert_eq!(order(&written), ["db"], "--via is plainer than the profile");
}

#[test]
fn a_source_that_is_typed_wins() {
    let place = all();
    profile(&place, "write = [\"db\", \"hub\"]\n");
    let other = place.home.file("other.env", ENV);
    let written: Written = place.flags(&format!("rollout {FLAG} 10 --env-file other.env"), 0).read();
    assert_eq!(order(&written), ["env"]);
    assert!(std::fs::read_to_string(other).unwrap().contains("FEATURE_LLM_HUB_ROLLOUT=10"));
    assert_eq!(percents(&place), [0, 0, 0]);
    let shown: Shown = place.flags(&format!("show {FLAG} --env-file other.env"), 0).read();
    assert_eq!((shown.source.as_str(), shown.rollout_percentage), ("env", 10), "reads too");
}

#[test]
fn a_widening_write_stops_at_the_first_source_that_fails() {
    let place = all();
    // On a flag that is off, a percentage switches nobody on.
    place.flags(&format!("enable {FLAG} --via hub,db,env"), 0);
    place.double().forget_requests();
    place.sql("ALTER TABLE feature_flags ADD CHECK (rollout_percentage < 10)");
    let before = place.env_text();
    let failed = place.line(&format!("flags rollout {FLAG} 10 --via db,env -o json")).done();
    assert_ne!(failed.status, 0, "{}", failed.stdout);
    assert_eq!((percents(&place), place.env_text()), ([0, 0, 0], before), "the second source was not attempted");

    // The other way round the first one stands, and both are told.
    let done = place.flags(&format!("rollout {FLAG} 10 --via env,db,hub"), 10);
    let written: Written = done.read();
    assert_eq!(order(&written), ["env", "db", "hub"]);
    assert!(written.results[0].error.is_none() && written.results[1].error.is_some());
    let last = written.results[2].error.as_ref().expect("the hub was not attempted");
    assert_eq!(last.code, "not_attempted");
    assert_eq!(percents(&place), [0, 0, 10]);
    assert_eq!(place.double().count("PUT", PATH), 0);
}

#[test]
fn switching_off_goes_on_past_a_source_that_fails() {
    let place = all();
    place.flags(&format!("enable {FLAG} --via hub,db,env"), 0);
    place.sql("ALTER TABLE feature_flags ADD CHECK (enabled) NOT VALID");
    let written: Written = place.flags(&format!("disable {FLAG} --via db,hub,env"), 10).read();
    assert_eq!(order(&written), ["db", "hub", "env"]);
    assert!(written.results[0].error.is_some(), "{written:?}");
    for (result, source) in written.results[1..].iter().zip(["hub", "env"]) {
        assert!(result.changed && result.error.is_none(), "{result:?}");
        assert!(!place.flags(&format!("show {FLAG} --via {source}"), 0).read::<Shown>().enabled, "{source}");
    }
}

#[test]
fn a_restart_keeps_what_the_env_file_says_and_a_write_tells() {
    #[track_caller]
    fn case(env: Option<&str>, survives: Option<bool>, says: &str) {
        let place = Place::several(Some(1), true, env);
        for via in ["hub", "db"] {
            place.line(&format!("flags rollout {FLAG} 0 --via {via}")).exits(0);
            let written: Written = place.flags(&format!("rollout {FLAG} 10 --via {via}"), 0).read();
            assert_eq!(written.results[0].survives_restart, survives, "{env:?} {via}");
            place.line(&format!("flags rollout {FLAG} 10 --via {via}")).exits(0).prints(says);
        }
    }
    case(None, None, "survives restart unknown");
    case(Some("FEATURE_LLM_HUB_ROLLOUT=10\n"), Some(true), "survives restart yes");
    case(Some(ENV), Some(false), "survives restart no: the env file says 0 %");
    case(Some("FEATURE_LLM_HUB_ROLLOUT=abc\n"), Some(false), "survives restart no: the hub would not start");
    // Any flag's value stops the import of all.
    case(Some("FEATURE_LLM_HUB_ROLLOUT=10\nFEATURE_ANALYTICS_ROLLOUT=abc\n"), Some(false), "the hub would not start");
    case(Some("FEATURE_LLM_HUB_ROLLOUT=10\nFEATURE_UNIFIED_LLM_HUB=abc\n"), Some(true), "survives restart yes");
}

#[test]
fn a_hub_that_restarted_is_brought_back_from_the_database() {
    let place = all();
    place.flags(&format!("enable {FLAG} --via hub,db"), 0);
    place.flags(&format!("rollout {FLAG} 10 --via hub,db"), 0);
    place.flags(&format!("whitelist add {FLAG} ana --via hub,db"), 0);
    place.line("flags diff --between hub,db").exits(0);
    place.double().restart();
    let apart = place.flags("diff --between hub,db", 1).json();
    assert_eq!(apart["equal"], false);

    assert_eq!(place.flags("sync --from db --to hub", 9).code(), "not_confirmed");
    place.flags("sync --from db --to hub --dry-run", 0);
    assert_eq!(percents(&place)[0], 0);
    let written: Vec<Written> = place.flags("sync --from db --to hub -y", 0).read();
    assert_eq!(written.iter().filter(|write| write.changed).count(), 1, "{written:?}");
    place.line("flags diff --between hub,db").exits(0);
    assert_eq!(place.double().member(FLAG, "rollout_percentage"), [10, 10]);

    place.flags("sync --from db --to env -y", 0);
    assert!(place.env_text().starts_with("# The hub's flags\nSECRET_KEY=\"keep me\"\n"), "{}", place.env_text());
    place.line("flags diff --between hub,db,env").exits(0);
}

#[test]
fn dates_that_a_hub_cannot_take_stop_the_sync_before_anything_is_written() {
    let place = all();
    place.flags(&format!("rollout {FLAG} 10 --via db"), 0);
    place.flags(&format!("schedule {FLAG} --start 2031-01-01 --via db"), 0);
    let done = place.flags(&format!("sync --from db --to hub {FLAG} -y"), 7);
    assert!(done.code() == "unsupported" && done.stdout.contains("start_date"), "{}", done.stdout);
    assert_eq!(percents(&place), [0, 10, 0]);
    place.flags(&format!("sync --from db --to env {FLAG} -y"), 0);
    let shown: Shown = place.flags(&format!("show {FLAG} --via env"), 0).read();
    assert_eq!(shown.start_date.as_deref(), Some("2031-01-01T00:00:00"));
    assert_eq!(place.flags("sync --from hub --to hub -y", 2).code(), "usage");
}

#[test]
fn a_comparison_answers_equal_apart_or_that_it_cannot_know() {
    let place = Place::several(Some(2), true, Some(ENV));
    place.line("flags diff --between hub,db").exits(0);
    place.flags(&format!("rollout {FLAG} 10 --via db"), 0);
    let apart = place.flags("diff --between db,env", 1).json();
    assert_eq!(apart["between"], serde_json::json!(["db", "env"]));
    let difference = &apart["differences"][0];
    assert_eq!((&difference["flag"], &difference["member"]), (&FLAG.into(), &"rollout_percentage".into()));
    assert_eq!(difference["values"], serde_json::json!({"db": 10, "env": 0}));

    place.double().set_flag(1, FLAG, serde_json::json!({"rollout_percentage": 25}));
    let apart = place.flags("diff --between hub", 1).json();
    assert_eq!(apart["between"].as_array().map(Vec::len), Some(2), "both states of the hub: {apart}");

    place.double().restart();
    place.flags("sync --from hub --to db -y", 0);
    place.double().fail(When::always().on_worker(1), Fault::CloseBeforeAnswer);
    let status = place.line("flags diff --between hub,db").done().status;
    assert!([6, 10].contains(&status), "one process of two does not answer: {status}");
}

#[test]
fn a_file_is_applied_by_the_same_rules_as_a_command() {
    let place = Place::env();
    place.home.file("up.toml", format!("[flags.{FLAG}]\nrollout_percentage = 10\n"));
    place.home.file("far.toml", format!("[flags.{FLAG}]\nrollout_percentage = 100\nenabled = true\n"));
    place.home.file("typo.toml", format!("[flags.{FLAG}]\nrollout_percentag = 10\n"));
    place.home.file("stranger.toml", "[flags.no_such_flag]\nenabled = true\n");
    place.home.file("up.json", format!("{{\"flags\": {{\"{FLAG}\": {{\"rollout_percentage\": 10}}}}}}"));
    let before = place.env_text();
    assert_eq!(place.flags("apply far.toml -y", 7).code(), "ladder");
    assert_eq!(place.flags("apply far.toml -y --skip-steps", 7).code(), "reason_needed");
    let typo = place.flags("apply typo.toml -y", 7);
    assert!(typo.code() == "input" && typo.stdout.contains("did you mean `rollout_percentage`"), "{}", typo.stdout);
    assert_eq!(place.flags("apply stranger.toml -y", 4).code(), "flag_not_found");
    assert_eq!(place.line("flags apply - -y -o json").stdin("[flags").exits(7).code(), "input");
    let would: Vec<Written> = place.flags("apply up.toml --dry-run", 0).read();
    assert!(would[0].dry_run && would[0].changed);
    assert_eq!(place.env_text(), before);
    place.line("flags diff up.toml").exits(1);

    let done: Vec<Written> = place.flags("apply up.json -y", 0).read();
    assert_eq!(done[0].after.rollout_percentage, 10);
    place.line("flags diff up.toml").exits(0);
    let text = format!("[flags.{FLAG}]\nrollout_percentage = 25\n");
    let piped: Vec<Written> = place.line("flags apply - -y -o json").stdin(text).exits(0).read();
    assert_eq!(piped[0].after.rollout_percentage, 25);
    place.flags("apply far.toml -y --skip-steps -m drill", 0);
}

#[test]
fn a_watch_that_is_not_looked_at_writes_one_line_for_each_change() {
    let place = Place::env();
    let run = place.line(&format!("flags watch {FLAG} --interval 50ms --for 6s")).spawn();
    place.flags(&format!("rollout {FLAG} 10"), 0);
    place.flags(&format!("enable {FLAG}"), 0);
    let done = run.wait();
    assert_eq!(done.status, 0, "{}", done.stderr);
    let looks: Vec<serde_json::Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!((1..=3).contains(&looks.len()), "a line for each change, no more: {}", done.stdout);
    let last = &looks.last().unwrap()["states"][0];
    assert_eq!((&last["enabled"], &last["rollout_percentage"]), (&true.into(), &10.into()), "{}", done.stdout);
    place.line("flags watch no_such_flag --for 1s").exits(4);
}
