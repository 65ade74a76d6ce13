//! The flag names that a shell is offered: asked for within 300 ms, then kept for five minutes.
//!
//! Never asks a question, never prints, never fails. A protected profile is not contacted for a completion.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{App, Source};
use crate::config::Protection;

/// What a shell may wait for.
const BUDGET: Duration = Duration::from_millis(300);

/// How long names are remembered.
const FRESH: Duration = Duration::from_secs(300);

impl App {
    /// The names of the flags, or none.
    pub fn flag_names(&self, via: &[Source]) -> Vec<String> {
        self.known_names(via).unwrap_or_default()
    }

    fn known_names(&self, via: &[Source]) -> Option<Vec<String>> {
        let cache = self.names_cache(via)?;
        if let Some(names) = read_fresh(&cache) {
            return Some(names);
        }
        if self.config().protection.value == Protection::Protected {
            return None;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let listed = runtime.block_on(async {
            tokio::time::timeout(BUDGET, async { self.reader(via).await.ok()?.list().await.ok() }).await.ok()?
        });
        // A resolver or a connection attempt may hang on; a shell does not wait for it.
        runtime.shutdown_background();
        let names: Vec<String> = listed?.into_iter().map(|flag| flag.key.to_string()).collect();
        // A cache that cannot be written only costs the next completion some time.
        let _ = crate::store::files::write_text(&cache, &names.join("\n"));
        Some(names)
    }

    fn names_cache(&self, via: &[Source]) -> Option<PathBuf> {
        let folder = self.environment().cache_home()?.join("llmhub");
        let digest = Sha256::digest(format!("{} {via:?}", self.target_words()));
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Some(folder.join(format!("flags-{name}")))
    }
}

fn read_fresh(cache: &Path) -> Option<Vec<String>> {
    let written = std::fs::metadata(cache).ok()?.modified().ok()?;
    if App::now().duration_since(written).ok()? > FRESH {
        return None;
    }
    let text = crate::store::files::read_text(cache).ok()?;
    Some(text.lines().map(str::to_owned).collect())
}
