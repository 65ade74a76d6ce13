//! `llmhub`: one command line for the operators of an LLM hub.
//!
//! ```text
//! main → lib::run → commands → { app, domain, ui, error }
//!                        app → { store, ui, config, error }
//!                      store → { domain, config }
//!                      error → the error types of { store, domain, config, ui }
//!         domain, ui, config → nothing in this crate
//! ```
//!
//! `tests/architecture.rs` holds these arrows. Only `ui` prints, only `main` exits, only `store` does I/O on what it was
//! asked about. [`run`] parses, dispatches, waits for signals, and turns the outcome into an exit status.

#![forbid(unsafe_code)]

mod app;
mod commands;
pub mod config;
pub mod domain;
mod error;
pub mod store;
mod ui;

use std::ffi::OsString;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use clap::{CommandFactory, Parser};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{Answer, App, Heard, StoreError};
use crate::commands::{Cli, Globals, WELCOME};
use crate::config::Environment;
use crate::error::Error;
use crate::ui::{ColorEnv, Format, Settings, Ui};

/// Run one command line; returns the exit status of DESIGN 2.
///
/// A panic is a defect: it becomes status 70 and says where, never what, because a message may hold a secret.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let place = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&place);
    std::panic::set_hook(Box::new(move |panic| {
        if let (Some(at), Ok(mut place)) = (panic.location(), seen.lock()) {
            *place = format!(" at {}:{}", at.file(), at.line());
        }
    }));
    catch_unwind(AssertUnwindSafe(|| start(arguments))).unwrap_or_else(|_| {
        let ui = Ui::new(Settings::default());
        let place = place.lock().map(|place| place.clone()).unwrap_or_default();
        fail(&ui, &Error::Bug(format!("a panic{place}")))
    })
}

fn start(arguments: Vec<OsString>) -> u8 {
    let environment = match Environment::capture() {
        Ok(environment) => environment,
        Err(error) => return fail(&Ui::new(Settings::default()), &Error::Config(error)),
    };
    // The shell asks for candidates: answer, and do nothing else.
    if environment.variable_os("COMPLETE").is_some() {
        let factory = clap_complete::CompleteEnv::with_factory(Cli::command);
        return match factory.try_complete(arguments, Some(environment.directory())) {
            Ok(_) => 0,
            Err(_) => 2,
        };
    }
    let color_env = color_env(&environment);
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments, color_env),
    };
    let ui = Arc::new(Ui::new(cli.globals.settings(color_env)));
    if cli.globals.verbose >= 2 {
        ui::trace::install(&ui);
    }
    let Some(command) = cli.command else {
        return match ui.document(WELCOME) {
            Ok(()) => 0,
            Err(error) => fail(&ui, &Error::Output(error.to_string(), error::Stage::NothingWritten)),
        };
    };
    let app = match App::open(Arc::clone(&ui), environment, cli.globals.options(), command.configuration()) {
        Ok(app) => app,
        Err(error) => return fail(&ui, &error),
    };
    // One thread is enough for an operator's command, and starts faster than a pool.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&ui, &Error::Bug(format!("the runtime does not start: {error}"))),
    };
    let ended = runtime.block_on(supervise(&app, &cli.globals, command.run(&app, &cli.globals)));
    // A prompt may still be waiting for a line that never comes.
    runtime.shutdown_background();
    ui.show_typing();
    match (ended.outcome, ended.cut) {
        (Ok(answer), None) => answer.status(),
        // It came to its end before it heard: the result stands, but whoever pressed Ctrl-C is not told that all is well.
        (Ok(_), Some(cut)) => cut.error(error::Stage::Written).status(),
        (Err(Error::Store(StoreError::Stopped(state))), Some(cut)) => {
            fail(&ui, &cut.error(error::Stage::Stopped(state)))
        }
        (Err(error), _) => fail(&ui, &error),
    }
}

/// What ends a command before its own end.
#[derive(Clone, Copy)]
enum Cut {
    Deadline,
    Interrupt,
    Terminate,
}

impl Cut {
    fn error(self, stage: error::Stage) -> Error {
        match self {
            Self::Deadline => Error::TimedOut(stage),
            Self::Interrupt => Error::Interrupted(stage),
            Self::Terminate => Error::Terminated(stage),
        }
    }
}

/// How a command ended, and whether it was asked to.
struct Ended {
    outcome: Result<Answer, Error>,
    cut: Option<Cut>,
}

/// Run the command until it ends, a signal comes, or `--timeout` runs out.
///
/// Work that can end cleanly is asked to, and waited for until a second signal. Other work is dropped, which closes its
/// connections: a database rolls back, and what a hub was told is told to the operator.
async fn supervise(app: &App, globals: &Globals, command: impl Future<Output = Result<Answer, Error>>) -> Ended {
    let mut deadline = pin!(async {
        match globals.timeout {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    });
    let mut signals = Signals::new();
    let mut command = pin!(command);
    let mut cut = None;
    loop {
        let now = tokio::select! {
            outcome = &mut command => return Ended { outcome, cut },
            () = &mut deadline, if cut.is_none() => Cut::Deadline,
            signal = signals.next() => signal,
        };
        if cut.is_some() || app.ask_to_stop() == Heard::No {
            return Ended { outcome: Err(now.error(app.progress())), cut: None };
        }
        app.ui.note("ending; once more ends it at once");
        cut = Some(now);
    }
}

/// The signals that end a command. Without a handler a signal ends the process by itself.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> Self {
        let open = |kind| signal(kind).ok();
        Self {
            interrupt: open(SignalKind::interrupt()),
            terminate: open(SignalKind::terminate()),
            hangup: open(SignalKind::hangup()),
        }
    }

    async fn next(&mut self) -> Cut {
        tokio::select! {
            () = heard(&mut self.interrupt) => Cut::Interrupt,
            () = heard(&mut self.terminate) => Cut::Terminate,
            () = heard(&mut self.hangup) => Cut::Terminate,
        }
    }
}

async fn heard(signal: &mut Option<Signal>) {
    let came = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending().await
    }
}

fn fail(ui: &Ui, error: &Error) -> u8 {
    ui.error(error.code(), &error.to_string(), &error.hint());
    error.status()
}

/// Help and version are results; everything else that the parser says is a usage error, in the form that was asked for.
fn usage(error: &clap::Error, arguments: &[OsString], color_env: ColorEnv) -> u8 {
    let ui = Ui::new(Settings { format: wanted_format(arguments), color_env, ..Settings::default() });
    if !error.use_stderr() {
        return match ui.document(&error.render().to_string()) {
            Ok(()) => 0,
            Err(error) => fail(&ui, &Error::Output(error.to_string(), error::Stage::NothingWritten)),
        };
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(str::trim);
    let message = paragraphs.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let tip = paragraphs.filter(|paragraph| paragraph.starts_with("tip:") || paragraph.starts_with("Usage:"));
    let mut hint = tip.map(|tip| tip.trim_start_matches("tip: ")).collect::<Vec<_>>().join("; ");
    if hint.is_empty() {
        hint = format!("{} --help", command_path(arguments));
    }
    fail(&ui, &Error::Usage { message, hint })
}

/// The command that the arguments begin with, such as `llmhub flags rollout`.
fn command_path(arguments: &[OsString]) -> String {
    let root = Cli::command();
    let (mut current, mut path) = (&root, vec!["llmhub"]);
    for word in arguments.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(sub) = current.find_subcommand(word) {
            path.push(sub.get_name());
            current = sub;
        }
    }
    path.join(" ")
}

/// The form of the result, read from arguments that could not be parsed as a whole.
fn wanted_format(arguments: &[OsString]) -> Format {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let named = |value: &str| match value {
        "json" => Some(Format::Json),
        "yaml" => Some(Format::Yaml),
        _ => None,
    };
    let after = words.windows(2).find_map(|pair| match pair {
        ["-o" | "--output", value] => named(value),
        _ => None,
    });
    let joined = words.iter().find_map(|word| match *word {
        "--json" => Some(Format::Json),
        word => named(word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o"))?.trim_start_matches('=')),
    });
    after.or(joined).unwrap_or_default()
}

fn color_env(environment: &Environment) -> ColorEnv {
    let read = |name: &str| environment.variable(name).ok().flatten().map(str::to_owned);
    ColorEnv {
        no_color: read("NO_COLOR"),
        force: read("CLICOLOR_FORCE"),
        clicolor: read("CLICOLOR"),
        term: read("TERM"),
    }
}
