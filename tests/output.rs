//! What goes where: the shape of each document, one document on stdout, silence where silence is due, colour and width.

use std::process::Stdio;

use rexpect::session::spawn_command;
use serde::Deserialize;
use serde_json::Value;

use crate::support::cli::{Done, Home};
use crate::support::hub::Hub;
use crate::support::postgres::Database;

const FLAG: &str = "unified_llm_hub";

#[allow(dead_code, reason = "the members are there to be named; anything else is refused")]
mod shapes {
    use super::{Deserialize, Value};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Flag {
        flag: String,
        enabled: Option<bool>,
        rollout_percentage: Option<i64>,
        whitelist_users: Option<Vec<String>>,
        blacklist_users: Option<Vec<String>>,
        start_date: Value,
        end_date: Value,
        description: Value,
        tags: Vec<String>,
        owner: Value,
        revision: Value,
        source: String,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Check {
        flag: String,
        user: Option<String>,
        enabled: Option<bool>,
        reason: String,
        bucket: Option<u8>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Write {
        flag: String,
        changed: bool,
        before: Flag,
        after: Flag,
        results: Vec<Written>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Written {
        source: String,
        changed: bool,
        live: Value,
        persisted: bool,
        survives_restart: Option<bool>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Event {
        revision: i64,
        at: String,
        actor: String,
        operation: String,
        reason: Option<String>,
        changes: Vec<Value>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Diff {
        between: Vec<String>,
        equal: bool,
        differences: Vec<Value>,
        live: Value,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Applied {
        applied: Vec<Migration>,
        current: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Migration {
        version: String,
        name: String,
        duration_ms: u64,
    }
}

#[track_caller]
fn shape<T: serde::de::DeserializeOwned>(home: &Home, line: &str, status: i32) -> Value {
    let value = home.line(&format!("{line} -o json")).exits(status).json();
    if let Err(error) = serde_json::from_value::<T>(value.clone()) {
        panic!("{line}: {error}: {value:#}");
    }
    value
}

fn env_home() -> Home {
    let home = Home::new().variable("LLMHUB_ENV_FILE", ".env.auth");
    home.file(".env.auth", "FEATURE_UNIFIED_LLM_HUB=true\nFEATURE_LLM_HUB_ROLLOUT=10\n");
    home
}

#[test]
fn each_document_has_the_stated_members_and_no_others() {
    let (hub, database) = (Hub::builder().workers(2).start(), Database::empty());
    let home = Home::new();
    let db = format!("--database-url {}", database.url());
    home.file(".env.auth", "FEATURE_UNIFIED_LLM_HUB=true\n");
    shape::<shapes::Applied>(&home, &format!("db apply {db}"), 0);
    for options in [db.clone(), format!("--hub {} --workers 2", hub.url()), "--env-file .env.auth".to_owned()] {
        shape::<Vec<shapes::Flag>>(&home, &format!("flags list {options}"), 0);
        shape::<shapes::Flag>(&home, &format!("flags show {FLAG} {options}"), 0);
        shape::<Vec<shapes::Check>>(&home, &format!("flags user ana {options}"), 0);
        shape::<shapes::Write>(&home, &format!("flags rollout {FLAG} 10 {options}"), 0);
        shape::<shapes::Write>(&home, &format!("flags whitelist add {FLAG} ana {options}"), 0);
        shape::<shapes::Write>(&home, &format!("flags enable {FLAG} {options}"), 0);
        shape::<shapes::Check>(&home, &format!("flags check {FLAG} --user ana {options}"), 0);
    }
    shape::<Vec<shapes::Event>>(&home, &format!("flags history {FLAG} {db}"), 0);
    shape::<shapes::Diff>(&home, &format!("flags diff {db} --hub {} --workers 2 --between hub,db", hub.url()), 0);
}

#[test]
fn every_failure_is_one_document_for_programs_and_none_for_people() {
    let home = env_home();
    for (line, status) in [
        ("flags show nothing", 4),
        ("flags rollout unified_llm_hub 100", 7),
        ("flags rollout", 2),
        ("no-such-command", 2),
        ("flags list --via hub", 3),
        ("flags history unified_llm_hub", 7),
        ("flags sync --from env --to env", 2),
        ("db apply", 3),
        ("profile use nobody", 3),
        ("help nothing", 4),
    ] {
        let json = home.line(&format!("{line} -o json")).exits(status).json();
        for option in ["-o yaml", "-oyaml", "--output yaml", "--output=yaml"] {
            let yaml = home.line(&format!("{line} {option}")).done_unchecked();
            assert_eq!(yaml.status.code(), Some(status), "{line} {option}");
            let text = String::from_utf8(yaml.stdout).unwrap();
            assert!(text.starts_with("error:\n") && text.matches("error:\n").count() == 1, "{line}: {text}");
            assert!(text.contains(json["error"]["code"].as_str().unwrap()), "{line}: {text}");
        }
        for option in ["", "-o table", "-o markdown"] {
            assert_eq!(home.line(&format!("{line} {option}")).exits(status).stdout, "", "{line} {option}");
        }
    }
}

#[test]
fn a_closed_pipe_is_quiet_and_does_not_stop_a_write() {
    let home = env_home();
    let shell = |script: &str| {
        let output = home.command("bash", ["-c", script]).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    // `true` reads nothing; the pipe is closed before or while the result comes.
    assert_eq!(shell("llmhub help flags | true; echo ${PIPESTATUS[0]}"), ("0\n".to_owned(), String::new()));
    let (status, stderr) = shell("exec 3> >(:); sleep 0.1; llmhub flags list -q >&3; echo $?");
    assert_eq!((status.as_str(), stderr.as_str()), ("0\n", ""));
    let (status, _) = shell("exec 3> >(:); sleep 0.1; llmhub flags rollout unified_llm_hub 25 >&3; echo $?");
    assert_eq!(status, "0\n");
    let text = std::fs::read_to_string(home.path().join(".env.auth")).unwrap();
    assert!(text.contains("FEATURE_LLM_HUB_ROLLOUT=25"), "{text}");
}

#[test]
fn a_full_disk_is_said_with_what_was_written() {
    let home = env_home();
    for (line, words) in [
        ("flags list", "nothing was written"),
        ("flags list -o json", "nothing was written"),
        ("flags rollout unified_llm_hub 25", "the change itself was made and read back"),
    ] {
        let output = home.command("sh", ["-c", &format!("llmhub {line} >/dev/full")]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{line}: {stderr}");
        assert!(stderr.contains("error[output]: the result cannot be written to stdout"), "{stderr}");
        assert!(stderr.contains(words), "{line}: {stderr}");
    }
}

#[test]
fn quiet_success_says_nothing_and_quiet_failure_says_why() {
    let home = env_home();
    for line in
        ["flags list", "flags rollout unified_llm_hub 25", "flags enable unified_llm_hub", "doctor", "profile list"]
    {
        assert_eq!(home.line(&format!("{line} -q")).exits(0).stderr, "", "{line}");
    }
    home.line("flags show nothing -q").exits(4).says("error[flag_not_found]");
}

#[test]
fn markdown_is_a_table_of_the_same_facts() {
    let home = Home::new().variable("LLMHUB_ENV_FILE", ".env.auth");
    home.file(".env.auth", "FEATURE_UNIFIED_LLM_HUB=true\nFEATURE_LLM_HUB_WHITELIST=a|b,c\n");
    let done: Done = home.line("flags list -o markdown").exits(0);
    let expected = "| flag | enabled | percent | white | black | start | end | tags |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    assert!(done.stdout.starts_with(expected), "{}", done.stdout);
    assert!(done.stdout.contains("| unified_llm_hub | on | 0 % | 2 | 0 |"), "{}", done.stdout);
    home.line(&format!("flags show {FLAG} -o markdown")).exits(0).prints("a\\|b, c (2)");
}

#[test]
fn colour_is_for_terminals_unless_it_is_asked_for() {
    let home = env_home();
    #[track_caller]
    fn case(home: &Home, options: &str, variables: &[(&str, &str)], colour: bool) {
        let arguments = crate::support::cli::words(&format!("flags show {FLAG} {options}"));
        let output =
            home.command(env!("CARGO_BIN_EXE_llmhub"), arguments).envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.stdout.contains(&0x1b), colour, "{options} {variables:?}");
    }
    case(&home, "", &[], false);
    case(&home, "", &[("CLICOLOR_FORCE", "1")], true);
    case(&home, "", &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false);
    case(&home, "--color always", &[("NO_COLOR", "1")], true);
    case(&home, "--color never", &[("CLICOLOR_FORCE", "1")], false);
    case(&home, "--color always -o json", &[], false);
    case(&home, "--color always -o markdown", &[], false);
}

#[test]
fn a_terminal_of_any_width_is_not_overrun() {
    let home = env_home();
    for columns in [20, 40, 80] {
        let mut command =
            home.command("sh", ["-c", &format!("stty cols {columns}; llmhub flags list --color never -q")]);
        command.stdin(Stdio::inherit());
        let text = spawn_command(command, Some(20_000)).unwrap().exp_eof().unwrap();
        // The reader of the terminal takes each byte for a character: count what begins one.
        let widest = text
            .lines()
            .map(|line| line.trim_end().chars().filter(|c| !('\u{80}'..'\u{c0}').contains(c)).count())
            .max();
        // Eight columns do not fit into 20: there the words wrap, and nothing is cut off.
        let letters: usize = text.chars().filter(char::is_ascii_alphabetic).count();
        assert!(letters > 120, "{text}");
        assert!(columns == 20 || widest.unwrap() <= columns, "{columns}: {widest:?}\n{text}");
    }
}
