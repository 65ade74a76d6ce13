//! The emergency: a flag off in every source at once, proven, persisted, and reported (rollout.md 7).
//!
//! [`App::emergency`] looks at all sources and writes nothing. [`Emergency::run`] walks the runbook: one source that is down
//! keeps no other one from being written, a failed step never keeps a later one from running, and what is not proven is said.

mod database;
mod ends;
mod live;
mod log;
mod look;
mod persist;
mod recreate;
mod run;

use std::path::PathBuf;

use jiff::Timestamp;
use tokio::time::Instant;

use self::look::{Found, Sources};
use super::App;
use crate::domain::flags::FlagKey;
use crate::domain::incident::document::Names;
use crate::domain::incident::journal::Past;
use crate::domain::incident::{Held, RUNBOOK, StepId};
use crate::domain::migrations::Version;
use crate::error::Error;
use crate::store::{StoreError, incident};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct EmergencyWish {
    /// The flag.
    pub flag: FlagKey,
    /// Why; the journal's own when an incident is gone on with.
    pub reason: Option<String>,
    /// The database as well.
    pub database: WithDatabase,
    /// Whether the processes are made anew.
    pub recreate: Recreate,
    /// Whether user ids may stand in the report.
    pub names: Names,
    /// A new incident, or the last one.
    pub resume: Resume,
    /// The options that say where, as they were typed, for the commands that are printed.
    pub where_words: String,
    /// How a word is written for a shell.
    pub quote: fn(&str) -> String,
}

/// Whether the database goes back as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WithDatabase {
    /// It stays as it is.
    No,
    /// Back to this version, which stays as the newest.
    BackTo(Version),
}

/// Whether the profile's hook makes the processes anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recreate {
    /// The command is only printed.
    Printed,
    /// `--recreate`.
    Run,
}

/// Which incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// A new one.
    New,
    /// The last one of this flag on these sources.
    Last,
}

/// An emergency that was looked at and not begun.
pub struct Emergency<'a> {
    app: &'a App,
    wish: EmergencyWish,
    sources: Sources,
    found: Found,
    past: Option<(PathBuf, Past)>,
    started: Instant,
    started_at: Timestamp,
}

impl App {
    /// Look at all sources; writes nothing.
    ///
    /// # Errors
    /// [`Error::FlagNotFound`] when no source knows the flag; [`Error::Store`] when none can be reached; [`Error::NotFound`]
    /// when there is no incident to go on with.
    pub async fn emergency(&self, mut wish: EmergencyWish) -> Result<Emergency<'_>, Error> {
        let (started, started_at) = (Instant::now(), self.moment());
        let past = match wish.resume {
            Resume::New => None,
            Resume::Last => Some(self.last_incident(&wish)?),
        };
        if let Some((_, past)) = &past {
            wish.reason = Some(wish.reason.unwrap_or_else(|| past.opened.reason.clone()));
            if let (WithDatabase::No, Some(back_to)) = (&wish.database, &past.opened.back_to) {
                wish.database = back_to.parse().map_or(WithDatabase::No, WithDatabase::BackTo);
            }
        }
        let sources = Sources::open(self).await?;
        let found = sources.look().await;
        if let Err(unknown) = found.must_know(&wish.flag) {
            // The list has a limit of its own. A hub that knows the flag can be told to switch it off all the same.
            match &sources.hub {
                Some(hub) if found.hub_is_limited() && hub.knows(&wish.flag).await => {}
                _ => return Err(unknown),
            }
        }
        Ok(Emergency { app: self, wish, sources, found, past, started, started_at })
    }

    fn last_incident(&self, wish: &EmergencyWish) -> Result<(PathBuf, Past), Error> {
        let folder = self.incidents().ok_or_else(no_state)?;
        incident::newest(&folder, wish.flag.as_str(), &self.incident_target()).ok_or_else(|| Error::NotFound {
            message: format!("there is no incident of `{}` on these sources to go on with", wish.flag),
            hint: format!("llmhub rollback {} --reason '…'", wish.flag),
        })
    }

    /// Where incidents are kept.
    fn incidents(&self) -> Option<PathBuf> {
        self.state_folder().map(|state| state.join("incidents"))
    }

    /// The sources, by which incidents of one flag in several places are told apart.
    fn incident_target(&self) -> String {
        let config = self.config();
        match &config.profile {
            Some(profile) => format!("profile {}", profile.value),
            None => self.target_words(),
        }
    }

    /// Now, by the wall clock.
    fn moment(&self) -> Timestamp {
        self.instant()
    }
}

fn no_state() -> Error {
    StoreError::Local(
        "there is no folder for incidents: neither HOME nor XDG_STATE_HOME is an absolute path".to_owned(),
    )
    .into()
}

impl Emergency<'_> {
    /// Why, if anybody said.
    pub fn reason(&self) -> Option<&str> {
        self.wish.reason.as_deref()
    }

    /// What the sources hold now.
    pub fn held(&self) -> Vec<Held> {
        self.found.held(&self.wish.flag, self.wish.names)
    }

    /// Sources and addresses that do not answer, each with the reason.
    pub fn silent(&self) -> Vec<String> {
        self.found.silent()
    }

    /// What would keep the database from going back, as far as it is known before anything was done.
    pub fn database_obstacle(&self) -> Option<String> {
        match self.wish.database {
            WithDatabase::No => None,
            WithDatabase::BackTo(_) => self.app.database_obstacle(),
        }
    }

    /// The steps that would be left out, with the reason.
    pub fn left_out(&self) -> Vec<(StepId, String)> {
        let mut left_out = Vec::new();
        for step in &RUNBOOK {
            let why = match step.id {
                StepId::Persist if !self.sources.keeps() => "no env file and no database is configured",
                StepId::Disable | StepId::Verify | StepId::VerifyAgain | StepId::Pages | StepId::Health
                    if self.sources.hub.is_none() =>
                {
                    "no hub is configured"
                }
                StepId::Database if self.wish.database == WithDatabase::No => "--with-db was not given",
                _ => continue,
            };
            left_out.push((step.id, why.to_owned()));
        }
        left_out
    }

    /// The question before anything is written.
    pub fn question(&self) -> String {
        let mut lines = vec![format!("EMERGENCY: switch `{}` off for everybody, in every source, now", self.wish.flag)];
        for held in self.held() {
            lines.push(format!("  {} ({}): {}", held.source, held.places.join(", "), held.words()));
        }
        lines.extend(self.silent().into_iter().map(|silent| format!("  no answer: {silent}")));
        lines.push("Go on?".to_owned());
        lines.join("\n")
    }
}
