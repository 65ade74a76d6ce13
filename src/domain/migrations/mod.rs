//! What a migration is: a version, a name, an up and a down, and what makes two texts the same migration.
//!
//! Pure: files are read and SQL is sent elsewhere. Splitting and checksums rest on one lexer, so "these statements" and "this
//! checksum" cannot disagree about where a string ends.

mod checksum;
mod conduct;
mod drops;
mod embedded;
mod layout;
mod phases;
mod plan;
mod rowless;
mod script;
mod set;
mod split;
mod undo;

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

pub use checksum::Checksum;
pub use conduct::{Alone, Conduct, ObjectName};
pub use drops::Dropped;
pub use embedded::embedded;
pub use layout::{
    Addition, FileContent, FolderFile, Kind, Layout, LayoutError, MANIFEST, ManifestError, MarkerError, MigrationName,
    NameError, NewFile, NextError, named_in_manifest, next,
};
pub(in crate::domain) use layout::{has_sections, sql_stem};
pub(in crate::domain) use layout::{is_down, is_sql};
pub use phases::{Phase, Phases, ScriptError};
pub use plan::{Comparison, Direction, Problem, Recorded};
pub use script::{Position, Script, Wrapping};
pub use set::{Ignored, Set};
pub use split::{SplitError, Statement};
pub(in crate::domain) use split::{line_comments, tokens};
pub use undo::{Back, DownSource, NoDown, TooFar, choose_down, text_diff};

/// A migration's version as its file name writes it: digits, leading zeros kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Version(String);

impl Version {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How the versions of a folder are ordered, and when two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// As integers: `01`, `1` and `0001` are one version.
    Integer,
    /// As text: `01` and `1` are two.
    Text,
}

impl Numbering {
    /// The order of two versions.
    pub fn compare(self, one: &Version, other: &Version) -> Ordering {
        match self {
            Self::Text => one.0.cmp(&other.0),
            Self::Integer => {
                let (one, other) = (one.0.trim_start_matches('0'), other.0.trim_start_matches('0'));
                one.len().cmp(&other.len()).then_with(|| one.cmp(other))
            }
        }
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
    fn integers_ignore_leading_zeros_and_text_does_not() {
        #[track_caller]
        fn case(one: &str, other: &str, integer: Ordering, text: Ordering) {
            let (one, other) = (Version(one.to_owned()), Version(other.to_owned()));
            assert_eq!(Numbering::Integer.compare(&one, &other), integer, "{one} {other}");
            assert_eq!(Numbering::Text.compare(&one, &other), text, "{one} {other}");
        }
        case("01", "1", Ordering::Equal, Ordering::Less);
        case("9", "10", Ordering::Less, Ordering::Greater);
        case("000", "0", Ordering::Equal, Ordering::Greater);
        case("20260101000000", "9", Ordering::Greater, Ordering::Less);
        case("99999999999999999999999999999998", "99999999999999999999999999999999", Ordering::Less, Ordering::Less);
    }

    #[test]
    fn versions_are_digits_and_keep_their_zeros() {
        assert_eq!("0001".parse::<Version>().map(|version| version.to_string()), Ok("0001".to_owned()));
        for text in ["", "1a", "-1", "１", &"1".repeat(33)] {
            assert_eq!(text.parse::<Version>(), Err(VersionError), "{text}");
        }
    }
}
