//! Which PostgreSQL a program belongs to, from what it says of itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A program's version, such as `15.18`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ToolVersion(String);

impl ToolVersion {
    /// Read the answer to `--version`: `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    pub(super) fn read(answer: &str) -> Option<Self> {
        let (_, rest) = answer.lines().next()?.split_once(") ")?;
        let word = rest.split_whitespace().next()?;
        let known = word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_graphic());
        known.then(|| Self(word.to_owned()))
    }

    /// The number that decides what it can dump: `15` of `15.18`, `9` of `9.6`.
    pub fn major(&self) -> u32 {
        let digits: String = self.0.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }
}

impl fmt::Display for ToolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_every_packager_prints() {
        #[track_caller]
        fn case(answer: &str, major: Option<u32>) {
            assert_eq!(ToolVersion::read(answer).map(|version| version.major()), major, "{answer}");
        }
        case("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15));
        case("pg_dump (PostgreSQL) 9.6.24", Some(9));
        case("pg_restore (PostgreSQL) 18beta1", Some(18));
        case("pg_dump (EnterpriseDB) 16.2.0", Some(16));
        case("pg_dump: command not found", None);
        case("", None);
        case("pg_dump (PostgreSQL) devel", None);
    }
}
