//! The exit table: each status through the binary, one row at a time, and the places that print the table agree.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::Home;
use crate::support::hub::{Fault, Hub, When};
use crate::support::postgres::Database;

const FLAG: &str = "unified_llm_hub";
const UPDATE: &str = "/api/v1/features/unified_llm_hub";

fn hub_home(workers: usize) -> (Hub, Home) {
    let hub = Hub::builder().workers(workers).start();
    let home = Home::new().variable("LLMHUB_HUB_URL", hub.url());
    (hub, home)
}

fn env_home(text: &str) -> Home {
    let home = Home::new().variable("LLMHUB_ENV_FILE", ".env.auth");
    home.file(".env.auth", text);
    home
}

/// Run the line, expect status and code, in the form for people and as JSON.
#[track_caller]
fn fails(home: &Home, line: &str, status: i32, code: &str) {
    home.line(line).exits(status).says(&format!("error[{code}]: "));
    let done = home.line(&format!("{line} -o json")).exits(status);
    assert_eq!(done.code(), code, "{line}");
}

fn table() -> Vec<(i64, String)> {
    let rows = Home::new().line("help exit-codes -o json").exits(0).json();
    let row = |row: &Value| (row["code"].as_i64().unwrap(), row["meaning"].as_str().unwrap().to_owned());
    rows.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn exit_0_is_done_and_also_already_so() {
    let home = env_home("");
    let first = home.line(&format!("flags rollout {FLAG} 10 -o json")).exits(0).json();
    assert_eq!(first["changed"], true);
    let again = home.line(&format!("flags rollout {FLAG} 10 -o json")).exits(0).json();
    assert_eq!(again["changed"], false);
}

#[test]
fn exit_1_is_an_answer_and_prints_a_result() {
    let home = env_home("");
    let off = home.line(&format!("flags check {FLAG} --user ana -o json")).exits(1).json();
    assert_eq!(off["enabled"], false);
    home.file("wanted.toml", format!("[flags.{FLAG}]\nenabled = true\n"));
    let diff = home.line("flags diff wanted.toml -o json").exits(1).json();
    assert_eq!(diff["equal"], false);
    home.line("doctor --env-file /nowhere/.env").exits(1).prints("not healthy");
}

#[test]
fn exit_2_is_usage_and_contacts_nothing() {
    let (hub, home) = hub_home(1);
    for line in [
        "flags rollout",
        "flags rollout unified_llm_hub 101",
        "flags rollout unified_llm_hub -1",
        "flags rollout unified_llm_hub 10.5",
        "flags rollot unified_llm_hub 10",
        "flags list --timeout soon",
        "flags list --via nowhere",
        "flags schedule unified_llm_hub --start 2031-01-01T00:00Z --end 2030-01-01T00:00Z",
        "flags whitelist add unified_llm_hub ''",
        "flags list --workers 0",
        "flags list --hub ftp://example.com",
    ] {
        fails(&home, line, 2, "usage");
    }
    assert_eq!(hub.requests().len(), 0);
}

#[test]
fn exit_3_is_configuration_or_credentials() {
    fails(&Home::new(), "flags list", 3, "no_source");
    let (hub, home) = hub_home(1);
    let home = home.variable("LLMHUB_ENV_FILE", ".env.auth");
    home.file(".env.auth", "");
    fails(&home, &format!("flags enable {FLAG}"), 3, "ambiguous_write");
    fails(&home, "flags list --via db", 3, "source_not_configured");
    home.file("llmhub.toml", "[profiles.p\n");
    fails(&home, "flags list", 3, "config_syntax");
    assert_eq!(hub.requests().len(), 0);

    let database = Database::empty();
    let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
    fails(&home, "flags list", 3, "schema_missing");
    let server = database.server;
    let home = Home::new()
        .variable("LLMHUB_DATABASE_URL", database.url_for("nobody", "canary-password-9a55", &server.host, server.port));
    fails(&home, "flags list", 3, "credentials");
}

#[test]
fn exit_4_is_not_found_and_names_the_nearest() {
    let (_hub, home) = hub_home(1);
    fails(&home, "flags show unified_lm_hub", 4, "flag_not_found");
    home.line("flags show unified_lm_hub").exits(4).says("did you mean `unified_llm_hub`?");
    fails(&home, "help flag_not_fund", 4, "not_found");
    home.line("help flag_not_fund").exits(4).says("did you mean `flag_not_found`?");
}

#[test]
fn exit_5_is_a_conflict() {
    let (hub, home) = hub_home(2);
    hub.set_flag_everywhere(FLAG, serde_json::json!({"enabled": true}));
    hub.set_flag(0, FLAG, serde_json::json!({"whitelist_users": ["ana"]}));
    let line = format!("flags rollout {FLAG} 10 --workers 2");
    fails(&home, &line, 5, "processes_disagree");
    let writes = hub.requests().iter().filter(|request| request.method == "PUT").count();
    assert_eq!(writes, 0);
}

#[test]
fn what_another_process_holds_is_not_reported_as_changed() {
    let (hub, home) = hub_home(2);
    hub.set_flag(0, FLAG, serde_json::json!({"rollout_percentage": 10, "enabled": true}));
    let done = home.line(&format!("flags rollout {FLAG} 10 --workers 2 -o json")).exits(0);
    let write = done.json();
    assert_eq!(write["before"]["enabled"], write["after"]["enabled"]);
    assert!(!done.stderr.contains("flags enable"), "{}", done.stderr);
    done.says("the hub's processes disagree in enabled; that is left as it is");
    assert_eq!(hub.member(FLAG, "enabled"), [true, false]);
}

#[test]
fn exit_6_is_unreachable_with_nothing_written() {
    // A port that was free a moment ago refuses.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let home = Home::new();
    fails(&home, &format!("flags list --hub http://127.0.0.1:{port}"), 6, "unreachable");
    fails(&home, &format!("flags enable {FLAG} --hub http://127.0.0.1:{port}"), 6, "unreachable");
    fails(
        &home,
        &format!("flags list --database-url postgres://u@127.0.0.1:{port}/d?sslmode=disable"),
        6,
        "unreachable",
    );

    let (hub, home) = hub_home(1);
    hub.fail(When::always(), Fault::Silence);
    let started = Instant::now();
    // The bound of the request and that of the command run out together: either may speak.
    let done = home.line("flags list --timeout 1s -o json").exits(6);
    assert!(["timed_out", "unreachable"].contains(&done.code().as_str()), "{}", done.stdout);
    assert!(started.elapsed() < Duration::from_secs(6));
}

#[test]
fn exit_7_is_refused_with_nothing_written() {
    let (hub, home) = hub_home(1);
    fails(&home, &format!("flags rollout {FLAG} 50"), 7, "ladder");
    fails(&home, &format!("flags rollout {FLAG} 50 --skip-steps"), 7, "reason_needed");
    fails(&home, &format!("flags schedule {FLAG} --clear"), 7, "unsupported");
    home.file("broken.toml", "[flags.x\n");
    fails(&home, "flags apply broken.toml -y", 7, "input");
    fails(&home, &format!("flags history {FLAG}"), 7, "unsupported");
    assert!(hub.requests().iter().all(|request| request.method == "GET"), "{:?}", hub.counts());
}

#[test]
fn exit_9_is_not_confirmed() {
    let (hub, home) = hub_home(1);
    home.file("wanted.toml", format!("[flags.{FLAG}]\nenabled = true\n"));
    fails(&home, "flags apply wanted.toml", 9, "not_confirmed");
    assert!(hub.requests().iter().all(|request| request.method == "GET"), "{:?}", hub.counts());
}

#[test]
fn exit_10_is_partial_and_prints_what_is_known() {
    let (hub, home) = hub_home(4);
    hub.fail(When::always().method("PUT").on_worker(2), Fault::Json500);
    let done = home.line(&format!("flags enable {FLAG} --workers 4 -o json")).exits(10);
    assert_eq!(done.json()["results"][0]["live"]["verdict"], "partial");
}

#[test]
fn exit_11_is_an_unknown_outcome() {
    let (hub, home) = hub_home(1);
    hub.fail(When::always().method("PUT").path(UPDATE), Fault::Hang);
    let run = home.line(&format!("flags enable {FLAG} --workers 1 --timeout 2s")).exits(11);
    run.says("error[outcome_unknown]").says("outcome is unknown");
    hub.repair_all();
}

/// A panic cannot be provoked from outside on purpose: `lib::run` has the test of status 70.
#[test]
fn exit_130_and_143_are_signals_and_say_what_was_written() {
    for (signal, status, code) in [("INT", 130, "interrupted"), ("TERM", 143, "terminated"), ("HUP", 143, "terminated")]
    {
        let (hub, home) = hub_home(1);
        hub.fail(When::always(), Fault::Silence);
        let run = home.line("flags list").spawn();
        wait_for(|| !hub.requests().is_empty());
        run.signal(signal);
        let done = run.wait();
        assert_eq!(done.status, status, "{signal}: {}", done.stderr);
        done.says(&format!("error[{code}]")).says("nothing was written");
    }
}

fn wait_for(ready: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < deadline, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_table_is_the_same_in_the_help_the_manual_and_the_readme() {
    let table = table();
    let codes: Vec<i64> = table.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 70, 130, 143]);
    let text = Home::new().line("help exit-codes").exits(0).stdout;
    let manual = Home::new().line("man").exits(0).stdout;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for (code, meaning) in &table {
        assert!(
            text.lines().any(|line| line.trim().starts_with(&code.to_string()) && line.contains(meaning)),
            "{text}"
        );
        assert!(readme.contains(&format!("| {code} | {meaning} |")), "README lacks {code}: {meaning}");
        let roff = meaning.replace('-', "\\-");
        assert!(manual.contains(meaning) || manual.contains(&roff), "the manual lacks {code}: {meaning}");
    }
}

#[test]
fn every_code_is_explained_without_a_configuration_or_a_network() {
    let source = include_str!("../src/error/codes.rs");
    let words: Vec<&str> = source.split("word: \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(words.len() > 40, "{words:?}");
    let home = Home::new().variable("LLMHUB_HUB_URL", "not a url");
    home.file("llmhub.toml", "not TOML");
    let statuses: Vec<i64> = table().into_iter().map(|(code, _)| code).collect();
    for word in words {
        let code = home.line(&format!("help {word} -o json")).exits(0).json();
        assert_eq!(code["code"], *word);
        assert!(statuses.contains(&code["exit"].as_i64().unwrap()), "{code}");
        let meaning = code["meaning"].as_str().unwrap();
        assert!(meaning.ends_with('.') || meaning.ends_with('`'), "{word}: {meaning}");
    }
}

#[test]
fn the_important_errors_have_exactly_these_words() {
    let (hub, home) = hub_home(1);
    let both = Home::new().variable("LLMHUB_HUB_URL", hub.url()).variable("LLMHUB_ENV_FILE", ".env.auth");
    both.file(".env.auth", "");
    #[track_caller]
    fn case(home: &Home, line: &str, status: i32, expected: &str) {
        assert_eq!(home.line(line).exits(status).stderr, expected, "{line}");
    }
    case(
        &Home::new(),
        "flags list",
        3,
        "error[no_source]: no source is configured: llmhub does not know where the flags are\n  \
         hint: give --hub URL, --database-url URL or --env-file PATH, or write a profile: llmhub profile init\n",
    );
    case(
        &both,
        "flags enable unified_llm_hub",
        3,
        "error[ambiguous_write]: several sources are configured (hub, env): a write does not guess\n  \
         hint: --via hub,env (in the order in which to write), or `write = [...]` in the profile\n",
    );
    case(
        &home,
        "flags show unified_llm_hubb",
        4,
        "error[flag_not_found]: hub has no flag `unified_llm_hubb`; did you mean `unified_llm_hub`?\n  \
         hint: llmhub flags list\n",
    );
    case(
        &home,
        "flags list --via db",
        3,
        "error[source_not_configured]: db was asked for, but no database (--database-url) is configured\n  \
         hint: --database-url postgres://USER@HOST/DATABASE\n",
    );
    case(
        &home,
        "flags rollout unified_llm_hub 50 --skip-steps",
        7,
        "error[reason_needed]: --skip-steps needs a reason\n  hint: --reason 'why this is right'\n",
    );
    assert!(hub.requests().iter().all(|request| request.method == "GET"));
}
