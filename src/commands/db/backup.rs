//! `db backup`: a dump that is known to be whole.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::super::Globals;
use crate::app::{Answer, App, BackupWish, Verification};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Dump the database and its row counts in one snapshot, verified before the file gets its name
///
/// Example: llmhub db backup --keep-days 14
#[derive(Debug, Args)]
pub struct Backup {
    /// The file to write, which must not exist [default: DATABASE-TIME.dump below the state folder]
    file: Option<PathBuf>,
    /// Delete older backups of this database in the same folder, past this many days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: Option<u32>,
    /// Restore it into a database of its own and compare the row counts
    #[arg(long)]
    verify: bool,
}

/// `db backup`
#[derive(Debug, Serialize)]
struct BackupView {
    file: PathBuf,
    database: String,
    size: Option<u64>,
    sha256: Option<String>,
    tables: usize,
    rows: u64,
    snapshot_at: String,
    verified: Option<Verification>,
    deleted: Vec<PathBuf>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl View for BackupView {
    fn page(&self, page: &mut Page) {
        page.fact("file", self.file.display().to_string());
        page.fact("database", &self.database);
        page.fact("holds", format!("{} rows in {} tables, as of {}", self.rows, self.tables, self.snapshot_at));
        if let (Some(size), Some(sha256)) = (self.size, &self.sha256) {
            page.fact("size", format!("{size} bytes"));
            page.fact("sha256", sha256);
        }
        match self.verified {
            Some(Verification::Listing) => page.fact("verified", "every table is in the dump"),
            Some(Verification::Restore) => page.fact("verified", "restored, with the same rows in every table"),
            None => {}
        }
        if !self.deleted.is_empty() {
            let word = if self.dry_run { "would delete" } else { "deleted" };
            page.table(&[word], self.deleted.iter().map(|file| [(Tone::Plain, file.display().to_string())]));
        }
        if self.dry_run {
            page.line("dry run: nothing was written");
        }
    }
}

impl Backup {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        let wish = BackupWish {
            file: self.file,
            verification: if self.verify { Verification::Restore } else { Verification::Listing },
            keep: self.keep_days.map(|days| Duration::from_secs(u64::from(days) * 86_400)),
        };
        let view = if globals.dry_run {
            let (file, outlook, deleted) = app.backup_outlook(&wish).await?;
            BackupView {
                file,
                database: outlook.database,
                size: None,
                sha256: None,
                tables: outlook.tables.len(),
                rows: outlook.tables.iter().map(|table| table.rows).sum(),
                snapshot_at: outlook.counted_at,
                verified: None,
                deleted,
                dry_run: true,
            }
        } else {
            let made = app.backup(wish).await?;
            BackupView {
                file: made.file,
                database: made.database,
                size: Some(made.size),
                sha256: Some(made.sha256),
                tables: made.tables,
                rows: made.rows,
                snapshot_at: made.snapshot_at,
                verified: Some(made.verified),
                deleted: made.deleted,
                dry_run: false,
            }
        };
        app.show(&view)?;
        Ok(Answer::Yes)
    }
}
