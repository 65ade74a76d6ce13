//! Flags in a running hub, over HTTP: every hub URL, status and cookie, to the letter of CONTRACT 1-3; provider keys in `keys`.
//!
//! A read asks one process, through the list (it survives poisoned flags; the single read does not). A write goes to every
//! process and is proven by `converge`. Nothing is taken from a cache, and no answer of the hub can crash the reader.

mod budget;
mod connection;
mod converge;
mod examine;
pub mod keys;
mod lock;
mod off;
mod pages;
mod save;
mod session;
mod survey;
mod tags;
mod wire;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use self::budget::{Budget, Route};
use self::connection::{Answer, CallError, Connection, Transport};
pub use self::examine::HubFacts;
use self::lock::WriteLock;
pub use self::off::{Answered, OffLook, SwitchedOff};
use super::{Depth, Edit, FlagStore, Note, Saved, Source, StoreError, Survey};
use crate::domain::flags::convergence::ASSUMED_WORKERS;
use crate::domain::flags::{Flag, FlagKey};

/// The path of the list, whose final slash matters (CONTRACT 1).
const LIST: [&str; 4] = ["api", "v1", "features", ""];

/// Said when an answer carries an `Age`: the hub marks every answer as public for 60 s (CONTRACT 6).
const CACHED: &str = "a cache answered instead of the hub: values may be up to 60 s old";

/// How to reach a hub and what is known of it.
pub struct HubOptions {
    /// The addresses; each is a replica. At least one.
    pub addresses: Vec<Url>,
    /// Processes behind each address, if declared.
    pub workers: Option<u32>,
    /// The operator's session, if any.
    pub session: Option<SecretString>,
    /// A disabled, unused flag that carries process tags.
    pub identity_flag: Option<FlagKey>,
    /// Where request budgets and locks are kept; without one, in memory and not at all.
    pub state: Option<PathBuf>,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Bound of one request.
    pub request_timeout: Duration,
    /// Bound of a write with its proof.
    pub write_timeout: Duration,
    /// The wall clock.
    pub clock: fn() -> SystemTime,
}

/// The flags of a running hub.
pub struct HubFlags {
    options: HubOptions,
    transport: Transport,
    budget: Mutex<Budget>,
    notes: Mutex<Vec<String>>,
}

/// The flags of one process, without its tag.
struct Listing {
    flags: Vec<Flag>,
    tag: Option<String>,
    /// A cache says how old this is.
    aged: bool,
    same_connection: bool,
    request_id: Option<String>,
}

/// What the hub itself answered about one user.
#[derive(Debug)]
pub enum HubAnswer {
    /// On or off, with the hub's own word for it.
    Decided {
        /// Whether the flag is on for the user.
        enabled: bool,
        /// The hub's reason.
        reason: String,
    },
    /// It failed (500), as it does on poisoned flags.
    Failed,
}

impl HubFlags {
    /// Nothing is contacted before the first call.
    pub fn new(options: HubOptions) -> Self {
        Self {
            transport: Transport::new(options.request_timeout, options.ca_file.clone()),
            budget: Mutex::new(Budget::new(options.state.as_deref(), options.clock)),
            notes: Mutex::new(Vec::new()),
            options,
        }
    }

    /// Ask the hub itself about a user, together with the flag as the same process holds it.
    ///
    /// # Errors
    /// As [`FlagStore::get`].
    pub async fn ask(&self, key: &FlagKey, user: Option<&str>) -> Result<(Flag, HubAnswer), StoreError> {
        let mut connection = self.first_connection()?;
        let listing = self.read_list(&mut connection).await?;
        let flag = super::pick(Source::Hub, listing.flags, key)?;
        let mut query = vec![("_", buster())];
        if let Some(user) = user {
            query.push(("user_id", user.to_owned()));
        }
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.spend(connection.address(), Route::Flag, 1);
        let path = ["api", "v1", "features", key.as_str()];
        let answer = connection.get(&path, &query, None).await.map_err(|error| unreachable(&connection, &error))?;
        match answer.status.as_u16() {
            200 => {
                let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let enabled = body.get("enabled").and_then(serde_json::Value::as_bool);
                let reason = body.get("reason").and_then(serde_json::Value::as_str).unwrap_or("none given").to_owned();
                let enabled =
                    enabled.ok_or_else(|| invalid(&connection, &answer, "its evaluation has no `enabled`"))?;
                Ok((flag, HubAnswer::Decided { enabled, reason }))
            }
            500 => Ok((flag, HubAnswer::Failed)),
            _ => Err(status_error(&connection, &answer, Some(key))),
        }
    }

    fn first_connection(&self) -> Result<Connection, StoreError> {
        match self.options.addresses.first() {
            Some(base) => self.transport.connect(base),
            None => Err(StoreError::Local("no hub address is configured".to_owned())),
        }
    }

    /// Read the list on this connection.
    async fn read_list(&self, connection: &mut Connection) -> Result<Listing, StoreError> {
        self.spend(connection.address(), Route::List, 1);
        let buster = buster();
        let answer = connection.get(&LIST, &[("_", &buster)], None).await;
        let answer = answer.map_err(|error| unreachable(connection, &error))?;
        if answer.status.as_u16() != 200 {
            return Err(status_error(connection, &answer, None));
        }
        if answer.aged {
            self.note(CACHED.to_owned());
        }
        let mut flags = wire::flags(&answer.body).map_err(|why| invalid(connection, &answer, &why))?;
        let tag = self.options.identity_flag.as_ref().and_then(|identity| tags::take(&mut flags, identity));
        Ok(Listing {
            flags,
            tag,
            aged: answer.aged,
            same_connection: answer.same_connection,
            request_id: answer.request_id,
        })
    }

    fn spend(&self, address: &str, route: Route, count: u32) -> Duration {
        let workers = self.options.workers.unwrap_or(ASSUMED_WORKERS);
        match self.budget.lock() {
            Ok(mut budget) => budget.take(address, route, workers, count),
            // A poisoned lock means that another task died while counting; the count is a courtesy.
            Err(_) => Duration::ZERO,
        }
    }

    fn note(&self, text: String) {
        if let Ok(mut notes) = self.notes.lock()
            && !notes.contains(&text)
        {
            notes.push(text);
        }
    }

    fn take_notes(&self) -> Vec<String> {
        self.notes.lock().map(|mut notes| std::mem::take(&mut *notes)).unwrap_or_default()
    }

    fn addresses(&self) -> Vec<&str> {
        self.options.addresses.iter().map(connection::address).collect()
    }
}

#[async_trait]
impl FlagStore for HubFlags {
    fn source(&self) -> Source {
        Source::Hub
    }

    fn scope(&self) -> Option<String> {
        let processes = self.options.workers.map(|workers| u64::from(workers) * self.options.addresses.len() as u64);
        let read = match processes {
            Some(1) => None,
            Some(processes) => Some(format!("read 1 of {processes} processes")),
            None => Some("read 1 process; how many there are was not declared (`workers`)".to_owned()),
        };
        let notes: Vec<String> = read.into_iter().chain(self.take_notes()).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    async fn list(&self) -> Result<Vec<Flag>, StoreError> {
        Ok(self.read_list(&mut self.first_connection()?).await?.flags)
    }

    async fn survey(&self, depth: Depth) -> Result<Survey, StoreError> {
        survey::survey(self, depth).await
    }

    async fn lock(&self, patience: Duration) -> Result<Box<dyn Send + Sync>, StoreError> {
        Ok(Box::new(WriteLock::take(self.options.state.as_deref(), &self.addresses(), patience).await?))
    }

    async fn pace(&self) {
        let waits = self.options.addresses.iter().map(|base| self.spend(connection::address(base), Route::List, 0));
        tokio::time::sleep(waits.max().unwrap_or_default()).await;
    }

    async fn save(&self, edit: &Edit, _note: &Note) -> Result<Saved, StoreError> {
        save::save(self, edit).await
    }
}

/// A made-up value that keeps shared caches from answering; the hub ignores it and does not count it.
fn buster() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(()))
}

fn unreachable(connection: &Connection, error: &CallError) -> StoreError {
    StoreError::Unreachable(format!("{} does not answer: {}", connection.address(), error.reason()))
}

fn invalid(connection: &Connection, answer: &Answer, why: &str) -> StoreError {
    StoreError::Invalid(format!("{}: {why}{}", connection.address(), answer.reference()))
}

/// What a status other than 200 means, to a read or to a write that the hub refused as a whole.
fn status_error(connection: &Connection, answer: &Answer, key: Option<&FlagKey>) -> StoreError {
    let address = connection.address();
    let reference = answer.reference();
    let status = answer.status.as_u16();
    match (status, key) {
        (404, Some(key))
            if answer.detail().is_some_and(|detail| detail.contains("not found") && detail.contains(key.as_str())) =>
        {
            StoreError::NotFound { source_word: Source::Hub, key: key.clone(), known: Vec::new() }
        }
        (404 | 405, _) => StoreError::Unsupported {
            message: format!(
                "{address} answers {status} for its flag API: the route is not mounted in this hub (or the address is not a hub){reference}"
            ),
            hint: "check the address with `llmhub doctor`; set the flags with `--via env` and recreate the hub"
                .to_owned(),
        },
        (401, _) => StoreError::Credentials(format!("{address} wants a login (401){reference}")),
        (403, _) => StoreError::Denied(format!("{address} forbids this (403){reference}")),
        (429, _) => StoreError::RateLimited(format!(
            "{address} answers 429: its limit of 1000 requests an hour is reached for this machine{reference}"
        )),
        (300..=399, _) => {
            let target = answer.location.as_deref().unwrap_or("nowhere");
            StoreError::Invalid(format!("{address} redirects to {target}; llmhub follows no redirects{reference}"))
        }
        (500..=599, _) => StoreError::Unreachable(format!("{address} fails with status {status}{reference}")),
        _ => StoreError::Invalid(format!("{address} answers with status {status}{reference}")),
    }
}
