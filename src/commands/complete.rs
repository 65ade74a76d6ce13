//! `llmhub completions`, and what a shell is offered for a flag's name.
//!
//! The names come from the source that is configured, within 300 ms, and then from a cache of five minutes. Completion never
//! asks, never complains, and takes a protected profile's names from the cache only (craft.md 1.4, point 18).

use std::sync::Arc;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::CompletionCandidate;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use super::{Cli, Globals};
use crate::app::config::Environment;
use crate::app::{Answer, App, Configuration};
use crate::error::Error;
use crate::ui::{Settings, Ui, Volume};

/// The shells that can complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(clippy::enum_variant_names, reason = "PowerShell is the shell's name")]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

/// Print the completion script of a shell; flag names complete from the configured source
///
/// Example: source <(llmhub completions bash)
#[derive(Debug, Args)]
pub struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self, app: &App) -> Result<Answer, Error> {
        let completer: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
            Shell::Elvish => &Elvish,
            Shell::Powershell => &Powershell,
        };
        let name = Cli::command().get_name().to_owned();
        let mut script = Vec::new();
        completer
            .write_registration("COMPLETE", &name, &name, &name, &mut script)
            .map_err(|error| Error::Bug(format!("the completion script cannot be written: {error}")))?;
        app.document(&String::from_utf8_lossy(&script))?;
        Ok(Answer::Yes)
    }
}

/// The names of the flags, for the shell.
pub fn flags() -> Vec<CompletionCandidate> {
    candidates().unwrap_or_default()
}

fn candidates() -> Option<Vec<CompletionCandidate>> {
    let words: Vec<String> = std::env::args_os().filter_map(|word| word.into_string().ok()).collect();
    let globals = Globals::from_words(&words)?;
    let ui = Arc::new(Ui::new(Settings { volume: Some(Volume::Quiet), ..Settings::default() }));
    let environment = Environment::capture().ok()?;
    let app = App::open(ui, environment, globals.options(), Configuration::Needed).ok()?;
    Some(app.flag_names(&globals.via).into_iter().map(CompletionCandidate::new).collect())
}
