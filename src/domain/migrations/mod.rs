//! What a migration is: a version, a name, an up and a down, and what makes two texts the same migration.
//!
//! Pure: files are read and SQL is sent elsewhere. Splitting and checksums rest on one lexer, so "these statements" and "this
//! checksum" cannot disagree about where a string ends.

mod checksum;
mod embedded;
mod script;
mod split;

use std::fmt;

use serde::Serialize;

pub use checksum::Checksum;
pub use embedded::embedded;
pub use script::{Position, Script};
pub use split::{SplitError, Statement};

/// A migration's version as its file name writes it: digits, leading zeros kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Version(String);

impl Version {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a migration's version is 1 to 32 digits")]
pub struct VersionError;

impl std::str::FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(VersionError)
        }
    }
}

/// One step of the schema, and the way back if there is one.
#[derive(Clone, Debug)]
pub struct Migration {
    /// Its place in the order.
    pub version: Version,
    /// The rest of its file name.
    pub name: String,
    /// The SQL that makes the step.
    pub up: Script,
    /// The SQL that undoes it; `None` where no such file exists.
    pub down: Option<Script>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_digits_and_keep_their_zeros() {
        assert_eq!("0001".parse::<Version>().map(|version| version.to_string()), Ok("0001".to_owned()));
        for text in ["", "1a", "-1", "１", &"1".repeat(33)] {
            assert_eq!(text.parse::<Version>(), Err(VersionError), "{text}");
        }
    }
}
