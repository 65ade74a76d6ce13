//! `db baseline`: record that a database already holds what the first migrations make.

use clap::Args;
use serde::Serialize;

use super::super::Globals;
use super::tuning::Folder;
use crate::app::{Answer, App, Ran};
use crate::domain::migrations::Version;
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// Put everything up to VERSION on the ledger of a database that has none, without running it
///
/// For a schema that was there before llmhub. Nothing is proven by it; the tables that the files create must be there.
///
/// Example: llmhub db baseline 0002 --reason 'the schema is from before llmhub'
#[derive(Debug, Args)]
pub struct Baseline {
    /// The newest migration that the database already holds
    version: Version,
    /// Go on although a table is absent that the files make (needs --reason)
    #[arg(long)]
    unproven: bool,
    #[command(flatten)]
    folder: Folder,
}

/// `db baseline`
#[derive(Debug, Serialize)]
struct BaselineView {
    adopted: Vec<Adopted>,
    current: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

/// A migration that was put on the ledger.
#[derive(Debug, Serialize)]
struct Adopted {
    version: String,
    name: String,
}

impl View for BaselineView {
    fn page(&self, page: &mut Page) {
        let rows = self.adopted.iter().map(|one| {
            [
                (Tone::Strong, one.version.clone()),
                (Tone::Plain, one.name.clone()),
                (Tone::Warn, if self.dry_run { "would be recorded" } else { "recorded, not run" }.to_owned()),
            ]
        });
        page.table(&["version", "name", ""], rows);
        page.fact("current", &self.current);
        if self.dry_run {
            page.line("dry run: nothing was written");
        }
    }
}

impl Baseline {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        let set = app.migrations(self.folder.dir.as_deref())?;
        let (chosen, absent) = app.baseline_of(&set, &self.version).await?;
        if !absent.is_empty() {
            let lacks = format!("the database lacks tables that these files make: {}", absent.join(", "));
            match (self.unproven, &globals.reason) {
                (true, Some(_)) => app.ui.warn(&lacks),
                (true, None) => return Err(Error::ReasonNeeded("--unproven".to_owned())),
                (false, _) => {
                    return Err(Error::Refused {
                        message: format!("{lacks}; nothing was written"),
                        hint: "name an older version, or run the files: llmhub db apply".to_owned(),
                    });
                }
            }
        }
        if !globals.dry_run {
            let question = format!("record {} migrations as applied without running them?", chosen.len());
            app.authorise(question, false, globals.reason.as_deref()).await?;
            app.stage(Stage::Writing("db".to_owned()));
            app.baseline(&set, &self.version, globals.reason.as_deref()).await?;
            app.stage(Stage::Written);
        }
        let adopted = chosen.into_iter().map(|Ran { version, name, .. }| Adopted { version, name });
        let view =
            BaselineView { adopted: adopted.collect(), current: self.version.to_string(), dry_run: globals.dry_run };
        app.show(&view)?;
        Ok(Answer::Yes)
    }
}
