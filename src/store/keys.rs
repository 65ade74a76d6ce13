//! Provider keys, wherever they live: what a store tells of a row, and the primitives that every store of keys offers.
//!
//! A store never shows a key. What it holds sealed is judged above it, with the ring; what only a hub can read arrives as the
//! hub's own preview.

use async_trait::async_trait;

use super::{Source, StoreError};
use crate::domain::keys::secret::ProviderKey;

/// What a store tells of the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// The stored text, a Fernet token unless somebody else wrote it. Public: nothing can be done with it without a master key.
    Stored(String),
    /// The hub holds one and keeps it to itself; its preview is `***` where the hub cannot open it.
    Hidden {
        /// `key_preview`, as the hub gave it.
        preview: String,
    },
    /// None is stored.
    Empty,
}

/// Where the hub takes a key from, in its own words (CONTRACT 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The row.
    Database,
    /// The hub's variable `<NAME>_API_KEY`.
    Environment,
    /// Nowhere.
    NotSet,
}

impl KeySource {
    /// The hub's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Environment => "environment",
            Self::NotSet => "not_set",
        }
    }
}

/// What keeps a row from being acted on: nothing names it for certain. It is shown all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFault {
    /// It has no name, or one that is no text.
    NoName,
    /// It has no id, or one that is no text.
    NoId,
}

impl RowFault {
    /// The end of a sentence that begins with the row.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoName => "has no text as its name",
            Self::NoId => "has no text as its id",
        }
    }
}

/// What stands for a name or an id that is no text.
const NOTHING: &str = "(none)";

/// The id and the name of a row, and what is wrong with them.
pub fn named(id: Option<&str>, name: Option<&str>) -> (String, String, Option<RowFault>) {
    let fault = match (id, name) {
        (_, None) => Some(RowFault::NoName),
        (None, Some(_)) => Some(RowFault::NoId),
        (Some(_), Some(_)) => None,
    };
    (id.unwrap_or(NOTHING).to_owned(), name.unwrap_or(NOTHING).to_owned(), fault)
}

/// One provider's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// The row's id: a UUID as text.
    pub id: String,
    /// The name that the hub finds the row by, in lower case.
    pub name: String,
    /// Why the row can only be shown.
    pub fault: Option<RowFault>,
    /// The type word, such as `openai`; also types that the hub's router does not know.
    pub provider: String,
    /// Whether the hub may use it; null counts as off.
    pub enabled: bool,
    /// The key.
    pub material: Material,
    /// The text of the second column `encrypted_api_key`, which some databases have and the router never touches.
    pub second: Option<String>,
    /// Where the store says that the hub takes the key from; `None` where the store cannot know.
    pub source: Option<KeySource>,
    /// When the hub or llmhub last tested it: naive UTC, `YYYY-MM-DDTHH:MM:SS`.
    pub last_tested: Option<String>,
    /// What that test said, in the word that was stored.
    pub test_status: Option<String>,
    /// The endpoint of a custom provider: `base_url` of its config.
    pub base_url: Option<String>,
}

impl StoredKey {
    /// See that the row can be acted on.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a row that nothing names for certain.
    pub fn require_sound(&self) -> Result<(), StoreError> {
        let Some(fault) = self.fault else { return Ok(()) };
        Err(StoreError::Refused(format!(
            "a row of the type `{}` (name {}, id {}) {}, so that nothing names it for certain; nothing was written",
            self.provider,
            self.name,
            self.id,
            fault.words()
        )))
    }
}

/// A key to store.
pub struct NewKey<'a> {
    /// The row that was found by this name, as it was read; `None` makes a new one.
    pub seen: Option<&'a StoredKey>,
    /// The name.
    pub name: &'a str,
    /// The type word.
    pub provider: &'a str,
    /// The key.
    pub key: &'a ProviderKey,
    /// The endpoint to remember; `None` leaves the config as it is.
    pub base_url: Option<&'a str>,
    /// The hub's word for a test that was just made (`success`, `failed`); `None` where none was made.
    pub tested: Option<&'static str>,
}

/// What a store can prove of a saved key.
#[derive(Clone, Debug)]
pub struct SavedKey {
    /// The row as it was read back.
    pub after: StoredKey,
    /// What else the operator should know, one sentence each.
    pub notes: Vec<String>,
}

/// The primitives that every store of provider keys offers.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Which source this is.
    fn source(&self) -> Source;

    /// All rows, in the hub's own order: those with a key first, then by priority, then by name.
    async fn list(&self) -> Result<Vec<StoredKey>, StoreError>;

    /// Store a key if the row still holds what was seen, and read it back. What reads back wrong is put back as it was.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody else changed the row; [`StoreError::RolledBack`] when the old key was put back and
    /// read back; [`StoreError::OutcomeUnknown`] when neither can be shown.
    async fn save(&self, new: &NewKey<'_>) -> Result<SavedKey, StoreError>;

    /// Clear the key, keep the row, and read that back.
    ///
    /// # Errors
    /// As [`KeyStore::save`].
    async fn clear(&self, seen: &StoredKey) -> Result<StoredKey, StoreError>;
}
