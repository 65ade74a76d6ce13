//! `llmhub help`: the exit codes, an error's code explained without a network, or a command's long help.

use clap::{Args, CommandFactory};
use serde::Serialize;

use super::Cli;
use crate::app::{Answer, App, EXIT_CODES};
use crate::error::{CODES, Error, nearest};
use crate::ui::{Page, Tone, View};

/// Explain exit codes, an error code, or a command
///
/// Examples: llmhub help exit-codes · llmhub help flag_not_found · llmhub help flags rollout
#[derive(Debug, Args)]
pub struct Help {
    /// `exit-codes`, an error's code, or a command
    topic: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ExitCodeView {
    code: u8,
    meaning: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ExitCodesView(Vec<ExitCodeView>);

impl View for ExitCodesView {
    fn page(&self, page: &mut Page) {
        let rows =
            self.0.iter().map(|row| [(Tone::Strong, row.code.to_string()), (Tone::Plain, row.meaning.to_owned())]);
        page.table(&["exit", "meaning"], rows);
    }
}

#[derive(Debug, Serialize)]
struct CodeView {
    code: &'static str,
    exit: u8,
    meaning: &'static str,
}

impl View for CodeView {
    fn page(&self, page: &mut Page) {
        page.spans(&[(Tone::Strong, self.code), (Tone::Plain, &format!(" (exit {})", self.exit))]);
        page.line(self.meaning);
    }
}

impl Help {
    pub fn run(self, app: &App) -> Result<Answer, Error> {
        let topic: Vec<&str> = self.topic.iter().map(String::as_str).collect();
        match topic.as_slice() {
            ["exit-codes"] => {
                let rows = EXIT_CODES.iter().map(|(code, meaning)| ExitCodeView { code: *code, meaning });
                app.show(&ExitCodesView(rows.collect()))?;
            }
            [word] if CODES.iter().any(|code| code.word == *word) => {
                for code in CODES.iter().filter(|code| code.word == *word) {
                    app.show(&CodeView { code: code.word, exit: code.status, meaning: code.meaning })?;
                }
            }
            path => app.document(&command_help(path)?)?,
        }
        Ok(Answer::Yes)
    }
}

fn command_help(path: &[&str]) -> Result<String, Error> {
    let mut command = Cli::command();
    command.build();
    let mut current = &mut command;
    for (depth, word) in path.iter().enumerate() {
        let mut known: Vec<String> = current.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        if depth == 0 {
            known.push("exit-codes".to_owned());
            known.extend(CODES.iter().map(|code| code.word.to_owned()));
        }
        let unknown = || Error::NotFound {
            message: match nearest(word, &known).first() {
                Some(close) => format!("there is no help on `{word}`; did you mean `{close}`?"),
                None => format!("there is no help on `{word}`"),
            },
            hint: "llmhub --help".to_owned(),
        };
        current = current.find_subcommand_mut(word).ok_or_else(unknown)?;
    }
    Ok(current.render_long_help().to_string())
}
