//! `llmhub completions`, and what a shell is offered for a flag's name.
//!
//! The names come from the source that is configured, within 300 ms, and then from a cache of five minutes. Completion never
//! asks, never complains, and takes a protected profile's names from the cache only (craft.md 1.4, point 18).

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::CompletionCandidate;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use super::Cli;
use crate::app::{Answer, App};
use crate::error::Error;

/// The shells that can complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    #[value(name = "powershell")]
    PowerShell,
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
            Shell::PowerShell => &Powershell,
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
    crate::app::names::flag_names().into_iter().map(CompletionCandidate::new).collect()
}
