//! `db rollback`: take back the newest migrations, after showing what that destroys.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::super::Globals;
use super::tuning::{Folder, Tuning};
use crate::app::{Answer, App, BackupWish, Loss, Proof, Prospect, Ran, RollbackWish, StoreError, Verification};
use crate::domain::migrations::{Back, DownSource, Version};
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// Take back the newest migration, or several
///
/// The rollback is rehearsed on a scratch database first, unless a kept proof of `db verify --record` speaks of exactly these
/// texts and this schema. What it destroys is counted on the live one and shown; then it asks,
/// takes a backup and runs. Without the files the ledger's own texts are used.
///
/// Example: llmhub db rollback --steps 2 --dry-run
#[derive(Debug, Args)]
pub struct Rollback {
    /// How many of the newest migrations
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "to")]
    steps: u16,
    /// The version that stays as the newest; 0 takes everything back
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// Which down, where the folder's is not the one that the migration was applied with
    #[arg(long, value_enum, value_name = "WORD")]
    down: Option<Word>,
    /// Go on although it is not proven that the schema comes back (needs --reason)
    #[arg(long)]
    unproven: bool,
    /// Take no backup first (needs --reason)
    #[arg(long, conflicts_with = "verify_backup")]
    no_backup: bool,
    /// Prove the backup by restoring it into a scratch database
    #[arg(long)]
    verify_backup: bool,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    tuning: Tuning,
}

/// Where a down is taken from.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Word {
    File,
    Ledger,
}

/// `db rollback`
#[derive(Debug, Serialize)]
struct RollbackView {
    rolled_back: Vec<Ran>,
    current: Option<String>,
    backup: Option<String>,
    lost: Vec<Lost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<super::apply::FailedView>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip)]
    way_back: Option<String>,
}

/// What is lost of one object.
#[derive(Debug, Serialize)]
struct Lost {
    object: String,
    rows: Option<i64>,
    #[serde(skip)]
    what: String,
}

impl View for RollbackView {
    fn page(&self, page: &mut Page) {
        if self.rolled_back.is_empty() {
            page.line("nothing to roll back");
        } else {
            let rows = self.rolled_back.iter().map(|ran| {
                let result = match self.dry_run {
                    true => (Tone::Warn, "would be rolled back".to_owned()),
                    false => (Tone::Good, format!("rolled back in {} ms", ran.duration_ms)),
                };
                [(Tone::Strong, ran.version.clone()), (Tone::Plain, ran.name.clone()), result]
            });
            page.table(&["version", "name", ""], rows);
        }
        page.fact("current", self.current.as_deref().unwrap_or("none"));
        if let Some(backup) = &self.backup {
            page.fact("backup", backup);
        }
        for lost in &self.lost {
            page.toned_fact("lost", Tone::Bad, &lost.what);
        }
        if let Some(way_back) = &self.way_back {
            page.fact("forward again", way_back);
        }
        if let Some(failed) = &self.failed {
            failed.page(page);
        }
        if self.dry_run {
            page.line("dry run: nothing was written");
        }
    }
}

impl Rollback {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        let reason = globals.reason.as_deref();
        for (given, what) in [(self.unproven, "--unproven"), (self.no_backup, "--no-backup")] {
            if given && reason.is_none() {
                return Err(Error::ReasonNeeded(what.to_owned()));
            }
        }
        let back = self.to.clone().map_or(Back::Steps(usize::from(self.steps)), Back::To);
        let down = self.down.map(|word| match word {
            Word::File => DownSource::File,
            Word::Ledger => DownSource::Ledger,
        });
        let wish = RollbackWish { back, down, dir: self.folder.dir.clone() };
        let prospect = app.foresee(&wish).await?;
        prospect.notes.iter().for_each(|note| app.ui.note(note));
        let lost: Vec<Lost> = prospect.losses.iter().map(lost).collect();
        let planned = planned(&prospect);
        let current =
            app.ledger().await?.recorded.iter().rev().nth(planned.len()).map(|entry| entry.version.to_string());
        if let (Proof::Missing(why), false) = (&prospect.proof, self.unproven) {
            lost.iter().for_each(|lost| app.ui.warn(&format!("it would destroy {}", lost.what)));
            return Err(Error::Unproven(why.clone()));
        }
        match &prospect.proof {
            Proof::Missing(why) => app.ui.warn(&format!("NOT PROVEN: {why}")),
            Proof::GoesOn => app.ui.warn(
                "NOT PROVEN: it goes on with a rollback that was begun, of which nothing can be rehearsed; only what its statements \
                 name is counted",
            ),
            Proof::Proven | Proof::Kept if planned.is_empty() => {}
            Proof::Kept => app.ui.note("PROVEN: for these texts on exactly this schema, by a kept proof of llmhub db verify"),
            Proof::Proven => app.ui.note("PROVEN: rehearsed on a scratch database, it gives back the schema"),
        }
        if globals.dry_run || planned.is_empty() {
            let (backup, failed, way_back) = (None, None, None);
            let dry_run = globals.dry_run;
            app.show(&RollbackView { rolled_back: planned, current, backup, lost, failed, dry_run, way_back })?;
            return Ok(Answer::Yes);
        }
        self.ask(app, &prospect, &planned, &lost, reason).await?;
        let backup = self.back_up(app).await?;
        app.stage(Stage::Writing("db".to_owned()));
        let done = app.roll_back(&prospect, &self.tuning.get(), reason).await?;
        app.stage(Stage::Written);
        let gone: Vec<String> = done.rolled_back.iter().map(|ran| format!("{}_{}", ran.version, ran.name)).collect();
        let failed = match done.failed {
            // Whoever pressed Ctrl-C gets the state, not a result.
            Some(failed) if matches!(failed.error, StoreError::Stopped(_)) => {
                return Err(StoreError::Stopped(format!("{}; rolled back: {}", failed.error, gone.join(", "))).into());
            }
            failed => failed.map(super::apply::FailedView::from),
        };
        let answer = if failed.is_some() { Answer::Partial } else { Answer::Yes };
        let way_back = Some(format!("llmhub db apply{}", globals.where_words()));
        let (rolled_back, current) = (done.rolled_back, done.current);
        app.show(&RollbackView { rolled_back, current, backup, lost, failed, dry_run: false, way_back })?;
        Ok(answer)
    }

    async fn ask(
        &self,
        app: &App,
        prospect: &Prospect,
        planned: &[Ran],
        lost: &[Lost],
        reason: Option<&str>,
    ) -> Result<(), Error> {
        for lost in lost {
            app.ui.warn(&format!("it destroys {}", lost.what));
        }
        if lost.is_empty() && prospect.proof.is_there() {
            app.ui.note("nothing is lost");
        }
        if self.no_backup {
            app.ui.warn("no backup is taken");
        }
        let names: Vec<String> = planned.iter().map(|ran| format!("{} {}", ran.version, ran.name)).collect();
        let loss = if lost.is_empty() { "" } else { ", and lose what is listed" };
        app.authorise(format!("roll back {}{loss}?", names.join(", ")), true, reason).await
    }

    async fn back_up(&self, app: &App) -> Result<Option<String>, Error> {
        if self.no_backup {
            return Ok(None);
        }
        let verification = if self.verify_backup { Verification::Restore } else { Verification::Listing };
        let made = app.backup(BackupWish { verification, ..BackupWish::default() }).await?;
        let file = made.file.display().to_string();
        app.ui.note(&format!("backup: {file}"));
        Ok(Some(file))
    }
}

fn planned(prospect: &Prospect) -> Vec<Ran> {
    let ran = |step: &crate::app::Undo| Ran {
        version: step.migration.version.to_string(),
        name: step.migration.name.clone(),
        duration_ms: 0,
    };
    prospect.steps.iter().map(ran).collect()
}

/// A loss, in a line: how much, of what, how sure.
fn lost(loss: &Loss) -> Lost {
    let about = if loss.exact { "" } else { "about " };
    let count = match (loss.non_null, loss.rows) {
        (Some(values), _) => format!("{about}{values} values"),
        (None, Some(rows)) => format!("{about}{rows} {}", if rows == 1 { "row" } else { "rows" }),
        (None, None) => "how much is not known".to_owned(),
    };
    let mut what = format!("{}, {}: {count}", loss.object, loss.what);
    if let Some(newest) = &loss.newest {
        what.push_str(&format!(", newest {newest}"));
    }
    if let Some(note) = &loss.note {
        what.push_str(&format!(" ({note})"));
    }
    Lost { object: loss.object.clone(), rows: loss.non_null.or(loss.rows), what }
}
