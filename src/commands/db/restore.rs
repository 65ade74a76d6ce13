//! `db restore`: a backup takes the place of the database, which stays under another name.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::super::Globals;
use crate::app::{Answer, App, Evidence, LiveDatabase, Restoration, RestoreWish, Restored};
use crate::error::{Error, Stage};
use crate::ui::{Page, View};

/// Restore a backup beside the database, verify it, and swap the two by name; nothing is dropped
///
/// Example: llmhub db restore hub.dump --dry-run
#[derive(Debug, Args)]
pub struct Restore {
    /// The dump, with its metadata beside it
    file: PathBuf,
    /// Restore as this database of the same server
    #[arg(long, value_name = "DB", value_parser = name)]
    into: Option<String>,
    /// Take a dump of another program, of which nothing is known (needs --reason)
    #[arg(long)]
    without_metadata: bool,
}

/// `db restore`
#[derive(Debug, Serialize)]
struct RestoreView {
    #[serde(flatten)]
    done: Restored,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl View for RestoreView {
    fn page(&self, page: &mut Page) {
        let done = &self.done;
        page.fact("restored", &done.restored);
        page.fact("from", done.from.display().to_string());
        page.fact("holds", format!("{} rows in {} tables", done.rows, done.tables));
        if let Some(previous) = &done.previous {
            page.fact("before", format!("kept as the database {previous}"));
        }
        if let Some(backup) = &done.safety_backup {
            page.fact("safety backup", backup.display().to_string());
        }
        if let Some(way_back) = &done.way_back {
            page.fact("swap back", way_back);
        }
        if self.dry_run {
            page.line("dry run: the dump is whole and the rights are there; nothing was written");
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a database has a name".to_owned()),
        text if text.len() > 63 => Err("a database's name has at most 63 bytes".to_owned()),
        text if text.contains('\0') => Err("a name holds no NUL".to_owned()),
        text => Ok(text.to_owned()),
    }
}

impl Restore {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        if self.without_metadata && globals.reason.is_none() {
            return Err(Error::ReasonNeeded("--without-metadata".to_owned()));
        }
        app.announce();
        let evidence = if self.without_metadata { Evidence::None } else { Evidence::Metadata };
        let wish = RestoreWish { file: self.file, into: self.into, evidence };
        let (restoration, tools) = app.prepare_restore(&wish).await?;
        if globals.dry_run {
            app.show(&RestoreView { done: outlook(&restoration), dry_run: true })?;
            return Ok(Answer::Yes);
        }
        app.authorise(question(&restoration), true, globals.reason.as_deref()).await?;
        let done = app.restore(restoration, &tools).await?;
        app.stage(Stage::Written);
        if let Some(way_back) = &done.way_back {
            app.ui.note(&format!("to swap back, from another database of the server: {way_back}"));
        }
        app.show(&RestoreView { done, dry_run: false })?;
        Ok(Answer::Yes)
    }
}

fn outlook(restoration: &Restoration) -> Restored {
    let tables = restoration.archive().metadata.as_ref().map(|metadata| metadata.tables.as_slice()).unwrap_or_default();
    Restored {
        restored: restoration.database().to_owned(),
        from: restoration.archive().path.clone(),
        safety_backup: None,
        previous: None,
        tables: tables.len(),
        rows: tables.iter().map(|table| table.rows).sum(),
        way_back: None,
    }
}

/// What the operator agrees to.
fn question(restoration: &Restoration) -> String {
    let what = match &restoration.archive().metadata {
        Some(metadata) => format!("the backup of {} from {}", metadata.database, metadata.snapshot_at),
        None => "a dump of which nothing is known".to_owned(),
    };
    let name = restoration.database();
    match restoration.live() {
        LiveDatabase::Absent => format!("restore {what} as the new database {name}?"),
        LiveDatabase::Present { sessions } => format!(
            "restore {what} in place of {name}? {sessions} sessions in it will be ended; it is kept under another name"
        ),
    }
}
