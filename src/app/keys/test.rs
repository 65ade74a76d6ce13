//! Testing keys at their providers, all at once: the stored ones, or one that is given.
//!
//! A stored key that the provider said yes or no to is recorded in its row, as the hub does it. What says nothing of a key is
//! not recorded: a network error never turns a key red (craft.md 2.8).

use futures_util::stream::{StreamExt, iter};
use url::Url;

use super::verify::{Endpoint, provider_address};
use super::{KeyRing, Material, StoredKey};
use crate::app::App;
use crate::config::{Protection, is_loopback};
use crate::domain::keys::provider::{KeyStatus, ProviderType};
use crate::domain::keys::ring::OpenedBy;
use crate::domain::keys::secret::ProviderKey;
use crate::error::Error;
use crate::store::Source;
use crate::store::postgres::Tested;
use crate::store::provider::Asked;

/// How many providers are asked at the same time.
const AT_ONCE: usize = 64;

/// What is known of one key after the test.
#[derive(Clone, Debug)]
pub struct KeyTest {
    /// The row's name.
    pub name: String,
    /// The row's type word.
    pub provider: String,
    /// What the provider says; `unknown` where it could not be asked.
    pub status: KeyStatus,
    /// Why, for people; empty where the status says it all.
    pub why: String,
    /// How long the provider took; `None` where it was not asked.
    pub latency_ms: Option<u64>,
    /// How many models the key sees.
    pub models: Option<u32>,
    /// Whether a key is stored that no master key opens: the hub cannot use it either.
    pub unreadable: bool,
}

/// A key and where to ask about it.
struct Candidate {
    kind: ProviderType,
    address: Option<Url>,
    key: ProviderKey,
}

impl App {
    /// Test a key that is not stored, or not yet.
    ///
    /// # Errors
    /// As [`App::address_of`].
    pub async fn test_given_key(
        &self,
        name: &str,
        kind: ProviderType,
        endpoint: Endpoint<'_>,
        key: ProviderKey,
    ) -> Result<KeyTest, Error> {
        let address = self.address_of(kind, endpoint).await?;
        self.ui.progress(&format!("testing {name}"));
        let asked = self.providers().ask(kind, address.as_ref(), &key).await;
        self.ui.progress_end();
        Ok(KeyTest::asked(name, kind.word(), asked?))
    }

    /// Test stored keys, in the order of the rows; `base_url` takes the place of the providers' own addresses.
    ///
    /// # Errors
    /// [`Error::Consent`] where the database names an address of the outside world and nobody agreed to send a key there;
    /// [`Error::Unsupported`] for rows of a hub, which keeps its keys to itself.
    pub async fn test_stored_keys(
        &self,
        rows: &[StoredKey],
        ring: &KeyRing,
        base_url: Option<&str>,
    ) -> Result<Vec<KeyTest>, Error> {
        let typed = base_url.map(provider_address).transpose()?;
        let candidates: Vec<Result<Candidate, KeyTest>> =
            rows.iter().map(|row| self.candidate(row, ring, typed.as_ref())).collect::<Result<_, _>>()?;
        if typed.is_none() {
            self.agree_on_addresses(rows, &candidates).await?;
        }
        let (providers, total) = (self.providers(), rows.len());
        let mut waiting: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let calls = rows.iter().zip(candidates).enumerate().map(|(at, (row, candidate))| {
            let providers = &providers;
            async move {
                let test = match candidate {
                    Ok(Candidate { kind, address, key }) => providers
                        .ask(kind, address.as_ref(), &key)
                        .await
                        .map(|asked| KeyTest::asked(&row.name, &row.provider, asked)),
                    Err(known) => Ok(known),
                };
                (at, test)
            }
        });
        let mut calls = iter(calls).buffer_unordered(AT_ONCE);
        let mut tests = Vec::with_capacity(total);
        self.ui.progress(&format!("asking {total} providers"));
        while let Some((at, test)) = calls.next().await {
            let test = test.inspect_err(|_| self.ui.progress_end())?;
            waiting.retain(|name| *name != test.name);
            tests.push((at, test));
            self.ui.progress(&format!(
                "{}/{total} providers answered; waiting for {}",
                tests.len(),
                waiting.join(", ")
            ));
        }
        self.ui.progress_end();
        tests.sort_by_key(|(at, _)| *at);
        Ok(tests.into_iter().map(|(_, test)| test).collect())
    }

    /// What can be asked about a row, or what is known without asking.
    fn candidate(
        &self,
        row: &StoredKey,
        ring: &KeyRing,
        typed: Option<&Url>,
    ) -> Result<Result<Candidate, KeyTest>, Error> {
        let known = |why: String, unreadable| {
            Ok(Err(KeyTest {
                name: row.name.clone(),
                provider: row.provider.clone(),
                status: KeyStatus::Unknown,
                why,
                latency_ms: None,
                models: None,
                unreadable,
            }))
        };
        let token = match &row.material {
            Material::Stored(token) => token,
            Material::Empty => return known("no key is stored".to_owned(), false),
            Material::Hidden { .. } => {
                return Err(Error::Unsupported {
                    message: "a hub keeps its keys to itself, so llmhub cannot test them at the provider".to_owned(),
                    hint: "--via db, or give the key with --stdin".to_owned(),
                });
            }
        };
        let Some(kind) = ProviderType::parse(&row.provider) else {
            return known(format!("llmhub does not know how to ask a provider of the type `{}`", row.provider), false);
        };
        let plain = match ring.reading().open(Some(token)) {
            (_, Some(plain)) => plain,
            (OpenedBy::NotFernet, None) => return known("the row holds no encrypted key".to_owned(), true),
            (_, None) => return known("no master key opens it".to_owned(), true),
        };
        let Some(key) = plain.as_str().and_then(|text| ProviderKey::parse(text).ok()) else {
            return known("what is stored is no key: it holds blanks or worse".to_owned(), true);
        };
        self.ui.redact([key.expose()]);
        let own = || -> Result<Option<Url>, Error> {
            // The hub reads the address of custom providers only (CONTRACT 4.3).
            row.base_url.as_deref().filter(|_| kind == ProviderType::Custom).map(provider_address).transpose()
        };
        let address = match typed {
            Some(typed) => Some(typed.clone()),
            None => match own() {
                Ok(address) => address,
                Err(_) => return known("its base URL is no http or https address".to_owned(), false),
            },
        };
        if address.as_ref().is_some_and(is_in_clear) {
            return known("not asked: the key would travel to its address in clear text".to_owned(), false);
        }
        Ok(Ok(Candidate { kind, address, key }))
    }

    /// Have the addresses of the outside world confirmed that come from the database: whoever can write there could have a
    /// key sent to himself.
    async fn agree_on_addresses(
        &self,
        rows: &[StoredKey],
        candidates: &[Result<Candidate, KeyTest>],
    ) -> Result<(), Error> {
        let places: Vec<String> = rows
            .iter()
            .zip(candidates)
            .filter_map(|(row, candidate)| {
                let address = candidate.as_ref().ok()?.address.as_ref()?;
                (!is_loopback(address)).then(|| format!("{} to {}", row.name, address.host_str().unwrap_or("?")))
            })
            .collect();
        if places.is_empty() {
            return Ok(());
        }
        self.ask(format!("the database says where these keys are tested; send the key of {}?", places.join(", "))).await
    }

    /// Record in the rows what the providers said of stored keys. The test stands whether or not it can be recorded.
    ///
    /// # Errors
    /// [`Error::Consent`] on a protected profile, where only a test with a reason is recorded.
    pub async fn record_key_tests(
        &self,
        rows: &[StoredKey],
        tests: &[KeyTest],
        ring: &KeyRing,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        let told: Vec<Tested<'_>> = rows
            .iter()
            .zip(tests)
            .filter_map(|(row, test)| match (&row.material, test.status.ok()) {
                (Material::Stored(token), Some(ok)) if row.fault.is_none() => Some(Tested { id: &row.id, token, ok }),
                _ => None,
            })
            .collect();
        if told.is_empty() {
            return Ok(());
        }
        if self.config().protection.value == Protection::Protected {
            if reason.is_none() {
                self.ui.note("the profile is protected: what the providers said is recorded only with a --reason");
                return Ok(());
            }
            self.authorise(format!("record {} tests of keys?", told.len()), false, reason).await?;
        }
        let database = self.key_database(&[Source::Db], "keys test", ring).await?;
        match database.record(&told).await {
            Ok(recorded) if recorded < told.len() => self.ui.note(&format!(
                "{recorded} of {} results were recorded: the other keys were changed meanwhile",
                told.len()
            )),
            Ok(_) => {}
            Err(error) => self.ui.warn(&format!("the results were not recorded in the database: {error}")),
        }
        Ok(())
    }
}

impl KeyTest {
    fn asked(name: &str, provider: &str, asked: Asked) -> Self {
        Self {
            name: name.to_owned(),
            provider: provider.to_owned(),
            status: asked.status,
            why: asked.why,
            latency_ms: Some(asked.latency_ms),
            models: asked.models,
            unreadable: false,
        }
    }
}

/// Whether a key that is sent there could be read on the way (craft.md 1.5).
pub fn is_in_clear(url: &Url) -> bool {
    url.scheme() == "http" && !is_loopback(url)
}
