//! An incident as it is reported: one value, from which the Markdown and the JSON are made.
//!
//! User ids are counted; they stand in it only where somebody asked for names.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::messages::Messages;
use super::outcome::{Exit, Kept, Restart, Running, Undone, Word};
use super::runbook::StepId;
use crate::domain::flags::{Flag, Member};

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It did what it is there for.
    Done,
    /// Nothing had to be written.
    AlreadySo,
    /// Its precondition is not there.
    LeftOut,
    /// It did not come to its end, or its proof is not there.
    NotDone,
    /// Something was sent whose fate is unknown.
    Unknown,
    /// The run ended in the middle of it.
    Interrupted,
}

impl Ending {
    /// In the report.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AlreadySo => "already so",
            Self::LeftOut => "not needed",
            Self::NotDone => "NOT DONE",
            Self::Unknown => "UNKNOWN",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it ended, UTC.
    pub at: Timestamp,
    /// The step of the runbook.
    pub step: StepId,
    /// What was done.
    pub action: String,
    /// How it ended.
    pub result: Ending,
    /// What shows it.
    pub evidence: String,
}

/// A state of the flag that a source was seen to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// `hub`, `db` or `env`.
    pub source: String,
    /// The addresses, the database or the file.
    pub places: Vec<String>,
    /// How many reads showed it.
    pub reads: u32,
    /// The main switch.
    pub enabled: Option<bool>,
    /// As stored.
    pub rollout_percentage: Value,
    /// How many users are always on.
    pub whitelist_users: Option<usize>,
    /// How many users are always off.
    pub blacklist_users: Option<usize>,
    /// Who they are, where names were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Named>,
}

/// The users of both lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Always on.
    pub whitelist_users: Vec<String>,
    /// Always off.
    pub blacklist_users: Vec<String>,
}

/// Whether user ids may stand in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Counts only.
    Counted,
    /// `--names`.
    Shown,
}

impl Held {
    /// The state of `flag` at these places.
    pub fn new(source: &str, places: Vec<String>, reads: u32, flag: &Flag, names: Names) -> Self {
        let named = || Named { whitelist_users: flag.white().to_vec(), blacklist_users: flag.black().to_vec() };
        Self {
            source: source.to_owned(),
            places,
            reads,
            enabled: flag.enabled,
            rollout_percentage: Member::Percentage.value(flag),
            whitelist_users: flag.whitelist.as_ref().map(Vec::len),
            blacklist_users: flag.blacklist.as_ref().map(Vec::len),
            names: (names == Names::Shown).then(named),
        }
    }

    /// `on at 25, 2 white-listed, 0 black-listed`.
    pub fn words(&self) -> String {
        let switch = match self.enabled {
            Some(true) => "on",
            Some(false) => "off",
            None => "null (acts as off)",
        };
        let count = |count: Option<usize>| count.map_or("null".to_owned(), |count| count.to_string());
        format!(
            "{switch} at {} %, {} white-listed, {} black-listed",
            self.rollout_percentage,
            count(self.whitelist_users),
            count(self.blacklist_users)
        )
    }
}

/// What is known of one old page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    /// 200, and not what a page that does not exist answers.
    Real,
    /// 200, the same as a page that does not exist, and a script of the page knows the route.
    ShellWithRoute,
    /// 200, the same as a page that does not exist, and no script knows the route.
    NotInThisBuild,
    /// 200, the same as a page that does not exist, and the scripts could not be read.
    ShellOnly,
    /// 200, and a page that does not exist answers nothing, or each time something else.
    NotCompared,
    /// Another status.
    OtherStatus,
    /// No answer.
    Silent,
}

impl PageState {
    /// In the report.
    pub fn words(self) -> &'static str {
        match self {
            Self::Real => "a page of its own",
            Self::ShellWithRoute => "shell only; a script of it knows the route",
            Self::NotInThisBuild => "shell only; page not in this build",
            Self::ShellOnly => "shell only; its scripts could not be read",
            Self::NotCompared => "it cannot be told from a page that does not exist",
            Self::OtherStatus => "not 200",
            Self::Silent => "no answer",
        }
    }

    /// Whether somebody who goes there finds the page.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Real | Self::ShellWithRoute)
    }
}

/// One old page at one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The hub's address.
    pub address: String,
    /// The path.
    pub path: String,
    /// The HTTP status; `None` without an answer.
    pub status: Option<u16>,
    /// The length of the body.
    pub bytes: usize,
    /// Of the body, hexadecimal; empty without one.
    pub sha256: String,
    /// What that means.
    pub state: PageState,
    /// Where a redirect points, or why there is no answer; empty otherwise.
    pub detail: String,
}

/// A file of the evidence folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its name in the folder.
    pub file: String,
    /// Hexadecimal.
    pub sha256: String,
    /// What it shows.
    pub shows: String,
}

/// Commands for whoever goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Commands {
    /// What is left, in order.
    pub finish: Vec<String>,
    /// The way back to what was there before.
    pub undo: Vec<String>,
}

/// The whole incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Incident {
    /// Its id, which is also the name of its folder.
    pub incident: String,
    /// The flag.
    pub flag: String,
    /// The profile, or where it acted.
    pub profile: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// How it ended.
    pub outcome: Exit,
    /// Whether anything had to be written.
    pub changed: bool,
    /// The running hub.
    pub live: Running,
    /// The database's row.
    pub db: Kept,
    /// The env file.
    pub env: Kept,
    /// `env` and `db`, where they were read back off.
    pub persisted: Vec<&'static str>,
    /// Whether a restart keeps it off; `None` is unknown.
    pub survives_restart: Option<bool>,
    /// The next start, in words.
    pub restart: Restart,
    /// `--with-db`.
    pub database: Undone,
    /// UTC.
    pub started_at: Timestamp,
    /// UTC.
    pub ended_at: Timestamp,
    /// From the start to the first look that saw every process off.
    pub all_off_after_ms: Option<u64>,
    /// From the start to the end of the last verification.
    pub verified_after_ms: Option<u64>,
    /// What happened, in order.
    pub timeline: Vec<Entry>,
    /// What was there before.
    pub before: Vec<Held>,
    /// What is there now.
    pub after: Vec<Held>,
    /// The old pages.
    pub pages: Vec<Page>,
    /// The files, with their hashes.
    pub evidence: Vec<Evidence>,
    /// One sentence each.
    pub not_done: Vec<String>,
    /// One sentence each.
    pub not_proven: Vec<String>,
    /// For whoever goes on.
    pub commands: Commands,
    /// For those who ask.
    pub messages: Messages,
    /// Where the evidence is; `None` where it could not be kept.
    pub folder: Option<String>,
}

impl Incident {
    /// `verified off 12/12 PROVED`, or what is known instead.
    pub fn live_words(&self) -> String {
        match &self.live {
            Running::NotConfigured => "live unknown (no hub is configured)".to_owned(),
            Running::Seen(processes) if processes.verdict == Word::Partial => {
                format!("NOT verified off: {}", processes.words())
            }
            Running::Seen(processes) => format!("verified off {}", processes.words()),
            Running::Silent { .. } => "live unknown (no address answers)".to_owned(),
            Running::Unknown { .. } => "live unknown (a write is out)".to_owned(),
        }
    }

    /// `persisted yes (env, db) · survives restart yes`.
    pub fn kept_words(&self) -> String {
        let persisted = match self.persisted.as_slice() {
            [] => "no".to_owned(),
            places => format!("yes ({})", places.join(", ")),
        };
        let restart = match (&self.restart, self.survives_restart) {
            (_, Some(true)) => "yes".to_owned(),
            (Restart::On { why }, _) => format!("NO: {why}"),
            (Restart::Unknown { why }, _) => format!("unknown: {why}"),
            (Restart::Off, _) => "unknown".to_owned(),
        };
        format!("persisted {persisted} · survives restart {restart}")
    }

    /// Whom it may have been on for.
    pub fn exposure_words(&self) -> String {
        let on: Vec<&Held> =
            self.before.iter().filter(|held| held.source == "hub" && held.enabled == Some(true)).collect();
        let Some(most) = on.iter().max_by_key(|held| held.rollout_percentage.as_i64().unwrap_or(0)) else {
            return match self.before.iter().any(|held| held.source == "hub") {
                true => "no process was seen with the flag on".to_owned(),
                false => "unknown: no process was seen before".to_owned(),
            };
        };
        let states = self.before.iter().filter(|held| held.source == "hub").count();
        let possibly = if states > 1 { ", possibly: the processes disagreed" } else { "" };
        let white = most.whitelist_users.unwrap_or(0);
        format!("{} % of the users by bucket and {white} white-listed{possibly}", most.rollout_percentage)
    }
}
