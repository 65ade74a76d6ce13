//! Questions: who is asked, who may answer, and that nothing is written without an answer. In a terminal and without one.

use std::process::Stdio;
use std::time::Duration;

use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

use crate::support::cli::{Home, words};
use crate::support::hub::Hub;

const APPLY: &str = "flags apply wanted.toml";
const PROTECTED: &str = "flags enable unified_llm_hub -p prod --reason drill";

struct World {
    hub: Hub,
    home: Home,
}

impl World {
    fn new() -> Self {
        let hub = Hub::builder().start();
        let home = Home::new();
        let profiles = format!(
            "[profiles.dev]\nhub = \"{0}\"\nworkers = 1\n[profiles.prod]\nhub = \"{0}\"\nworkers = 1\nprotected = true\n",
            hub.url()
        );
        home.file(".config/llmhub/config.toml", profiles);
        home.file("wanted.toml", "[flags.unified_llm_hub]\nenabled = true\n");
        Self { hub, home: home.variable("LLMHUB_PROFILE", "dev") }
    }

    /// Start it in a terminal of its own.
    fn terminal(&self, line: &str, variables: &[(&str, &str)]) -> PtySession {
        let mut command = self.home.command(env!("CARGO_BIN_EXE_llmhub"), words(line));
        // The terminal takes the place of all three streams.
        command.stdin(Stdio::inherit()).env("TERM", "xterm").env("NO_COLOR", "1").envs(variables.iter().copied());
        spawn_command(command, Some(20_000)).unwrap()
    }

    #[track_caller]
    fn unwritten(&self) {
        let requests = self.hub.requests();
        let writes: Vec<_> = requests.iter().filter(|request| request.method != "GET").collect();
        assert!(writes.is_empty(), "{writes:?}");
    }

    #[track_caller]
    fn written(&self) {
        assert_eq!(self.hub.member("unified_llm_hub", "enabled"), [true]);
    }
}

/// Read what is left and return it with the exit status.
#[track_caller]
fn ends(session: &mut PtySession) -> (i32, String) {
    let text = session.exp_eof().unwrap();
    match session.process().wait().unwrap() {
        WaitStatus::Exited(_, status) => (status, text),
        other => panic!("{other:?}: {text}"),
    }
}

#[test]
fn without_a_terminal_the_refusal_is_immediate_and_names_the_option() {
    #[track_caller]
    fn case(line: &str, option: &str) {
        let world = World::new();
        let done = world.home.line(line).exits(9).within(Duration::from_secs(5));
        done.says(&format!("nobody to ask: give {option}")).says(&format!("add {option}"));
        world.unwritten();
    }
    case(APPLY, "-y");
    case(PROTECTED, "--confirm=prod");
}

#[test]
fn a_yes_in_a_pipe_is_not_an_answer() {
    let world = World::new();
    world.home.line(APPLY).stdin("y\n").exits(9);
    world.unwritten();
}

#[test]
fn ci_is_not_consent() {
    for value in ["1", "true"] {
        let world = World::new();
        world.home.line(APPLY).env("CI", value).exits(9);
        world.home.line(PROTECTED).env("CI", value).exits(9);
        let mut session = world.terminal(APPLY, &[("CI", value)]);
        session.exp_string("[y/N]").unwrap();
        session.send_line("n").unwrap();
        assert_eq!(ends(&mut session).0, 9);
        world.unwritten();
    }
}

#[test]
fn a_question_at_a_terminal_is_answered_by_y_and_by_nothing_else() {
    for (answer, status) in [("y", 0), ("yes", 0), ("n", 9), ("", 9), ("yup", 9), ("prod", 9)] {
        let world = World::new();
        let mut session = world.terminal(APPLY, &[]);
        let question = session.exp_string("[y/N]").unwrap();
        assert!(question.contains("unified_llm_hub in hub: enabled false"), "{question}");
        session.send_line(answer).unwrap();
        let (ended, text) = ends(&mut session);
        assert_eq!(ended, status, "{answer:?}: {text}");
        if status == 0 { world.written() } else { world.unwritten() }
    }
}

#[test]
fn the_end_of_the_input_is_a_no() {
    let world = World::new();
    let mut session = world.terminal(APPLY, &[]);
    session.exp_string("[y/N]").unwrap();
    session.send_control('d').unwrap();
    assert_eq!(ends(&mut session).0, 9);
    world.unwritten();
}

#[test]
fn prompts_need_both_stdin_and_stderr_to_be_terminals() {
    // A shell in the terminal redirects one of them.
    for redirect in ["</dev/null", "2>/dev/null", "</dev/null 2>/dev/null"] {
        let world = World::new();
        let mut command = world.home.command("sh", ["-c", &format!("llmhub {APPLY} {redirect}; echo status=$?")]);
        command.stdin(Stdio::inherit());
        let mut session = spawn_command(command, Some(20_000)).unwrap();
        let (_, text) = ends(&mut session);
        assert!(text.contains("status=9") && !text.contains("[y/N]"), "{redirect}: {text}");
        world.unwritten();
    }
    // stdout is free: the result may go to a file while somebody answers.
    let world = World::new();
    let mut command = world.home.command("sh", ["-c", &format!("llmhub {APPLY} >result; echo status=$?")]);
    command.stdin(Stdio::inherit());
    let mut session = spawn_command(command, Some(20_000)).unwrap();
    session.exp_string("[y/N]").unwrap();
    session.send_line("y").unwrap();
    assert!(ends(&mut session).1.contains("status=0"));
    world.written();
}

#[test]
fn no_input_never_asks_at_a_terminal() {
    for line in [APPLY, PROTECTED] {
        let world = World::new();
        let mut session = world.terminal(&format!("{line} --no-input"), &[]);
        let (status, text) = ends(&mut session);
        assert_eq!(status, 9, "{text}");
        assert!(!text.contains("[y/N]") && !text.contains("to go on"), "{text}");
        world.unwritten();
    }
}

#[test]
fn a_protected_profile_wants_a_reason_and_its_name() {
    #[track_caller]
    fn case(line: &str, status: i32, code: &str) {
        let world = World::new();
        assert_eq!(world.home.line(&format!("{line} -o json")).exits(status).code(), code, "{line}");
        world.unwritten();
    }
    case("flags enable unified_llm_hub -p prod", 7, "reason_needed");
    case("flags enable unified_llm_hub -p prod -y", 7, "reason_needed");
    case("flags enable unified_llm_hub -p prod --confirm=prod", 7, "reason_needed");
    case(&format!("{PROTECTED} -y"), 7, "protected");
    case(&format!("{PROTECTED} --confirm=dev"), 9, "not_confirmed");
    case(&format!("{PROTECTED} --confirm=PROD -y"), 9, "not_confirmed");
    let world = World::new();
    world.home.line(&format!("{PROTECTED} --confirm=prod")).exits(0);
    world.written();
}

#[test]
fn the_name_of_a_protected_profile_can_be_typed() {
    for (name, status) in [("dev", 9), ("y", 9), ("", 9), ("prod", 0)] {
        let world = World::new();
        let mut session = world.terminal(PROTECTED, &[]);
        session.exp_string("Type the profile's name (prod) to go on:").unwrap();
        session.send_line(name).unwrap();
        let (ended, text) = ends(&mut session);
        assert_eq!(ended, status, "{name:?}: {text}");
        if status == 0 { world.written() } else { world.unwritten() }
    }
}

#[test]
fn a_change_that_is_already_so_asks_nothing() {
    let world = World::new();
    world.hub.set_flag_everywhere("unified_llm_hub", serde_json::json!({"enabled": true}));
    world.home.line(APPLY).exits(0);
    world.home.line(PROTECTED).exits(0);
    world.unwritten();
}

#[test]
fn control_c_at_a_question_ends_it_and_leaves_the_terminal_as_it_was() {
    for (line, question) in [(APPLY, "[y/N]"), (PROTECTED, "to go on:")] {
        let world = World::new();
        let script = format!("stty -a >before; llmhub {line}; echo status=$?; stty -a >after");
        let mut command = world.home.command("sh", ["-c", &format!("trap : INT; {script}")]);
        command.stdin(Stdio::inherit());
        let mut session = spawn_command(command, Some(20_000)).unwrap();
        session.exp_string(question).unwrap();
        session.send_control('c').unwrap();
        let (_, text) = ends(&mut session);
        assert!(text.contains("status=130") && text.contains("nothing was written"), "{text}");
        let read = |name| std::fs::read_to_string(world.home.path().join(name)).unwrap();
        assert_eq!(read("before"), read("after"));
        world.unwritten();
    }
}
