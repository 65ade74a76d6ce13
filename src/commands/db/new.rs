//! `db new`: the files of the next migration, in the layout that their folder has.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::super::Globals;
use crate::app::{Answer, App};
use crate::domain::migrations::{MigrationName, Version};
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// Create the files of the next migration, in the layout of their folder; no database is contacted
///
/// Example: llmhub db new add_tenants --dir migrations
#[derive(Debug, Args)]
pub struct New {
    /// What it does: a-z, 0-9 and _; blanks and dashes become _
    name: MigrationName,
    /// The folder of migrations, instead of the profile's
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
}

/// `db new`
#[derive(Debug, Serialize)]
struct NewView<'a> {
    version: &'a Version,
    name: &'a str,
    files: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl View for NewView<'_> {
    fn page(&self, page: &mut Page) {
        page.spans(&[(Tone::Strong, self.version.as_str()), (Tone::Plain, " "), (Tone::Plain, self.name)]);
        self.files.iter().for_each(|file| page.fact("file", file));
        if self.dry_run {
            page.line("dry run: nothing was written");
        }
    }
}

impl New {
    pub fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let folder = app.migrations_folder(self.dir.as_deref())?;
        let added = if globals.dry_run {
            app.plan_migration(&folder, &self.name)?
        } else {
            let added = app.add_migration(&folder, &self.name)?;
            app.stage(Stage::Written);
            added
        };
        let shown = |path: &PathBuf| relative(app, path).display().to_string();
        let files = added.files.iter().map(shown).collect();
        let view = NewView { version: &added.version, name: self.name.as_str(), files, dry_run: globals.dry_run };
        app.show(&view)?;
        Ok(Answer::Yes)
    }
}

/// The path as it can be typed here.
fn relative<'a>(app: &App, path: &'a Path) -> &'a Path {
    path.strip_prefix(app.environment().directory()).unwrap_or(path)
}
