//! Whether a key is one, by its provider's own word, before it is stored.

use url::Url;

use super::test::is_in_clear;
use crate::app::{App, REQUEST};
use crate::config::is_loopback;
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
    /// answer; as [`App::address_of`].
    pub async fn verify_key(
        &self,
        kind: ProviderType,
        key: &ProviderKey,
        endpoint: Endpoint<'_>,
    ) -> Result<KeyStatus, Error> {
        let address = self.address_of(kind, endpoint).await?;
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

    /// Where a key that was given is tried out; nothing where the provider has an address of its own.
    ///
    /// # Errors
    /// [`Error::Usage`] for an address that is none, or a custom provider without one; [`Error::Refused`] where the key would
    /// travel in clear text; [`Error::Consent`] for an address of a row that nobody confirmed.
    pub(super) async fn address_of(&self, kind: ProviderType, endpoint: Endpoint<'_>) -> Result<Option<Url>, Error> {
        let address = match endpoint {
            Endpoint::Own => None,
            Endpoint::Typed(text) | Endpoint::Stored(text) => Some(provider_address(text)?),
        };
        let Some(address) = address else {
            return match kind {
                ProviderType::Custom => Err(Error::Usage {
                    message: "a custom provider has no address of its own to try the key at; nothing was sent"
                        .to_owned(),
                    hint: "--base-url https://HOST/v1".to_owned(),
                }),
                _ => Ok(None),
            };
        };
        let host = address.host_str().unwrap_or_default();
        if is_in_clear(&address) {
            return Err(Error::Refused {
                message: format!("the key would travel to {host} in clear text; nothing was sent"),
                hint: "give an https:// address, or a tunnel to a loopback one".to_owned(),
            });
        }
        if matches!(endpoint, Endpoint::Stored(_)) && !is_loopback(&address) {
            self.ask(format!("the row says where this key is tried out; send it to {host}?")).await?;
        }
        Ok(Some(address))
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

/// An address of a provider.
///
/// # Errors
/// [`Error::Usage`] for what is no http or https address, or holds more than one; it is not repeated, since it may hold a
/// password.
pub fn provider_address(text: &str) -> Result<Url, Error> {
    let fits = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host().is_some();
    let refused =
        |message: &str| Error::Usage { message: message.to_owned(), hint: "--base-url https://HOST/v1".to_owned() };
    let url = Url::parse(text).ok().filter(fits).filter(|_| !text.contains(|c: char| c.is_control() || c == ' '));
    let url = url.ok_or_else(|| refused("the base URL is no http or https address"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("the base URL holds a user or a password, which everybody who lists providers would see"));
    }
    Ok(url)
}
