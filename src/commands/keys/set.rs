//! `keys set`: verify the key at its provider, store it, and verify what is stored.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::entry::Entry;
use super::target::{find, refuse_keys, settable, unknown};
use super::write::{Place, Write};
use crate::app::{Answer, App, Source, StoredKey, is_in_clear, provider_address};
use crate::commands::{Globals, secret};
use crate::domain::keys::provider::{KeyStatus, ProviderType};
use crate::domain::keys::ring::OpenedBy;
use crate::domain::keys::secret::shown;
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Store a provider's key: tested at the provider, sealed, read back; it is asked for, or comes by --stdin and the like
///
/// Example: llmhub keys set openai --from-command 'pass show openai'
#[derive(Debug, Args)]
pub struct Set {
    /// The provider's type (llmhub keys providers), or the name of a row
    provider: String,
    /// The key was typed here by mistake; refused without repeating it
    #[arg(hide = true, value_parser = secret)]
    stray: Vec<SecretString>,
    #[command(flatten)]
    entry: Entry,
    /// The row's name, where a type has several or none
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The endpoint of a custom provider, kept in the row
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Store the key without asking the provider whether it is one
    #[arg(long)]
    no_verify: bool,
}

/// `keys set`
#[derive(Debug, Serialize)]
struct SetView {
    name: String,
    provider: ProviderType,
    source: Source,
    changed: bool,
    /// Whether the row was made.
    created: bool,
    /// The key that was there, as far as it may be shown and could be read.
    before: Option<String>,
    after: String,
    /// What the provider said; null where it was not asked.
    verified: Option<KeyStatus>,
    /// Which master key opens the row as it was read back; null over HTTP, where only the hub could say.
    master_key: Option<OpenedBy>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl View for SetView {
    fn page(&self, page: &mut Page) {
        let made = if self.created { ", a new row" } else { "" };
        page.fact("provider", format!("{} ({}{made})", self.name, self.provider));
        let unread = if self.created { "none" } else { "none that can be read" };
        page.fact("key", format!("{} → {}", self.before.as_deref().unwrap_or(unread), self.after));
        match self.verified {
            Some(status) => page.fact("the provider says", status.word()),
            None => page.toned_fact("the provider says", Tone::Warn, "not asked"),
        }
        if let Some(opened) = &self.master_key {
            page.fact("read back with the master key", opened.to_string());
        }
        if self.dry_run {
            page.line("dry run: nothing was written");
        } else if !self.changed {
            page.line("already so");
        }
    }
}

impl Set {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        self.refuse_strays(app)?;
        let address = self.base_url.as_deref().map(provider_address).transpose()?;
        if self.no_verify && address.as_ref().is_some_and(is_in_clear) {
            app.ui.warn("the hub will send the key to that address in clear text");
        }
        let ring = app.key_ring();
        let store = app.key_writer(&globals.via, &ring).await?;
        if store.source() == Source::Db {
            ring.sealing()?;
        }
        app.announce();
        let rows = store.list().await?;
        let place = self.place(app, &rows)?;
        let (base_url, no_verify) = (self.base_url.clone(), self.no_verify);
        let key = app.provider_key(self.entry.way(app)?, &place.name).await?;
        let before = place.row.and_then(|row| app.know(vec![row.clone()], &ring).0.pop());
        let mut view = SetView {
            name: place.name.clone(),
            provider: place.provider,
            source: store.source(),
            changed: true,
            created: place.row.is_none(),
            before: before.as_ref().and_then(|known| known.shown.clone()),
            after: shown(key.expose()),
            verified: None,
            master_key: before.and_then(|known| known.opened),
            dry_run: globals.dry_run,
        };
        if !no_verify {
            let endpoint = place.endpoint(base_url.as_deref());
            view.verified = Some(app.verify_key(place.provider, &key, endpoint).await?);
        }
        view.changed = !place.holds(&key, &ring, base_url.as_deref());
        if view.changed && !globals.dry_run {
            if store.source() == Source::Hub {
                app.ui.warn("a hub never gives an old key back: what goes wrong there cannot be put back");
            }
            app.authorise(question(&view), false, globals.reason.as_deref()).await?;
            let write = Write { place: &place, key: &key, base_url: base_url.as_deref(), ring: &ring };
            view.master_key = write.store(app, store.as_ref(), view.verified).await?;
        }
        if place.row.is_some_and(|row| !row.enabled) {
            app.ui.note(&format!("the hub does not use it while it is off: llmhub keys enable '{}'", place.name));
        }
        app.show(&view)?;
        Ok(Answer::Yes)
    }

    /// Nothing that may be a key is repeated, not even by the parser.
    fn refuse_strays(&self, app: &App) -> Result<(), Error> {
        let words = [Some(self.provider.as_str()), self.name.as_deref(), self.base_url.as_deref()];
        let strays = self.stray.iter().map(ExposeSecret::expose_secret);
        refuse_keys(app, words.into_iter().flatten().filter(|word| !word.contains("://")).chain(strays))?;
        if self.stray.is_empty() {
            return Ok(());
        }
        Err(Error::Usage {
            message: "keys set takes one provider and nothing behind it; a key is never an argument, where every user of this \
                      machine can read it"
                .to_owned(),
            hint: "llmhub keys set PROVIDER asks for the key; a name of several words needs quotes. If a key was typed, take \
                   the line out of the shell's history and replace the key at the provider"
                .to_owned(),
        })
    }

    /// The hub finds a row by its name, and makes one under the type's own name where none was given (CONTRACT 4.3).
    fn place<'a>(&self, app: &App, rows: &'a [StoredKey]) -> Result<Place<'a>, Error> {
        let word = &self.provider;
        let Some(provider) = ProviderType::parse(word) else {
            let row = find(rows, word)?.ok_or_else(|| unknown(word, settable(rows)))?;
            let provider = ProviderType::parse(&row.provider).ok_or_else(|| Error::Refused {
                message: format!("`{}` is of the type `{}`, which the hub keeps no keys for", row.name, row.provider),
                hint: format!("llmhub keys set TYPE --name '{}', with a type of `llmhub keys providers`", row.name),
            })?;
            return Ok(Place { row: Some(row), name: row.name.clone(), provider });
        };
        let name = self.name.as_deref().unwrap_or(provider.display_name());
        let named: Vec<&StoredKey> = rows.iter().filter(|row| row.name.to_lowercase() == name.to_lowercase()).collect();
        let row = match named.as_slice() {
            [] => None,
            [..] => find(rows, name)?,
        };
        let others: Vec<String> =
            rows.iter().filter(|row| row.provider == provider.word()).map(|row| format!("`{}`", row.name)).collect();
        if row.is_none() && !others.is_empty() {
            app.ui.warn(&format!(
                "there is no row `{name}`, so a new one is made; of this type there are {} (--name takes one of them)",
                others.join(", ")
            ));
        }
        Ok(Place { row, name: row.map_or_else(|| name.to_owned(), |row| row.name.clone()), provider })
    }
}

fn question(view: &SetView) -> String {
    match &view.before {
        Some(before) => format!("replace the key {before} of {}? There is no undo but to set it again.", view.name),
        None => format!("set the key of {}?", view.name),
    }
}
