//! Provider keys over a hub's HTTP API: the real binary, and where every word of an error counts the store itself, against the
//! double of the hub.
//!
//! What a command says is compared with what the double holds and with the requests that it saw.

mod clearing;
mod echoes;
mod faults;
mod reading;
mod saving;
mod testing;

use llmhub::domain::keys::secret::ProviderKey;
use llmhub::store::StoreError;
use llmhub::store::hub::keys::{HubKeyOptions, HubKeys};
use llmhub::store::keys::{KeyStore, NewKey, SavedKey, StoredKey};
use serde_json::json;

use crate::support::cli::{CANARIES, Home, PROVIDER_KEY, Run};
use crate::support::hub::{Builder, Fault, Hub, MASTER_KEY, Row, User, When};
use crate::support::postgres::block_on;

const KEYS: &str = "/api/v1/llm/providers/keys";
const TEST: &str = "/api/v1/llm/providers/keys/test";
/// A session value that must not be seen anywhere.
const SESSION: &str = CANARIES[0];

/// A hub with a master key, and an admin's home.
struct Desk {
    home: Home,
    hub: Hub,
}

impl Desk {
    fn new() -> Self {
        Self::of(Hub::builder())
    }

    fn of(builder: Builder) -> Self {
        let hub = builder.env([("BYOK_ENCRYPTION_KEY", MASTER_KEY)]).start();
        hub.install_session(SESSION, Some(user(Some("admin"))), None);
        Self { home: Home::new().variable("LLMHUB_SESSION_TOKEN", SESSION), hub }
    }

    /// `llmhub keys …` on this hub, for people.
    fn plain(&self, line: &str) -> Run {
        self.home.line(&format!("keys {line} --hub {}", self.hub.url()))
    }

    /// The same, as data.
    fn keys(&self, line: &str) -> Run {
        self.plain(&format!("{line} -o json"))
    }

    /// `keys set` of the tests' key, which no provider was asked about.
    fn set(&self, rest: &str) -> Run {
        self.keys(&format!("set {rest} --stdin --no-verify")).stdin(PROVIDER_KEY)
    }

    /// A row as the hub's database holds it.
    #[track_caller]
    fn row(&self, name: &str) -> Row {
        self.hub.providers().into_iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"))
    }

    /// The key that the hub's database holds.
    #[track_caller]
    fn key(&self, name: &str) -> Option<String> {
        self.row(name).key.map(|(key, _)| key)
    }

    /// The keys without a command around them.
    fn store(&self) -> HubKeys {
        self.impatient(None)
    }

    /// The same, with this bound of each request.
    fn impatient(&self, limit: Option<std::time::Duration>) -> HubKeys {
        let options = HubKeyOptions {
            addresses: vec![self.hub.url().parse().unwrap()],
            session: Some(SESSION.into()),
            ca_file: None,
            request_timeout: limit,
        };
        HubKeys::new(options).unwrap()
    }

    /// A row as the store tells it.
    #[track_caller]
    fn told(&self, name: &str) -> StoredKey {
        let rows = block_on(self.store().list()).unwrap();
        rows.into_iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"))
    }

    /// Break the writes of keys.
    fn break_saves(&self, fault: Fault) {
        self.hub.fail(When::always().method("POST").path(KEYS), fault);
    }
}

fn user(role: Option<&str>) -> User {
    User { role: role.map(str::to_owned), email: "admin@example.com".to_owned() }
}

/// Save the tests' key through the store itself.
fn save(store: &HubKeys, seen: Option<&StoredKey>, name: &str) -> Result<SavedKey, StoreError> {
    let key = ProviderKey::parse(PROVIDER_KEY).unwrap();
    let new = NewKey { seen, name, provider: "openai", key: &key, base_url: None, tested: None };
    block_on(store.save(&new))
}

/// Whether a text holds neither the key, nor the session, nor half of either.
#[track_caller]
fn silent(text: &str) {
    for secret in [PROVIDER_KEY, SESSION] {
        let (first, last) = secret.split_at(secret.len() / 2);
        for part in [secret, first, last] {
            assert!(!text.contains(part), "{text}");
        }
    }
}

/// An object of any error answer, with the key in it.
fn echo(shape: &str) -> Vec<u8> {
    shape.replace("KEY", PROVIDER_KEY).into_bytes()
}

/// A failure as the routers word it.
fn detail(status: u16, text: &str) -> Fault {
    Fault::Answer { status, content_type: "application/json", body: json!({"detail": text}).to_string().into_bytes() }
}
