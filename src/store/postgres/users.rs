//! Every user's identity, one at a time: a hub may have more users than fit in memory.

use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::Row;
use tokio::time::timeout;

use crate::store::StoreError;

use super::failure::Failure;
use super::flags::PostgresFlags;
use super::pace::Pace;

/// Which column of `users` the hub is given as a user's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Identity {
    /// The e-mail address.
    #[default]
    Email,
    /// The row's UUID.
    Id,
    /// The login name.
    Username,
    /// Keycloak's id.
    #[value(name = "keycloak_id")]
    KeycloakId,
}

impl Identity {
    /// The column's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Id => "id",
            Self::Username => "username",
            Self::KeycloakId => "keycloak_id",
        }
    }

    fn query(self) -> &'static str {
        match self {
            Self::Email => "SELECT email::text FROM users",
            Self::Id => "SELECT id::text FROM users",
            Self::Username => "SELECT username::text FROM users",
            Self::KeycloakId => "SELECT keycloak_id::text FROM users",
        }
    }
}

/// How many users there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserCount {
    /// Users whose identity was handed out.
    pub identified: u64,
    /// Users whose column is null: nobody can ask the hub about them.
    pub unidentified: u64,
}

impl PostgresFlags {
    /// Hand each user's identity to `each`, in no order, as the server sends them; memory does not grow with their number.
    /// `each` ends the walk early with [`ControlFlow::Break`].
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] when the server falls silent for 20 s or the walk takes longer than 10 minutes.
    pub async fn users(
        &self,
        identity: Identity,
        mut each: impl FnMut(&str) -> ControlFlow<()> + Send,
    ) -> Result<UserCount, StoreError> {
        const SILENCE: Duration = Duration::from_secs(20);
        let mut session = self.reader(Pace::Long).await?;
        let place = session.place().clone();
        let mut count = UserCount::default();
        let mut rows = session.stream(sqlx::query(identity.query()));
        loop {
            let row = match timeout(SILENCE, rows.try_next()).await {
                Ok(row) => row.map_err(Failure::of),
                Err(_) => Err(Failure::silent(SILENCE.as_secs())),
            };
            let Some(row) = row.map_err(|failure| failure.into_store_error(&place))? else { break };
            let id: Option<&str> = row.try_get(0).map_err(|error| Failure::of(error).into_store_error(&place))?;
            match id {
                None => count.unidentified += 1,
                Some(id) => {
                    count.identified += 1;
                    if each(id).is_break() {
                        // The rest of the rows is not worth reading: ending the connection ends the query.
                        return Ok(count);
                    }
                }
            }
        }
        drop(rows);
        session.abandon().await;
        Ok(count)
    }
}
