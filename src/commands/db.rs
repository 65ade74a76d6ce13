//! `llmhub db`: the database's schema.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Globals;
use crate::app::{Answer, App};
use crate::error::{Error, Stage};
use crate::store::database::{Applied, ApplyReport};
use crate::ui::{Page, Tone, View};

/// Bring the database's schema up to date
#[derive(Debug, Subcommand)]
pub enum Db {
    Apply(Apply),
}

impl Db {
    /// Run the chosen verb.
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::Apply(args) => args.run(app, globals).await,
        }
    }
}

/// Apply the migrations that are built in and not yet applied, in one transaction
///
/// Example: llmhub db apply --database-url postgres://unicorn@localhost/unicorn_test
#[derive(Debug, Args)]
pub struct Apply {}

#[derive(Debug, Serialize)]
struct AppliedView {
    version: String,
    name: String,
    duration_ms: u64,
}

/// `db apply`
#[derive(Debug, Serialize)]
struct ApplyView {
    applied: Vec<AppliedView>,
    current: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl ApplyView {
    fn new(report: ApplyReport, dry_run: bool) -> Self {
        let view = |applied: Applied| AppliedView {
            version: applied.version,
            name: applied.name,
            duration_ms: applied.duration_ms,
        };
        Self { applied: report.applied.into_iter().map(view).collect(), current: report.current, dry_run }
    }
}

impl View for ApplyView {
    fn page(&self, page: &mut Page) {
        if self.applied.is_empty() {
            page.line("nothing to apply");
        } else {
            let rows = self.applied.iter().map(|migration| {
                [
                    (Tone::Strong, migration.version.clone()),
                    (Tone::Plain, migration.name.clone()),
                    (Tone::Dim, if self.dry_run { "–".to_owned() } else { format!("{} ms", migration.duration_ms) }),
                ]
            });
            page.table(&["version", "name", "time"], rows);
        }
        page.fact("current", self.current.as_deref().unwrap_or("none"));
        if self.dry_run {
            page.line("dry run: nothing was written");
        }
    }
}

impl Apply {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let database = app.database().await?;
        app.announce();
        let note = app.note("apply", globals.reason.as_deref());
        let pending = database.pending().await?;
        if globals.dry_run || pending.applied.is_empty() {
            app.show(&ApplyView::new(pending, globals.dry_run))?;
            return Ok(Answer::Yes);
        }
        let names: Vec<String> = pending.applied.iter().map(|next| format!("{} {}", next.version, next.name)).collect();
        app.authorise(format!("apply {}?", names.join(", ")), false, globals.reason.as_deref()).await?;
        app.stage(Stage::Writing("db".to_owned()));
        let report = database.apply(&note).await?;
        app.stage(Stage::Written);
        app.show(&ApplyView::new(report, false))?;
        Ok(Answer::Yes)
    }
}
