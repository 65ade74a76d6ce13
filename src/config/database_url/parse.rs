//! From the text of a database URL to its parts.
//!
//! Whatever cannot be part of a URL is refused before a piece of a badly encoded password could be taken for a name.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::{DatabaseUrl, DatabaseUrlError, Host, Tls};

const PARAMETERS: [&str; 9] =
    ["host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "application_name", "connect_timeout"];

/// What the URL says, before defaults.
#[derive(Default)]
pub(super) struct Given {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<SecretString>,
    database: Option<String>,
    tls: Option<Tls>,
    root_certificate: Option<String>,
    application_name: Option<String>,
    connect_timeout: Option<Duration>,
}

impl Given {
    /// Take the text apart; every part is decoded once.
    pub(super) fn read(text: &str) -> Result<Self, DatabaseUrlError> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or(DatabaseUrlError::Scheme)?;
        if rest.contains('#') {
            return Err(DatabaseUrlError::Reserved);
        }
        let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = location.split_once('/').unwrap_or((location, ""));
        let mut given = Self::of_authority(authority)?;
        // Bare reserved characters here are mostly the tail of a password, which must not become a name that is shown.
        if path.contains(['@', '/', ':']) {
            return Err(DatabaseUrlError::Reserved);
        }
        if !path.is_empty() {
            given.database = Some(decode(path, "database")?);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            given.take(pair)?;
        }
        Ok(given)
    }

    fn of_authority(authority: &str) -> Result<Self, DatabaseUrlError> {
        let mut given = Self::default();
        // The last `@`, as in browsers, so that a password with a bare `@` is not taken for a host.
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        if let Some(login) = login {
            let (user, password) = match login.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (login, None),
            };
            if !user.is_empty() {
                given.user = Some(decode(user, "user")?);
            }
            given.password = password.map(|text| decode(text, "password").map(SecretString::from)).transpose()?;
        }
        if address.contains(',') {
            return Err(DatabaseUrlError::ManyHosts);
        }
        let (host, port) = match address.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or(DatabaseUrlError::Host)?;
                let port = match after {
                    "" => None,
                    after => Some(after.strip_prefix(':').ok_or(DatabaseUrlError::Host)?),
                };
                host.parse::<Ipv6Addr>().map_err(|_| DatabaseUrlError::Host)?;
                (host, port)
            }
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        if !host.is_empty() {
            given.host = Some(decode(host, "host")?);
        }
        if let Some(port) = port.filter(|port| !port.is_empty()) {
            given.port = Some(parse_port(port).ok_or(DatabaseUrlError::Port)?);
        }
        Ok(given)
    }

    fn take(&mut self, pair: &str) -> Result<(), DatabaseUrlError> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = PARAMETERS.into_iter().find(|known| *known == name) else {
            return Err(unknown(name));
        };
        let value = decode(value, name)?;
        match name {
            "host" => once(&mut self.host, value, name),
            "user" => once(&mut self.user, value, name),
            "password" => once(&mut self.password, SecretString::from(value), name),
            "dbname" => once(&mut self.database, value, name),
            "sslrootcert" => once(&mut self.root_certificate, value, name),
            "application_name" => once(&mut self.application_name, value, name),
            "sslmode" => once(&mut self.tls, parse_sslmode(&value)?, name),
            "port" => once(&mut self.port, parse_port(&value).ok_or(DatabaseUrlError::Port)?, name),
            _ => {
                let allowed = "a whole number of seconds from 1 to 300";
                let seconds = digits(&value)
                    .filter(|seconds| (1..=300).contains(seconds))
                    .ok_or(DatabaseUrlError::Value { parameter: name, allowed })?;
                once(&mut self.connect_timeout, Duration::from_secs(seconds), name)
            }
        }
    }

    /// Fill in the defaults and refuse what contradicts itself.
    pub(super) fn complete(self) -> Result<DatabaseUrl, DatabaseUrlError> {
        let host = self.host.filter(|host| !host.is_empty()).ok_or(DatabaseUrlError::NoHost)?;
        if host.contains(',') {
            return Err(DatabaseUrlError::ManyHosts);
        }
        let host = if host.starts_with('/') {
            Host::Socket(PathBuf::from(host))
        } else if host.parse::<IpAddr>().is_ok() || is_host_name(&host) {
            Host::Tcp(host)
        } else {
            return Err(DatabaseUrlError::Host);
        };
        let tls = match (&host, self.tls) {
            (Host::Socket(_), _) => Tls::Disable,
            (Host::Tcp(_), Some(tls)) => tls,
            (Host::Tcp(_), None) if host.is_local() => Tls::Disable,
            (Host::Tcp(_), None) => Tls::VerifyFull,
        };
        Ok(DatabaseUrl {
            host,
            port: self.port.unwrap_or(5432),
            user: self.user.filter(|user| !user.is_empty()),
            password: self.password,
            database: self.database.filter(|name| !name.is_empty()).ok_or(DatabaseUrlError::NoDatabase)?,
            tls,
            root_certificate: self.root_certificate.filter(|file| file != "system").map(PathBuf::from),
            application_name: self.application_name,
            connect_timeout: self.connect_timeout.unwrap_or(Duration::from_secs(5)),
        })
    }
}

fn once<T>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), DatabaseUrlError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(DatabaseUrlError::Twice(name)),
    }
}

fn unknown(name: &str) -> DatabaseUrlError {
    // Only a plain word is repeated: anything else may be the tail of a password with a bare `?` or `&`.
    if name.is_empty() || name.len() > 40 || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return DatabaseUrlError::Unknown { name: "(not a plain word)".to_owned(), near: None };
    }
    let near = PARAMETERS
        .into_iter()
        .max_by(|one, other| strsim::jaro_winkler(name, one).total_cmp(&strsim::jaro_winkler(name, other)));
    let near = near.filter(|known| strsim::jaro_winkler(name, known) > 0.8);
    DatabaseUrlError::Unknown { name: format!("`{name}`"), near }
}

fn parse_sslmode(value: &str) -> Result<Tls, DatabaseUrlError> {
    match value {
        "disable" => Ok(Tls::Disable),
        "verify-ca" => Ok(Tls::VerifyCa),
        "verify-full" => Ok(Tls::VerifyFull),
        "require" => {
            Err(DatabaseUrlError::WeakTls { mode: "require", reason: "it takes any certificate, an attacker's too" })
        }
        "prefer" => {
            Err(DatabaseUrlError::WeakTls { mode: "prefer", reason: "it falls back to clear text when TLS is refused" })
        }
        "allow" => Err(DatabaseUrlError::WeakTls { mode: "allow", reason: "it starts in clear text" }),
        _ => Err(DatabaseUrlError::Value { parameter: "sslmode", allowed: "disable, verify-ca or verify-full" }),
    }
}

fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn parse_port(text: &str) -> Option<u16> {
    digits(text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && text.chars().any(char::is_alphanumeric)
}

fn decode(text: &str, part: &'static str) -> Result<String, DatabaseUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            // Both are below 16, so the sum fits a byte.
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return Err(DatabaseUrlError::Encoding(part)),
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(DatabaseUrlError::Encoding(part)),
    }
}
