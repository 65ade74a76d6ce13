//! The session and the CSRF token that a write needs (CONTRACT 2).
//!
//! With an operator's session the token comes from the cookie of a plain read, never from the csrf-token endpoint: called
//! first after a login, that endpoint logs the admin out. Without one, the endpoint gives an anonymous session. A text/plain
//! 500 to a write means that the pair is refused; it is renewed once.

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::connection::{CallError, Transport, WriteAuth};
use crate::store::StoreError;

#[derive(Deserialize)]
struct Minted {
    csrf_token: String,
}

/// The pair for one address, fetched when the first write needs it.
pub struct Session {
    given: Option<SecretString>,
    auth: Option<WriteAuth>,
    renewed: bool,
}

impl Session {
    /// `given` is the operator's session token; without one, writes are anonymous.
    pub fn new(given: Option<SecretString>) -> Self {
        Self { given, auth: None, renewed: false }
    }

    /// Whether writes go out in nobody's name.
    pub fn is_anonymous(&self) -> bool {
        self.given.is_none()
    }

    /// The pair to send with a write.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when the hub does not hand one out; nothing was written.
    pub async fn auth(&mut self, transport: &Transport, base: &Url) -> Result<WriteAuth, StoreError> {
        if let Some(auth) = &self.auth {
            return Ok(auth.clone());
        }
        let auth = self.fetch(transport, base).await?;
        self.auth = Some(auth.clone());
        Ok(auth)
    }

    async fn fetch(&self, transport: &Transport, base: &Url) -> Result<WriteAuth, StoreError> {
        let mut connection = transport.connect(base)?;
        let unreachable = |error: CallError| {
            StoreError::Unreachable(format!(
                "{}: no CSRF token could be fetched: {}",
                super::connection::address(base),
                error.reason()
            ))
        };
        match &self.given {
            Some(session) => {
                let answer = connection.get(&super::LIST, &[], Some(session)).await.map_err(unreachable)?;
                // A dead session mints nothing, and so does a hub with CSRF switched off: the write itself will tell.
                Ok(WriteAuth { session: Some(session.clone()), csrf: answer.csrf })
            }
            None => {
                let answer =
                    connection.get(&["api", "v1", "auth", "csrf-token"], &[], None).await.map_err(unreachable)?;
                let minted: Option<Minted> = serde_json::from_slice(&answer.body).ok();
                Ok(WriteAuth {
                    session: answer.session,
                    csrf: minted.map(|minted| SecretString::from(minted.csrf_token)).or(answer.csrf),
                })
            }
        }
    }

    /// The hub refused the pair. Forget it once; the second refusal is final.
    ///
    /// # Errors
    /// [`StoreError::Credentials`] after the second refusal.
    pub fn refused(&mut self, base: &Url) -> Result<(), StoreError> {
        if self.renewed {
            let address = super::connection::address(base);
            return Err(StoreError::Credentials(if self.is_anonymous() {
                format!("{address} refused an anonymous write twice (text/plain 500, its sign for a CSRF failure)")
            } else {
                format!("{address} refused the session (text/plain 500, its sign for an expired login)")
            }));
        }
        self.renewed = true;
        self.auth = None;
        Ok(())
    }
}
