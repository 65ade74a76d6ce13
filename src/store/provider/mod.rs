//! Asking a provider about a key: one call, or two where the list of models is elsewhere. No tokens are spent.
//!
//! The key leaves in a header that is marked as secret, to the one address that was asked for: redirects are not followed.
//! Every wait and every answer is bounded. Whatever goes wrong on the way is a status, never an error, and never a "no"; no
//! text from here holds a key, an address's query or a provider's own words.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use url::Url;
use zeroize::Zeroizing;

use super::StoreError;
use super::http::{self, Anchors, NoBody};
use crate::domain::keys::provider::{KeyStatus, ProviderType};
use crate::domain::keys::question::{Auth, Call, Question, Verb, below, question};
use crate::domain::keys::secret::ProviderKey;
use crate::domain::keys::verdict::{self, Verdict};

/// A longer list of models is not read to its end.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Bounds of one call (craft.md 1.5).
const CONNECT: Duration = Duration::from_secs(5);
const IDLE_READ: Duration = Duration::from_secs(10);

/// What a provider said of a key.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The class.
    pub status: KeyStatus,
    /// Why, for people; empty where the class says it all.
    pub why: String,
    /// From the first byte sent to the verdict, in milliseconds; the count of models is not part of it.
    pub latency_ms: u64,
    /// How many models the key sees; `None` where they could not be counted.
    pub models: Option<u32>,
}

/// The providers, as one command asks them.
pub struct Providers {
    ca_file: Option<PathBuf>,
    limit: Duration,
    tls: OnceLock<rustls::ClientConfig>,
}

impl Providers {
    /// `limit` bounds one call from connect to the last byte; `ca_file` is trusted beside the system's anchors.
    pub fn new(limit: Duration, ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, limit, tls: OnceLock::new() }
    }

    /// Ask about `key`, at `address` in place of the provider's own; a custom provider has none of its own.
    ///
    /// # Errors
    /// [`StoreError::Local`] when the CA file cannot be used. All that happens on the way is an [`Asked`].
    pub async fn ask(&self, kind: ProviderType, address: Option<&Url>, key: &ProviderKey) -> Result<Asked, StoreError> {
        let question = question(kind, address.and_then(Url::host_str));
        let Some(base) = address.cloned().or_else(|| Url::parse(question.origin?).ok()) else {
            return Ok(asked(verdict::nonsense("no address is known for it"), Duration::ZERO));
        };
        let client = self.client(&base)?;
        let started = Instant::now();
        let found = self.verdict(kind, &question, &client, &base, key).await;
        let mut asked = match found {
            Ok(verdict) => asked(verdict, started.elapsed()),
            Err(why) => Asked { why, ..asked(verdict::silence(), started.elapsed()) },
        };
        tracing::debug!(%kind, host = base.host_str(), status = asked.status.word(), "asked a provider");
        if let (Some(call), Some(true)) = (question.models, asked.status.ok()) {
            // A list that does not come takes nothing from the verdict.
            asked.models = match send(&client, &base, call, key).await {
                Ok(Answer::Whole(http, body)) => verdict::models(http, &body),
                Ok(Answer::TooLarge | Answer::Unfit) | Err(_) => None,
            };
        }
        Ok(asked)
    }

    async fn verdict(
        &self,
        kind: ProviderType,
        question: &Question,
        client: &Client,
        base: &Url,
        key: &ProviderKey,
    ) -> Result<Verdict, String> {
        let read = |answer| match answer {
            Answer::Whole(http, body) => verdict::judge(kind, question.reading, http, &body),
            Answer::TooLarge => verdict::nonsense("the answer is larger than 8 MiB"),
            Answer::Unfit => verdict::nonsense("the key holds characters that no HTTP header can carry"),
        };
        let first = read(send(client, base, question.check, key).await?);
        match question.otherwise {
            Some(call) if first.status == KeyStatus::WrongEndpoint => {
                // An Ollama's own list stands beside `/v1`, not below it.
                let mut beside = base.clone();
                let path = base.path().trim_end_matches('/');
                beside.set_path(path.strip_suffix("/v1").unwrap_or(path));
                let second = read(send(client, &beside, call, key).await?);
                // What is not there either says nothing more.
                Ok(if second.status == KeyStatus::Valid { second } else { first })
            }
            _ => Ok(first),
        }
    }

    fn client(&self, base: &Url) -> Result<Client, StoreError> {
        let tls = match (base.scheme(), self.tls.get()) {
            ("https", Some(tls)) => tls.clone(),
            ("https", None) => {
                let tls = http::tls(Anchors::System(self.ca_file.as_deref()))?;
                self.tls.get_or_init(|| tls).clone()
            }
            _ => http::tls(Anchors::Nobody)?,
        };
        http::straight(Client::builder(), base)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(self.limit))
            .read_timeout(IDLE_READ.min(self.limit))
            .timeout(self.limit)
            .user_agent(concat!("llmhub/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|error| {
                StoreError::Local(format!("the HTTP client could not be set up: {}", http::reason(&error)))
            })
    }
}

fn asked(verdict: Verdict, took: Duration) -> Asked {
    let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Asked { status: verdict.status, why: verdict.why.to_owned(), latency_ms, models: verdict.models }
}

/// What came back on a call.
enum Answer {
    /// Status and body.
    Whole(u16, Vec<u8>),
    /// More than we read.
    TooLarge,
    /// Nothing was sent: the key fits no header.
    Unfit,
}

async fn send(client: &Client, base: &Url, call: Call, key: &ProviderKey) -> Result<Answer, String> {
    let Some(headers) = headers(call, key) else { return Ok(Answer::Unfit) };
    let mut url = base.clone();
    url.set_path(&below(base.path(), call.path));
    url.set_query(call.query);
    url.set_fragment(None);
    let method = match call.verb {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
    };
    let response = client.request(method, url).headers(headers).send().await;
    let response = response.map_err(|error| http::reason(&error.without_url()))?;
    let status = response.status().as_u16();
    match http::body(response, BODY_LIMIT).await {
        Ok(body) => Ok(Answer::Whole(status, body)),
        Err(NoBody::TooLarge) => Ok(Answer::TooLarge),
        Err(NoBody::Broken(why)) => Err(why),
    }
}

fn headers(call: Call, key: &ProviderKey) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let secret = |text: &str| {
        let mut value = HeaderValue::from_str(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    };
    match call.auth {
        Auth::Bearer => headers.insert(AUTHORIZATION, secret(&Zeroizing::new(format!("Bearer {}", key.expose())))?),
        Auth::Header(name) => headers.insert(HeaderName::from_static(name), secret(key.expose())?),
        Auth::Nobody => None,
    };
    if let Some((name, value)) = call.header {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Some(headers)
}
