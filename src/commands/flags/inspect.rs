//! `flags list`, `show`, `check`, `user`, `history` and the lists: nothing here writes.

use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::view::{FlagListView, FlagView};
use crate::app::{Answer, App, FlagEvent, HubAnswer, Source};
use crate::commands::{Globals, complete};
use crate::domain::flags::dates::Moment;
use crate::domain::flags::evaluate::{Decision, Reason, evaluate};
use crate::domain::flags::{Flag, FlagKey, ListName, differences};
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// List all flags
///
/// Example: llmhub flags list --tag llm
#[derive(Debug, Args)]
pub struct List {
    /// Only flags with this tag; repeat for any of several
    #[arg(long)]
    tag: Vec<String>,
}

impl List {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let store = app.reader(&globals.via).await?;
        let flags = store.list().await?;
        app.say_scope(store.as_ref());
        let wanted = |flag: &&Flag| self.tag.is_empty() || self.tag.iter().any(|tag| flag.tags.contains(tag));
        let views = flags.iter().filter(wanted).map(|flag| FlagView::new(flag, store.source())).collect();
        app.show(&FlagListView(views))?;
        Ok(Answer::Yes)
    }
}

/// Show one flag as one process, the database or the file holds it
///
/// Example: llmhub flags show unified_llm_hub
#[derive(Debug, Args)]
pub struct Show {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
}

impl Show {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let store = app.reader(&globals.via).await?;
        let flag = store.get(&self.name).await?;
        app.say_scope(store.as_ref());
        app.show(&FlagView::new(&flag, store.source()))?;
        Ok(Answer::Yes)
    }
}

/// `flags check`
#[derive(Debug, Serialize)]
struct CheckView {
    flag: String,
    user: Option<String>,
    enabled: Option<bool>,
    reason: Reason,
    bucket: Option<u8>,
    /// Only when the hub itself answers otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    disagreement: Option<String>,
    #[serde(skip)]
    percentage: String,
}

impl CheckView {
    fn new(flag: &Flag, user: Option<&str>, decision: &Decision) -> Self {
        Self {
            flag: flag.key.to_string(),
            user: user.map(str::to_owned),
            enabled: decision.enabled,
            reason: decision.reason,
            bucket: decision.bucket,
            disagreement: None,
            percentage: flag.percentage.to_string(),
        }
    }

    fn word(&self) -> (Tone, &'static str) {
        match self.enabled {
            Some(true) => (Tone::Good, "on"),
            Some(false) => (Tone::Dim, "off"),
            None => (Tone::Bad, "error"),
        }
    }
}

impl View for CheckView {
    fn page(&self, page: &mut Page) {
        let (tone, word) = self.word();
        page.fact("flag", &self.flag);
        page.fact("user", self.user.as_deref().unwrap_or("(anonymous)"));
        page.toned_fact("enabled", tone, word);
        page.fact("reason", self.reason.word());
        if let Some(bucket) = self.bucket {
            page.fact("bucket", format!("{bucket} (on below {})", self.percentage));
        }
        if let Some(disagreement) = &self.disagreement {
            page.toned_fact("hub says", Tone::Bad, disagreement);
        }
    }
}

/// Say whether a flag is on for a user, and why; exit 1 when it is not
///
/// Computes the hub's own answer. With `--via hub` the hub is asked too, and a disagreement is exit 10.
///
/// Example: llmhub flags check unified_llm_hub --user ana@example.com
#[derive(Debug, Args)]
pub struct Check {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// The user's id, byte for byte; an empty one is the anonymous user
    #[arg(long)]
    user: String,
    /// Evaluate at this time instead of now
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
}

impl Check {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let user = Some(self.user.as_str()).filter(|user| !user.is_empty());
        let at = self.at.as_ref().map_or_else(|| app.utc_now(), Moment::datetime);
        if globals.via == [Source::Hub] && self.at.is_none() {
            return self.ask_hub(app, user, at).await;
        }
        let store = app.reader(&globals.via).await?;
        let flag = store.get(&self.name).await?;
        app.say_scope(store.as_ref());
        let decision = evaluate(&flag, user, at);
        app.show(&CheckView::new(&flag, user, &decision))?;
        Ok(if decision.enabled == Some(true) { Answer::Yes } else { Answer::No })
    }

    async fn ask_hub(&self, app: &App, user: Option<&str>, at: jiff::civil::DateTime) -> Result<Answer, Error> {
        let hub = app.hub()?;
        let (flag, answer) = hub.ask(&self.name, user).await?;
        app.say_scope(&hub);
        let decision = evaluate(&flag, user, at);
        let mut view = CheckView::new(&flag, user, &decision);
        view.disagreement = match (&answer, decision.enabled) {
            (HubAnswer::Decided { enabled, .. }, Some(ours)) if *enabled == ours => None,
            (HubAnswer::Failed, None) => None,
            (HubAnswer::Decided { enabled, reason }, _) => {
                Some(format!("{} ({reason})", if *enabled { "on" } else { "off" }))
            }
            (HubAnswer::Failed, _) => Some("it failed (500)".to_owned()),
        };
        app.show(&view)?;
        Ok(match (&view.disagreement, decision.enabled) {
            (Some(_), _) => Answer::Partial,
            (None, Some(true)) => Answer::Yes,
            (None, _) => Answer::No,
        })
    }
}

/// `flags user`
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct UserView(Vec<CheckView>);

impl View for UserView {
    fn page(&self, page: &mut Page) {
        let rows = self.0.iter().map(|check| {
            let (tone, word) = check.word();
            [
                (Tone::Strong, check.flag.clone()),
                (tone, word.to_owned()),
                (Tone::Plain, check.reason.word().to_owned()),
                (Tone::Plain, check.bucket.map_or_else(|| "–".to_owned(), |bucket| bucket.to_string())),
            ]
        });
        page.table(&["flag", "enabled", "reason", "bucket"], rows);
    }
}

/// Say for every flag whether it is on for a user
///
/// Example: llmhub flags user ana@example.com
#[derive(Debug, Args)]
pub struct User {
    /// The user's id, byte for byte
    id: String,
}

impl User {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let store = app.reader(&globals.via).await?;
        let flags = store.list().await?;
        app.say_scope(store.as_ref());
        let user = Some(self.id.as_str()).filter(|user| !user.is_empty());
        let now = app.utc_now();
        let checks = flags.iter().map(|flag| CheckView::new(flag, user, &evaluate(flag, user, now))).collect();
        app.show(&UserView(checks))?;
        Ok(Answer::Yes)
    }
}

/// A user list, as data or one id per line.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct UserListView(Vec<String>);

impl View for UserListView {
    fn page(&self, page: &mut Page) {
        for user in &self.0 {
            page.line(user);
        }
    }
}

/// Print a user list, one id per line
#[derive(Debug, Args)]
pub struct UserList {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
}

impl UserList {
    pub async fn run(self, app: &App, globals: &Globals, list: ListName) -> Result<Answer, Error> {
        let store = app.reader(&globals.via).await?;
        let flag = store.get(&self.name).await?;
        app.say_scope(store.as_ref());
        let users = match list {
            ListName::White => flag.whitelist,
            ListName::Black => flag.blacklist,
        };
        if users.is_none() {
            app.ui.warn(&format!("the stored {} is null; an edit of it repairs that", list.word()));
        }
        app.show(&UserListView(users.unwrap_or_default()))?;
        Ok(Answer::Yes)
    }
}

/// One entry of `flags history`.
#[derive(Debug, Serialize)]
struct EventView {
    revision: i64,
    at: String,
    actor: String,
    operation: String,
    reason: Option<String>,
    changes: Vec<crate::domain::flags::MemberDiff>,
    #[serde(skip)]
    words: String,
}

impl EventView {
    fn new(event: &FlagEvent) -> Self {
        let (changes, words) = match (&event.before, &event.after) {
            (Some(before), Some(after)) => {
                (differences(before, after), super::words::describe(before, after).join("; "))
            }
            (None, Some(_)) => (Vec::new(), "created".to_owned()),
            (_, None) => (Vec::new(), "deleted".to_owned()),
        };
        Self {
            revision: event.revision,
            at: event.at.clone(),
            actor: event.actor.clone(),
            operation: event.operation.clone(),
            reason: event.reason.clone(),
            changes,
            words,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct HistoryView(Vec<EventView>);

impl View for HistoryView {
    fn page(&self, page: &mut Page) {
        let rows = self.0.iter().map(|event| {
            [
                (Tone::Strong, event.revision.to_string()),
                (Tone::Plain, event.at.clone()),
                (Tone::Plain, event.actor.clone()),
                (Tone::Plain, event.operation.clone()),
                (Tone::Plain, event.words.clone()),
                (Tone::Dim, event.reason.clone().unwrap_or_default()),
            ]
        });
        page.table(&["rev", "at (UTC)", "who", "what", "change", "why"], rows);
    }
}

/// Show who changed a flag, when, how and why; only the database remembers
///
/// Example: llmhub flags history unified_llm_hub --limit 5
#[derive(Debug, Args)]
pub struct History {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// At most this many entries, newest first
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

impl History {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let history = app.history(&globals.via, "history").await?;
        let events = history.history(&self.name, self.limit).await?;
        let view = HistoryView(events.iter().map(EventView::new).collect());
        app.ui.show(&view).map_err(|error| Error::Output(error.to_string(), Stage::NothingWritten))?;
        Ok(Answer::Yes)
    }
}
