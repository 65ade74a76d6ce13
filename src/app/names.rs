//! The flag names that a shell is offered: asked for within 300 ms, then kept for five minutes.
//!
//! Never asks a question, never prints, never fails. A protected profile is not contacted for a completion.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{App, Configuration};
use crate::commands::Globals;
use crate::config::{Environment, Protection};
use crate::ui::{Settings, Ui, Volume};

/// What a shell may wait for.
const BUDGET: Duration = Duration::from_millis(300);

/// How long names are remembered.
const FRESH: Duration = Duration::from_secs(300);

/// The names, or none.
pub fn flag_names() -> Vec<String> {
    known().unwrap_or_default()
}

fn known() -> Option<Vec<String>> {
    let environment = Environment::capture().ok()?;
    let words: Vec<String> = std::env::args_os().filter_map(|word| word.into_string().ok()).collect();
    let globals = Globals::from_words(&words)?;
    let ui = Arc::new(Ui::new(Settings { volume: Some(Volume::Quiet), ..Settings::default() }));
    let app = App::open(ui, environment, &globals, Configuration::Needed).ok()?;
    let cache = cache_file(&app)?;
    if let Some(names) = read_fresh(&cache) {
        return Some(names);
    }
    if app.config().protection.value == Protection::Protected {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let listed = runtime.block_on(async {
        tokio::time::timeout(BUDGET, async { app.reader(&globals.via).await.ok()?.list().await.ok() }).await.ok()?
    });
    // A resolver or a connection attempt may hang on; a shell does not wait for it.
    runtime.shutdown_background();
    let names: Vec<String> = listed?.into_iter().map(|flag| flag.key.to_string()).collect();
    // A cache that cannot be written only costs the next completion some time.
    let _ = crate::store::files::write_text(&cache, &names.join("\n"));
    Some(names)
}

fn cache_file(app: &App) -> Option<PathBuf> {
    let folder = app.environment().cache_home()?.join("llmhub");
    let digest = Sha256::digest(app.target_words());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Some(folder.join(format!("flags-{name}")))
}

fn read_fresh(cache: &std::path::Path) -> Option<Vec<String>> {
    let written = std::fs::metadata(cache).ok()?.modified().ok()?;
    if App::now().duration_since(written).ok()? > FRESH {
        return None;
    }
    let text = crate::store::files::read_text(cache).ok()?;
    Some(text.lines().map(str::to_owned).collect())
}
