//! What of a database URL may be shown.
//!
//! Nothing is shown that is not known to be harmless: a URL that does not parse, or could hold a password in an unexpected
//! place, shows as `***`. The URL is not judged here, only masked.

use std::collections::BTreeSet;

use url::{Url, form_urlencoded};

/// Query parameters whose values are no secrets. A misspelled `pasword` is not among them.
const HARMLESS: [&str; 11] = [
    "application_name",
    "connect_timeout",
    "dbname",
    "host",
    "options",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// The shortest secret that is looked for in output: hiding shorter ones would only tear words apart.
const SHORTEST: usize = 4;

/// A database URL, taken apart into what may be shown and what may not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Masked {
    /// `postgres://unicorn:***@localhost:5432/unicorn_test`, or `***`.
    pub shown: String,
    /// What must not appear in any output: the password as written and decoded. A password that is also a name in the
    /// shown part is left out, since hiding it would only hide the name.
    pub secrets: Vec<String>,
}

/// Mask a database URL.
pub(super) fn mask(text: &str) -> Masked {
    let parsed = Url::parse(text).ok().filter(Url::has_authority);
    // Behind the host, an `@` or `#` is most likely part of a password that was not percent-encoded.
    let tidy = parsed.filter(|url| url.fragment().is_none() && !url.path().contains('@') && !query(url).contains('@'));
    match tidy {
        Some(url) => taken_apart(text, &url),
        None => Masked { shown: "***".to_owned(), secrets: known(text, [text.to_owned()], "") },
    }
}

fn taken_apart(text: &str, url: &Url) -> Masked {
    let mut shown = format!("{}://", url.scheme());
    let mut secrets = Vec::new();
    if url.password().is_some() {
        shown.push_str(&format!("{}:***@", url.username()));
    } else if !url.username().is_empty() {
        shown.push_str(&format!("{}@", url.username()));
    }
    shown.push_str(url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        shown.push_str(&format!(":{port}"));
    }
    shown.push_str(url.path());
    for (at, (name, value)) in url.query_pairs().enumerate() {
        let harmless = HARMLESS.contains(&name.as_ref());
        let value_shown = if harmless { value.as_ref() } else { "***" };
        shown.push_str(&format!("{}{name}={value_shown}", if at == 0 { '?' } else { '&' }));
        if !harmless {
            secrets.push(value.into_owned());
        }
    }
    secrets.extend(url.password().map(str::to_owned));
    Masked { secrets: known(text, secrets, &shown), shown }
}

/// The candidates, the password as it was written in `text`, and all of them decoded; without what is too short to look for
/// or lawfully shown.
fn known(text: &str, candidates: impl IntoIterator<Item = String>, shown: &str) -> Vec<String> {
    let mut all: BTreeSet<String> = candidates.into_iter().collect();
    all.extend(written_password(text).map(str::to_owned));
    let decoded: Vec<String> = all.iter().map(|secret| decode(secret)).collect();
    all.extend(decoded);
    all.into_iter().filter(|secret| secret.chars().count() >= SHORTEST && !shown.contains(secret.as_str())).collect()
}

/// What stands between the first `:` behind `//` and the last `@`.
fn written_password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let (userinfo, _) = rest.rsplit_once('@')?;
    userinfo.split_once(':').map(|(_, password)| password)
}

/// Percent-decoded; the form decoder would also turn `+` into a blank and stop at `&`.
fn decode(text: &str) -> String {
    let guarded = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(guarded.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

fn query(url: &Url) -> &str {
    url.query().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_shows_all_but_its_password() {
        #[track_caller]
        fn case(text: &str, shown: &str, secrets: &[&str]) {
            let masked = mask(text);
            assert_eq!(
                (masked.shown.as_str(), masked.secrets),
                (shown, secrets.iter().map(|s| (*s).to_owned()).collect())
            );
        }
        case(
            "postgres://unicorn:s3cret@localhost:5432/unicorn_test",
            "postgres://unicorn:***@localhost:5432/unicorn_test",
            &["s3cret"],
        );
        case("postgres://u:p%40ss%2B@h/d", "postgres://u:***@h/d", &["p%40ss%2B", "p@ss+"]);
        case("postgres://u:a+b&c@h/d", "postgres://u:***@h/d", &["a+b&c"]);
        case("postgres:///d?host=/run/pg&sslmode=disable", "postgres:///d?host=/run/pg&sslmode=disable", &[]);
        case("postgres://h/d?password=CANARY", "postgres://h/d?password=***", &["CANARY"]);
        case("postgres://h/d?pasword=CANARY", "postgres://h/d?pasword=***", &["CANARY"]);
        case("postgres://u:x@h/d", "postgres://u:***@h/d", &[]);
        case("postgres://unicorn:unicorn@h/unicorn_test", "postgres://unicorn:***@h/unicorn_test", &[]);
    }

    #[test]
    fn a_url_that_is_hard_to_read_shows_nothing() {
        #[track_caller]
        fn case(text: &str) {
            let masked = mask(text);
            assert_eq!(masked.shown, "***", "{text}");
            assert!(masked.secrets.iter().any(|secret| secret == text), "{text}: {:?}", masked.secrets);
        }
        case("host=h password=CANARY");
        case("CANARY");
        case("postgres://u:12/CANARY@h/d");
        case("postgres://u:12?CANARY@h/d");
        case("postgres://u:12#CANARY@h/d");
        case("postgres://u:CANARY@h1:1,h2:2/d");
        case("postgres:u:CANARY");
    }
}
