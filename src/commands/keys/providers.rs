//! `keys providers`: the types that the hub's router knows.

use clap::Args;
use serde::Serialize;

use crate::app::{Answer, App};
use crate::domain::keys::provider::{ProviderType, env_variable};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// The types of providers that the hub knows; nothing is contacted
///
/// Example: llmhub keys providers -o json
#[derive(Debug, Args)]
pub struct Providers {}

#[derive(Debug, Serialize)]
struct ProviderRow {
    provider: ProviderType,
    /// The name of a row that is made without one.
    name: &'static str,
    /// The hub's variable for that name; null where no shell could set it.
    variable: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ProvidersView(Vec<ProviderRow>);

impl View for ProvidersView {
    fn page(&self, page: &mut Page) {
        let rows = self.0.iter().map(|row| {
            let variable = row.variable.clone().unwrap_or_else(|| "- (a blank in the name)".to_owned());
            [(Tone::Strong, row.provider.to_string()), (Tone::Plain, row.name.to_owned()), (Tone::Plain, variable)]
        });
        page.table(&["provider", "name", "the hub's variable"], rows);
    }
}

impl Providers {
    pub fn run(self, app: &App) -> Result<Answer, Error> {
        let rows = ProviderType::ALL.into_iter().map(|provider| {
            let variable = Some(env_variable(provider.display_name())).filter(|name| !name.contains(' '));
            ProviderRow { provider, name: provider.display_name(), variable }
        });
        app.show(&ProvidersView(rows.collect()))?;
        Ok(Answer::Yes)
    }
}
