//! What is on the ledger against what is at hand: what is pending, and what must be cleared up before anything runs.
//!
//! One comparison serves `status`, `plan`, `apply` and `rollback`, so that they cannot disagree.

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use super::{Migration, Numbering, Script, Set, Version};

/// A migration that stands on the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// As in its file name.
    pub version: Version,
    /// As in its file name.
    pub name: String,
    /// When, RFC 3339 UTC.
    pub applied_at: String,
    /// `user@host` of the operator.
    pub applied_by: String,
    /// Whether its down has been proven to restore the schema.
    pub proven: bool,
    /// The checksum of the up that was run.
    #[serde(skip)]
    pub up_checksum: String,
    /// The checksum of the down that was there then.
    #[serde(skip)]
    pub down_checksum: Option<String>,
    /// SHA-256 of the up's file as it was, byte for byte.
    #[serde(skip)]
    pub up_raw_hash: String,
    /// The run that applied it.
    #[serde(skip)]
    pub run_id: String,
}

/// What keeps migrations from being run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// An applied file says something else now.
    Edited {
        /// The file.
        file: String,
        /// Its version.
        version: Version,
        /// When the old text was applied.
        applied_at: String,
    },
    /// The ledger has it, the folder has not.
    Missing {
        /// Its version.
        version: Version,
        /// Its name.
        name: String,
    },
    /// It is pending, and a later one is applied already.
    OutOfOrder {
        /// The file.
        file: String,
        /// The newest of those that are applied and later.
        later: Version,
    },
    /// A part of its phases was run, by a run that did not end.
    HalfDone {
        /// Its version.
        version: Version,
        /// Its name.
        name: String,
        /// Phases that stand.
        done: usize,
        /// Which way it was going.
        direction: Direction,
    },
}

/// Which way a migration is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Forward.
    Up,
    /// Back.
    Down,
}

impl Direction {
    /// The word in the ledger's events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edited { file, applied_at, .. } => {
                write!(f, "{file} is not what was applied on {applied_at}")
            }
            Self::Missing { version, name } => {
                write!(f, "the database has the migration {version}_{name}, which is not among the files")
            }
            Self::OutOfOrder { file, later } => write!(f, "{file} was never applied, but the later {later} was"),
            Self::HalfDone { version, name, done, direction: Direction::Up } => {
                write!(f, "{version}_{name} is half applied: {done} of its parts stand")
            }
            Self::HalfDone { version, name, done, direction: Direction::Down } => {
                write!(f, "{version}_{name} is half rolled back: {done} parts of its down were run")
            }
        }
    }
}

impl Problem {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Edited { .. } => "put the old text back and write a new migration: llmhub db plan",
            Self::Missing { .. } => "use the llmhub or the folder that has it: llmhub db status",
            Self::OutOfOrder { .. } => "give it a later version, or run it all the same with --out-of-order",
            Self::HalfDone { direction: Direction::Up, .. } => "llmhub db apply goes on where it stopped",
            Self::HalfDone { direction: Direction::Down, .. } => "llmhub db rollback goes on where it stopped",
        }
    }
}

/// The folder against the ledger.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// What is not applied, oldest first.
    pub pending: Vec<&'a Migration>,
    /// What must be cleared up first, in the order of the ledger and then of the files.
    pub problems: Vec<Problem>,
    /// Applied files whose bytes changed and whose meaning did not.
    pub cosmetic: Vec<String>,
}

impl Set {
    /// Compare with what was applied.
    pub fn compare<'a>(&'a self, ledger: &[Recorded]) -> Comparison<'a> {
        let mut problems = Vec::new();
        let mut cosmetic = Vec::new();
        for entry in ledger {
            match self.find(&entry.version) {
                None => problems.push(Problem::Missing { version: entry.version.clone(), name: entry.name.clone() }),
                Some(migration) if !is_same(&migration.up, &entry.up_checksum) => problems.push(Problem::Edited {
                    file: migration.up.file().to_owned(),
                    version: entry.version.clone(),
                    applied_at: entry.applied_at.clone(),
                }),
                Some(migration) if migration.up.raw_hash() != entry.up_raw_hash => {
                    cosmetic.push(migration.up.file().to_owned());
                }
                Some(_) => {}
            }
        }
        let numbering = self.numbering();
        let is_applied = |migration: &&Migration| {
            ledger.iter().any(|entry| numbering.compare(&entry.version, &migration.version) == Ordering::Equal)
        };
        let pending: Vec<&Migration> = self.migrations().iter().filter(|migration| !is_applied(migration)).collect();
        if let Some(latest) = newest(ledger, numbering) {
            for migration in &pending {
                if numbering.compare(&migration.version, &latest.version) == Ordering::Less {
                    let file = migration.up.file().to_owned();
                    problems.push(Problem::OutOfOrder { file, later: latest.version.clone() });
                }
            }
        }
        Comparison { pending, problems, cosmetic }
    }
}

fn newest(ledger: &[Recorded], numbering: Numbering) -> Option<&Recorded> {
    ledger.iter().max_by(|one, other| numbering.compare(&one.version, &other.version))
}

/// A text that cannot be split has no checksum, and is not what was applied.
fn is_same(script: &Script, checksum: &str) -> bool {
    script.checksum().is_ok_and(|now| now.as_str() == checksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(version: &str, up: &str) -> Migration {
        Migration {
            version: version.parse().unwrap(),
            name: "m".to_owned(),
            up: Script::new(up).named(format!("{version}_m.up.sql")),
            down: None,
        }
    }

    fn recorded(version: &str, up: &str) -> Recorded {
        let script = Script::new(up);
        Recorded {
            version: version.parse().unwrap(),
            name: "m".to_owned(),
            applied_at: "2026-01-01T00:00:00Z".to_owned(),
            applied_by: "a@b".to_owned(),
            proven: false,
            up_checksum: script.checksum().unwrap().as_str().to_owned(),
            down_checksum: None,
            up_raw_hash: script.raw_hash().to_owned(),
            run_id: "r".to_owned(),
        }
    }

    /// Pending versions, then problems, then cosmetic changes.
    #[track_caller]
    fn case(files: &[(&str, &str)], ledger: &[(&str, &str)], pending: &[&str], problems: &[&str], cosmetic: &[&str]) {
        let set = Set::of(files.iter().map(|(version, up)| migration(version, up)).collect(), Numbering::Integer);
        let ledger: Vec<Recorded> = ledger.iter().map(|(version, up)| recorded(version, up)).collect();
        let found = set.compare(&ledger);
        let versions: Vec<&str> = found.pending.iter().map(|migration| migration.version.as_str()).collect();
        let texts: Vec<String> = found.problems.iter().map(Problem::to_string).collect();
        assert_eq!(
            (versions, texts.as_slice(), found.cosmetic.as_slice()),
            (
                pending.to_vec(),
                problems.iter().map(|&text| text.to_owned()).collect::<Vec<_>>().as_slice(),
                cosmetic.iter().map(|&text| text.to_owned()).collect::<Vec<_>>().as_slice(),
            )
        );
    }

    #[test]
    fn what_is_not_on_the_ledger_is_pending() {
        case(&[("1", "a"), ("2", "b")], &[], &["1", "2"], &[], &[]);
        case(&[("1", "a"), ("2", "b")], &[("1", "a")], &["2"], &[], &[]);
        case(&[("01", "a")], &[("1", "a")], &[], &[], &[]);
    }

    #[test]
    fn an_edited_file_is_a_problem_and_a_reformatted_one_is_not() {
        case(&[("1", "b")], &[("1", "a")], &[], &["1_m.up.sql is not what was applied on 2026-01-01T00:00:00Z"], &[]);
        case(
            &[("1", "SELECT 'x")],
            &[("1", "a")],
            &[],
            &["1_m.up.sql is not what was applied on 2026-01-01T00:00:00Z"],
            &[],
        );
        case(&[("1", "A ; -- x")], &[("1", "a")], &[], &[], &["1_m.up.sql"]);
    }

    #[test]
    fn a_missing_file_and_a_late_one_are_problems() {
        let missing = "the database has the migration 1_m, which is not among the files";
        case(&[("2", "b")], &[("1", "a")], &["2"], &[missing], &[]);
        let late = "2_m.up.sql was never applied, but the later 10 was";
        case(&[("1", "a"), ("2", "b"), ("10", "c")], &[("1", "a"), ("10", "c")], &["2"], &[late], &[]);
    }
}
