//! `db apply`: bring the schema up to date, one migration after the other, each committed with its ledger row.

use clap::Args;
use serde::Serialize;

use super::super::Globals;
use super::tuning::{Folder, Tuning};
use crate::app::{Answer, App, Applied, DryRun, Failed, Late, Skipped, StoreError, Wanted};
use crate::domain::migrations::{Migration, Set, Version};
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// Apply the migrations that are not yet applied, oldest first
///
/// Each is committed together with its ledger row. With --dry-run all of them are really run in one transaction that is rolled
/// back; what cannot be in a transaction is named and left out.
///
/// Example: llmhub db apply --to 0002 --database-url postgres://unicorn@localhost/unicorn_test
#[derive(Debug, Args)]
pub struct Apply {
    /// The last version to apply
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// Also apply what is older than the newest applied migration
    #[arg(long)]
    out_of_order: bool,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    tuning: Tuning,
}

/// `db apply`
#[derive(Debug, Serialize)]
struct ApplyView {
    #[serde(flatten)]
    run: Applied,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<FailedView>,
}

/// The migration at which a run stopped.
#[derive(Debug, Serialize)]
pub(super) struct FailedView {
    version: String,
    name: String,
    error: ErrorView,
}

impl FailedView {
    /// Put it on the page of the run that it ended.
    pub(super) fn page(&self, page: &mut Page) {
        page.spans(&[(Tone::Bad, "FAILED"), (Tone::Plain, &format!("  {}_{}", self.version, self.name))]);
        page.line(&self.error.message);
        page.fact("hint", &self.error.hint);
    }
}

impl From<Failed> for FailedView {
    fn from(failed: Failed) -> Self {
        let error = Error::from(failed.error);
        let error = ErrorView { code: error.code(), message: error.to_string(), hint: error.hint() };
        Self { version: failed.version, name: failed.name, error }
    }
}

/// An error inside a result.
#[derive(Debug, Serialize)]
struct ErrorView {
    code: &'static str,
    message: String,
    hint: String,
}

impl View for ApplyView {
    fn page(&self, page: &mut Page) {
        if self.run.applied.is_empty() {
            page.line("nothing to apply");
        } else {
            let rows = self.run.applied.iter().map(|ran| {
                [
                    (Tone::Strong, ran.version.clone()),
                    (Tone::Plain, ran.name.clone()),
                    (Tone::Dim, format!("{} ms", ran.duration_ms)),
                ]
            });
            page.table(&["version", "name", "time"], rows);
        }
        page.fact("current", self.run.current.as_deref().unwrap_or("none"));
        if let Some(failed) = &self.failed {
            failed.page(page);
        }
    }
}

/// `db apply --dry-run`
#[derive(Debug, Serialize)]
struct DryRunView {
    applied: Vec<crate::app::Ran>,
    skipped: Vec<Skipped>,
    current: Option<String>,
    dry_run: bool,
}

impl View for DryRunView {
    fn page(&self, page: &mut Page) {
        if self.applied.is_empty() && self.skipped.is_empty() {
            page.line("nothing to apply");
        }
        let ran = self.applied.iter().map(|ran| {
            let result = (Tone::Good, format!("ran in {} ms and was rolled back", ran.duration_ms));
            [(Tone::Strong, ran.version.clone()), (Tone::Plain, ran.name.clone()), result]
        });
        let skipped = self.skipped.iter().map(|skipped| {
            let result = (Tone::Warn, format!("not run: {}", skipped.reason));
            [(Tone::Strong, skipped.version.clone()), (Tone::Plain, skipped.name.clone()), result]
        });
        let rows: Vec<_> = ran.chain(skipped).collect();
        if !rows.is_empty() {
            page.table(&["version", "name", "dry run"], rows);
        }
        page.fact("current", self.current.as_deref().unwrap_or("none"));
        page.line("dry run: nothing was written");
    }
}

impl Apply {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        let set = app.migrations(self.folder.dir.as_deref())?;
        set.notes().iter().for_each(|note| app.ui.note(note));
        let late = if self.out_of_order { Late::Apply } else { Late::Refuse };
        let wanted = Wanted { to: self.to, late };
        if globals.dry_run {
            let DryRun { executed, skipped, current } = app.try_apply(&set, &wanted, &self.tuning.get()).await?;
            app.show(&DryRunView { applied: executed, skipped, current, dry_run: true })?;
            return Ok(Answer::Yes);
        }
        let names = pending_names(app, &set, wanted.to.as_ref()).await?;
        if !names.is_empty() {
            app.authorise(format!("apply {}?", names.join(", ")), false, globals.reason.as_deref()).await?;
            app.stage(Stage::Writing("db".to_owned()));
        }
        // Also where nothing is pending: an applied file that was edited since is a conflict, and must be said.
        let mut run = app.apply(&set, &wanted, &self.tuning.get(), globals.reason.as_deref()).await?;
        app.stage(Stage::Written);
        let stand: Vec<String> = run.applied.iter().map(|ran| format!("{}_{}", ran.version, ran.name)).collect();
        let failed = match run.failed.take() {
            // Whoever pressed Ctrl-C gets the state, not a result.
            Some(failed) if matches!(failed.error, StoreError::Stopped(_)) => {
                return Err(StoreError::Stopped(format!("{}; applied: {}", failed.error, stand.join(", "))).into());
            }
            failed => failed.map(FailedView::from),
        };
        let answer = if failed.is_some() { Answer::Partial } else { Answer::Yes };
        app.show(&ApplyView { run, failed })?;
        Ok(answer)
    }
}

/// What would be applied, by name; problems are found by the run itself, which also knows how to say them.
async fn pending_names(app: &App, set: &Set, to: Option<&Version>) -> Result<Vec<String>, Error> {
    let ledger = app.ledger().await?;
    let wanted = |migration: &&&Migration| to.is_none_or(|to| set.numbering().compare(&migration.version, to).is_le());
    let name = |migration: &&Migration| format!("{} {}", migration.version, migration.name);
    Ok(set.compare(&ledger.recorded).pending.iter().filter(wanted).map(name).collect())
}
