//! `db adopt --from TOOL`: what another tool's ledger records as applied becomes applied here.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::super::super::Globals;
use crate::app::{Answer, App, LedgerWish, LiveSchema};
use crate::domain::foreign_ledger::Tool;
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// Whose ledger, and where. Beside a folder of scripts its options mean nothing, and are refused: `requires` alone lets them
/// pass there, since clap forgives it where the required option conflicts with what is given.
#[derive(Debug, Args)]
pub struct FromLedger {
    /// The tool; `auto` looks for the ledgers of all of them
    #[arg(long, value_enum, value_name = "TOOL")]
    pub from: Option<Word>,
    /// Its table, if the tool was told another name or there are several
    #[arg(long, value_name = "[SCHEMA.]NAME", requires = "from", conflicts_with = "scripts")]
    table: Option<String>,
    /// Alembic's folder `versions`: which revisions come before which stands in its Python files only
    #[arg(long, value_name = "PATH", requires = "from", conflicts_with = "scripts")]
    revisions: Option<PathBuf>,
    /// Go on although the live schema is not what the files make, or nobody could find out (needs --reason)
    #[arg(long, requires = "from", conflicts_with = "scripts")]
    unproven: bool,
    /// The folder of that tool's files instead of the profile's migrations, or of those that are built in
    #[arg(long, value_name = "PATH", requires = "from", conflicts_with = "scripts")]
    dir: Option<PathBuf>,
}

/// The tools by their words.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Word {
    Auto,
    Sqlx,
    Dbmate,
    GolangMigrate,
    Goose,
    Diesel,
    Refinery,
    Flyway,
    Alembic,
}

impl Word {
    fn tool(self) -> Option<Tool> {
        Some(match self {
            Self::Auto => return None,
            Self::Sqlx => Tool::Sqlx,
            Self::Dbmate => Tool::Dbmate,
            Self::GolangMigrate => Tool::GolangMigrate,
            Self::Goose => Tool::Goose,
            Self::Diesel => Tool::Diesel,
            Self::Refinery => Tool::Refinery,
            Self::Flyway => Tool::Flyway,
            Self::Alembic => Tool::Alembic,
        })
    }
}

/// `db adopt --from`
#[derive(Debug, Serialize)]
struct LedgerView {
    tool: &'static str,
    table: String,
    adopted: Vec<Adopted>,
    current: Option<String>,
    proven: Option<bool>,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// A migration that was put on the ledger.
#[derive(Debug, Serialize)]
struct Adopted {
    version: String,
    name: String,
}

impl View for LedgerView {
    fn page(&self, page: &mut Page) {
        page.fact("from", format!("{}'s {}", self.tool, self.table));
        let word = if self.dry_run { "would be recorded" } else { "recorded, not run" };
        let rows = self.adopted.iter().map(|one| {
            [(Tone::Strong, one.version.clone()), (Tone::Plain, one.name.clone()), (Tone::Warn, word.to_owned())]
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            page.line("nothing to do: it was taken over before");
        } else {
            page.table(&["version", "name", ""], rows);
        }
        page.fact("current", self.current.as_deref().unwrap_or("none"));
        match self.proven {
            Some(true) => page.line("PROVEN: the files, replayed on a scratch database, make the live schema"),
            Some(false) => page.line("not proven: it is on the ledger because you said so"),
            None => {}
        }
        if self.dry_run {
            page.line("dry run: nothing was written");
        }
    }
}

impl FromLedger {
    pub async fn run(self, from: Word, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        let wish = LedgerWish { tool: from.tool(), table: self.table, dir: self.dir, revisions: self.revisions };
        let handed = app.handed(&wish).await?;
        handed.notes.iter().for_each(|note| app.ui.note(note));
        if let LiveSchema::Doubtful(doubts) = &handed.live {
            let text = format!("it is not proven that the database is what the files make: {}", doubts.join("; "));
            match (self.unproven, &globals.reason) {
                (true, Some(_)) => app.ui.warn(&text),
                (true, None) => return Err(Error::ReasonNeeded("--unproven".to_owned())),
                (false, _) => {
                    return Err(Error::Refused {
                        message: format!("{text}; nothing was written"),
                        hint: "repair what the message names, or go on with --unproven and --reason".to_owned(),
                    });
                }
            }
        }
        let fresh = handed.live != LiveSchema::TakenOver;
        if fresh && !globals.dry_run {
            let count = handed.migrations.len();
            let question = format!("record {count} migrations that {} has applied as applied here?", handed.tool);
            app.authorise(question, false, globals.reason.as_deref()).await?;
            app.stage(Stage::Writing("db".to_owned()));
            app.take_over(&handed, globals.reason.as_deref()).await?;
            app.stage(Stage::Written);
        }
        let adopted = handed.migrations.iter().filter(|_| fresh);
        let view = LedgerView {
            tool: handed.tool.word(),
            table: handed.table.clone(),
            adopted: adopted
                .map(|migration| Adopted { version: migration.version.to_string(), name: migration.name.clone() })
                .collect(),
            current: match fresh {
                true => handed.migrations.last().map(|migration| migration.version.to_string()),
                false => app.ledger().await?.current().map(ToString::to_string),
            },
            proven: match &handed.live {
                LiveSchema::AsReplayed(_) => Some(true),
                LiveSchema::Doubtful(_) => Some(false),
                LiveSchema::TakenOver => None,
            },
            notes: handed.notes,
            dry_run: globals.dry_run,
        };
        app.show(&view)?;
        Ok(Answer::Yes)
    }
}
