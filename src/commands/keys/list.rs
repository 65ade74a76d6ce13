//! `keys list`: what the hub has, where it takes it from, and what opens it.

use clap::Args;
use serde::Serialize;

use super::target::fault;
use crate::app::{Answer, App, Effective, Known, RowFault};
use crate::commands::Globals;
use crate::domain::keys::ring::OpenedBy;
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// List the providers: where the hub takes each key from, which master key opens it, how old it is
///
/// Example: llmhub keys list --env-file /srv/hub/.env.auth
#[derive(Debug, Args)]
pub struct List {}

/// One provider; the members are pinned by DESIGN 2.
#[derive(Debug, Serialize)]
pub struct KeyRow {
    /// Null for a row that has no text as its name.
    name: Option<String>,
    provider: String,
    enabled: bool,
    source: Option<Effective>,
    fingerprint: Option<String>,
    master_key: Option<OpenedBy>,
    age_days: Option<i64>,
    last_tested: Option<String>,
    test_status: Option<String>,
}

impl From<Known> for KeyRow {
    fn from(known: Known) -> Self {
        Self {
            name: (known.row.fault != Some(RowFault::NoName)).then_some(known.row.name),
            provider: known.row.provider,
            enabled: known.row.enabled,
            source: known.effective,
            fingerprint: known.shown,
            master_key: known.opened,
            age_days: known.age_days,
            last_tested: known.row.last_tested,
            test_status: known.row.test_status,
        }
    }
}

/// `keys list`
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ListView(Vec<KeyRow>);

impl View for ListView {
    fn page(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no providers");
            return;
        }
        let head = ["name", "provider", "on", "source", "key", "master key", "age", "tested"];
        page.table(&head, self.0.iter().map(KeyRow::cells));
    }
}

impl KeyRow {
    fn cells(&self) -> [(Tone, String); 8] {
        let dash = || "-".to_owned();
        let on = if self.enabled { (Tone::Good, "on".to_owned()) } else { (Tone::Dim, "off".to_owned()) };
        let source = match self.source {
            Some(Effective::Database) => (Tone::Good, "database".to_owned()),
            Some(Effective::Environment) => (Tone::Warn, "environment".to_owned()),
            Some(Effective::None) if self.enabled => (Tone::Bad, "none".to_owned()),
            Some(Effective::None) => (Tone::Dim, "none".to_owned()),
            None => (Tone::Dim, "?".to_owned()),
        };
        let opened = match &self.master_key {
            Some(OpenedBy::Current) => (Tone::Good, "current".to_owned()),
            Some(OpenedBy::Empty) => (Tone::Dim, "empty".to_owned()),
            Some(old @ OpenedBy::Old(_)) => (Tone::Warn, old.to_string()),
            Some(OpenedBy::None) => (Tone::Bad, "NONE opens it".to_owned()),
            Some(OpenedBy::NotFernet) => (Tone::Bad, "NOT ENCRYPTED".to_owned()),
            None => (Tone::Dim, "?".to_owned()),
        };
        let tested = match (&self.test_status, &self.last_tested) {
            (Some(status), Some(at)) => format!("{status} {at}"),
            (Some(status), None) => status.clone(),
            (None, _) => dash(),
        };
        [
            self.name.clone().map_or((Tone::Bad, "(none)".to_owned()), |name| (Tone::Strong, name)),
            (Tone::Plain, self.provider.clone()),
            on,
            source,
            (Tone::Plain, self.fingerprint.clone().unwrap_or_else(dash)),
            opened,
            (Tone::Plain, self.age_days.map_or_else(dash, |days| format!("{days} d"))),
            (Tone::Plain, tested),
        ]
    }
}

impl List {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let ring = app.key_ring();
        let rows = app.key_reader(&globals.via, &ring).await?.list().await?;
        let (known, notes) = app.know(rows, &ring);
        ring.notes().for_each(|note| app.ui.warn(note));
        notes.iter().for_each(|note| app.ui.note(note));
        for name in ring.unused(known.iter().filter_map(|known| known.opened.as_ref())) {
            app.ui.note(&format!("the old master key {name} opens none of these rows"));
        }
        for fault in known.iter().filter_map(|known| fault(&known.row)) {
            app.ui.warn(&format!("{fault}: it can be shown, and nothing else; put it right in the database"));
        }
        for known in known.iter().filter(|known| known.row.second.is_some()) {
            app.ui.warn(&format!(
                "`{}` has text in a second column encrypted_api_key too, which the hub's router never reads",
                known.row.name
            ));
        }
        app.show(&ListView(known.into_iter().map(KeyRow::from).collect()))?;
        Ok(Answer::Yes)
    }
}
