//! The master keys of the configuration as a ring that opens and seals.
//!
//! A key that cannot be used is named with its fault, length, alphabet or padding, and never shown. What needs no current key
//! goes on without it: a list is wanted most when the key is lost.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::app::App;
use crate::config::KeyMaterial;
use crate::domain::fernet::MasterKey;
use crate::domain::keys::ring::{OpenedBy, Ring};
use crate::domain::keys::secret::{ProviderKey, shown};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::files::read_secret;

/// The ring, and what is wrong with it.
pub struct KeyRing {
    ring: Arc<Ring>,
    /// Why the first key of the configuration cannot be used; then the first of the ring is an old one.
    current_fault: Option<String>,
    /// What is wrong with the others, one sentence each.
    notes: Vec<String>,
}

impl KeyRing {
    /// The ring for a store that seals.
    ///
    /// # Errors
    /// [`StoreError::Credentials`] with the fault of the current key.
    pub fn sealing(&self) -> Result<Arc<Ring>, Error> {
        match &self.current_fault {
            Some(fault) => Err(Error::Store(StoreError::Credentials(format!("{fault}; nothing was written")))),
            None => Ok(Arc::clone(&self.ring)),
        }
    }

    /// The ring as it is, for reading.
    pub fn reading(&self) -> Arc<Ring> {
        Arc::clone(&self.ring)
    }

    /// What the operator should know of the ring, one sentence each.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.current_fault.iter().chain(&self.notes).map(String::as_str)
    }

    /// Which key opens what is stored, and how the provider's key is shown; without the current key nothing is `current`.
    pub fn judge(&self, stored: Option<&str>) -> (OpenedBy, Option<String>) {
        let (opened, plain) = self.ring.open(stored);
        let shown = plain.as_ref().and_then(|plain| plain.as_str()).map(shown);
        let first = || self.ring.current().map(|(name, _)| name.to_owned()).unwrap_or_default();
        match opened {
            OpenedBy::Current if self.current_fault.is_some() => (OpenedBy::Old(first()), shown),
            opened => (opened, shown),
        }
    }

    /// Whether a token is this very key, sealed with the current master key.
    pub fn holds(&self, token: &str, key: &ProviderKey) -> bool {
        let (opened, plain) = self.ring.open(Some(token));
        let current = opened == OpenedBy::Current && self.current_fault.is_none();
        current && plain.is_some_and(|plain| plain.as_bytes() == key.expose().as_bytes())
    }

    /// The names of the keys that opened nothing of this; keys that have nothing to open are not blamed.
    pub fn unused<'a>(&self, seen: impl Iterator<Item = &'a OpenedBy> + Clone) -> Vec<String> {
        let opens = seen.clone().any(|opened| matches!(opened, OpenedBy::Current | OpenedBy::Old(_)));
        if !opens || self.current_fault.is_some() {
            return Vec::new();
        }
        // The current key is there for what comes next.
        self.ring
            .unused(seen)
            .into_iter()
            .filter(|name| self.current_name() != Some(*name))
            .map(str::to_owned)
            .collect()
    }

    fn current_name(&self) -> Option<&str> {
        self.ring.current().map(|(name, _)| name)
    }
}

impl App {
    /// The master keys that are configured. Files are read here; a key that cannot be used is left out and told.
    pub fn key_ring(&self) -> KeyRing {
        let (mut keys, mut current_fault, mut notes) = (Vec::new(), None, Vec::new());
        let configured = &self.config().master_keys;
        if configured.is_empty() {
            current_fault = Some(
                "there is no master key: set BYOK_ENCRYPTION_KEY, or `master_keys` in the profile, to what the hub has"
                    .to_owned(),
            );
        }
        for (at, configured) in configured.iter().enumerate() {
            let name = &configured.name;
            let key = material(&configured.material).and_then(|text| {
                self.ui.redact([text.expose_secret().trim()]);
                MasterKey::parse(text.expose_secret()).map_err(|fault| fault.to_string())
            });
            match key {
                Ok(key) => keys.push((name.clone(), key)),
                Err(fault) if at == 0 => current_fault = Some(format!("the master key {name} cannot be used: {fault}")),
                Err(fault) => notes.push(format!("the old master key {name} cannot be used: {fault}")),
            }
        }
        KeyRing { ring: Arc::new(Ring::new(keys)), current_fault, notes }
    }
}

fn material(material: &KeyMaterial) -> Result<SecretString, String> {
    match material {
        KeyMaterial::Text(text) => Ok(text.clone()),
        KeyMaterial::File(path) => read_secret(path).map_err(|error| error.to_string()),
        KeyMaterial::Unset => Err("its variable is not set".to_owned()),
    }
}
