//! The ways in: where a key may come from, where it may not, and what is no key.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

use super::{World, opened};
use crate::support::cli::{PROVIDER_KEY, Run};

#[track_caller]
fn stored(world: &World, run: Run) {
    run.exits(0);
    let token = world.row("OpenAI")["api_key_encrypted"].as_str().unwrap().to_owned();
    assert_eq!(opened(&token).as_deref(), Some(PROVIDER_KEY));
    world.sql("DELETE FROM llm_providers");
}

const SET: &str = "keys set openai --no-verify";

#[test]
fn each_way_brings_the_same_key() {
    let world = World::new();
    stored(&world, world.line(&format!("{SET} --stdin")).stdin(format!("{PROVIDER_KEY}\n")));
    stored(&world, world.line(&format!("{SET} --from-file -")).stdin(format!("{PROVIDER_KEY}\r\n")));
    stored(&world, world.line(&format!("{SET} --from-env NEW_KEY")));
    let file = world.home.file("the key", format!("{PROVIDER_KEY}\n"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    stored(&world, world.line(&format!("{SET} --from-file 'the key'")));
    stored(&world, world.line(&format!("{SET} --from-command \"cat 'the key'\"")));
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_line_that_closes_it() {
    let world = World::new();
    let file = world.home.file("key", PROVIDER_KEY);
    for mode in [0o644, 0o640, 0o604] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let done = world.line(&format!("{SET} --from-file key -o json")).exits(3).says("chmod 600 key");
        assert_eq!(done.code(), "credentials");
    }
    world.line(&format!("{SET} --from-file gone")).exits(3);
    assert_eq!(world.table(), [""; 0]);
}

#[test]
fn without_a_terminal_and_without_a_way_nobody_is_asked() {
    let world = World::new();
    let done =
        world.line(&format!("{SET} -o json")).exits(9).says("--stdin, --from-file, --from-env or --from-command");
    assert_eq!(done.code(), "not_confirmed");
    world.line(SET).stdin(format!("{PROVIDER_KEY}\n")).exits(9);
    world.line(&format!("{SET} --stdin --from-env NEW_KEY")).exits(2);
    world.line(&format!("{SET} --from-env NOT_SET")).exits(2).says("NOT_SET is not set");
    world.line(&format!("{SET} --from-command 'false'")).exits(3);
    world.line(&format!("{SET} --from-command \"pass 'x\"")).exits(2);
    assert_eq!(world.table(), [""; 0]);
}

#[test]
fn what_is_no_key_is_refused_and_never_repeated() {
    let world = World::new();
    for (text, fault) in [
        (String::new(), "is empty"),
        ("\n".to_owned(), "is empty"),
        (format!("{PROVIDER_KEY}\n{PROVIDER_KEY}\n"), "more than one line"),
        (format!("{PROVIDER_KEY} "), "a blank"),
        (format!("\"{PROVIDER_KEY}\""), "quotation mark"),
        (format!("{PROVIDER_KEY}\u{1b}"), "control character"),
        (format!("\u{feff}{PROVIDER_KEY}"), "cannot be seen"),
        (PROVIDER_KEY.replace('-', "\u{2013}"), "outside of ASCII"),
        ("k".repeat(8 * 1024 + 1), "8 KiB"),
    ] {
        world.line(&format!("{SET} --stdin -o json")).stdin(text).exits(7).says(fault);
    }
    assert_eq!(world.table(), [""; 0]);
}

#[test]
fn a_key_in_an_argument_is_refused_before_anything_repeats_it() {
    let world = World::new();
    for line in [
        format!("keys set {PROVIDER_KEY}"),
        format!("keys set openai {PROVIDER_KEY}"),
        format!("keys set openai --name {PROVIDER_KEY}"),
        format!("keys set openai --from-env {PROVIDER_KEY}"),
        format!("keys set openai --from-file {PROVIDER_KEY}"),
        format!("keys remove {PROVIDER_KEY}"),
        format!("keys disable {PROVIDER_KEY}"),
    ] {
        world.line(&line).exits(2).says("history -d");
        world.line(&format!("{line} -vv -o json")).exits(2);
    }
    // No option takes one; the parser names the option and keeps the value to itself.
    world.line(&format!("keys set openai --key {PROVIDER_KEY}")).exits(2);
    world.line(&format!("keys set openai --key={PROVIDER_KEY}")).exits(2);
    world.line("keys set openai two words").exits(2).says("one provider and nothing behind it");
    assert_eq!(world.table(), [""; 0]);
}

fn terminal(world: &World, line: &str) -> PtySession {
    let mut command = world.home.command("sh", ["-c", line]);
    command.stdin(Stdio::inherit()).env("TERM", "xterm").env("NO_COLOR", "1");
    spawn_command(command, Some(20_000)).unwrap()
}

#[test]
fn what_is_typed_at_the_prompt_is_not_shown() {
    let world = World::new();
    // The terminal of the tests shows nothing by itself, unless told to.
    let mut session = terminal(&world, &format!("stty echo; llmhub {SET}"));
    session.exp_string("API key of OpenAI (not shown): ").unwrap();
    session.send_line(PROVIDER_KEY).unwrap();
    let text = session.exp_eof().unwrap();
    assert!(!text.contains("CANARY"), "{text}");
    assert!(matches!(session.process().wait().unwrap(), WaitStatus::Exited(_, 0)), "{text}");
    assert_eq!(world.table().len(), 1);
}

#[test]
fn a_key_is_not_read_from_a_terminal_that_shows_it() {
    let world = World::new();
    for way in ["--stdin", "--from-file -"] {
        let mut session = terminal(&world, &format!("llmhub {SET} {way}"));
        let text = session.exp_eof().unwrap();
        assert!(text.contains("stdin is a terminal"), "{text}");
        assert!(matches!(session.process().wait().unwrap(), WaitStatus::Exited(_, 2)), "{text}");
    }
    assert_eq!(world.table(), [""; 0]);
}

#[test]
fn ctrl_c_at_the_prompt_gives_the_terminal_its_echo_back() {
    let world = World::new();
    let line =
        format!("stty echo; trap : INT; llmhub {SET}; echo status $?; stty -a | grep -o -e '-\\?echo '; echo end");
    let mut session = terminal(&world, &line);
    session.exp_string("(not shown): ").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("status 130").unwrap();
    let rest = session.exp_string("end").unwrap();
    assert!(rest.contains("echo ") && !rest.contains("-echo "), "{rest:?}");
    assert_eq!(world.table(), [""; 0]);
}
