//! `keys import`: the keys of a `.env` or JSON file, shown by name first and stored one by one. The file is not touched.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::target::refuse_keys;
use super::write::{Place, Write};
use crate::app::{Answer, App, KeyRing, KeyStore, Material, Source, StoredKey};
use crate::commands::Globals;
use crate::domain::keys::import::{Content, Meant, meant, read};
use crate::domain::keys::provider::ProviderType;
use crate::domain::keys::secret::{ProviderKey, fingerprint, shown};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Store the keys of a .env or JSON file; shows names and fingerprints first, and asks
///
/// Example: llmhub keys import /srv/hub/.env.auth --dry-run
#[derive(Debug, Args)]
pub struct Import {
    /// The file, or - for stdin: NAME_API_KEY=… lines, or a JSON object of names and keys
    file: PathBuf,
    /// Store the keys without asking the providers whether they are some
    #[arg(long)]
    no_verify: bool,
}

/// What a name of the file is, compared with what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// The provider has no key yet.
    New,
    /// It has this one.
    Same,
    /// It has another one, or one that cannot be read.
    Differs,
    /// An example's text.
    Placeholder,
    /// The key of another name of the file.
    Duplicate,
    /// No key at all.
    NotAKey,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Placeholder => "placeholder",
            Self::Duplicate => "duplicate",
            Self::NotAKey => "not_a_key",
        }
    }
}

/// One name of the file.
#[derive(Debug, Serialize)]
struct Line {
    variable: String,
    name: String,
    provider: String,
    fingerprint: Option<String>,
    state: State,
    stored: bool,
    /// Why it was not stored; null where there was nothing to store.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct ImportView {
    keys: Vec<Line>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl View for ImportView {
    fn page(&self, page: &mut Page) {
        let rows = self.keys.iter().map(|line| {
            let done = match (&line.error, line.stored) {
                (Some(error), _) => (Tone::Bad, error.clone()),
                (None, true) => (Tone::Good, "stored".to_owned()),
                (None, false) => (Tone::Dim, "-".to_owned()),
            };
            [
                (Tone::Plain, line.variable.clone()),
                (Tone::Strong, line.name.clone()),
                (Tone::Plain, line.provider.clone()),
                (Tone::Plain, line.fingerprint.clone().unwrap_or_else(|| "-".to_owned())),
                (Tone::Plain, line.state.word().to_owned()),
                done,
            ]
        });
        page.table(&["from", "name", "provider", "key", "state", "done"], rows);
        if self.dry_run {
            page.line("dry run: nothing was written");
        }
    }
}

/// A key that is to be stored, and its line in the result.
struct Item<'a> {
    line: usize,
    place: Place<'a>,
    key: ProviderKey,
}

impl Import {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let file = self.file.display().to_string();
        refuse_keys(app, [file.as_str()])?;
        let ring = app.key_ring();
        let store = app.key_writer(&globals.via, &ring).await?;
        if store.source() == Source::Db {
            ring.sealing()?;
        }
        app.announce();
        let found = read(&app.secret_text(&self.file).await?).map_err(|why| Error::Input {
            message: format!("{file}: {why}; nothing was written"),
            hint: "correct the file; it is read as the hub reads it".to_owned(),
        })?;
        let rows = store.list().await?;
        let (keys, items) = compare(app, found, &rows, &ring).map_err(|why| Error::Input {
            message: format!("{file}: {why}; nothing was written"),
            hint: "keep one of them in the file".to_owned(),
        })?;
        let mut view = ImportView { keys, dry_run: globals.dry_run };
        let unfit = view.keys.iter().any(|line| line.state == State::NotAKey);
        if globals.dry_run || items.is_empty() {
            app.show(&view)?;
            // What is no key was not stored, and nothing else was.
            return Ok(if unfit && !globals.dry_run { Answer::No } else { Answer::Yes });
        }
        let list: Vec<String> = items.iter().map(|item| item.place.name.clone()).collect();
        let question = format!("store the keys of {} providers: {}?", items.len(), list.join(", "));
        app.authorise(question, true, globals.reason.as_deref()).await?;
        let answer = self.store(app, store.as_ref(), &ring, items, &mut view).await?;
        app.ui
            .note("the file was left as it is; a key that is removed later makes the hub fall back to its environment");
        app.show(&view)?;
        Ok(if unfit && answer == Answer::Yes { Answer::Partial } else { answer })
    }

    /// One failure does not hide the rest: all of it failed is that failure, some of it is partial.
    async fn store(
        &self,
        app: &App,
        store: &dyn KeyStore,
        ring: &KeyRing,
        items: Vec<Item<'_>>,
        view: &mut ImportView,
    ) -> Result<Answer, Error> {
        let (mut stored, mut failure, mut unknown) = (0, None, false);
        for item in items {
            app.ui.detail(&format!("storing the key of {}", item.place.name));
            let write = Write { place: &item.place, key: &item.key, base_url: None, ring };
            let outcome = async {
                let verified = if self.no_verify {
                    None
                } else {
                    Some(app.verify_key(item.place.provider, &item.key, item.place.endpoint(None)).await?)
                };
                write.store(app, store, verified).await
            };
            let outcome = outcome.await;
            let Some(line) = view.keys.get_mut(item.line) else { continue };
            match outcome {
                Ok(_) => {
                    line.stored = true;
                    stored += 1;
                }
                Err(error) => {
                    unknown |= error.status() == 11;
                    line.error = Some(error.to_string());
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            None => Ok(Answer::Yes),
            Some(_) if unknown => Ok(Answer::Unknown),
            Some(_) if stored > 0 => Ok(Answer::Partial),
            Some(error) => Err(error),
        }
    }
}

/// What each name of the file is, and the keys that are to be stored.
///
/// # Errors
/// A sentence where two names mean one row with different keys: which of them counts is nobody's guess.
fn compare<'a>(
    app: &App,
    found: Vec<(String, Content)>,
    rows: &'a [StoredKey],
    ring: &KeyRing,
) -> Result<(Vec<Line>, Vec<Item<'a>>), String> {
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let (mut lines, mut items, mut seen): (Vec<Line>, Vec<Item<'a>>, Vec<String>) = Default::default();
    let mut meant_by: Vec<(String, String, String)> = Vec::new();
    for (variable, content) in found {
        let Some(place) = place(meant(&variable, &names), rows) else {
            app.ui.note(&format!("`{variable}` means no provider that the hub knows; left alone"));
            continue;
        };
        let mut line = Line {
            variable,
            name: place.name.clone(),
            provider: place.provider.word().to_owned(),
            fingerprint: None,
            state: State::Placeholder,
            stored: false,
            error: None,
        };
        match content {
            Content::Placeholder => {}
            Content::Unfit(fault) => {
                line.state = State::NotAKey;
                line.error = Some(fault.to_string());
            }
            Content::Key(key) => {
                app.ui.redact([key.expose()]);
                line.fingerprint = Some(shown(key.expose()));
                let print = fingerprint(key.expose());
                let row = place.name.to_lowercase();
                if let Some((_, _, other)) = meant_by.iter().find(|(name, key, _)| *name == row && *key != print) {
                    let name = &place.name;
                    return Err(format!("`{other}` and `{}` both mean {name}, with different keys", line.variable));
                }
                meant_by.push((row, print.clone(), line.variable.clone()));
                line.state = match place.row {
                    _ if seen.contains(&print) => State::Duplicate,
                    _ if place.holds(&key, ring, None) => State::Same,
                    Some(row) if row.material != Material::Empty => State::Differs,
                    _ => State::New,
                };
                seen.push(print);
                if matches!(line.state, State::New | State::Differs) {
                    items.push(Item { line: lines.len(), place, key });
                }
            }
        }
        lines.push(line);
    }
    Ok((lines, items))
}

fn place(meant: Option<Meant>, rows: &[StoredKey]) -> Option<Place<'_>> {
    match meant? {
        Meant::Row(at) => {
            let row = rows.get(at)?;
            Some(Place { row: Some(row), name: row.name.clone(), provider: ProviderType::parse(&row.provider)? })
        }
        Meant::New(provider) => Some(Place { row: None, name: provider.display_name().to_owned(), provider }),
    }
}
