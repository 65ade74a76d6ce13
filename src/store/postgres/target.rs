//! How to open a connection, and the only place that hands anything to the driver's options.
//!
//! The driver's builder reads every `PG…` variable; whatever could change where or how we connect is overwritten here.

use std::fmt;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::timeout;

use crate::config::database_url::{DatabaseUrl, Host, Tls};
use crate::store::StoreError;

#[cfg(feature = "sandbox")]
use crate::store::sandbox::{ConnectionSlot, Sandbox};

use super::failure::{Failure, Place};

/// The embedded engine starts a backend for each connection, some 150 ms; a busy machine takes longer.
#[cfg(feature = "sandbox")]
const SANDBOX_PATIENCE: Duration = Duration::from_secs(20);

/// A database that connections can be opened to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A server, by its URL: any number of connections at once.
    Url(DatabaseUrl),
    /// The embedded database: one connection at a time, a second one would hang.
    #[cfg(feature = "sandbox")]
    Sandbox(std::sync::Arc<Sandbox>),
}

/// What a connection occupies for as long as it is open.
#[derive(Debug)]
pub(super) enum Occupied {
    /// Nothing that anybody else could need.
    Nothing,
    /// The sandbox's only slot.
    #[cfg(feature = "sandbox")]
    Slot { _slot: ConnectionSlot },
}

/// How many connections a target serves at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Connections {
    /// As many as wanted.
    Many,
    /// One, and this process is its only client.
    #[cfg_attr(not(feature = "sandbox"), allow(dead_code, reason = "only the sandbox serves one"))]
    One,
}

/// The database without its password, as messages name it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            #[cfg(feature = "sandbox")]
            Self::Sandbox(_) => f.write_str("the sandbox"),
        }
    }
}

impl Target {
    /// Open a connection that the server lists as `name`, within the URL's time limit: the driver has none and would wait for
    /// ever on a server that accepts and says nothing.
    pub(super) async fn connect(&self, place: &Place, name: &str) -> Result<(PgConnection, Occupied), StoreError> {
        match self {
            Self::Url(url) => {
                let options = options(url, name).await?;
                Ok((open(&options, place, url.connect_timeout()).await?, Occupied::Nothing))
            }
            #[cfg(feature = "sandbox")]
            Self::Sandbox(sandbox) => {
                let slot = sandbox.slot(SANDBOX_PATIENCE).await?;
                let endpoint = slot.endpoint();
                let options = PgConnectOptions::new_without_pgpass()
                    .host("localhost")
                    .socket(&endpoint.socket_dir)
                    .port(endpoint.port)
                    .username(endpoint.user)
                    .database(endpoint.database)
                    .password("")
                    .application_name(name)
                    .extra_float_digits(None)
                    .statement_cache_capacity(0)
                    .disable_statement_logging()
                    .ssl_mode(PgSslMode::Disable);
                Ok((open(&options, place, SANDBOX_PATIENCE).await?, Occupied::Slot { _slot: slot }))
            }
        }
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        match self {
            Self::Url(url) => url.database(),
            #[cfg(feature = "sandbox")]
            Self::Sandbox(_) => "sandbox",
        }
    }

    /// The address of a server; `None` for the embedded database.
    pub(in crate::store) fn url(&self) -> Option<&DatabaseUrl> {
        match self {
            Self::Url(url) => Some(url),
            #[cfg(feature = "sandbox")]
            Self::Sandbox(_) => None,
        }
    }

    /// Whether the server itself answers here. A setting of the startup packet reaches it, while a pooler refuses the packet or
    /// hands out a session that never saw it.
    pub(in crate::store) async fn is_direct(&self) -> Result<bool, StoreError> {
        let Some(url) = self.url() else { return Ok(true) };
        let place = Place::of(self);
        let options = options(url, self.application_name()).await?.options([("llmhub.probe", "1")]);
        let mut connection = match timeout(url.connect_timeout(), options.connect()).await {
            Ok(Ok(connection)) => connection,
            // "unsupported startup parameter", in the words of a pooler.
            Ok(Err(error)) => {
                return match Failure::of(error) {
                    Failure::Gone { sqlstate: Some(code), .. } if code == "08P01" => Ok(false),
                    other => Err(other.into_store_error(&place)),
                };
            }
            Err(_) => return Err(silent(&place, url.connect_timeout())),
        };
        let query = sqlx::query_scalar("SELECT current_setting('llmhub.probe', true)").persistent(false);
        let asked: Option<String> = match timeout(url.connect_timeout(), query.fetch_one(&mut connection)).await {
            Ok(answer) => answer.map_err(|error| Failure::of(error).into_store_error(&place))?,
            Err(_) => return Err(silent(&place, url.connect_timeout())),
        };
        // A goodbye that does not arrive changes nothing.
        let _ = timeout(Duration::from_secs(1), connection.close()).await;
        Ok(asked.as_deref() == Some("1"))
    }

    /// Another database on the same server.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] for the sandbox, which serves one.
    pub(in crate::store) fn beside(&self, database: &str) -> Result<Self, StoreError> {
        match self {
            Self::Url(url) => Ok(Self::Url(url.with_database(database))),
            #[cfg(feature = "sandbox")]
            Self::Sandbox(_) => Err(StoreError::Unsupported {
                message: "the sandbox serves one database".to_owned(),
                hint: "use a PostgreSQL server, on this machine for example".to_owned(),
            }),
        }
    }

    /// How many connections may be open at once.
    pub(in crate::store) fn connections(&self) -> Connections {
        match self {
            Self::Url(_) => Connections::Many,
            #[cfg(feature = "sandbox")]
            Self::Sandbox(_) => Connections::One,
        }
    }

    /// The name for ordinary sessions.
    pub(super) fn application_name(&self) -> &str {
        match self {
            Self::Url(url) => url.application_name().unwrap_or("llmhub"),
            #[cfg(feature = "sandbox")]
            Self::Sandbox(_) => "llmhub",
        }
    }
}

async fn open(options: &PgConnectOptions, place: &Place, limit: Duration) -> Result<PgConnection, StoreError> {
    match timeout(limit, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Failure::of(error).into_store_error(place)),
        Err(_) => Err(silent(place, limit)),
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
