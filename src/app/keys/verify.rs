//! Whether a key is one, by its provider's own word, before it is stored.

use url::Url;

use super::test::is_loopback;
use crate::app::{App, REQUEST};
use crate::domain::keys::provider::{KeyStatus, ProviderType};
use crate::domain::keys::secret::ProviderKey;
use crate::error::Error;
use crate::store::StoreError;
use crate::store::provider::{Asked, Providers};

/// Where a key is tried out, and who said so.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint<'a> {
    /// At the provider's own address.
    Own,
    /// At an address that was typed.
    Typed(&'a str),
    /// At an address that stands in the row: whoever wrote it gets to see the key.
    Stored(&'a str),
}

impl App {
    /// Ask the provider about a key that is to be stored. An answer that says nothing of the key is told and does not stop.
    ///
    /// # Errors
    /// [`Error::Refused`] when the provider says no, or is not at that address; [`StoreError::Unreachable`] when it does not
    /// answer; [`Error::Usage`] for an address that is none; [`Error::Consent`] for one of a row that nobody confirmed.
    pub async fn verify_key(
        &self,
        kind: ProviderType,
        key: &ProviderKey,
        endpoint: Endpoint<'_>,
    ) -> Result<KeyStatus, Error> {
        let address = match endpoint {
            Endpoint::Own => None,
            Endpoint::Typed(text) | Endpoint::Stored(text) => Some(provider_address(text)?),
        };
        if let Some(address) = address.as_ref().filter(|address| !is_loopback(address)) {
            let host = address.host_str().unwrap_or_default();
            if address.scheme() == "http" {
                return Err(Error::Refused {
                    message: format!("the key would travel to {host} in clear text; nothing was written"),
                    hint: "give an https:// address, or a tunnel to a loopback one; --no-verify sends nothing"
                        .to_owned(),
                });
            }
            if matches!(endpoint, Endpoint::Stored(_)) {
                self.ask(format!("the row says where this key is tried out; send it to {host}?")).await?;
            }
        }
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
