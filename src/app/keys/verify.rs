//! Whether a key is one, by its provider's own word.

use crate::app::App;
use crate::domain::keys::provider::{KeyStatus, ProviderType};
use crate::domain::keys::secret::ProviderKey;
use crate::error::Error;

impl App {
    /// Ask the provider about a key; `base_url` is the endpoint of a custom one.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub async fn verify_key(
        &self,
        _kind: ProviderType,
        _key: &ProviderKey,
        _base_url: Option<&str>,
    ) -> Result<KeyStatus, Error> {
        Err(Error::Unsupported {
            message: "a key cannot be verified at its provider yet; nothing was written".to_owned(),
            hint: "add --no-verify, and try the key at the provider yourself".to_owned(),
        })
    }
}
