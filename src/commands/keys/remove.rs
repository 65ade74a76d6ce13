//! `keys remove`: clear a key and keep its row.

use clap::Args;
use serde::Serialize;

use super::target::{one, refuse_keys};
use crate::app::{Answer, App, Effective, Material};
use crate::commands::Globals;
use crate::domain::keys::provider::env_variable;
use crate::error::{Error, Stage};
use crate::ui::{Page, View};

/// Clear a provider's key and keep its row; asks first, and only the key itself brings it back
///
/// Example: llmhub keys remove OpenAI --dry-run
#[derive(Debug, Args)]
pub struct Remove {
    /// The row's name, or a type that only one row has
    name: String,
}

#[derive(Debug, Serialize)]
struct RemovedView {
    name: String,
    provider: String,
    changed: bool,
    /// The key that was there, as far as it may be shown.
    before: Option<String>,
    /// Where the hub takes the key from now; null where its environment is not known.
    source: Option<Effective>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl View for RemovedView {
    fn page(&self, page: &mut Page) {
        page.fact("provider", format!("{} ({})", self.name, self.provider));
        page.fact("key", format!("{} → none", self.before.as_deref().unwrap_or("not readable")));
        page.fact("the hub now uses", self.source.map_or("its environment, if that has one", Effective::word));
        if self.dry_run {
            page.line("dry run: nothing was written");
        } else if !self.changed {
            page.line("already so");
        }
    }
}

impl Remove {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        refuse_keys(app, [self.name.as_str()])?;
        let ring = app.key_ring();
        let store = app.key_writer(&globals.via, &ring).await?;
        app.announce();
        let rows = store.list().await?;
        let row = one(&rows, &self.name)?.clone();
        let changed = row.material != Material::Empty;
        if row.second.is_some() {
            app.ui.warn(&format!(
                "`{}` has text in a second column encrypted_api_key too, which the hub's router never reads and which stays",
                row.name
            ));
        }
        let mut cleared = row.clone();
        (cleared.material, cleared.source) = (Material::Empty, None);
        let (known, _) = app.know(vec![row.clone(), cleared], &ring);
        let mut known = known.into_iter();
        let view = RemovedView {
            name: row.name.clone(),
            provider: row.provider.clone(),
            changed,
            before: known.next().and_then(|known| known.shown),
            source: known.next().and_then(|known| known.effective),
            dry_run: globals.dry_run,
        };
        if changed && !globals.dry_run {
            let question = format!(
                "remove the key of {} ({})? There is no undo but to set the key again. The hub falls back to its variable \
                 {}, if that is set.",
                row.name,
                view.before.as_deref().unwrap_or("not readable"),
                env_variable(&row.name)
            );
            app.authorise(question, true, globals.reason.as_deref()).await?;
            app.stage(Stage::Writing(store.source().to_string()));
            store.clear(&row).await?;
            app.stage(Stage::Written);
        }
        app.show(&view)?;
        Ok(Answer::Yes)
    }
}
