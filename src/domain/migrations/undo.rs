//! What a rollback undoes, and with which text: only ever the newest applied migrations, and never past one without a down.
//!
//! The ledger keeps the down that was there when the migration was applied, so the files may be gone. Where both are there and
//! say different things, somebody must choose.

use std::cmp::Ordering;

use super::{Numbering, Recorded, Script, ScriptError, Version};

/// How far back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// So many of the newest, at least one.
    Steps(usize),
    /// Everything newer than this one, which stays; `0` where no migration has that version is everything.
    To(Version),
}

/// Why it cannot be gone back so far.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooFar {
    /// The version is not on the ledger.
    #[error("the migration {0} is not applied")]
    NotApplied(Version),
    /// There are not so many.
    #[error("only {0} migrations are applied")]
    Only(usize),
}

impl Back {
    /// The migrations to undo, newest first.
    ///
    /// # Errors
    /// [`TooFar`].
    pub fn of<'a>(&self, ledger: &'a [Recorded], numbering: Numbering) -> Result<Vec<&'a Recorded>, TooFar> {
        let count = match self {
            Self::Steps(steps) if *steps > ledger.len() => return Err(TooFar::Only(ledger.len())),
            Self::Steps(steps) => *steps,
            Self::To(version) => {
                let is_it = |entry: &Recorded| numbering.compare(&entry.version, version) == Ordering::Equal;
                match ledger.iter().rposition(is_it) {
                    Some(place) => ledger.len() - place - 1,
                    None if version.as_str().bytes().all(|digit| digit == b'0') => ledger.len(),
                    None => return Err(TooFar::NotApplied(version.clone())),
                }
            }
        };
        Ok(ledger.iter().rev().take(count).collect())
    }
}

/// Where a down is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownSource {
    /// The folder.
    File,
    /// The ledger.
    Ledger,
}

/// Why there is no down to run.
#[derive(Debug)]
pub enum NoDown {
    /// Neither the folder nor the ledger has one.
    Missing,
    /// The one that was asked for is not there.
    NotThere(DownSource),
    /// It holds no statement.
    Empty,
    /// It cannot be run.
    Broken(ScriptError),
    /// The folder and the ledger say different things.
    Differ,
}

/// The down to run, of what the folder and the ledger have.
///
/// # Errors
/// [`NoDown`].
pub fn choose_down<'a>(
    file: Option<&'a Script>,
    ledger: Option<&'a Script>,
    wanted: Option<DownSource>,
) -> Result<&'a Script, NoDown> {
    let chosen = match (wanted, file, ledger) {
        (Some(DownSource::File), file, _) => file.ok_or(NoDown::NotThere(DownSource::File))?,
        (Some(DownSource::Ledger), _, ledger) => ledger.ok_or(NoDown::NotThere(DownSource::Ledger))?,
        (None, Some(file), Some(ledger)) if is_same(file, ledger) => file,
        (None, Some(_), Some(_)) => return Err(NoDown::Differ),
        // A file that was written after the migration was applied is not what was there then.
        (None, Some(file), None) if has_statements(file) => return Err(NoDown::Differ),
        (None, Some(file), None) => file,
        (None, None, ledger) => ledger.ok_or(NoDown::Missing)?,
    };
    match chosen.phases() {
        Err(error) => Err(NoDown::Broken(error)),
        Ok(phases) if phases.all().is_empty() => Err(NoDown::Empty),
        Ok(_) => Ok(chosen),
    }
}

fn has_statements(script: &Script) -> bool {
    script.statements().map_or(true, |statements| !statements.is_empty())
}

/// Equal token by token, or byte by byte where they cannot be read.
fn is_same(one: &Script, other: &Script) -> bool {
    match (one.checksum(), other.checksum()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.text() == other.text(),
    }
}

/// The lines in which two texts differ, with a little around them, as `diff -u` prints them.
pub fn text_diff(old: &str, new: &str) -> String {
    similar::TextDiff::from_lines(old, new).unified_diff().context_radius(1).header("ledger", "file").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(versions: &[&str]) -> Vec<Recorded> {
        let entry = |version: &&str| Recorded {
            version: version.parse().unwrap(),
            name: "m".to_owned(),
            applied_at: String::new(),
            applied_by: String::new(),
            proven: false,
            up_checksum: String::new(),
            down_checksum: None,
            up_raw_hash: String::new(),
            run_id: String::new(),
        };
        versions.iter().map(entry).collect()
    }

    #[test]
    fn only_the_newest_are_undone_in_the_order_in_which_they_were_applied() {
        #[track_caller]
        fn case(applied: &[&str], back: Back, expected: Result<&[&str], TooFar>) {
            let ledger = ledger(applied);
            let found = back.of(&ledger, Numbering::Integer);
            let found = found.map(|all| all.iter().map(|entry| entry.version.as_str().to_owned()).collect::<Vec<_>>());
            assert_eq!(found, expected.map(|all| all.iter().map(|&text| text.to_owned()).collect()), "{back:?}");
        }
        let version = |text: &str| text.parse::<Version>().unwrap();
        case(&["1", "2", "3"], Back::Steps(1), Ok(&["3"]));
        case(&["1", "2", "3"], Back::Steps(3), Ok(&["3", "2", "1"]));
        case(&["1", "2"], Back::Steps(3), Err(TooFar::Only(2)));
        case(&["1", "3", "2"], Back::Steps(1), Ok(&["2"]));
        case(&["0001", "0002", "0003"], Back::To(version("1")), Ok(&["0003", "0002"]));
        case(&["1", "2"], Back::To(version("2")), Ok(&[]));
        case(&["1", "2"], Back::To(version("0")), Ok(&["2", "1"]));
        case(&["1", "2"], Back::To(version("7")), Err(TooFar::NotApplied(version("7"))));
    }

    #[test]
    fn the_down_is_that_of_both_or_somebody_chooses() {
        #[track_caller]
        fn case(file: Option<&str>, ledger: Option<&str>, wanted: Option<DownSource>, expected: &str) {
            let (file, ledger) = (file.map(Script::new), ledger.map(Script::new));
            let word = match choose_down(file.as_ref(), ledger.as_ref(), wanted) {
                Ok(script) => script.text().to_owned(),
                Err(NoDown::Broken(_)) => "broken".to_owned(),
                Err(error) => format!("{error:?}").to_lowercase(),
            };
            assert_eq!(word, expected);
        }
        use DownSource::{File, Ledger};
        case(Some("A; -- x"), Some("a"), None, "A; -- x");
        case(None, Some("a"), None, "a");
        case(Some("b"), Some("a"), None, "differ");
        case(Some("b"), Some("a"), Some(File), "b");
        case(Some("b"), Some("a"), Some(Ledger), "a");
        case(Some("b"), None, None, "differ");
        case(Some("b"), None, Some(File), "b");
        case(Some("b"), None, Some(Ledger), "notthere(ledger)");
        case(Some("-- later"), None, None, "empty");
        case(None, None, None, "missing");
        case(None, Some("-- nothing"), None, "empty");
        case(Some("SELECT 'a"), Some("SELECT 'a"), None, "broken");
        case(Some("a; COMMIT;"), Some("a; COMMIT;"), None, "broken");
    }
}
