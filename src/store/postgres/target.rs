//! How to open a connection, and the only place that hands anything to the driver's options.
//!
//! The driver's builder reads every `PG…` variable; whatever could change where or how we connect is overwritten here.

use std::fmt;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::timeout;

use crate::config::database_url::{DatabaseUrl, Host, Tls};
use crate::store::StoreError;

use super::failure::{Failure, Place};

/// A database that connections can be opened to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A server, by its URL: any number of connections at once.
    Url(DatabaseUrl),
}

/// The database without its password, as messages name it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
        }
    }
}

impl Target {
    /// Open a connection that the server lists as `name`, within the URL's time limit: the driver has none and would wait for
    /// ever on a server that accepts and says nothing.
    pub(super) async fn connect(&self, place: &Place, name: &str) -> Result<PgConnection, StoreError> {
        match self {
            Self::Url(url) => {
                let options = options(url, name).await?;
                let limit = url.connect_timeout();
                match timeout(limit, options.connect()).await {
                    Ok(Ok(connection)) => Ok(connection),
                    Ok(Err(error)) => Err(Failure::of(error).into_store_error(place)),
                    Err(_) => Err(silent(place, limit)),
                }
            }
        }
    }

    /// The name for ordinary sessions.
    pub(super) fn application_name(&self) -> &str {
        match self {
            Self::Url(url) => url.application_name().unwrap_or("llmhub"),
        }
    }
}

fn silent(place: &Place, limit: Duration) -> StoreError {
    StoreError::Unreachable(format!("{place} did not complete a login within {} s; nothing was sent", limit.as_secs()))
}

async fn options(url: &DatabaseUrl, name: &str) -> Result<PgConnectOptions, StoreError> {
    // The password is always set, if only to nothing: `PGPASSWORD` and the password file belong to other programs.
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(url.port())
        .database(url.database())
        .password(url.password().map_or("", |password| password.expose_secret()))
        .application_name(name)
        .extra_float_digits(None)
        .statement_cache_capacity(0)
        .disable_statement_logging();
    if options.get_options().is_some() {
        return Err(StoreError::Credentials(
            "PGOPTIONS is set; it would change every session behind llmhub's back: unset it and run again".to_owned(),
        ));
    }
    if let Some(user) = url.user() {
        options = options.username(user);
    }
    options = match url.host() {
        Host::Tcp(name) => options.host(name),
        Host::Socket(directory) => options.host("localhost").socket(directory),
    };
    let authorities = match url.root_certificate() {
        Some(file) if url.tls() != Tls::Disable => tokio::fs::read(file).await.map_err(|error| {
            StoreError::Local(format!("cannot read the `sslrootcert` file {}: {}", file.display(), error.kind()))
        })?,
        _ => Vec::new(),
    };
    Ok(options.ssl_root_cert_from_pem(authorities).ssl_mode(match url.tls() {
        Tls::Disable => PgSslMode::Disable,
        Tls::VerifyCa => PgSslMode::VerifyCa,
        Tls::VerifyFull => PgSslMode::VerifyFull,
    }))
}
