//! The types of single settings, each checked once, when it is read.
//!
//! An error is the end of a sentence that starts with the setting's name ("must be …"), and never repeats the text it
//! refuses: a secret may have been pasted there.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;
use url::{Host, Url};

use super::Origin;

/// What a value must be instead, as the rest of a sentence: "must be a whole number from 1 to 64".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub(super) String);

impl Refused {
    pub(super) fn new(rest: &str) -> Self {
        Self(rest.to_owned())
    }
}

/// The address of one hub: http or https, without credentials, query or fragment. A path is kept as a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubUrl(Url);

impl HubUrl {
    /// The address with a path that ends in `/`, ready for [`Url::join`] with a relative path.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// Whether the host is this machine, by name or number.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
}

/// Whether the host of an address is this machine, by name or number.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl fmt::Display for HubUrl {
    /// Without the final `/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl FromStr for HubUrl {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        // `Url` forgives blanks, missing slashes and backslashes; whoever typed one meant something else.
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Err(Refused::new("must start with `http://` or `https://`"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(Refused::new("must not hold blanks, control characters or backslashes"));
        }
        let mut url = Url::parse(text).map_err(|error| Refused(format!("is not a URL: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::new("must not hold a user name or password: a URL is shown and logged"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Refused::new("must not hold `?` or `#`: only scheme, host, port and a path prefix"));
        }
        let path = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(Self(url))
    }
}

/// The addresses of one hub's replicas: at least one, none twice.
///
/// # Errors
/// When the list is empty, an entry is no [`HubUrl`], or two are the same: a replica counted twice would let one
/// process vouch for two.
pub(super) fn hub_urls<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<HubUrl>, Refused> {
    let mut urls: Vec<HubUrl> = Vec::new();
    for text in texts {
        let url: HubUrl = text.parse()?;
        if urls.contains(&url) {
            return Err(Refused(format!("must not name {url} twice")));
        }
        urls.push(url);
    }
    if urls.is_empty() { Err(Refused::new("must name at least one URL")) } else { Ok(urls) }
}

/// How many processes answer behind each hub URL: 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workers(u8);

impl Workers {
    /// The count, 1 to 64.
    pub fn count(self) -> u32 {
        u32::from(self.0)
    }
}

impl TryFrom<i64> for Workers {
    type Error = Refused;

    fn try_from(count: i64) -> Result<Self, Refused> {
        match u8::try_from(count) {
            Ok(count @ 1..=64) => Ok(Self(count)),
            _ => Err(Refused::new("must be a whole number from 1 to 64")),
        }
    }
}

impl FromStr for Workers {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        // 0 is outside the range, so a text that is no number gets the same sentence.
        Self::try_from(text.parse::<i64>().unwrap_or(0))
    }
}

/// The rungs a rollout climbs, in percent: strictly rising, first 0, last 100 (rollout.md 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder(Vec<u8>);

impl Ladder {
    /// The rungs in percent, 0 to 100.
    pub fn rungs(&self) -> &[u8] {
        &self.0
    }
}

impl Default for Ladder {
    fn default() -> Self {
        Self(vec![0, 10, 25, 50, 100])
    }
}

impl TryFrom<&[i64]> for Ladder {
    type Error = Refused;

    fn try_from(rungs: &[i64]) -> Result<Self, Refused> {
        let rising = rungs.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
        let whole = rungs.first() == Some(&0) && rungs.last() == Some(&100);
        let rungs: Result<Vec<u8>, _> = rungs.iter().map(|rung| u8::try_from(*rung)).collect();
        match rungs {
            Ok(rungs) if rising && whole => Ok(Self(rungs)),
            _ => Err(Refused::new("must rise strictly from 0 to 100")),
        }
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rungs: Vec<String> = self.0.iter().map(u8::to_string).collect();
        f.write_str(&rungs.join(" "))
    }
}

/// A place where flags live, by the word that `--via` and `write` use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceName {
    /// A running hub.
    Hub,
    /// Postgres.
    Db,
    /// The hub's `.env` file.
    Env,
}

impl SourceName {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Db => "db",
            Self::Env => "env",
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for SourceName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        match text {
            "hub" => Ok(Self::Hub),
            "db" => Ok(Self::Db),
            "env" => Ok(Self::Env),
            _ => Err(Refused::new("must hold only the words `hub`, `db` and `env`")),
        }
    }
}

/// Sources in the order given: at least one, none twice.
pub(super) fn sources(words: &[String]) -> Result<Vec<SourceName>, Refused> {
    let mut sources = Vec::new();
    for word in words {
        let source: SourceName = word.parse()?;
        if sources.contains(&source) {
            return Err(Refused(format!("must not hold `{source}` twice")));
        }
        sources.push(source);
    }
    if sources.is_empty() { Err(Refused::new("must hold at least one of `hub`, `db` and `env`")) } else { Ok(sources) }
}

/// The name of an environment variable: letters, digits and `_`, no digit first.
pub(super) fn variable_name(text: &str) -> Result<String, Refused> {
    let mut characters = text.chars();
    let starts = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if starts && characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(text.to_owned())
    } else {
        Err(Refused::new("must be the name of an environment variable, not its value"))
    }
}

/// Whether changes need a reason and the profile's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// An ordinary profile.
    #[default]
    Open,
    /// `protected = true`.
    Protected,
}

/// How to get at a secret: the database URL or the session token.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The secret itself.
    Text(SecretString),
    /// A program and its arguments that print it. Configuration never runs it.
    Command(Vec<String>),
    /// The profile names this variable, and it is not set.
    Unset(String),
}

/// One key of the master-key ring.
#[derive(Clone, Debug)]
pub struct MasterKey {
    /// How verdicts call it: `BYOK_ENCRYPTION_KEY`, `BYOK_ENCRYPTION_KEYS_OLD[2]`, or the path of its file.
    pub name: String,
    /// The key, or where it is.
    pub material: KeyMaterial,
    /// The layer that named it.
    pub origin: Origin,
}

/// A master key, or where it is.
#[derive(Clone, Debug)]
pub enum KeyMaterial {
    /// The value of its variable.
    Text(SecretString),
    /// A file that holds it.
    File(PathBuf),
    /// Its variable is not set.
    Unset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_url_keeps_its_path_and_loses_its_final_slash() {
        #[track_caller]
        fn case(text: &str, shown: &str, joined: &str) {
            let url: HubUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.url().join("api/x").unwrap().as_str()), (shown, joined));
        }
        case("http://localhost:8084", "http://localhost:8084", "http://localhost:8084/api/x");
        case("http://localhost:8084/", "http://localhost:8084", "http://localhost:8084/api/x");
        case("HTTPS://Hub.Example.com/ops//", "https://hub.example.com/ops", "https://hub.example.com/ops/api/x");
        case("http://[::1]:80", "http://[::1]", "http://[::1]/api/x");
    }

    #[test]
    fn a_hub_url_that_means_something_else_is_refused_without_repeating_it() {
        #[track_caller]
        fn case(text: &str, part: &str) {
            let refused = text.parse::<HubUrl>().unwrap_err().to_string();
            assert!(refused.contains(part) && !refused.contains("CANARY"), "{text}: {refused}");
        }
        case("", "must start with");
        case("localhost:8084", "must start with");
        case("ftp://CANARY", "must start with");
        case("http:/CANARY", "must start with");
        case("http://", "is not a URL");
        case("http://h:99999", "is not a URL");
        case("http://u:CANARY@h", "user name or password");
        case("http://CANARY@h", "user name or password");
        case("http://h/?token=CANARY", "must not hold `?`");
        case("http://h/#CANARY", "must not hold `?`");
        case(" http://h", "must start with");
        case("http://h\t/CANARY", "must not hold blanks");
        case("http://h\\CANARY", "must not hold blanks");
    }

    #[test]
    fn the_same_hub_twice_is_refused_however_it_is_spelled() {
        let refused = hub_urls(["http://h", "http://H:80/"]).unwrap_err();
        assert_eq!(refused.to_string(), "must not name http://h twice");
        assert!(hub_urls([]).is_err());
    }

    #[test]
    fn loopback_is_known_by_name_and_by_number() {
        for (text, loopback) in [
            ("http://localhost", true),
            ("http://hub.localhost", true),
            ("http://127.8.9.1", true),
            ("http://[::1]", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(text.parse::<HubUrl>().unwrap().is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn workers_are_1_to_64() {
        for (text, count) in [("1", Some(1)), ("64", Some(64)), ("0", None), ("65", None), ("-1", None), ("x", None)] {
            assert_eq!(text.parse::<Workers>().ok().map(Workers::count), count, "{text}");
        }
    }

    #[test]
    fn a_ladder_rises_strictly_from_0_to_100() {
        for good in [&[0, 100][..], &[0, 1, 2, 100], &[0, 10, 25, 50, 100]] {
            assert!(Ladder::try_from(good).is_ok(), "{good:?}");
        }
        for bad in [&[][..], &[0], &[100], &[0, 50], &[10, 100], &[0, 50, 50, 100], &[0, 60, 50, 100], &[0, 300, 100]] {
            assert!(Ladder::try_from(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Ladder::default().to_string(), "0 10 25 50 100");
    }

    #[test]
    fn write_words_are_known_and_stand_once() {
        #[track_caller]
        fn case(words: &[&str], expected: Result<&[SourceName], &str>) {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(
                sources(&words).map_err(|refused| refused.to_string()),
                expected.map(<[_]>::to_vec).map_err(Into::into)
            );
        }
        case(&["env", "db", "hub"], Ok(&[SourceName::Env, SourceName::Db, SourceName::Hub]));
        case(&["db", "db"], Err("must not hold `db` twice"));
        case(&["DB"], Err("must hold only the words `hub`, `db` and `env`"));
        case(&[], Err("must hold at least one of `hub`, `db` and `env`"));
    }

    #[test]
    fn a_variable_name_is_not_a_value() {
        for good in ["HUB_SESSION", "_x", "a1"] {
            assert!(variable_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1A", "A-B", "A=B", "$A", "gAAAA==", "a b", "Ä"] {
            assert!(variable_name(bad).is_err(), "{bad}");
        }
    }
}
