//! `db apply`: bring the schema up to date.

use clap::Args;
use serde::Serialize;

use super::super::Globals;
use crate::app::{Answer, App, Applied};
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// Apply the migrations that are built in and not yet applied, in one transaction
///
/// Example: llmhub db apply --database-url postgres://unicorn@localhost/unicorn_test
#[derive(Debug, Args)]
pub struct Apply {}

/// `db apply`
#[derive(Debug, Serialize)]
struct ApplyView {
    #[serde(flatten)]
    run: Applied,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl View for ApplyView {
    fn page(&self, page: &mut Page) {
        if self.run.applied.is_empty() {
            page.line("nothing to apply");
        } else {
            let rows = self.run.applied.iter().map(|migration| {
                [
                    (Tone::Strong, migration.version.clone()),
                    (Tone::Plain, migration.name.clone()),
                    (Tone::Dim, if self.dry_run { "–".to_owned() } else { format!("{} ms", migration.duration_ms) }),
                ]
            });
            page.table(&["version", "name", "time"], rows);
        }
        page.fact("current", self.run.current.as_deref().unwrap_or("none"));
        if self.dry_run {
            page.line("dry run: nothing was written");
        }
    }
}

impl Apply {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        let pending = app.pending_migrations().await?;
        if globals.dry_run {
            app.show(&ApplyView { run: pending, dry_run: true })?;
            return Ok(Answer::Yes);
        }
        if !pending.applied.is_empty() {
            let names: Vec<String> =
                pending.applied.iter().map(|next| format!("{} {}", next.version, next.name)).collect();
            app.authorise(format!("apply {}?", names.join(", ")), false, globals.reason.as_deref()).await?;
            app.stage(Stage::Writing("db".to_owned()));
        }
        // Also where nothing is pending: an applied file that was edited since is a conflict, and must be said.
        let run = app.apply_migrations().await?;
        app.stage(Stage::Written);
        app.show(&ApplyView { run, dry_run: false })?;
        Ok(Answer::Yes)
    }
}
