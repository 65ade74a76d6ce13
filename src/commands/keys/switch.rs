//! `keys enable` and `keys disable`: whether the hub may use a provider. The key stays.

use clap::Args;
use serde::Serialize;

use super::target::{one, refuse_keys};
use crate::app::{Answer, App, KeyStore, Switch};
use crate::commands::{Globals, quote};
use crate::error::{Error, Stage};
use crate::ui::{Page, View};

/// Let the hub use a provider again
///
/// Example: llmhub keys enable OpenAI
#[derive(Debug, Args)]
pub struct Enable {
    /// The row's name, or a type that only one row has
    name: String,
}

/// Keep the hub from using a provider; its key stays
///
/// Example: llmhub keys disable OpenAI --reason 'bill doubled'
#[derive(Debug, Args)]
pub struct Disable {
    /// The row's name, or a type that only one row has
    name: String,
}

#[derive(Debug, Serialize)]
struct SwitchView {
    name: String,
    provider: String,
    changed: bool,
    before: bool,
    after: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl View for SwitchView {
    fn page(&self, page: &mut Page) {
        let word = |on: bool| if on { "on" } else { "off" };
        page.fact("provider", format!("{} ({})", self.name, self.provider));
        page.fact("enabled", format!("{} → {}", word(self.before), word(self.after)));
        if self.dry_run {
            page.line("dry run: nothing was written");
        } else if !self.changed {
            page.line("already so");
        }
    }
}

impl Enable {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        switch(app, globals, &self.name, Switch::On).await
    }
}

impl Disable {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        switch(app, globals, &self.name, Switch::Off).await
    }
}

async fn switch(app: &App, globals: &Globals, name: &str, wanted: Switch) -> Result<Answer, Error> {
    refuse_keys(app, [name])?;
    let (verb, back) = match wanted {
        Switch::On => ("enable", "disable"),
        Switch::Off => ("disable", "enable"),
    };
    let store = app.key_database(&globals.via, &format!("keys {verb}"), &app.key_ring()).await?;
    app.announce();
    let rows = store.list().await?;
    let row = one(&rows, name)?;
    let after = wanted == Switch::On;
    let view = |changed: bool, dry_run: bool| SwitchView {
        name: row.name.clone(),
        provider: row.provider.clone(),
        changed,
        before: row.enabled,
        after,
        dry_run,
    };
    if globals.dry_run {
        app.show(&view(row.enabled != after, true))?;
        return Ok(Answer::Yes);
    }
    if row.enabled != after {
        let question = format!("{verb} the provider {}?", row.name);
        app.authorise(question, false, globals.reason.as_deref()).await?;
        app.stage(Stage::Writing("db".to_owned()));
    }
    let switched = store.switch(row, wanted).await?;
    if switched.changed {
        app.stage(Stage::Written);
        app.ui.note(&format!("undo: llmhub keys {back} {} --via db{}", quote(&row.name), globals.where_words()));
    }
    app.show(&view(switched.changed, false))?;
    Ok(Answer::Yes)
}
