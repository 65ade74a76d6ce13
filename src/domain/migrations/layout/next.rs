//! The next migration of a folder: its version, and its files in the folder's own layout.
//!
//! A new down file holds only a comment, so it counts as empty until somebody writes it.

use std::str::FromStr;

use jiff::civil::DateTime;

use super::super::{Numbering, Set, Version};
use super::Layout;

/// A name that is safe in every file system and layout: `a`-`z`, `0`-`9` and `_`, at most 100 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationName(String);

impl MigrationName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no name of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Something but letters, digits, `_`, blanks and dashes, or nothing, or too much.
    #[error("a name is 1 to 100 of a-z, 0-9 and _ (blanks and dashes become _)")]
    Characters,
    /// A name that some layouts take for the way back.
    #[error("a name must not begin or end with the word rollback: it would be read as the way back")]
    Rollback,
}

impl FromStr for MigrationName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.trim().replace([' ', '-'], "_");
        let safe = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=100).contains(&name.len()) || !name.bytes().all(safe) || name.bytes().all(|b| b == b'_') {
            return Err(NameError::Characters);
        }
        if super::names::rollback(&name).is_some() {
            return Err(NameError::Rollback);
        }
        Ok(Self(name))
    }
}

/// A file to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its path relative to the folder, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What a new migration adds to its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Its version, newer than every other.
    pub version: Version,
    /// Its files; none of them exists yet.
    pub files: Vec<NewFile>,
    /// The migration that the manifest lists last, where the folder has a manifest and lists any.
    pub newest: Option<Version>,
}

/// No version can follow the newest one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no version of {} digits comes after {newest}; start a new numbering by hand", newest.as_str().len())]
pub struct NextError {
    /// The newest version.
    pub newest: Version,
}

/// What `db new` adds to a folder; `None` stands for a folder without migrations, which becomes a paired one.
///
/// # Errors
/// [`NextError`] when the newest version is the last of its kind.
pub fn next(set: Option<&Set>, name: &MigrationName, now: DateTime) -> Result<Addition, NextError> {
    let layout = set.map_or(Layout::Paired, Set::layout);
    let numbering = set.map_or(Numbering::Integer, Set::numbering);
    let newest = set.and_then(|set| set.migrations().last()).map(|migration| migration.version.clone());
    let version = match &newest {
        None => Version("0001".to_owned()),
        Some(newest) => {
            let next = if is_timestamp(layout, newest) { stamp_after(newest, now) } else { successor(newest) };
            // As text, a longer version does not come after a shorter one.
            let fits = next.0.len() <= 32 && (numbering == Numbering::Integer || next.0.len() == newest.0.len());
            if !fits {
                return Err(NextError { newest: newest.clone() });
            }
            next
        }
    };
    let files = files(layout, &version, name.as_str());
    Ok(Addition { version, files, newest })
}

/// Whether a folder counts in moments: 14 digits that begin like a year, or that diesel wrote.
fn is_timestamp(layout: Layout, version: &Version) -> bool {
    version.0.len() == 14
        && (layout == Layout::Diesel || ["19", "20", "21"].iter().any(|year| version.0.starts_with(year)))
}

/// Now, or the number after the newest where the newest is of this second or of the future.
fn stamp_after(newest: &Version, now: DateTime) -> Version {
    let now = Version(now.strftime("%Y%m%d%H%M%S").to_string());
    if Numbering::Integer.compare(&now, newest).is_gt() { now } else { successor(newest) }
}

/// The next integer, as wide as this one unless a carry makes it wider.
fn successor(version: &Version) -> Version {
    let digits = version.0.trim_end_matches('9');
    let nines = "0".repeat(version.0.len() - digits.len());
    let mut head = digits.to_owned();
    // A digit below 9 stands at the end of `head`, or nothing at all does.
    let raised = head.pop().and_then(|last| char::from_digit(last.to_digit(10)? + 1, 10)).unwrap_or('1');
    Version(format!("{head}{raised}{nines}"))
}

const UP: &str = "-- Write the SQL that makes the change.\n";
const DOWN: &str =
    "-- Write the SQL that takes the change back. Until then this down counts as empty, and a rollback is refused.\n";

fn files(layout: Layout, version: &Version, name: &str) -> Vec<NewFile> {
    let pair = |up: String, down: String| {
        vec![NewFile { path: up, text: UP.to_owned() }, NewFile { path: down, text: DOWN.to_owned() }]
    };
    let one = |up: &str, down: &str| {
        vec![NewFile { path: format!("{version}_{name}.sql"), text: format!("{up}\n{UP}\n{down}\n{DOWN}") }]
    };
    match layout {
        Layout::Paired | Layout::Manifest => {
            pair(format!("{version}_{name}.up.sql"), format!("{version}_{name}.down.sql"))
        }
        // In front, so that no pattern of numbered files picks the rollback up.
        Layout::Loose => pair(format!("{version}_{name}.sql"), format!("rollback_{version}_{name}.sql")),
        Layout::Diesel => {
            let folder = format!("{}_{name}", dashed(version.as_str()));
            pair(format!("{folder}/up.sql"), format!("{folder}/down.sql"))
        }
        Layout::Dbmate => one("-- migrate:up", "-- migrate:down"),
        Layout::Goose => one("-- +goose Up", "-- +goose Down"),
    }
}

/// `YYYY-MM-DD-HHMMSS`, as diesel writes 14 digits; any other number as it is.
fn dashed(version: &str) -> String {
    let part = |from: usize, to: usize| version.get(from..to);
    match (version.len(), part(0, 4), part(4, 6), part(6, 8), part(8, 14)) {
        (14, Some(year), Some(month), Some(day), Some(time)) => format!("{year}-{month}-{day}-{time}"),
        _ => version.to_owned(),
    }
}

impl Addition {
    /// The manifest's text with this migration as its last entry; every other byte stays.
    ///
    /// # Errors
    /// The parser's words for a text that is no TOML.
    pub fn listed_in(&self, manifest: &str) -> Result<String, String> {
        let mut document: toml_edit::DocumentMut =
            manifest.parse().map_err(|error: toml_edit::TomlError| error.message().to_owned())?;
        let mut entry = toml_edit::Table::new();
        entry.insert("version", toml_edit::value(self.version.as_str()));
        for (key, file) in ["up", "down"].into_iter().zip(&self.files) {
            entry.insert(key, toml_edit::value(&file.path));
        }
        let list = document.entry("migration").or_insert_with(|| toml_edit::ArrayOfTables::new().into());
        match list {
            toml_edit::Item::ArrayOfTables(tables) => tables.push(entry),
            toml_edit::Item::Value(toml_edit::Value::Array(array)) => array.push(entry.into_inline_table()),
            _ => return Err("`migration` is no list".to_owned()),
        }
        Ok(document.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::set;
    use super::*;

    #[test]
    fn a_name_is_made_safe_or_refused() {
        let read = |text: &str| text.parse::<MigrationName>().map(|name| name.0);
        assert_eq!(read("add users-table_2"), Ok("add_users_table_2".to_owned()));
        for text in ["", " ", "___", "Users", "a/b", "..", "a.b", "é", "a\nb", &"a".repeat(101)] {
            assert_eq!(read(text), Err(NameError::Characters), "{text}");
        }
        for text in ["rollback", "rollback users", "users-rollback", "2_rollback_users"] {
            assert_eq!(read(text), Err(NameError::Rollback), "{text}");
        }
        assert_eq!(read("drop_rollbacks"), Ok("drop_rollbacks".to_owned()));
    }

    #[test]
    fn the_next_version_continues_the_numbering_of_the_folder() {
        #[track_caller]
        fn case(file: &str, text: &str, expected: &str) {
            let set = set(&[(file, text)]).unwrap();
            let next = next(Some(&set), &"x".parse().unwrap(), DateTime::constant(2026, 5, 6, 7, 8, 59, 0));
            let paths = next.map(|next| next.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>().join(" "));
            assert_eq!(paths.unwrap_or_else(|error| error.to_string()), expected, "{file}");
        }
        case("0009_a.sql", "", "0010_x.up.sql 0010_x.down.sql");
        case("9_a.sql", "", "10_x.up.sql 10_x.down.sql");
        case("099_a.sql", "", "100_x.up.sql 100_x.down.sql");
        case("20250101000000_a.sql", "", "20260506070859_x.up.sql 20260506070859_x.down.sql");
        case("20260506070859_a.sql", "", "20260506070860_x.up.sql 20260506070860_x.down.sql");
        case("20250101_a.sql", "", "20250102_x.up.sql 20250102_x.down.sql");
        case("1_a.sql", "-- migrate:up\n", "2_x.sql");
        case("9_a.sql", "-- migrate:up\n", "no version of 1 digits comes after 9; start a new numbering by hand");
        case("9_a.sql", "-- +goose Up\n", "10_x.sql");
        let first = "00000000000000_a/up.sql";
        case(first, "SELECT 1", "2026-05-06-070859_x/up.sql 2026-05-06-070859_x/down.sql");
        case("0003_a/up.sql", "SELECT 1", "0004_x/up.sql 0004_x/down.sql");
        let last = format!("{}_a.sql", "9".repeat(32));
        let words = format!("no version of 32 digits comes after {}; start a new numbering by hand", "9".repeat(32));
        case(&last, "", &words);
    }

    #[test]
    fn an_entry_is_added_and_every_other_byte_stays() {
        let addition = next(None, &"x".parse().unwrap(), DateTime::default()).unwrap();
        let entry = "[[migration]]\nversion = \"0001\"\nup = \"0001_x.up.sql\"\ndown = \"0001_x.down.sql\"\n";
        let before = "# ours\n[[migration]] # first\nversion = '0'\nup   = 'a.sql'\n";
        assert_eq!(addition.listed_in("").unwrap(), entry);
        assert_eq!(addition.listed_in(before).unwrap(), format!("{before}\n{entry}"));
        let inline = addition.listed_in("migration = []\n").unwrap();
        assert!(inline.contains("0001_x.up.sql"), "{inline}");
        assert!(addition.listed_in("migration = 1").is_err());
    }
}
