//! What a file's name says: no SQL, a version and a name, a direction, a rollback.
//!
//! A rollback is recognised before any version is read, and letter case never hides one.

use super::super::Version;
use super::LayoutError;

/// Endings that editors and merges leave behind.
const LEFTOVERS: [&str; 8] = ["~", "#", ".bak", ".orig", ".rej", ".swp", ".tmp", ".old"];

/// The name without `.sql`; or why the file is passed over.
pub(super) fn stem(file: &str) -> Result<&str, String> {
    let lower = file.to_ascii_lowercase();
    if file.starts_with('.') {
        return Err("its name starts with a dot".to_owned());
    }
    if LEFTOVERS.iter().any(|ending| lower.ends_with(ending)) {
        return Err("an editor or a merge left it behind".to_owned());
    }
    if let Some(stem) = file.strip_suffix(".sql") {
        return Ok(stem);
    }
    // ASCII lower-casing keeps every byte's place, so the offset is good for the name itself.
    match lower.rfind(".sql").and_then(|at| file.get(at..)) {
        Some(ending) => Err(format!("its name ends in {ending}, not in .sql")),
        None => Err("it is no .sql file".to_owned()),
    }
}

/// Which way a file of the paired layout goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// `.up`
    Up,
    /// `.down`
    Down,
    /// Neither: a migration without a way back.
    Alone,
}

/// The direction, and the stem without it.
pub(super) fn direction(stem: &str) -> (Direction, &str) {
    for (ending, direction) in [(".up", Direction::Up), (".down", Direction::Down)] {
        let cut = stem.len().saturating_sub(ending.len());
        if let (Some(rest), Some(tail)) = (stem.get(..cut), stem.get(cut..))
            && tail.eq_ignore_ascii_case(ending)
        {
            return (direction, rest);
        }
    }
    (Direction::Alone, stem)
}

/// Digits at the front, and what stands behind them.
pub(super) fn number(stem: &str) -> (&str, &str) {
    let end = stem.find(|c: char| !c.is_ascii_digit()).unwrap_or(stem.len());
    stem.split_at(end)
}

/// The version and the name of `NNNN_name`; `None` where the stem does not start like a version at all.
pub(super) fn versioned(file: &str, stem: &str) -> Option<Result<(Version, String), LayoutError>> {
    let (digits, rest) = number(stem);
    if digits.is_empty() {
        return None;
    }
    let parsed = match (digits.parse(), rest.strip_prefix('_')) {
        (Ok(version), Some(name)) if !name.is_empty() => Ok((version, name.to_owned())),
        _ => Err(LayoutError::BadVersion { file: file.to_owned() }),
    };
    Some(parsed)
}

/// What a rollback file says of the migration that it undoes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rollback<'a> {
    /// The digits in its name, if any.
    pub number: Option<Version>,
    /// The name behind the number.
    pub name: &'a str,
}

/// A rollback file by its stem: the word `rollback` at the front, behind the number, or at the end.
pub(super) fn rollback(stem: &str) -> Option<Rollback<'_>> {
    let (before, rest) = split_number(stem);
    let inner = without_word(rest)?;
    let (after, name) = split_number(inner);
    Some(Rollback { number: before.or(after), name })
}

/// The number in front, where one is meant: digits followed by a separator or by nothing.
fn split_number(text: &str) -> (Option<Version>, &str) {
    let (digits, rest) = number(text);
    let behind = rest.trim_start_matches(is_separator);
    match digits.parse() {
        Ok(version) if rest.is_empty() || behind.len() < rest.len() => (Some(version), behind),
        _ => (None, text),
    }
}

/// The text without the word at its front or end; `None` where it has none.
fn without_word(text: &str) -> Option<&str> {
    const WORD: &str = "rollback";
    let is_word = |piece: &str| piece.eq_ignore_ascii_case(WORD);
    if is_word(text) {
        return Some("");
    }
    let front = text.get(..WORD.len()).filter(|piece| is_word(piece)).and_then(|_| text.get(WORD.len()..));
    if let Some(rest) = front.filter(|rest| rest.starts_with(is_separator)) {
        return Some(rest.trim_start_matches(is_separator));
    }
    let cut = text.len().checked_sub(WORD.len())?;
    let (head, tail) = (text.get(..cut)?, text.get(cut..)?);
    (is_word(tail) && head.ends_with(is_separator)).then(|| head.trim_end_matches(is_separator))
}

fn is_separator(c: char) -> bool {
    matches!(c, '_' | '-' | '.' | ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_ending_is_sql() {
        #[track_caller]
        fn case(file: &str, expected: Result<&str, &str>) {
            assert_eq!(stem(file), expected.map_err(str::to_owned), "{file}");
        }
        case("0001_a.sql", Ok("0001_a"));
        case("0001 a ü.up.sql", Ok("0001 a ü.up"));
        case("0001_a.SQL", Err("its name ends in .SQL, not in .sql"));
        case("0001_a.sql.txt", Err("its name ends in .sql.txt, not in .sql"));
        case("ü.Sql.gz", Err("its name ends in .Sql.gz, not in .sql"));
        case("0001_a.sql~", Err("an editor or a merge left it behind"));
        case("#0001_a.sql#", Err("an editor or a merge left it behind"));
        case("0001_a.sql.orig", Err("an editor or a merge left it behind"));
        case(".0001_a.sql", Err("its name starts with a dot"));
        case("README.md", Err("it is no .sql file"));
    }

    #[test]
    fn the_direction_is_the_last_word_in_any_case() {
        assert_eq!(direction("1_a.up"), (Direction::Up, "1_a"));
        assert_eq!(direction("1_a.DOWN"), (Direction::Down, "1_a"));
        assert_eq!(direction("1_up"), (Direction::Alone, "1_up"));
        assert_eq!(direction("é"), (Direction::Alone, "é"));
    }

    #[test]
    fn a_version_is_digits_and_an_underscore() {
        #[track_caller]
        fn case(stem: &str, expected: Option<(&str, &str)>) {
            let read = versioned("f", stem).and_then(Result::ok);
            let read = read.as_ref().map(|(version, name)| (version.as_str(), name.as_str()));
            assert_eq!(read, expected, "{stem}");
        }
        case("0001_a_b", Some(("0001", "a_b")));
        case("1_naïve name", Some(("1", "naïve name")));
        assert_eq!(versioned("f", "users"), None);
        assert_eq!(versioned("f", "V1__a"), None);
        for stem in ["0001", "0001_", "1a_b", "2024-01-01_a", &format!("{}_a", "1".repeat(33))] {
            assert!(versioned("f", stem).is_some_and(|read| read.is_err()), "{stem}");
        }
    }

    #[test]
    fn a_rollback_is_known_by_its_word_in_every_form() {
        #[track_caller]
        fn case(stem: &str, expected: Option<(Option<&str>, &str)>) {
            let read = rollback(stem);
            let read = read.as_ref().map(|read| (read.number.as_ref().map(Version::as_str), read.name));
            assert_eq!(read, expected, "{stem}");
        }
        case("rollback_users", Some((None, "users")));
        case("rollback_0005_users", Some((Some("0005"), "users")));
        case("0005_users_rollback", Some((Some("0005"), "users")));
        case("0005_rollback_users", Some((Some("0005"), "users")));
        case("users_rollback", Some((None, "users")));
        case("ROLLBACK-users", Some((None, "users")));
        case("0005_users.Rollback", Some((Some("0005"), "users")));
        case("rollback_0005", Some((Some("0005"), "")));
        case("rollback_2fa", Some((None, "2fa")));
        case("rollback", Some((None, "")));
        case("rollback_é", Some((None, "é")));
        case("0005_rollbacks", None);
        case("0005_users_rollbacked", None);
        case("0005_scrollback", None);
        case("0005_users", None);
    }
}
