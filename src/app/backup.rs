//! Backups and restores of the configured database, as steps that any command can take.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::App;
use crate::error::{Error, Stage};
use crate::store::database::backup::{self, Backup, Evidence, Outlook, Phase, Request, Verification};
use crate::store::database::restore::{self, Live, Restoration, Restored};
use crate::store::pg_tools::PgTools;
use crate::store::postgres::Target;

/// How often the progress line is drawn.
const REDRAW: Duration = Duration::from_millis(100);

/// What kind of backup is wanted.
#[derive(Clone, Debug)]
pub struct BackupWish {
    /// The file; without one it goes below llmhub's state folder, named after the database and the time.
    pub file: Option<PathBuf>,
    /// How sure to be of it.
    pub verification: Verification,
    /// Delete older ones of the same database beside it, past this age.
    pub keep: Option<Duration>,
}

impl Default for BackupWish {
    fn default() -> Self {
        Self { file: None, verification: Verification::Listing, keep: None }
    }
}

/// What is to be restored.
#[derive(Clone, Debug)]
pub struct RestoreWish {
    /// The dump.
    pub file: PathBuf,
    /// The database that it becomes; without one the configured database.
    pub into: Option<String>,
    /// What must be known of the dump.
    pub evidence: Evidence,
}

impl App {
    /// The PostgreSQL programs for `target`, as the profile says where they are.
    ///
    /// # Errors
    /// As [`PgTools::find`].
    pub async fn pg_tools(&self, target: &Target) -> Result<PgTools, Error> {
        // A container that holds the profile's server cannot reach the sandbox.
        let prefix = self.config().pg_tools.as_ref().filter(|_| !self.sandboxed());
        let prefix = prefix.map(|setting| setting.value.as_slice());
        Ok(PgTools::find(self.environment(), prefix, target).await?)
    }

    /// Back up the configured database.
    ///
    /// # Errors
    /// As [`backup::backup`].
    pub async fn backup(&self, wish: BackupWish) -> Result<Backup, Error> {
        let target = self.target().await?;
        let tools = self.pg_tools(&target).await?;
        self.back_up(&target, &tools, wish).await
    }

    async fn back_up(&self, target: &Target, tools: &PgTools, wish: BackupWish) -> Result<Backup, Error> {
        let file = self.backup_file(&wish, target)?;
        let drawn = Mutex::new(None::<Instant>);
        let progress = |phase: Phase, bytes: u64| {
            let Ok(mut drawn) = drawn.lock() else { return };
            if drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) && phase == Phase::Dumping {
                return;
            }
            *drawn = Some(Instant::now());
            self.ui.progress(&match phase {
                Phase::Counting => "backup: counting rows".to_owned(),
                Phase::Dumping => format!("backup: {} written", size(bytes)),
                Phase::Verifying => format!("backup: verifying {}", size(bytes)),
            });
        };
        let request = Request {
            target,
            tools,
            file,
            verification: wish.verification,
            keep: wish.keep,
            now: self.instant(),
            progress: &progress,
        };
        let made = backup::backup(request).await;
        self.ui.progress_end();
        let made = made?;
        if let Some(caveat) = made.caveat {
            self.ui.note(caveat);
        }
        Ok(made)
    }

    /// What a backup would hold, where it would go, and what it would delete. Nothing is written.
    ///
    /// # Errors
    /// As [`App::backup`].
    pub async fn backup_outlook(&self, wish: &BackupWish) -> Result<(PathBuf, Outlook, Vec<PathBuf>), Error> {
        let target = self.target().await?;
        self.pg_tools(&target).await?;
        let file = self.backup_file(wish, &target)?;
        let outlook = backup::outlook(&target).await?;
        let outdated = match wish.keep {
            Some(age) => backup::outdated(&file, &target, &outlook.database, age, self.instant())?,
            None => Vec::new(),
        };
        Ok((file, outlook, outdated))
    }

    /// Check a dump and the rights for restoring it. Changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the file; as [`backup::check`] and [`restore::prepare`].
    pub async fn prepare_restore(&self, wish: &RestoreWish) -> Result<(Restoration, PgTools), Error> {
        let file = self.environment().directory().join(&wish.file);
        if !file.exists() {
            return Err(Error::NotFound {
                message: format!("there is no file {}", file.display()),
                hint: "llmhub db backup".to_owned(),
            });
        }
        let target = self.target().await?;
        let tools = self.pg_tools(&restore::workplace(&target).await?).await?;
        let checked = backup::check(&file, wish.evidence, &tools).await?;
        let restoration = restore::prepare(&target, wish.into.as_deref(), checked).await?;
        for statement in restoration.leftovers() {
            self.ui.warn(&format!(
                "another llmhub works with a database of its own on this server, or was killed; if it was: {statement}"
            ));
        }
        Ok((restoration, tools))
    }

    /// Back up what is there, restore beside it, and swap the names. Ask before: this ends the sessions of others.
    ///
    /// # Errors
    /// As [`Restoration::fill`] and [`restore::Filled::swap`].
    pub async fn restore(&self, restoration: Restoration, tools: &PgTools) -> Result<Restored, Error> {
        let safety = match restoration.live() {
            Live::Absent => None,
            Live::Present { .. } => Some(self.back_up(&restoration.target(), tools, BackupWish::default()).await?.file),
        };
        if let Some(file) = &safety {
            self.ui.note(&format!("the database as it is now: {}", file.display()));
        }
        self.ui.progress("restore: filling the new database");
        let filled = restoration.fill(tools).await;
        self.ui.progress_end();
        let filled = filled?;
        self.stage(Stage::Writing("db".to_owned()));
        let restored = filled.swap(self.instant()).await;
        self.stage(Stage::Written);
        Ok(Restored { safety_backup: safety, ..restored? })
    }

    /// Where a backup goes.
    fn backup_file(&self, wish: &BackupWish, target: &Target) -> Result<PathBuf, Error> {
        if let Some(file) = &wish.file {
            if file.file_name().is_none() || file.is_dir() {
                return Err(Error::Usage {
                    message: format!("{} is a folder: a backup is a file", file.display()),
                    hint: format!("llmhub db backup {}", file.join("hub.dump").display()),
                });
            }
            return Ok(self.environment().directory().join(file));
        }
        let Some(state) = self.state_folder() else {
            return Err(Error::Usage {
                message: "there is no folder for backups: neither HOME nor XDG_STATE_HOME is an absolute path"
                    .to_owned(),
                hint: "llmhub db backup hub.dump".to_owned(),
            });
        };
        let stem = format!("{}-{}", plain(target.database()), self.instant().strftime("%Y%m%dT%H%M%SZ"));
        Ok(free_name(&state.join("backups"), &stem))
    }
}

/// The first name that is not taken: two backups can be made within one second.
fn free_name(folder: &Path, stem: &str) -> PathBuf {
    let first = folder.join(format!("{stem}.dump"));
    let others = (2..100).map(|number| folder.join(format!("{stem}-{number}.dump")));
    std::iter::once(first.clone()).chain(others).find(|path| !path.exists()).unwrap_or(first)
}

/// A database's name as a part of a file's.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || "_-".contains(c) { c } else { '_' }).collect()
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let (mut whole, mut unit) = (bytes, "bytes");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if whole < 10 * 1024 {
            break;
        }
        (whole, unit) = (whole / 1024, larger);
    }
    format!("{whole} {unit}")
}
