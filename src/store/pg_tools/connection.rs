//! How the programs reach the server: as variables for libpq, the password among them, never as arguments.
//!
//! Directly they connect as llmhub does, with the same TLS. Behind a prefix the programs run beside the server, where our
//! address means nothing: there they use the local socket, with the same role and database.

use std::ffi::OsString;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use crate::config::database_url::{DatabaseUrl, Host, Tls};
use crate::store::StoreError;
use crate::store::postgres::Target;

#[cfg(feature = "sandbox")]
use crate::store::sandbox::ConnectionSlot;

/// The authorities that the operating system trusts: libpq does not look there by itself.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a program gets to connect with.
pub(super) struct Access {
    reach: Reach,
    database: String,
    #[cfg(feature = "sandbox")]
    _slot: Option<ConnectionSlot>,
}

enum Reach {
    /// It needs no server.
    Nowhere,
    Url(DatabaseUrl),
    #[cfg(feature = "sandbox")]
    Socket(crate::store::sandbox::Endpoint),
}

impl Access {
    /// For a program that connects to nothing.
    pub(super) fn none() -> Self {
        Self::new(Reach::Nowhere, "")
    }

    /// For `target`; the sandbox's only slot is taken until this is dropped.
    #[cfg_attr(not(feature = "sandbox"), expect(clippy::unused_async, reason = "the sandbox is waited for"))]
    pub(super) async fn to(target: &Target) -> Result<Self, StoreError> {
        match target {
            Target::Url(url) => Ok(Self::new(Reach::Url(url.clone()), url.database())),
            #[cfg(feature = "sandbox")]
            Target::Sandbox(sandbox) => {
                let slot = sandbox.slot(std::time::Duration::from_secs(20)).await?;
                let endpoint = slot.endpoint().clone();
                let mut access = Self::new(Reach::Socket(endpoint.clone()), endpoint.database);
                access._slot = Some(slot);
                Ok(access)
            }
        }
    }

    fn new(reach: Reach, database: &str) -> Self {
        Self {
            reach,
            database: database.to_owned(),
            #[cfg(feature = "sandbox")]
            _slot: None,
        }
    }

    /// The password, to be kept out of messages.
    pub(super) fn password(&self) -> Option<&SecretString> {
        match &self.reach {
            Reach::Url(url) => url.password(),
            _ => None,
        }
    }

    /// The database as an argument. A bare name could be taken for a connection string; the keepalives notice a server that
    /// went away in silence.
    pub(super) fn database_argument(&self) -> String {
        let name = self.database.replace('\\', r"\\").replace('\'', r"\'");
        format!(
            "--dbname=dbname='{name}' keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=60000"
        )
    }

    /// Variables for a program that runs here.
    pub(super) fn directly(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = self.beside();
        match &self.reach {
            Reach::Nowhere => {}
            Reach::Url(url) => {
                let host = match url.host() {
                    Host::Tcp(name) => OsString::from(name),
                    Host::Socket(folder) => folder.clone().into_os_string(),
                };
                let (mode, authorities) = protection(url);
                variables.extend([
                    ("PGHOST", host),
                    ("PGPORT", url.port().to_string().into()),
                    ("PGSSLMODE", mode.into()),
                ]);
                variables.extend(authorities.map(|file| ("PGSSLROOTCERT", file)));
            }
            #[cfg(feature = "sandbox")]
            Reach::Socket(endpoint) => {
                variables.push(("PGHOST", endpoint.socket_dir.clone().into_os_string()));
                variables.push(("PGPORT", endpoint.port.to_string().into()));
            }
        }
        variables
    }

    /// Variables for a program that runs beside the server.
    pub(super) fn beside(&self) -> Vec<(&'static str, OsString)> {
        let mut variables: Vec<(&str, OsString)> = Vec::new();
        match &self.reach {
            Reach::Nowhere => return variables,
            Reach::Url(url) => {
                variables.extend(url.user().map(|user| ("PGUSER", user.into())));
                variables.extend(url.password().map(|password| ("PGPASSWORD", password.expose_secret().into())));
                variables.push(("PGCONNECT_TIMEOUT", url.connect_timeout().as_secs().to_string().into()));
            }
            #[cfg(feature = "sandbox")]
            Reach::Socket(endpoint) => variables.push(("PGUSER", endpoint.user.into())),
        }
        // What libpq would otherwise look for by itself: a password file, a Kerberos ticket.
        variables.push(("PGPASSFILE", "/dev/null".into()));
        variables.push(("PGGSSENCMODE", "disable".into()));
        variables.push(("PGAPPNAME", "llmhub-db backup".into()));
        variables
    }
}

fn protection(url: &DatabaseUrl) -> (&'static str, Option<OsString>) {
    let mode = match url.tls() {
        Tls::Disable => return ("disable", None),
        Tls::VerifyCa => "verify-ca",
        Tls::VerifyFull => "verify-full",
    };
    let named = url.root_certificate().map(|file| file.as_os_str().to_owned());
    let system = || AUTHORITIES.iter().find(|file| Path::new(file).is_file()).map_or("system", |file| file);
    (mode, Some(named.unwrap_or_else(|| system().into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(url: &str) -> Access {
        let url = DatabaseUrl::parse(url).unwrap();
        let database = url.database().to_owned();
        Access::new(Reach::Url(url), &database)
    }

    fn value(variables: &[(&str, OsString)], name: &str) -> Option<String> {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string_lossy().into_owned())
    }

    #[test]
    fn a_program_connects_as_llmhub_does() {
        let access = access("postgres://u:CANARY@db.example.com:6000/d?sslrootcert=/ca.pem");
        let direct = access.directly();
        for (name, expected) in [
            ("PGHOST", Some("db.example.com")),
            ("PGPORT", Some("6000")),
            ("PGUSER", Some("u")),
            ("PGPASSWORD", Some("CANARY")),
            ("PGSSLMODE", Some("verify-full")),
            ("PGSSLROOTCERT", Some("/ca.pem")),
        ] {
            assert_eq!(value(&direct, name).as_deref(), expected, "{name}");
        }
        assert!(!access.database_argument().contains("CANARY"));
        let beside = access.beside();
        for name in ["PGHOST", "PGPORT", "PGSSLMODE"] {
            assert_eq!(value(&beside, name), None, "{name}");
        }
        assert_eq!(value(&beside, "PGPASSWORD").as_deref(), Some("CANARY"));
    }

    #[test]
    fn a_databases_name_is_never_taken_for_a_connection_string() {
        let argument = access("postgres://u@localhost/a%27b%5Chost%3Devil").database_argument();
        assert!(argument.starts_with(r"--dbname=dbname='a\'b\\host=evil' "), "{argument}");
    }
}
