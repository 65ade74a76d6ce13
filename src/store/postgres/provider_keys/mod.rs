//! Provider keys in the hub's own table `llm_providers`: read and written so that the hub's router reads and uses them.
//!
//! Only ciphertext travels, as a bind parameter. A write is one transaction that locks the row, compares what was seen, and
//! counts as done after another connection has read the row back and opened it. What reads back wrong is put back.

mod columns;
mod row;
mod tested;
mod write;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use crate::domain::keys::ring::Ring;
use crate::store::keys::{KeyStore, Material, NewKey, SavedKey, StoredKey};
use crate::store::{Source, StoreError};

use self::columns::Columns;
use self::row::Row;
pub use self::tested::Tested;
use self::write::Change;
use super::pace::Pace;
use super::session::Session;
use super::target::Target;

/// The keys of one database.
pub struct PostgresKeys {
    target: Target,
    ring: Arc<Ring>,
    clock: fn() -> SystemTime,
}

/// Whether the hub may use a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It may.
    On,
    /// It may not; its key stays.
    Off,
}

/// What became of a row that was switched.
#[derive(Clone, Debug)]
pub struct Switched {
    /// The row as it was read back.
    pub after: StoredKey,
    /// Whether anything had to be written.
    pub changed: bool,
}

impl PostgresKeys {
    /// The keys at `target`, sealed with the current key of `ring`; nothing is opened yet.
    pub fn new(target: Target, ring: Arc<Ring>, clock: fn() -> SystemTime) -> Self {
        Self { target, ring, clock }
    }

    /// Let the hub use a provider, or keep it from it.
    ///
    /// # Errors
    /// As [`KeyStore::save`].
    pub async fn switch(&self, seen: &StoredKey, switch: Switch) -> Result<Switched, StoreError> {
        let wanted = switch == Switch::On;
        if seen.enabled == wanted {
            return Ok(Switched { after: seen.clone(), changed: false });
        }
        let what = format!("the switch of `{}`", seen.name);
        let after = self.write(Some(seen), &seen.name, &Change::Enabled(wanted), &what).await?;
        Ok(Switched { after: after.stored(), changed: true })
    }

    fn seal(&self, new: &NewKey<'_>) -> Result<String, StoreError> {
        let mut iv = [0; 16];
        getrandom::fill(&mut iv)
            .map_err(|error| StoreError::Local(format!("the system gives no random bytes: {error}")))?;
        // A clock before 1970 dates the token 1970: it opens all the same, and its age shows that the clock is wrong.
        let now = (self.clock)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.ring.seal(new.key.expose().as_bytes(), now, iv).ok_or_else(|| {
            StoreError::Credentials("there is no master key to seal with; nothing was written".to_owned())
        })
    }

    /// Whether the stored text is the key, under the current master key.
    fn holds(&self, row: &Row, new: &NewKey<'_>) -> bool {
        let stored = row.token().unwrap_or_default();
        let opened = self.ring.current().and_then(|(_, key)| key.open(stored));
        opened.is_some_and(|plain| plain.as_bytes() == new.key.expose().as_bytes())
    }
}

#[async_trait]
impl KeyStore for PostgresKeys {
    fn source(&self) -> Source {
        Source::Db
    }

    async fn list(&self) -> Result<Vec<StoredKey>, StoreError> {
        let mut session = Session::open(&self.target).await?;
        session.begin_read(Pace::Quick).await?;
        // The columns come first, so that a missing table is named for what it is.
        Columns::of(&mut session).await?;
        let rows = row::all(&mut session).await?;
        session.abandon().await;
        Ok(rows.iter().map(Row::stored).collect())
    }

    async fn save(&self, new: &NewKey<'_>) -> Result<SavedKey, StoreError> {
        let token = self.seal(new)?;
        let what = format!("the key of `{}`", new.name);
        let change = Change::Key {
            token: &token,
            provider: new.provider,
            base_url: new.base_url,
            tested: new.tested,
            holds: &|row| self.holds(row, new),
        };
        let row = self.write(new.seen, new.name, &change, &what).await?;
        let mut notes = Vec::new();
        if let Some(second) = row.second().filter(|second| *second != token) {
            let kind = if second.is_empty() { "holds nothing" } else { "holds another text" };
            notes.push(format!(
                "this table has a second column encrypted_api_key, which {kind}; the hub's router reads api_key_encrypted"
            ));
        }
        Ok(SavedKey { after: row.stored(), notes })
    }

    async fn clear(&self, seen: &StoredKey) -> Result<StoredKey, StoreError> {
        if seen.material == Material::Empty {
            return Ok(seen.clone());
        }
        let what = format!("the removal of the key of `{}`", seen.name);
        Ok(self.write(Some(seen), &seen.name, &Change::Clear, &what).await?.stored())
    }
}
