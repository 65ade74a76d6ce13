//! The digest of a whole flag: what a plan was made for, and what a run wrote last (rollout.md, "digest").
//!
//! SHA-256 over canonical JSON of what decides who is on: lists sorted and without repeats, ids byte for byte. A description,
//! tags, an owner and a revision are no part of it: no hub evaluates them, and only some sources hold them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::flag::{Flag, StoredPercent};

/// A SHA-256, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is no digest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is `sha256:` and 64 hexadecimal digits, as `llmhub rollout plan` writes it")]
pub struct DigestError;

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("sha256:{hex}"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(DigestError),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// The members that decide, in the order in which they are hashed. The order and the names are the format: changing one
/// changes every digest in every plan file.
#[derive(Serialize)]
struct Canonical<'a> {
    flag: &'a str,
    enabled: Option<bool>,
    rollout_percentage: Option<String>,
    whitelist_users: Option<Vec<&'a str>>,
    blacklist_users: Option<Vec<&'a str>>,
    start_date: Option<&'a str>,
    end_date: Option<&'a str>,
}

/// The digest of a flag's snapshot.
pub fn digest(flag: &Flag) -> Digest {
    let percentage = match &flag.percentage {
        StoredPercent::Number(value) => Some(value.to_string()),
        StoredPercent::Huge { negative, digits } => Some(format!("{}{digits}", if *negative { "-" } else { "" })),
        StoredPercent::Null => None,
    };
    let canonical = Canonical {
        flag: flag.key.as_str(),
        enabled: flag.enabled,
        rollout_percentage: percentage,
        whitelist_users: flag.whitelist.as_deref().map(sorted),
        blacklist_users: flag.blacklist.as_deref().map(sorted),
        start_date: flag.start.as_deref(),
        end_date: flag.end.as_deref(),
    };
    // Texts, a switch and lists of texts always serialise; an empty text would only make two flags look alike that are not.
    Digest::of(&serde_json::to_vec(&canonical).unwrap_or_default())
}

/// The digest of a set of users: sorted, without repeats, one a line.
pub fn digest_of_users<'a>(users: impl IntoIterator<Item = &'a str>) -> Digest {
    let mut users: Vec<&str> = users.into_iter().collect();
    users.sort_unstable();
    users.dedup();
    let mut text = users.join("\n");
    text.push('\n');
    Digest::of(text.as_bytes())
}

fn sorted(list: &[String]) -> Vec<&str> {
    let mut list: Vec<&str> = list.iter().map(String::as_str).collect();
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag() -> Flag {
        Flag {
            enabled: Some(true),
            percentage: StoredPercent::Number(25),
            whitelist: Some(vec!["bob".to_owned(), "Alice@Example.com".to_owned(), "bob".to_owned()]),
            start: Some("2026-01-01T00:00:00".to_owned()),
            ..Flag::off("unified_llm_hub".parse().unwrap())
        }
    }

    #[test]
    fn the_digest_of_a_known_flag_never_changes() {
        // sha256 of {"flag":"unified_llm_hub","enabled":true,"rollout_percentage":"25","whitelist_users":["Alice@Example.com",
        // "bob"],"blacklist_users":[],"start_date":"2026-01-01T00:00:00","end_date":null} without the line break.
        let text = concat!(
            r#"{"flag":"unified_llm_hub","enabled":true,"rollout_percentage":"25","#,
            r#""whitelist_users":["Alice@Example.com","bob"],"blacklist_users":[],"#,
            r#""start_date":"2026-01-01T00:00:00","end_date":null}"#
        );
        assert_eq!(digest(&flag()), Digest::of(text.as_bytes()));
        assert_eq!(
            digest(&flag()).to_string(),
            "sha256:11ebc17985d74bfd35a1e2179e886309aa28dcf53f82c7f35243f0e982ac1229"
        );
    }

    #[test]
    fn order_and_repeats_do_not_count_but_every_byte_of_an_id_does() {
        let same = |change: fn(&mut Flag)| {
            let mut other = flag();
            change(&mut other);
            digest(&other) == digest(&flag())
        };
        assert!(same(|flag| flag.whitelist = Some(vec!["Alice@Example.com".to_owned(), "bob".to_owned()])));
        assert!(same(|flag| flag.revision = Some(7)));
        assert!(same(|flag| flag.description = Some("words".to_owned())));
        assert!(!same(|flag| flag.whitelist = Some(vec!["alice@example.com".to_owned(), "bob".to_owned()])));
        assert!(!same(|flag| flag.whitelist = Some(vec!["Alice@Example.com".to_owned(), "bob ".to_owned()])));
        assert!(!same(|flag| flag.percentage = StoredPercent::Number(26)));
        assert!(!same(|flag| flag.enabled = None));
        assert!(!same(|flag| flag.blacklist = None));
        assert!(!same(|flag| flag.end = Some(String::new())));
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let text = digest(&flag()).to_string();
        assert_eq!(text.parse::<Digest>().unwrap(), digest(&flag()));
        for wrong in ["", "sha256:", &text[..70], &text.to_uppercase(), "md5:00"] {
            assert_eq!(wrong.parse::<Digest>(), Err(DigestError), "{wrong}");
        }
    }

    #[test]
    fn the_digest_of_users_knows_no_order() {
        assert_eq!(digest_of_users(["b", "a", "b"]), digest_of_users(["a", "b"]));
        assert_ne!(digest_of_users(["a"]), digest_of_users(["A"]));
        assert_ne!(digest_of_users(["ab"]), digest_of_users(["a", "b"]));
    }
}
