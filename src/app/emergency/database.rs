//! Step 7: the database back to what it was before the feature, only where it was asked for and the flag is verified off.
//!
//! The rules are those of `db rollback`: a proven down, the losses shown and confirmed, a backup that is listed. Writes are
//! stopped before the backup and allowed after the end, whatever came in between.

use std::time::Duration;

use super::WithDatabase;
use super::log::Changed;
use super::run::Run;
use crate::app::{App, BackupWish, Proof, Prospect, RollbackWish, Tuning};
use crate::domain::incident::document::Ending;
use crate::domain::incident::journal::{Record, Writes};
use crate::domain::incident::{StepId, Undone};
use crate::domain::migrations::{Back, Version};
use crate::error::Error;
use crate::store::database::backup::Table;
use crate::store::database::{LockBudget, Loss, Undecided};

/// How a rollback waits: the defaults of `db rollback`, and a bound for one statement.
const TUNING: Tuning = Tuning {
    locks: LockBudget { each: Duration::from_millis(200), total: Duration::from_secs(30) },
    statement_timeout: Some(Duration::from_secs(300)),
    undecided: Undecided::Ask,
};

/// Whether hooks ran that may have stopped the hub's processes and started them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hooks {
    NotRun,
    Run,
}

impl App {
    /// Why the database cannot go back, as far as it is known without looking.
    pub(super) fn database_obstacle(&self) -> Option<String> {
        if !self.configured().contains(&crate::app::Source::Db) {
            return Some("no database is configured".to_owned());
        }
        if self.config().hooks.stop_writes.is_none() {
            return Some(
                "the profile has no hook `stop_writes`, so rows written after the backup would be lost; stop the hub, then: \
                 llmhub db rollback"
                    .to_owned(),
            );
        }
        None
    }
}

impl Run<'_> {
    /// Step 7.
    pub(super) async fn database(&mut self) {
        let id = StepId::Database;
        let WithDatabase::BackTo(version) = self.wish.database.clone() else {
            let why = "--with-db was not given".to_owned();
            return self.log.end(self.app.moment(), id, Ending::LeftOut, why, Changed::No);
        };
        self.log.begin(self.app.moment(), id);
        let (undone, hooks) = self.take_back(&version).await;
        self.undone = undone;
        // The rollback has listened by itself.
        self.stopper = self.app.listen();
        self.stop = self.stopper.listen();
        let (result, words, changed) = match &self.undone {
            Undone::NotAsked => (Ending::LeftOut, String::new(), Changed::No),
            Undone::Done { current, versions, backup } => {
                let current = current.as_deref().unwrap_or("none");
                match versions.is_empty() {
                    true => (Ending::AlreadySo, format!("it is at {current} already"), Changed::No),
                    false => {
                        let backup = backup.as_deref().unwrap_or("none");
                        let words = format!("rolled back {}; now at {current}; backup {backup}", versions.join(", "));
                        (Ending::Done, words, Changed::Yes)
                    }
                }
            }
            Undone::NotDone { why } => (Ending::NotDone, why.clone(), Changed::No),
            Undone::Unknown { why } => (Ending::Unknown, why.clone(), Changed::Yes),
        };
        let (result, words, changed) = match hooks {
            Hooks::NotRun => (result, words, changed),
            Hooks::Run => {
                let back = self.all_come_back().await.err().map(|why| format!("; {why}")).unwrap_or_default();
                let (seen, ending, again) = self.look_at_the_new().await;
                let result = if ending == Ending::NotDone && result == Ending::Done { ending } else { result };
                let changed = if again == Changed::Yes { again } else { changed };
                (result, format!("{words}{back}; after the hooks: {seen}"), changed)
            }
        };
        self.log.end(self.app.moment(), id, result, words, changed);
    }

    /// A run before this one stopped writes and ended before it allowed them. Stopped may mean that the whole hub is, so
    /// nothing could be switched off or proven until it is started again.
    pub(super) async fn allow_what_was_stopped(&mut self) {
        if self.past.as_ref().is_none_or(|past| past.writes == Writes::Allowed) {
            return;
        }
        self.app.ui.warn("a run before this one stopped writes and did not allow them again: they are allowed now");
        self.allow_writes().await;
        if let Err(why) = self.all_come_back().await {
            self.app.ui.warn(&why);
        }
        // Those that were started have read the environment that they were made with.
        self.off = None;
        self.disable().await;
        self.verify(StepId::Verify).await;
    }

    async fn take_back(&mut self, version: &Version) -> (Undone, Hooks) {
        match self.may_go_back(version).await {
            Ok(prospect) => self.go_back(&prospect).await,
            Err(undone) => (undone, Hooks::NotRun),
        }
    }

    /// Everything that must hold before writes are stopped.
    async fn may_go_back(&mut self, version: &Version) -> Result<Prospect, Undone> {
        let not_done = |why: String| Err(Undone::NotDone { why });
        if !self.running.is_off() {
            return not_done("the flag is not verified off in every process".to_owned());
        }
        if let Some(why) = self.app.database_obstacle() {
            return not_done(why);
        }
        let wish = RollbackWish { back: Back::To(version.clone()), down: None, dir: None };
        let prospect = match self.app.foresee(&wish).await {
            Ok(prospect) => prospect,
            Err(error) => return not_done(error.to_string()),
        };
        if prospect.steps.is_empty() {
            let current = Some(version.to_string());
            return Err(Undone::Done { current, versions: Vec::new(), backup: None });
        }
        if let Proof::Missing(why) = &prospect.proof {
            return not_done(format!("it is not proven that this gives back the schema: {why}"));
        }
        if let Err(error) = self.ask(&prospect).await {
            return not_done(error.to_string());
        }
        Ok(prospect)
    }

    async fn go_back(&mut self, prospect: &Prospect) -> (Undone, Hooks) {
        let Some(stop) = self.app.config().hooks.stop_writes.as_ref().map(|hook| hook.value.clone()) else {
            return (Undone::NotDone { why: "the profile has no hook `stop_writes`".to_owned() }, Hooks::NotRun);
        };
        self.log.write(&Record::WritesStopped { at: self.app.moment() });
        let undone = match self.hook(&stop).await {
            Ok(_) => self.back_up_and_roll_back(prospect).await,
            Err(why) => Undone::NotDone { why: format!("writes could not be stopped: {why}") },
        };
        self.allow_writes().await;
        (undone, Hooks::Run)
    }

    /// A confirmation of its own, with everything that is lost.
    async fn ask(&self, prospect: &Prospect) -> Result<(), Error> {
        let ui = &self.app.ui;
        prospect.notes.iter().for_each(|note| ui.note(note));
        for loss in &prospect.losses {
            ui.warn(&format!("it destroys {}", lost(loss)));
        }
        let names: Vec<String> =
            prospect.steps.iter().map(|step| format!("{}_{}", step.migration.version, step.migration.name)).collect();
        let loss = if prospect.losses.is_empty() { "" } else { ", and lose what is listed" };
        let question = format!("the flag is off. Also roll the database back ({}){loss}?", names.join(", "));
        self.app.ui.progress_end();
        tokio::select! {
            answer = self.app.authorise(question, true, Some(&self.reason)) => answer,
            () = self.stop.asked() => Err(Error::Usage {
                message: "the run was asked to end".to_owned(),
                hint: "go on with --resume".to_owned(),
            }),
        }
    }

    async fn back_up_and_roll_back(&mut self, prospect: &Prospect) -> Undone {
        let backup = match self.app.backup(BackupWish::default()).await {
            Ok(made) => made,
            Err(error) => {
                return Undone::NotDone { why: format!("there is no backup, so nothing was rolled back: {error}") };
            }
        };
        let file = backup.file.display().to_string();
        self.app.ui.note(&format!("backup: {file}"));
        let wish = BackupWish::default();
        let before = self.app.backup_outlook(&wish).await.map(|(_, outlook, _)| outlook.tables);
        let done = match self.app.roll_back(prospect, &TUNING, Some(&self.reason)).await {
            Ok(done) => done,
            Err(error) if error.status() == 11 => return Undone::Unknown { why: format!("{error}; backup {file}") },
            Err(error) => return Undone::NotDone { why: format!("{error}; backup {file}") },
        };
        let after = self.app.backup_outlook(&wish).await.map(|(_, outlook, _)| outlook.tables);
        match (before, after) {
            (Ok(before), Ok(after)) => self.remarks.extend(changed_rows(&before, &after)),
            (Err(error), _) | (_, Err(error)) => {
                self.remarks.push(format!("that every other table kept its rows: they could not be counted ({error})"));
            }
        }
        let versions = done.rolled_back.iter().map(|ran| format!("{}_{}", ran.version, ran.name)).collect::<Vec<_>>();
        match done.failed {
            Some(failed) => Undone::NotDone {
                why: format!("{}; rolled back before it: {}; backup {file}", failed.error, versions.join(", ")),
            },
            None => Undone::Done { current: done.current, versions, backup: Some(file) },
        }
    }

    /// Undo `stop_writes`; a hub that cannot write for ever would be the next incident.
    async fn allow_writes(&mut self) {
        let allow = self.app.config().hooks.allow_writes.as_ref().map(|hook| hook.value.clone());
        let ended = match &allow {
            Some(words) => self.hook(words).await,
            None => Err("the profile has no hook `allow_writes`".to_owned()),
        };
        match ended {
            Ok(_) => self.log.write(&Record::WritesAllowed { at: self.app.moment() }),
            Err(why) => {
                let open = format!("writes are still stopped, allow them by hand: {why}");
                self.app.ui.warn(&open);
                self.remarks.push(open);
            }
        }
    }
}

/// Tables that are still there and have another number of rows: somebody wrote all the same. The ledger's own do change.
fn changed_rows(before: &[Table], after: &[Table]) -> Option<String> {
    let changed: Vec<String> = before
        .iter()
        .filter(|table| table.schema != "llmhub")
        .filter_map(|table| {
            let now = after.iter().find(|now| (&now.schema, &now.name) == (&table.schema, &table.name))?;
            let name = format!("{}.{}", table.schema, table.name);
            (now.rows != table.rows).then(|| format!("{name} has {} rows and had {}", now.rows, table.rows))
        })
        .collect();
    (!changed.is_empty()).then(|| format!("that nobody wrote during the rollback: {}", changed.join(", ")))
}

fn lost(loss: &Loss) -> String {
    let about = if loss.exact { "" } else { "about " };
    let count = match (loss.non_null, loss.rows) {
        (Some(values), _) => format!("{about}{values} values"),
        (None, Some(rows)) => format!("{about}{rows} rows"),
        (None, None) => "how much is not known".to_owned(),
    };
    format!("{}, {}: {count}", loss.object, loss.what)
}
