//! `llmhub man`: the manual page of the whole tool, or one page per command into a folder.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};

use super::Cli;
use crate::app::{Answer, App, EXIT_CODES};
use crate::error::Error;

/// Print the manual page, or write one page per command into a folder
///
/// Example: llmhub man | man -l -
#[derive(Debug, Args)]
pub struct Man {
    /// The folder for the pages
    folder: Option<PathBuf>,
}

impl Man {
    pub fn run(self, app: &App) -> Result<Answer, Error> {
        let mut command = Cli::command();
        command.build();
        match self.folder {
            None => app.document(&page(&command)?)?,
            Some(folder) => {
                let mut pages = Vec::new();
                collect(&command, &mut pages)?;
                let count = pages.len();
                for (name, text) in pages {
                    app.write_file(&folder.join(format!("{name}.1")), &text)?;
                }
                app.document(&format!("{count} pages in {}\n", folder.display()))?;
            }
        }
        Ok(Answer::Yes)
    }
}

fn collect(command: &Command, pages: &mut Vec<(String, String)>) -> Result<(), Error> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).replace(' ', "-");
    pages.push((name, page(command)?));
    command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| collect(sub, pages))
}

fn page(command: &Command) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut bytes);
    rendered.map_err(|error| Error::Bug(format!("a manual page cannot be rendered: {error}")))?;
    bytes.extend_from_slice(exit_status().as_bytes());
    String::from_utf8(bytes).map_err(|_| Error::Bug("a manual page is not text".to_owned()))
}

/// The exit table, for every page: what a status means is looked up where the command is.
fn exit_status() -> String {
    let mut section = ".SH \"EXIT STATUS\"\n".to_owned();
    for (code, meaning) in EXIT_CODES {
        section.push_str(&format!(".TP\n{code}\n{meaning}\n"));
    }
    section
}
