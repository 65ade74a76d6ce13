//! Whether a key is one, by its provider's own word, before it is stored.

use url::Url;

use crate::app::{App, REQUEST};
use crate::domain::keys::provider::{KeyStatus, ProviderType};
use crate::domain::keys::secret::ProviderKey;
use crate::error::Error;
use crate::store::StoreError;
use crate::store::provider::{Asked, Providers};

impl App {
    /// Ask the provider about a key that is to be stored; `base_url` is the endpoint of a custom one. An answer that says
    /// nothing of the key is told and does not stop.
    ///
    /// # Errors
    /// [`Error::Refused`] when the provider says no, or is not at that address; [`StoreError::Unreachable`] when it does not
    /// answer; [`Error::Usage`] for an address that is none.
    pub async fn verify_key(
        &self,
        kind: ProviderType,
        key: &ProviderKey,
        base_url: Option<&str>,
    ) -> Result<KeyStatus, Error> {
        let address = base_url.map(provider_address).transpose()?;
        if let (ProviderType::Custom, None) = (kind, &address) {
            return Err(Error::Usage {
                message: "a custom provider has no address to verify the key at; nothing was written".to_owned(),
                hint: "--base-url https://HOST/v1, or --no-verify".to_owned(),
            });
        }
        let asked = self.providers().ask(kind, address.as_ref(), key).await?;
        let said = words(&asked);
        match asked.status {
            KeyStatus::Unreachable => Err(Error::Store(StoreError::Unreachable(format!(
                "the key could not be verified: {kind} does not answer ({}); nothing was written (--no-verify stores it \
                 all the same)",
                asked.why
            )))),
            status if status.is_no() || status == KeyStatus::WrongEndpoint => Err(Error::Refused {
                message: format!("{kind} says {said}; nothing was written"),
                hint: "give a key that the provider takes, or --no-verify if you know better".to_owned(),
            }),
            status => {
                if status != KeyStatus::Valid {
                    self.ui.warn(&format!("{kind} says {said}"));
                }
                Ok(status)
            }
        }
    }

    /// The providers, within the time limits of this command.
    pub(super) fn providers(&self) -> Providers {
        // A little sooner than the whole command, so that what did answer in time is still shown.
        let limit = self.options.timeout.map_or(REQUEST, |timeout| REQUEST.min(timeout.mul_f64(0.8)));
        Providers::new(limit, self.options.ca_file.clone())
    }
}

/// The class of an answer with its reason.
pub(super) fn words(asked: &Asked) -> String {
    if asked.why.is_empty() { asked.status.word().to_owned() } else { format!("{} ({})", asked.status, asked.why) }
}

/// An address that was typed.
///
/// # Errors
/// [`Error::Usage`] for what is no http or https address; it is not repeated, since it may hold a password.
pub(super) fn provider_address(text: &str) -> Result<Url, Error> {
    let fits = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
    Url::parse(text).ok().filter(fits).ok_or_else(|| Error::Usage {
        message: "the base URL is no http or https address".to_owned(),
        hint: "--base-url https://HOST/v1".to_owned(),
    })
}
