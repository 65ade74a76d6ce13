//! A provider's API key: what is taken for one, and how it is shown.
//!
//! The text is wiped when dropped and has neither `Debug` nor `Display`. What is shown of it is its public prefix, its last
//! four characters and a fingerprint (craft.md 2.3), never more; a refusal never repeats what was refused (craft.md 2.2).

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The longest key that is taken, in bytes.
pub const LONGEST: usize = 8 * 1024;

/// Prefixes that a provider gives to all of its keys, so that they tell nothing of one.
const PREFIXES: &[&str] = &[
    "sk-ant-api03-",
    "sk-ant-admin01-",
    "sk-ant-oat01-",
    "sk-ant-",
    "sk-or-v1-",
    "sk-or-",
    "sk-proj-",
    "sk-svcacct-",
    "sk-admin-",
    "sk-",
    "gsk_",
    "AIza",
    "AQ.",
    "xai-",
    "tgp_v1_",
    "hf_",
    "pplx-",
    "nvapi-",
];

/// A provider's API key.
pub struct ProviderKey(Zeroizing<String>);

/// Why a text is no API key. It never holds the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderKeyFault {
    /// Nothing, or nothing but a newline.
    #[error("the key is empty")]
    Empty,
    /// Over [`LONGEST`].
    #[error("the key is longer than 8 KiB, which no provider's key is")]
    TooLong,
    /// More than one line.
    #[error("the key has more than one line: something else was pasted with it")]
    ManyLines,
    /// A blank at an end or inside.
    #[error("the key holds a blank: something else was pasted with it")]
    Blank,
    /// A control character, or one that cannot be seen.
    #[error("the key holds a control character or one that cannot be seen")]
    Control,
    /// A letter or a dash that no key has.
    #[error(
        "the key holds a character outside of ASCII, which no HTTP header carries: a dash or a letter was replaced on the way"
    )]
    NotAscii,
    /// Quotes around it, or half of them.
    #[error("the key begins or ends with a quotation mark: paste it without its quotes")]
    Quoted,
}

impl ProviderKey {
    /// A key as it was typed, piped or read: one final newline is no part of it.
    ///
    /// # Errors
    /// [`ProviderKeyFault`], which never holds the text.
    pub fn parse(text: &str) -> Result<Self, ProviderKeyFault> {
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            return Err(ProviderKeyFault::Empty);
        }
        if text.len() > LONGEST {
            return Err(ProviderKeyFault::TooLong);
        }
        if text.contains(['\n', '\r']) {
            return Err(ProviderKeyFault::ManyLines);
        }
        if text.contains(char::is_whitespace) {
            return Err(ProviderKeyFault::Blank);
        }
        if text.contains(is_invisible) {
            return Err(ProviderKeyFault::Control);
        }
        if text.starts_with(is_quote) || text.ends_with(is_quote) {
            return Err(ProviderKeyFault::Quoted);
        }
        if !text.is_ascii() {
            return Err(ProviderKeyFault::NotAscii);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The key itself, for the cipher and the one request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Characters that a copy from a web page brings along and nobody sees.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}')
}

/// What people see of a key: `sk-ant-api03-…9QAA fp:3fa1c2d0`. Of a short one, or one of which too little would stay hidden,
/// the fingerprint alone.
pub fn shown(key: &str) -> String {
    let fingerprint = fingerprint(key);
    let length = key.chars().count();
    let prefix = PREFIXES.iter().find(|prefix| key.starts_with(**prefix)).copied().unwrap_or_default();
    if length < 20 || length < prefix.len() + 4 + 8 {
        return format!("fp:{fingerprint}");
    }
    let last: String = key.chars().skip(length - 4).collect();
    format!("{prefix}…{last} fp:{fingerprint}")
}

/// The first eight hex digits of the SHA-256 of a key: the same key has the same everywhere.
pub fn fingerprint(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, fault: ProviderKeyFault) {
        assert_eq!(ProviderKey::parse(text).err(), Some(fault));
        let shown = fault.to_string();
        assert!(text.trim().is_empty() || !shown.contains(text.trim()), "{shown}");
    }

    #[track_caller]
    fn taken(text: &str, key: &str) {
        assert_eq!(ProviderKey::parse(text).ok().unwrap().expose(), key);
    }

    #[test]
    fn one_final_newline_is_no_part_of_the_key() {
        taken("sk-abc", "sk-abc");
        taken("sk-abc\n", "sk-abc");
        taken("sk-abc\r\n", "sk-abc");
        taken("sk-a\"b", "sk-a\"b");
        taken(&"k".repeat(LONGEST), &"k".repeat(LONGEST));
    }

    #[test]
    fn what_was_pasted_wrongly_is_refused_by_its_fault() {
        use ProviderKeyFault::{Blank, Control, Empty, ManyLines, NotAscii, Quoted, TooLong};
        refused("", Empty);
        refused("\n", Empty);
        refused("sk-abc\n\n", ManyLines);
        refused("sk-abc\nsk-def\n", ManyLines);
        refused("sk abc", Blank);
        refused(" sk-abc", Blank);
        refused("sk-abc\u{a0}", Blank);
        refused("sk-\u{1b}[31m", Control);
        refused("\u{feff}sk-abc", Control);
        refused("sk-\0abc", Control);
        refused("\"sk-abc\"", Quoted);
        refused("sk-abc'", Quoted);
        refused("“sk-abc”", Quoted);
        refused("sk–proj–0123456789", NotAscii);
        refused("sk-projé", NotAscii);
        refused(&"k".repeat(LONGEST + 1), TooLong);
    }

    #[track_caller]
    fn looks(key: &str, expected: &str) {
        let shown = shown(key);
        assert_eq!(shown, format!("{expected}fp:{}", fingerprint(key)));
        assert_eq!(fingerprint(key).len(), 8);
    }

    #[test]
    fn a_key_shows_its_public_prefix_its_end_and_its_fingerprint() {
        looks("sk-ant-api03-0123456789abcdefghijklmnop9QAA", "sk-ant-api03-…9QAA ");
        looks("sk-proj-0123456789abcdefABCD", "sk-proj-…ABCD ");
        looks("0123456789abcdefghijWXYZ", "…WXYZ ");
        looks("éééééééééééééééééééé", "…éééé ");
    }

    #[test]
    fn a_short_key_shows_its_fingerprint_only() {
        looks("sk-0123456789abcdef", "");
        looks("sk-ant-admin01-01234567", "");
        assert_eq!(shown("abc"), "fp:ba7816bf");
    }
}
