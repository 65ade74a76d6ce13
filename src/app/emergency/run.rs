//! The walk through the runbook. Each step is journaled before and after; none that fails keeps the next one from running.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};

use super::log::{Begun, Changed, Log};
use super::look::{Found, Sources};
use super::persist::Wrote;
use super::{Emergency, EmergencyWish, WithDatabase};
use crate::app::{App, Source};
use crate::domain::flags::Member;
use crate::domain::incident::document::{Ending, Page};
use crate::domain::incident::journal::{Opened, Past, Record};
use crate::domain::incident::{Exit, Held, Incident, Kept, Restart, Running, StepId, Undone};
use crate::error::{Error, Stage};
use crate::store::hub::SwitchedOff;
use crate::store::incident::Folder;
use crate::store::{Note, Stop, Stopper, StoreError, Variant};

/// The files of step 9.
pub(super) const REPORT: [&str; 3] = ["report.md", "report.json", "SHA256SUMS"];

/// How old a look may be when the emergency begins.
const STALE: Duration = Duration::from_secs(10);

/// How long the fence may take (rollout.md 7, step 0).
const FENCE: Duration = Duration::from_secs(2);

/// How long the holder of a lease acts on without being able to renew it (rollout.md 5).
const STOPS_BY_ITSELF: Duration = Duration::from_secs(10);

/// No lease is longer: a clock that was set back must not keep an emergency waiting.
const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// How long a rollout that was under way may still write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rival {
    /// None was.
    Nobody,
    /// Until this long after the fence was raised.
    For(Duration, Instant),
}

/// An emergency under way.
pub(super) struct Run<'a> {
    pub(super) app: &'a App,
    pub(super) wish: EmergencyWish,
    pub(super) sources: Sources,
    pub(super) found: Found,
    pub(super) past: Option<Past>,
    pub(super) id: String,
    pub(super) actor: String,
    pub(super) reason: String,
    pub(super) started_at: Timestamp,
    pub(super) log: Log,
    pub(super) note: Note,
    pub(super) stopper: Arc<Stopper>,
    pub(super) stop: Stop,
    pub(super) rival: Rival,
    pub(super) off: Option<SwitchedOff>,
    pub(super) running: Running,
    pub(super) db: Kept,
    pub(super) env: Kept,
    pub(super) restart: Restart,
    pub(super) undone: Undone,
    pub(super) pages: Vec<Page>,
    pub(super) before: Vec<Held>,
    pub(super) after: Vec<Held>,
    pub(super) all_off: Option<Timestamp>,
    pub(super) verified: Option<Timestamp>,
    pub(super) recreated: Recreated,
    /// What was not proven beside the outcome of the sources.
    pub(super) remarks: Vec<String>,
}

/// Whether the processes were made anew after the env file said off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recreated {
    No,
    Yes,
}

impl Emergency<'_> {
    /// Walk the runbook.
    ///
    /// # Errors
    /// [`Error::ReasonNeeded`]; [`Error::Store`] when nothing could be reached after all, when another llmhub works on the
    /// same incident, or when the operator asked for the end.
    pub async fn run(mut self) -> Result<Incident, Error> {
        // Somebody may have thought for an hour: what was seen then is not what was there before.
        if self.started.elapsed() > STALE {
            self.found = self.sources.look().await;
        }
        (self.started, self.started_at) = (Instant::now(), self.app.moment());
        let mut run = Run::new(self)?;
        run.walk().await;
        let incident = run.close().await;
        let resume = run.resume_command();
        if run.stop.is_asked() {
            let words = format!("{}; {}; go on: {resume}", incident.live_words(), incident.kept_words());
            return Err(StoreError::Stopped(words).into());
        }
        if incident.outcome == Exit::Nothing {
            run.app.stage(Stage::NothingWritten);
            let why = incident.not_done.iter().chain(&incident.not_proven).cloned().collect::<Vec<_>>().join("; ");
            return Err(StoreError::Unreachable(format!("nothing was written: {why}")).into());
        }
        run.app.stage(Stage::Written);
        Ok(incident)
    }
}

impl<'a> Run<'a> {
    fn new(emergency: Emergency<'a>) -> Result<Self, Error> {
        let Emergency { app, wish, sources, found, past, started, started_at } = emergency;
        let Some(reason) = wish.reason.clone() else {
            return Err(Error::ReasonNeeded("a rollback".to_owned()));
        };
        let (user, host) = app.who();
        let id =
            past.as_ref().map_or_else(|| id(started_at, wish.flag.as_str()), |(_, past)| past.opened.incident.clone());
        let (folder, past) = match past {
            Some((path, past)) => match Folder::open(path) {
                Err(error @ StoreError::Conflict(_)) => return Err(error.into()),
                folder => (folder.map_err(|error| error.to_string()), Some(past)),
            },
            None => {
                let folder = app.incidents().ok_or_else(|| super::no_state().to_string());
                (folder.and_then(|folder| Folder::create(&folder, &id).map_err(|error| error.to_string())), None)
            }
        };
        let mut log = Log::new(app, started, folder);
        if let Some(past) = &past {
            log.timeline.clone_from(&past.timeline);
            log.evidence.clone_from(&past.evidence);
            // They are written anew at the end.
            log.evidence.retain(|kept| !REPORT.contains(&kept.file.as_str()));
            log.changed = if past.changed { Changed::Yes } else { Changed::No };
            log.begun = Begun::Yes;
        }
        let stopper = app.listen();
        let stop = stopper.listen();
        let before = match &past {
            Some(past) if !past.before.is_empty() => past.before.clone(),
            _ => found.held(&wish.flag, wish.names),
        };
        Ok(Self {
            note: app.note("rollback", Some(&reason)),
            actor: format!("{user}@{host}"),
            all_off: past.as_ref().and_then(|past| past.all_off),
            app,
            wish,
            sources,
            found,
            past,
            id,
            reason,
            started_at,
            log,
            stopper,
            stop,
            rival: Rival::Nobody,
            off: None,
            running: Running::NotConfigured,
            db: Kept::NotConfigured,
            env: Kept::NotConfigured,
            restart: Restart::Unknown { why: "the run ended before it was looked at".to_owned() },
            undone: Undone::NotAsked,
            pages: Vec::new(),
            before,
            after: Vec::new(),
            verified: None,
            recreated: Recreated::No,
            remarks: Vec::new(),
        })
    }

    /// The command that goes on with this incident, or begins anew where no journal could be kept.
    pub(super) fn resume_command(&self) -> String {
        let quote = self.wish.quote;
        let how = match (self.log.begun, &self.wish.database) {
            (Begun::Yes, _) => "--resume".to_owned(),
            (Begun::No, WithDatabase::No) => format!("--reason {}", quote(&self.reason)),
            (Begun::No, WithDatabase::BackTo(version)) => {
                format!("--reason {} --with-db --to {}", quote(&self.reason), quote(version.as_str()))
            }
        };
        format!("llmhub rollback {} {how}{}", quote(self.wish.flag.as_str()), self.wish.where_words)
    }

    fn say_how_to_go_on(&self) {
        let command = self.resume_command();
        self.app.stage(Stage::Stopped(format!("the emergency had begun; go on: {command}")));
    }

    async fn walk(&mut self) {
        self.say_how_to_go_on();
        self.open().await;
        self.say_how_to_go_on();
        self.persist().await;
        self.disable().await;
        self.verify(StepId::Verify).await;
        self.allow_what_was_stopped().await;
        if self.stop.is_asked() {
            return;
        }
        self.verify_again().await;
        self.old_pages().await;
        self.restart_proof().await;
        if self.stop.is_asked() {
            return;
        }
        self.database().await;
        self.health().await;
    }

    /// Step 0.
    async fn open(&mut self) {
        let at = self.app.moment();
        let back_to = match &self.wish.database {
            WithDatabase::No => None,
            WithDatabase::BackTo(version) => Some(version.to_string()),
        };
        let record = match &self.past {
            Some(_) => Record::Resumed { at, actor: self.actor.clone() },
            None => Record::Opened(Opened {
                at: self.started_at,
                incident: self.id.clone(),
                flag: self.wish.flag.to_string(),
                target: self.app.incident_target(),
                actor: self.actor.clone(),
                reason: self.reason.clone(),
                back_to,
            }),
        };
        self.log.write(&record);
        self.log.begin(at, StepId::Open);
        if self.past.as_ref().is_none_or(|past| past.before.is_empty()) {
            for look in &self.found.0 {
                if let Ok(states) = &look.states {
                    let name = format!("before-{}.json", look.source);
                    let shows = format!("the whole flag in {} before anything was written", look.source);
                    self.log.keep(at, &name, &snapshot(states, self.wish.flag.as_str()), &shows);
                }
            }
            self.log.write(&Record::Before { at, held: self.before.clone() });
        }
        let fence = self.fence().await;
        let kept = match &self.log.lost {
            Some(why) => format!("no evidence: {why}"),
            None => format!("{} files kept", self.log.evidence.len()),
        };
        let silent = self.found.silent();
        let silent = if silent.is_empty() { String::new() } else { format!("; no answer: {}", silent.join("; ")) };
        let result = if self.log.lost.is_some() { Ending::NotDone } else { Ending::Done };
        self.log.end(self.app.moment(), StepId::Open, result, format!("{kept}; {fence}{silent}"), Changed::No);
    }

    /// Stop a rollout that is under way; in words what came of it.
    async fn fence(&mut self) -> String {
        let raised = match &self.sources.runs {
            Err(why) => Err(why.clone()),
            Ok(store) => match timeout(FENCE, store.bump_fence(&self.wish.flag, &self.actor, &self.reason)).await {
                Ok(raised) => raised.map_err(|error| error.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            },
        };
        let (mut left, mut words) = match raised {
            Err(why) => {
                let words = "the fence could not be raised, waiting for a holder to stop by itself";
                (STOPS_BY_ITSELF, format!("{words}: {why}"))
            }
            Ok(bumped) if bumped.fence == 0 => (Duration::ZERO, "no rollout was ever run here".to_owned()),
            Ok(bumped) => match bumped.was_held_by {
                Some((holder, _)) => {
                    let seconds = bumped.left.as_secs();
                    let words =
                        format!("fence {}: {holder} is stopped, it may write for {seconds} s more", bumped.fence);
                    (bumped.left, words)
                }
                None => (Duration::ZERO, format!("fence {}: no rollout held the flag", bumped.fence)),
            },
        };
        let now = self.app.moment();
        // A run before this one has raised the fence, so nobody holds it now; a late write may be under way all the same.
        let rest =
            self.past.as_ref().and_then(|past| Duration::try_from(past.may_write_until?.duration_since(now)).ok());
        if let Some(rest) = rest.map(|rest| rest.min(LONGEST_LEASE)).filter(|rest| *rest > left) {
            left = rest;
            words += &format!("; a rollout that was stopped before may write for {} s more", rest.as_secs());
        }
        if left.is_zero() {
            self.rival = Rival::Nobody;
        } else {
            self.rival = Rival::For(left, Instant::now());
            let until = now.checked_add(left).unwrap_or(now);
            self.log.write(&Record::MayWrite { at: now, until });
        }
        words
    }

    /// Step 1.
    async fn persist(&mut self) {
        self.log.begin(self.app.moment(), StepId::Persist);
        if !self.sources.keeps() {
            let why = "no env file and no database is configured".to_owned();
            return self.log.end(self.app.moment(), StepId::Persist, Ending::LeftOut, why, Changed::No);
        }
        let (db, env) = self.sources.persist_off(&self.wish.flag, &self.note).await;
        let words: Vec<String> = [env.words(Source::Env), db.words(Source::Db)].into_iter().flatten().collect();
        let wrote = [&db, &env].iter().any(|one| one.wrote == Wrote::Something);
        (self.db, self.env) = (db.kept, env.kept);
        let result = match [&self.db, &self.env] {
            kept if kept.iter().any(|kept| matches!(kept, Kept::Unknown { .. })) => Ending::Unknown,
            kept if kept.iter().any(|kept| matches!(kept, Kept::Down { .. } | Kept::Unaware)) => Ending::NotDone,
            _ if wrote => Ending::Done,
            _ => Ending::AlreadySo,
        };
        let changed = if wrote { Changed::Yes } else { Changed::No };
        self.log.end(self.app.moment(), StepId::Persist, result, words.join("; "), changed);
    }
}

/// The whole flag in each of its states, lists included: the folder is for its owner only.
pub(super) fn snapshot(states: &[Variant], key: &str) -> String {
    let states: Vec<Value> = states
        .iter()
        .filter_map(|state| {
            let flag = state.flags.iter().find(|flag| flag.key.as_str() == key)?;
            let mut members: Map<String, Value> =
                Member::ALL.into_iter().map(|member| (member.name().to_owned(), member.value(flag))).collect();
            members.insert("revision".to_owned(), json!(flag.revision));
            Some(json!({ "flag": key, "places": state.addresses, "reads": state.reads, "config": members }))
        })
        .collect();
    let text = serde_json::to_string_pretty(&states).unwrap_or_default();
    text + "\n"
}

/// An id that sorts by time, names the flag, and is another one for two operators in one second.
fn id(at: Timestamp, flag: &str) -> String {
    use std::hash::{BuildHasher, RandomState};
    let plain: String =
        flag.chars().take(60).map(|c| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '_' }).collect();
    let random = RandomState::new().hash_one(()) & 0xffff;
    format!("{}-{plain}-{random:04x}", at.strftime("%Y%m%dT%H%M%SZ"))
}
