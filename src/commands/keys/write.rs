//! A key on its way to its row: shared by `keys set` and `keys import`.

use crate::app::{App, Endpoint, KeyRing, KeyStore, Material, NewKey, StoredKey};
use crate::domain::keys::provider::{KeyStatus, ProviderType};
use crate::domain::keys::ring::OpenedBy;
use crate::domain::keys::secret::ProviderKey;
use crate::error::{Error, Stage};

/// Where a key goes.
pub struct Place<'a> {
    /// The row, unless it is still to be made.
    pub row: Option<&'a StoredKey>,
    /// Its name.
    pub name: String,
    /// The provider's type.
    pub provider: ProviderType,
}

impl Place<'_> {
    /// Where the key is tried out: the hub itself goes to another address than the provider's own for custom ones only.
    pub fn endpoint<'b>(&'b self, typed: Option<&'b str>) -> Endpoint<'b> {
        let stored = self.row.and_then(|row| row.base_url.as_deref()).filter(|_| self.provider == ProviderType::Custom);
        match (typed, stored) {
            (Some(typed), _) => Endpoint::Typed(typed),
            (None, Some(stored)) => Endpoint::Stored(stored),
            (None, None) => Endpoint::Own,
        }
    }

    /// Whether the row holds this very key already, under the current master key.
    pub fn holds(&self, key: &ProviderKey, ring: &KeyRing, base_url: Option<&str>) -> bool {
        let Some(row) = self.row else { return false };
        let Material::Stored(token) = &row.material else { return false };
        ring.holds(token, key)
            && row.provider == self.provider.word()
            && base_url.is_none_or(|wanted| row.base_url.as_deref() == Some(wanted))
    }
}

/// A key and its place.
pub struct Write<'a> {
    /// Where it goes.
    pub place: &'a Place<'a>,
    /// The key.
    pub key: &'a ProviderKey,
    /// The endpoint to remember.
    pub base_url: Option<&'a str>,
    /// What opens it afterwards.
    pub ring: &'a KeyRing,
}

impl Write<'_> {
    /// Store the key; which master key opens the row as it was read back.
    pub async fn store(
        &self,
        app: &App,
        store: &dyn KeyStore,
        verified: Option<KeyStatus>,
    ) -> Result<Option<OpenedBy>, Error> {
        app.stage(Stage::Writing(store.source().to_string()));
        let new = NewKey {
            seen: self.place.row,
            name: &self.place.name,
            provider: self.place.provider.word(),
            key: self.key,
            base_url: self.base_url,
            tested: verified.and_then(KeyStatus::ok).map(|ok| if ok { "success" } else { "failed" }),
        };
        let saved = store.save(&new).await?;
        app.stage(Stage::Written);
        saved.notes.iter().for_each(|note| app.ui.warn(note));
        Ok(app.know(vec![saved.after], self.ring).0.pop().and_then(|known| known.opened))
    }
}
