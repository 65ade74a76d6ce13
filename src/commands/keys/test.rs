//! `keys test`: what the providers themselves say of the keys.

use clap::Args;
use serde::Serialize;

use super::entry::Entry;
use super::target::{fault, one, refuse_keys, settable, unknown};
use super::write::Place;
use crate::app::{Answer, App, Endpoint, KeyTest, Material, Source, StoreError, StoredKey, WayIn};
use crate::commands::Globals;
use crate::domain::keys::provider::{KeyStatus, ProviderType};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Ask the providers whether the stored keys are alive, all at once; no tokens are spent
///
/// Without a name: the keys of all providers that are on. The results are recorded in the rows. Exit 1 when a provider says
/// no, or when no master key opens a stored key; 10 when some did not say; 6 when none did. Over HTTP the hub itself tests,
/// one row of a type, and often does not say why a test failed.
///
/// Example: llmhub keys test openai
#[derive(Debug, Args)]
pub struct Test {
    /// Names of rows, or types that only one row has
    #[arg(value_name = "PROVIDER")]
    providers: Vec<String>,
    /// The providers that are off, too
    #[arg(long, conflicts_with = "providers")]
    all: bool,
    #[command(flatten)]
    entry: Entry,
    /// Ask at this address in place of the provider's own; for one provider
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
}

/// One key; the members are pinned by DESIGN 2.
#[derive(Debug, Serialize)]
struct TestRow {
    name: String,
    provider: String,
    ok: Option<bool>,
    status: KeyStatus,
    latency_ms: Option<u64>,
    models: Option<u32>,
    #[serde(skip)]
    why: String,
}

impl From<KeyTest> for TestRow {
    fn from(test: KeyTest) -> Self {
        Self {
            name: test.name,
            provider: test.provider,
            ok: test.status.ok(),
            status: test.status,
            latency_ms: test.latency_ms,
            models: test.models,
            why: test.why,
        }
    }
}

/// `keys test`
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct TestView(Vec<TestRow>);

impl View for TestView {
    fn page(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no keys to test");
            return;
        }
        page.table(&["name", "provider", "says", "took", "models", "why"], self.0.iter().map(TestRow::cells));
    }
}

impl TestRow {
    fn cells(&self) -> [(Tone, String); 6] {
        let tone = match (self.ok, self.status) {
            (Some(true), KeyStatus::Valid) => Tone::Good,
            (Some(false), _) => Tone::Bad,
            _ => Tone::Warn,
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            (Tone::Strong, self.name.clone()),
            (Tone::Plain, self.provider.clone()),
            (tone, self.status.word().to_owned()),
            (Tone::Plain, or_dash(self.latency_ms.map(|time| format!("{time} ms")))),
            (Tone::Plain, or_dash(self.models.map(|count| count.to_string()))),
            (Tone::Dim, self.why.clone()),
        ]
    }
}

impl Test {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        refuse_keys(app, self.providers.iter().map(String::as_str))?;
        if self.base_url.is_some() && self.providers.len() != 1 {
            return Err(Error::Usage {
                message: "--base-url is for one provider: each key goes to an address of its own".to_owned(),
                hint: "llmhub keys test PROVIDER --base-url URL".to_owned(),
            });
        }
        let base_url = self.base_url.clone();
        let tests = match (self.entry.given(app)?, self.providers.as_slice()) {
            (None, names) => stored(app, globals, names, self.all, base_url.as_deref()).await?,
            (Some(way), [word]) => vec![given(app, globals, word, way, base_url.as_deref()).await?],
            (Some(_), _) => {
                return Err(Error::Usage {
                    message: "a key that is given is tested at one provider".to_owned(),
                    hint: "llmhub keys test PROVIDER --stdin".to_owned(),
                });
            }
        };
        let answer = answer(&tests)?;
        let rows: Vec<TestRow> = tests.into_iter().map(TestRow::from).collect();
        if globals.format().is_data() {
            // The pinned members have no place for a reason.
            for row in rows.iter().filter(|row| !row.why.is_empty()) {
                app.ui.note(&format!("{}: {} ({})", row.name, row.status, row.why));
            }
        }
        app.show(&TestView(rows))?;
        Ok(answer)
    }
}

async fn stored(
    app: &App,
    globals: &Globals,
    names: &[String],
    all: bool,
    base_url: Option<&str>,
) -> Result<Vec<KeyTest>, Error> {
    let ring = app.key_ring();
    let store = app.key_reader(&globals.via, &ring).await?;
    let rows = store.list().await?;
    ring.notes().for_each(|note| app.ui.warn(note));
    let mut chosen: Vec<StoredKey> = Vec::new();
    for name in names {
        let row = one(&rows, name)?;
        if row.material == Material::Empty {
            return Err(Error::NotFound {
                message: format!("`{}` has no stored key", row.name),
                hint: "llmhub keys set stores one; --stdin tests one that is not stored".to_owned(),
            });
        }
        if !chosen.contains(row) {
            chosen.push(row.clone());
        }
    }
    if names.is_empty() {
        chosen = rows.into_iter().filter(|row| row.material != Material::Empty && (all || row.enabled)).collect();
        chosen.iter().filter_map(fault).for_each(|fault| app.ui.warn(&format!("{fault}; it is not tested")));
        chosen.retain(|row| row.fault.is_none());
    }
    if store.source() == Source::Hub {
        if base_url.is_some() || globals.dry_run {
            return Err(Error::Unsupported {
                message: "the hub tests a key at the address that it knows, and records the result".to_owned(),
                hint: "without --base-url and --dry-run, or with --via db".to_owned(),
            });
        }
        return app.test_keys_by_hub(&chosen).await;
    }
    let tests = app.test_stored_keys(&chosen, &ring, base_url).await?;
    if store.source() == Source::Db && !globals.dry_run {
        app.record_key_tests(&chosen, &tests, &ring, globals.reason.as_deref()).await?;
    }
    Ok(tests)
}

async fn given(app: &App, globals: &Globals, word: &str, way: WayIn, base_url: Option<&str>) -> Result<KeyTest, Error> {
    // A type needs no store: a key can be tested where none is configured.
    if let Some(kind) = ProviderType::parse(word) {
        let key = app.provider_key(way, kind.display_name()).await?;
        let endpoint = base_url.map_or(Endpoint::Own, Endpoint::Typed);
        return app.test_given_key(kind.display_name(), kind, endpoint, key).await;
    }
    if app.configured().is_empty() {
        return Err(unknown(word, settable(&[])));
    }
    let ring = app.key_ring();
    let rows = app.key_reader(&globals.via, &ring).await?.list().await?;
    let row = one(&rows, word)?;
    let kind = ProviderType::parse(&row.provider).ok_or_else(|| Error::Refused {
        message: format!("llmhub does not know how to ask a provider of the type `{}`", row.provider),
        hint: "llmhub keys providers".to_owned(),
    })?;
    let key = app.provider_key(way, &row.name).await?;
    let place = Place { row: Some(row), name: row.name.clone(), provider: kind };
    app.test_given_key(&row.name, kind, place.endpoint(base_url), key).await
}

/// A "no" is a no whatever the others say; a silence among answers is partial, and nothing but silence is a failure.
fn answer(tests: &[KeyTest]) -> Result<Answer, Error> {
    let silent: Vec<&KeyTest> = tests.iter().filter(|test| test.status.ok().is_none()).collect();
    if tests.iter().any(|test| test.unreadable || test.status.is_no()) {
        return Ok(Answer::No);
    }
    if silent.is_empty() {
        return Ok(Answer::Yes);
    }
    if silent.len() < tests.len() {
        return Ok(Answer::Partial);
    }
    let words: Vec<String> =
        silent.iter().map(|test| format!("{}: {} ({})", test.name, test.status, test.why)).collect();
    let message = format!("no provider said anything of its key: {}", words.join("; "));
    let limited = silent.iter().all(|test| test.status == KeyStatus::RateLimited);
    Err(Error::Store(if limited { StoreError::RateLimited(message) } else { StoreError::Unreachable(message) }))
}
