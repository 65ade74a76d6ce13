//! The ring of master keys: the first seals, and each is tried on what is stored (craft.md 2.4).
//!
//! A verdict names the key that opens a value, by the name that people know it by; no key is ever shown.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::domain::fernet::{MasterKey, Plain, is_token_like};

/// The master keys that are known, in order; the first is current.
pub struct Ring(Vec<(String, MasterKey)>);

/// Which master key opens a stored value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpenedBy {
    /// The first key, which the hub uses.
    Current,
    /// An older key, by its name: the hub cannot open the value.
    Old(String),
    /// No key of the ring.
    None,
    /// It is no Fernet token: most likely a key in plain text.
    NotFernet,
    /// Nothing is stored.
    Empty,
}

impl fmt::Display for OpenedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("current"),
            Self::Old(name) => write!(f, "old:{name}"),
            Self::None => f.write_str("none"),
            Self::NotFernet => f.write_str("not_fernet"),
            Self::Empty => f.write_str("empty"),
        }
    }
}

impl Serialize for OpenedBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Ring {
    /// The keys with the names that people know them by. The same key under a second name is left out. An empty ring opens
    /// nothing and seals nothing.
    pub fn new(keys: Vec<(String, MasterKey)>) -> Self {
        let mut ring: Vec<(String, MasterKey)> = Vec::with_capacity(keys.len());
        for (name, key) in keys {
            if !ring.iter().any(|(_, known)| *known == key) {
                ring.push((name, key));
            }
        }
        Self(ring)
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The current key and its name.
    pub fn current(&self) -> Option<(&str, &MasterKey)> {
        self.0.first().map(|(name, key)| (name.as_str(), key))
    }

    /// All keys with their names, the current one first.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &MasterKey)> {
        self.0.iter().map(|(name, key)| (name.as_str(), key))
    }

    /// Which key opens what is stored, and what it holds.
    pub fn open(&self, stored: Option<&str>) -> (OpenedBy, Option<Plain>) {
        let Some(token) = stored.filter(|text| !text.is_empty()) else { return (OpenedBy::Empty, None) };
        for (at, (name, key)) in self.0.iter().enumerate() {
            if let Some(plain) = key.open(token) {
                return (if at == 0 { OpenedBy::Current } else { OpenedBy::Old(name.clone()) }, Some(plain));
            }
        }
        (if is_token_like(token) { OpenedBy::None } else { OpenedBy::NotFernet }, None)
    }

    /// A token of the current key, dated `at` (Unix seconds); `None` if the ring is empty. `iv` must be random.
    pub fn seal(&self, plain: &[u8], at: u64, iv: [u8; 16]) -> Option<String> {
        self.0.first().map(|(_, key)| key.seal(plain, at, iv))
    }

    /// The names of the keys that opened none of what was seen.
    pub fn unused<'a>(&self, seen: impl IntoIterator<Item = &'a OpenedBy>) -> Vec<&str> {
        let mut used = vec![false; self.0.len()];
        for opened in seen {
            let at = match opened {
                OpenedBy::Current => Some(0),
                OpenedBy::Old(wanted) => self.0.iter().position(|(name, _)| name == wanted),
                OpenedBy::None | OpenedBy::NotFernet | OpenedBy::Empty => None,
            };
            if let Some(used) = at.and_then(|at| used.get_mut(at)) {
                *used = true;
            }
        }
        self.0.iter().zip(used).filter(|(_, used)| !used).map(|((name, _), _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "YTK9q5ncgzsYSAM_BnCGWwSuFWXkoT_aVJHxpbVPNzQ=";
    const TWO: &str = "0M8PJqEMvG5TEQeomi0hFB0ttNiLWpAcw1joRTJBfvY=";
    const THREE: &str = "k4k0ZVSJtbalhf8LzR-S3Szxdagp_mawo4j7mh1evsM=";

    fn key(text: &str) -> MasterKey {
        MasterKey::parse(text).ok().unwrap()
    }

    fn ring(keys: &[(&str, &str)]) -> Ring {
        Ring::new(keys.iter().map(|(name, text)| ((*name).to_owned(), key(text))).collect())
    }

    #[track_caller]
    fn case(stored: Option<&str>, word: &str, plain: Option<&str>) {
        let (opened, text) = ring(&[("NEW", ONE), ("OLD", TWO)]).open(stored);
        assert_eq!(opened.to_string(), word);
        assert_eq!(serde_json::to_value(&opened).unwrap(), word);
        assert_eq!(text.as_ref().and_then(Plain::as_str), plain);
    }

    #[test]
    fn the_verdict_names_the_key_that_opens() {
        let sealed = |text: &str| key(text).seal(b"sk-1", 9, [3; 16]);
        case(Some(&sealed(ONE)), "current", Some("sk-1"));
        case(Some(&sealed(TWO)), "old:OLD", Some("sk-1"));
        case(Some(&sealed(THREE)), "none", None);
        case(Some(&sealed(ONE)[..50]), "none", None);
        case(Some("sk-proj-in-plain-text"), "not_fernet", None);
        case(Some(""), "empty", None);
        case(None, "empty", None);
    }

    #[test]
    fn the_first_key_seals_and_an_empty_ring_seals_nothing() {
        let token = ring(&[("NEW", ONE), ("OLD", TWO)]).seal(b"sk-1", 9, [3; 16]).unwrap();
        assert!(key(ONE).open(&token).is_some());
        assert!(Ring::new(Vec::new()).seal(b"sk-1", 9, [3; 16]).is_none());
    }

    #[test]
    fn a_key_that_opens_nothing_is_unused_and_a_second_name_is_no_second_key() {
        let ring = ring(&[("A", ONE), ("B", TWO), ("AGAIN", ONE), ("C", THREE)]);
        assert_eq!(ring.unused(&[OpenedBy::Current, OpenedBy::None]), ["B", "C"]);
        assert_eq!(ring.unused(&[OpenedBy::Old("C".to_owned())]), ["A", "B"]);
        assert_eq!(ring.keys().count(), 3);
    }
}
