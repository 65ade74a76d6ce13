//! Where Postgres is and how to speak to it, from a `postgres://` URL.
//!
//! Our own parser: the driver's takes a mistyped `sslmode` for "prefer" and logs unknown parameters with their values
//! (craft.md 3). Here an unknown word is an error that names the parameter and never its value, TLS is verified unless the
//! server is this machine, and neither `Debug` nor `Display` shows the password.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use self::parse::Given;

mod parse;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, an IPv6 address without its brackets.
    Tcp(String),
    /// The directory of a unix socket.
    Socket(PathBuf),
}

impl Host {
    /// Whether no packet leaves this machine: a socket, `localhost`, 127.0.0.0/8 or `::1`.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Tcp(name) => {
                name.eq_ignore_ascii_case("localhost")
                    || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

/// How the connection is protected. Nothing between "verified" and "named as disabled" exists: `require` does not look at
/// the certificate, `prefer` and `allow` can be talked out of TLS (craft.md 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// In clear text.
    Disable,
    /// The certificate comes from a trusted authority; its name is not compared.
    VerifyCa,
    /// The certificate comes from a trusted authority and carries the host's name.
    VerifyFull,
}

/// A parsed database URL.
#[derive(Clone)]
pub struct DatabaseUrl {
    host: Host,
    port: u16,
    user: Option<String>,
    password: Option<SecretString>,
    database: String,
    tls: Tls,
    root_certificate: Option<PathBuf>,
    application_name: Option<String>,
    connect_timeout: Duration,
}

/// Why a text is no usable database URL. No message holds a value from the URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Another scheme, or none.
    #[error("a database URL starts with postgres:// or postgresql://")]
    Scheme,
    /// Neither a host before the path nor a `host` parameter.
    #[error("the database URL names no host; write localhost, or ?host=/var/run/postgresql for a socket")]
    NoHost,
    /// A list of hosts.
    #[error("the database URL lists several hosts; name the one to act on")]
    ManyHosts,
    /// Not a host name, address or absolute socket directory.
    #[error(
        "the host of the database URL is no name, address or absolute directory; percent-encode `@`, `/`, `:`, `?` and `#` in the password"
    )]
    Host,
    /// Not a number from 1 to 65535.
    #[error(
        "the port of the database URL is no number from 1 to 65535; percent-encode `@`, `/`, `:`, `?` and `#` in the password"
    )]
    Port,
    /// No database after the host.
    #[error("the database URL names no database; write postgres://user@host:5432/DATABASE")]
    NoDatabase,
    /// A reserved character in the database's name: mostly a password that was not percent-encoded.
    #[error("percent-encode `@`, `/`, `:`, `?` and `#` in the password and the names of the database URL")]
    Reserved,
    /// A broken percent-encoding, bytes that are not UTF-8, or a NUL.
    #[error("the {0} of the database URL is not percent-encoded UTF-8; write a lone % as %25")]
    Encoding(&'static str),
    /// A parameter that does not exist here.
    #[error("unknown parameter {name} in the database URL{}", did_you_mean(.near))]
    Unknown {
        /// Its name in backticks, or "(not a plain word)".
        name: String,
        /// The known name that it resembles.
        near: Option<&'static str>,
    },
    /// Given twice, or both as a parameter and in its own place.
    #[error("`{0}` is given twice in the database URL")]
    Twice(&'static str),
    /// A value that the parameter cannot take.
    #[error("the value of `{parameter}` in the database URL must be {allowed}")]
    Value {
        /// The parameter.
        parameter: &'static str,
        /// What it takes.
        allowed: &'static str,
    },
    /// An `sslmode` that does not protect.
    #[error(
        "sslmode={mode} does not protect the connection: {reason}; use verify-full, or disable where clear text is meant"
    )]
    WeakTls {
        /// `require`, `prefer` or `allow`.
        mode: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn did_you_mean(near: &Option<&'static str>) -> String {
    near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl DatabaseUrl {
    /// Parse `postgres://[user[:password]@]host[:port]/database[?parameter=value&…]`.
    ///
    /// A socket directory is written `?host=/path` or `%2Fpath` in the host's place. Parameters: `host`, `port`, `user`,
    /// `password`, `dbname`, `sslmode` (`disable`, `verify-ca`, `verify-full`), `sslrootcert` (a PEM file, or `system`),
    /// `application_name`, `connect_timeout` (1 to 300 seconds, 5 if not given). Without `sslmode` the connection is verified in
    /// full, except to this machine; a socket never uses TLS.
    ///
    /// # Errors
    /// [`DatabaseUrlError`], which never repeats a value.
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        Given::read(text)?.complete()
    }

    /// Where the server listens.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port, or the number in the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The role to log in as; `None` is the operating system's user.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, if the URL holds one.
    pub fn password(&self) -> Option<&SecretString> {
        self.password.as_ref()
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// `host:port`, the same for every role and database of a server.
    pub fn place(&self) -> String {
        match &self.host {
            Host::Tcp(name) => format!("{name}:{}", self.port),
            Host::Socket(folder) => format!("{}:{}", folder.display(), self.port),
        }
    }

    /// The same server, login and protection, for another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> DatabaseUrl {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// Whether both name the same database, as far as two addresses can tell: all of this machine's are one.
    pub fn is_same_database(&self, other: &Self) -> bool {
        let same_host = match (&self.host, &other.host) {
            (one, two) if one.is_local() && two.is_local() => true,
            (Host::Tcp(one), Host::Tcp(two)) => one.eq_ignore_ascii_case(two),
            _ => false,
        };
        same_host && self.port == other.port && self.database == other.database
    }

    /// How the connection is protected.
    pub fn tls(&self) -> Tls {
        self.tls
    }

    /// A PEM file of authorities to trust besides those of the operating system.
    pub fn root_certificate(&self) -> Option<&Path> {
        self.root_certificate.as_deref()
    }

    /// The name under which sessions show up on the server, if the operator chose one.
    pub fn application_name(&self) -> Option<&str> {
        self.application_name.as_deref()
    }

    /// The longest that opening a connection may take.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }
}

/// `postgres://user@host:port/database`, percent-encoded, without the password and the parameters.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", Encoded(user))?;
        }
        match &self.host {
            Host::Tcp(name) if name.contains(':') => write!(f, "[{name}]")?,
            Host::Tcp(name) => write!(f, "{}", Encoded(name))?,
            Host::Socket(directory) => write!(f, "{}", Encoded(&directory.to_string_lossy()))?,
        }
        write!(f, ":{}/{}", self.port, Encoded(&self.database))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// Percent-encoded for display: whatever a name holds, it cannot move the cursor or end the URL early.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                write!(f, "{}", char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn parse(text: &str) -> DatabaseUrl {
        DatabaseUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_url_names_user_host_port_and_database() {
        #[track_caller]
        fn case(text: &str, shown: &str) {
            assert_eq!(parse(text).to_string(), shown, "{text}");
        }
        case(
            "postgres://unicorn:unicorn@localhost:5432/unicorn_test",
            "postgres://unicorn@localhost:5432/unicorn_test",
        );
        case("postgresql://u@db.example.com/hub", "postgres://u@db.example.com:5432/hub");
        case("postgres://localhost/hub", "postgres://localhost:5432/hub");
        case("postgres://localhost:/hub", "postgres://localhost:5432/hub");
        case("postgres://u@[::1]:6432/hub", "postgres://u@[::1]:6432/hub");
        case("postgres://u@%2Frun%2Fpg:5433/hub", "postgres://u@%2Frun%2Fpg:5433/hub");
        case("postgres://u@/hub?host=/run/pg&port=5433", "postgres://u@%2Frun%2Fpg:5433/hub");
        case("postgres:///?host=h.example&dbname=d&user=u&password=p", "postgres://u@h.example:5432/d");
        case("postgres://us%40er:p%40ss@h/d%C3%A9", "postgres://us%40er@h:5432/d%C3%A9");
        case("postgres://u%1b%5B2J@h/d", "postgres://u%1B%5B2J@h:5432/d");
    }

    #[test]
    fn what_is_shown_parses_to_the_same() {
        for text in ["postgres://u:p@[::1]/a%2Fb", "postgres://a%3Ab@%2Ftmp:1/x", "postgres://h/%E2%82%AC%20"] {
            let shown = parse(text).to_string();
            assert_eq!(parse(&shown).to_string(), shown);
        }
    }

    #[test]
    fn passwords_are_decoded_and_never_shown() {
        #[track_caller]
        fn case(text: &str, password: Option<&str>) {
            let url = parse(text);
            assert_eq!(url.password().map(|secret| secret.expose_secret()), password, "{text}");
            if let Some(password) = password.filter(|password| !password.is_empty()) {
                assert!(!format!("{url} {url:?}").contains(password), "{text}");
            }
        }
        case("postgres://u:canary-1@h/d", Some("canary-1"));
        case("postgres://u:can%3Aary%2F%3F%23%5B%5D%25@h/d", Some("can:ary/?#[]%"));
        case("postgres://u:can:ary@h/d", Some("can:ary"));
        case("postgres://u:can@ary@h/d", Some("can@ary"));
        case("postgres://u:a+b@h/d", Some("a+b"));
        case("postgres://u@h/d?password=can%26ary", Some("can&ary"));
        case("postgres://u:@h/d", Some(""));
        case("postgres://u@h/d", None);
    }

    #[test]
    fn another_database_of_the_server_has_the_same_login_and_protection() {
        let url = parse("postgres://u:canary-1@h:6432/d?sslmode=verify-ca").with_database("a/b");
        assert_eq!((url.to_string().as_str(), url.tls()), ("postgres://u@h:6432/a%2Fb", Tls::VerifyCa));
        assert_eq!(url.password().map(|secret| secret.expose_secret()), Some("canary-1"));
    }

    #[test]
    fn tls_is_verified_in_full_unless_the_server_is_this_machine() {
        #[track_caller]
        fn case(text: &str, tls: Tls) {
            assert_eq!(parse(text).tls(), tls, "{text}");
        }
        case("postgres://db.example.com/d", Tls::VerifyFull);
        case("postgres://10.0.0.1/d", Tls::VerifyFull);
        case("postgres://localhost.example.com/d", Tls::VerifyFull);
        case("postgres://localhost/d", Tls::Disable);
        case("postgres://LOCALHOST/d", Tls::Disable);
        case("postgres://127.8.0.1/d", Tls::Disable);
        case("postgres://[::1]/d", Tls::Disable);
        case("postgres:///d?host=/run", Tls::Disable);
        case("postgres:///d?host=/run&sslmode=verify-full", Tls::Disable);
        case("postgres://localhost/d?sslmode=verify-full", Tls::VerifyFull);
        case("postgres://db.example.com/d?sslmode=verify-ca", Tls::VerifyCa);
        case("postgres://db.example.com/d?sslmode=disable", Tls::Disable);
    }

    #[test]
    fn another_database_on_the_same_server_keeps_the_login() {
        let url = parse("postgres://u:p@h:1/d?sslmode=disable&connect_timeout=9").with_database("x y");
        assert_eq!(url.to_string(), "postgres://u@h:1/x%20y");
        assert_eq!(url.password().map(|secret| secret.expose_secret()), Some("p"));
        assert_eq!((url.tls(), url.connect_timeout()), (Tls::Disable, Duration::from_secs(9)));
    }

    #[test]
    fn the_same_database_is_known_by_host_port_and_name() {
        #[track_caller]
        fn case(one: &str, other: &str, expected: bool) {
            assert_eq!(parse(one).is_same_database(&parse(other)), expected, "{one} {other}");
        }
        case("postgres://u@h/d", "postgres://v:p@H:5432/d?sslmode=disable", true);
        case("postgres://localhost/d", "postgres://127.0.0.1/d", true);
        case("postgres:///d?host=/run/pg", "postgres://[::1]/d", true);
        case("postgres://h/d", "postgres://h:5433/d", false);
        case("postgres://h/d", "postgres://i/d", false);
        case("postgres://h/d", "postgres://h/e", false);
        case("postgres://h/d", "postgres://localhost/d", false);
    }

    #[test]
    fn the_other_parameters_are_read() {
        let url = parse("postgres://h/d?sslrootcert=/ca%20x.pem&application_name=me&connect_timeout=9");
        assert_eq!(url.root_certificate(), Some(Path::new("/ca x.pem")));
        assert_eq!(url.application_name(), Some("me"));
        assert_eq!(url.connect_timeout(), Duration::from_secs(9));
        assert_eq!(parse("postgres://h/d?sslrootcert=system").root_certificate(), None);
        assert_eq!(parse("postgres://h/d").connect_timeout(), Duration::from_secs(5));
    }

    #[test]
    fn errors_say_what_is_wrong_and_never_repeat_a_value() {
        #[track_caller]
        fn case(text: &str, message: &str) {
            let error = DatabaseUrl::parse(text).expect_err(text).to_string();
            assert!(error.contains(message), "{text}: {error}");
            assert!(!error.contains("CANARY"), "{text}: {error}");
        }
        case("mysql://u:CANARY@h/d", "starts with postgres://");
        case("host=h password=CANARY", "starts with postgres://");
        case("postgres://u:CANARY@/d", "names no host");
        case("postgres://u:CANARY@h1,h2/d", "several hosts");
        case("postgres:///d?host=h1,h2", "several hosts");
        case("postgres://u:CANARY@h", "names no database");
        case("postgres://u:CANARY@h/", "names no database");
        case("postgres://u:CANARY/x@h/d", "port");
        case("postgres://u:12/CANARY@h/d", "percent-encode");
        case("postgres://u:12?CANARY@h/d", "(not a plain word)");
        case("postgres://u:CANARY#x@h/d", "percent-encode");
        case("postgres://u:CANARY@h:port/d", "port");
        case("postgres://u:CANARY@h:0/d", "port");
        case("postgres://u:CANARY@h:65536/d", "port");
        case("postgres://u:CANARY@[::1/d", "host");
        case("postgres://u:CANARY@[fe80::zz]/d", "host");
        case("postgres://u:CANARY@::1/d", "port");
        case("postgres://u:CANARY@h%0A/d", "host");
        case("postgres://u:CANARY%@h/d", "the password of the database URL is not percent-encoded");
        case("postgres://u:CANARY%zz@h/d", "the password");
        case("postgres://u:%ff@h/d", "the password");
        case("postgres://u:%00@h/d", "the password");
        case(
            "postgres://u@h/d?pasword=CANARY",
            "unknown parameter `pasword` in the database URL; did you mean `password`?",
        );
        case("postgres://u@h/d?sslmod=CANARY", "did you mean `sslmode`?");
        case("postgres://u@h/d?options=CANARY", "unknown parameter `options`");
        case(
            "postgres://u@h/d?sslmode=CANARY",
            "`sslmode` in the database URL must be disable, verify-ca or verify-full",
        );
        case("postgres://u@h/d?sslmode=verify_full", "must be disable, verify-ca or verify-full");
        case("postgres://u@h/d?sslmode", "must be disable, verify-ca or verify-full");
        case(
            "postgres://u@h/d?sslmode=require",
            "sslmode=require does not protect the connection: it takes any certificate",
        );
        case("postgres://u@h/d?sslmode=prefer", "falls back to clear text");
        case("postgres://u@h/d?sslmode=allow", "starts in clear text");
        case("postgres://u@h/d?sslmode=disable&sslmode=disable", "`sslmode` is given twice");
        case("postgres://u@h/d?host=h", "`host` is given twice");
        case("postgres://u@h/d?connect_timeout=0", "from 1 to 300");
        case("postgres://u@h/d?connect_timeout=-1", "from 1 to 300");
    }
}
