//! Provider keys in a running hub, over HTTP with an admin session: to the letter of CONTRACT 4, and believing none of it.
//!
//! A write counts as done after the list has shown it. No answer to a write is ever quoted, because a hub was seen to send the
//! key back. All processes of a hub share one database, so one address is asked; the next only if nothing could be sent.

mod live_test;
mod processes;
mod refusal;
mod save;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::SecretString;

pub use self::live_test::Tested;
pub use self::processes::{Expected, Processes, Unproven};
use self::refusal::refusal;
use self::wire::Listed;
use super::connection::{Answer, CallError, Connection, Transport, WriteAuth, address};
use crate::config::HubUrl;
use crate::store::keys::{KeySource, KeyStore, Material, NewKey, SavedKey, StoredKey};
use crate::store::{Source, StoreError};

const KEYS: [&str; 5] = ["api", "v1", "llm", "providers", "keys"];
const TEST: [&str; 6] = ["api", "v1", "llm", "providers", "keys", "test"];

/// A save or test makes the hub wait for the provider, up to 10 s (CONTRACT 4.3: 10.03 s were seen); ours is well above.
const PATIENCE: Duration = Duration::from_secs(25);

/// How to reach the keys of a hub.
pub struct HubKeyOptions {
    /// The addresses, at least one.
    pub addresses: Vec<HubUrl>,
    /// An admin's session; without one nothing is sent.
    pub session: Option<SecretString>,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Bound of one request, if shorter than what a save needs.
    pub request_timeout: Option<Duration>,
}

/// The provider keys of a running hub.
pub struct HubKeys {
    addresses: Vec<HubUrl>,
    auth: WriteAuth,
    transport: Transport,
}

/// A request that was answered, and where.
struct Reply {
    address: String,
    answer: Answer,
}

/// Why a request has no answer, and where.
struct Silence {
    address: String,
    error: CallError,
}

impl HubKeys {
    /// Nothing is contacted before the first call.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for an address where key and session would travel in clear text; [`StoreError::Credentials`]
    /// without a session: no route answers anybody but an admin.
    pub fn new(options: HubKeyOptions) -> Result<Self, StoreError> {
        let clear = |url: &&HubUrl| url.url().scheme() != "https" && !url.is_loopback();
        if let Some(url) = options.addresses.iter().find(clear) {
            return Err(StoreError::Refused(format!(
                "keys and the session would travel to {url} in clear text; use an https:// address, or a tunnel to a loopback one"
            )));
        }
        if options.session.is_none() {
            return Err(StoreError::Credentials(
                "the hub shows its provider keys to an admin's session only; give it in LLMHUB_SESSION_TOKEN or the profile's `session_token_env`"
                    .to_owned(),
            ));
        }
        let patience = options.request_timeout.map_or(PATIENCE, |limit| PATIENCE.min(limit));
        Ok(Self {
            addresses: options.addresses,
            // The prefix of these routes is exempt from CSRF (CONTRACT 2), so no token is fetched.
            auth: WriteAuth { session: options.session, csrf: None },
            transport: Transport::new(patience, options.ca_file).patient(),
        })
    }

    /// Send a request to the first address that can be connected to.
    async fn send(&self, method: Method, path: &[&str], body: Option<String>) -> Result<Reply, StoreError> {
        match self.try_send(method, path, body).await? {
            Ok(reply) => Ok(reply),
            Err(silence) => {
                Err(StoreError::Unreachable(format!("{} does not answer: {}", silence.address, silence.error.reason())))
            }
        }
    }

    /// The same, where it counts whether the request may have arrived.
    async fn try_send(
        &self,
        method: Method,
        path: &[&str],
        body: Option<String>,
    ) -> Result<Result<Reply, Silence>, StoreError> {
        let mut silence = None;
        for url in &self.addresses {
            let mut connection: Connection = self.transport.connect(url.url())?;
            let address = address(url.url()).to_owned();
            // Each answer is marked as public for 60 s (CONTRACT 6): a made-up query keeps shared caches from answering.
            let buster = super::buster();
            let query = [("_", buster.as_str())];
            let query: &[(&str, &str)] = if method == Method::GET { &query } else { &[] };
            match connection.call(method.clone(), path, query, &self.auth, body.clone()).await {
                Ok(answer) => return Ok(Ok(Reply { address, answer })),
                Err(error @ CallError::Lost(_)) => return Ok(Err(Silence { address, error })),
                Err(error @ CallError::NotSent(_)) => silence = Some(Silence { address, error }),
            }
        }
        silence.map(Err).ok_or_else(|| StoreError::Local("no hub address is configured".to_owned()))
    }

    async fn listed(&self) -> Result<Vec<Listed>, StoreError> {
        let Reply { address, answer } = self.send(Method::GET, &KEYS, None).await?;
        if answer.status.as_u16() != 200 {
            return Err(refusal(&address, &answer));
        }
        if answer.aged {
            return Err(StoreError::Invalid(format!(
                "a cache answered instead of {address}, so what it holds now is not known{}",
                answer.reference()
            )));
        }
        rows_of(&address, &answer)
    }

    /// The row of that name, found as the hub finds it: in lower case.
    async fn find(&self, name: &str) -> Result<Option<Listed>, StoreError> {
        let name = name.to_lowercase();
        Ok(self.listed().await?.into_iter().find(|listed| listed.row.name.to_lowercase() == name))
    }

    /// The row, if it is still what was seen.
    async fn unchanged(&self, seen: &StoredKey) -> Result<Listed, StoreError> {
        seen.require_sound()?;
        let now = self.find(&seen.name).await?.ok_or_else(|| {
            StoreError::Conflict(format!("the row `{}` was removed meanwhile; nothing was written", seen.name))
        })?;
        let same = |row: &StoredKey| (row.id.clone(), row.provider.clone(), row.material.clone(), row.source);
        if same(&now.row) != same(seen) {
            return Err(StoreError::Conflict(format!(
                "somebody else changed `{}` meanwhile; nothing was written",
                seen.name
            )));
        }
        Ok(now)
    }
}

/// The rows of an answer with status 200.
fn rows_of(address: &str, answer: &Answer) -> Result<Vec<Listed>, StoreError> {
    wire::rows(&answer.body).map_err(|why| StoreError::Invalid(format!("{address}: {why}{}", answer.reference())))
}

fn cleared(row: &StoredKey) -> bool {
    row.material == Material::Empty && row.source != Some(KeySource::Database)
}

#[async_trait]
impl KeyStore for HubKeys {
    fn source(&self) -> Source {
        Source::Hub
    }

    async fn list(&self) -> Result<Vec<StoredKey>, StoreError> {
        Ok(self.listed().await?.into_iter().map(|listed| listed.row).collect())
    }

    async fn save(&self, new: &NewKey<'_>) -> Result<SavedKey, StoreError> {
        save::save(self, new).await
    }

    async fn clear(&self, seen: &StoredKey) -> Result<StoredKey, StoreError> {
        let before = self.unchanged(seen).await?.row;
        if cleared(&before) {
            return Ok(before);
        }
        let name = &before.name;
        let path: Vec<&str> = KEYS.iter().copied().chain([before.id.as_str()]).collect();
        // Whether the router itself said no, so that nothing is under way any more.
        let (said, ended) = match self.try_send(Method::DELETE, &path, None).await? {
            Ok(Reply { address, answer }) => match answer.status.as_u16() {
                404 if refusal::says(&answer, "Provider not found") => {
                    return Err(StoreError::Conflict(format!("the row `{name}` was removed meanwhile")));
                }
                503 if refusal::says(&answer, "Database connection not available") => {
                    return Err(refusal(&address, &answer));
                }
                status @ (200..=299 | 500..=599) => (
                    format!("{address} answered {status}{}", answer.reference()),
                    refusal::says(&answer, "Failed to delete provider key"),
                ),
                _ => return Err(refusal(&address, &answer)),
            },
            Err(Silence { address, error: CallError::NotSent(why) }) => {
                return Err(StoreError::Unreachable(format!("{address} does not answer: {why}")));
            }
            Err(Silence { address, error: CallError::Lost(why) }) => {
                (format!("{address} gave no answer ({why})"), false)
            }
        };
        match self.find(name).await {
            Ok(Some(after)) if after.row.id == before.id && cleared(&after.row) => Ok(after.row),
            Ok(Some(after)) if ended && after.row.material == before.material => Err(StoreError::Unsupported {
                message: format!("{said} to the removal of the key of `{name}`, and still holds it"),
                hint: "the database can do it: --via db".to_owned(),
            }),
            Ok(_) => Err(StoreError::OutcomeUnknown(format!(
                "the removal of the key of `{name}` was sent; {said}, and the list does not show it removed"
            ))),
            Err(error) => Err(StoreError::OutcomeUnknown(format!(
                "the removal of the key of `{name}` was sent; {said}, and it could not be read back: {error}"
            ))),
        }
    }
}
