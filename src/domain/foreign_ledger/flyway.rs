//! Flyway's rows: the newest word about a version counts, and a baseline stands for all that was there before it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Checksum, Claim, Claims, FlywayRow, Key, Obstacle};

/// A version of Flyway's: numbers with dots, of any length. `1`, `1.0` and `01` are one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlywayVersion(Vec<String>);

impl FlywayVersion {
    /// Read it as a row or a file name writes it; in a file name `_` may stand for the dot.
    pub fn parse(text: &str) -> Option<Self> {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let mut parts = Vec::new();
        for part in text.split(['.', '_']) {
            if !is_number(part) {
                return None;
            }
            parts.push(part.trim_start_matches('0').to_owned());
        }
        while parts.last().is_some_and(String::is_empty) {
            parts.pop();
        }
        Some(Self(parts))
    }

    /// The version of a file `V1_2__name.sql`, by its path.
    pub fn of_file(path: &str) -> Option<Self> {
        let file = path.rsplit('/').next()?;
        Self::parse(file.strip_prefix('V')?.split_once("__")?.0)
    }
}

impl Ord for FlywayVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let number = |one: &String, other: &String| one.len().cmp(&other.len()).then_with(|| one.cmp(other));
        let parts = self.0.iter().zip(&other.0).map(|(one, other)| number(one, other));
        parts.fold(Ordering::Equal, Ordering::then).then(self.0.len().cmp(&other.0.len()))
    }
}

impl PartialOrd for FlywayVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What the rows, in the order of their rank, say is applied.
pub(super) fn claims(rows: &[FlywayRow]) -> Result<Claims, Obstacle> {
    let mut newest: BTreeMap<FlywayVersion, &FlywayRow> = BTreeMap::new();
    let mut repeatable: BTreeMap<&str, &FlywayRow> = BTreeMap::new();
    let mut found = Claims::default();
    for row in rows {
        let Some(version) = &row.version else {
            if row.kind != "SCHEMA" {
                repeatable.insert(&row.script, row);
            }
            continue;
        };
        let Some(parsed) = FlywayVersion::parse(version) else {
            return Err(Obstacle::NoFile { row: told(row) });
        };
        match row.kind.as_str() {
            "BASELINE" => {
                found.notes.push(format!(
                    "its baseline {version} says that everything up to it was there before Flyway; only the comparison with the live schema can tell"
                ));
                found.claims.push(Claim { row: told(row), key: Key::FlywayUpTo(parsed), checksum: None });
            }
            kind if row.success && (kind == "DELETE" || kind.starts_with("UNDO_")) => drop(newest.remove(&parsed)),
            _ => drop(newest.insert(parsed, row)),
        }
    }
    if let Some(failed) = newest.values().chain(repeatable.values()).find(|row| !row.success) {
        return Err(Obstacle::Failed { row: told(failed) });
    }
    for (version, row) in newest {
        if !matches!(row.kind.as_str(), "SQL" | "SQL_BASELINE") {
            return Err(Obstacle::NotSql { row: told(row), kind: row.kind.clone() });
        }
        found.claims.push(Claim {
            row: told(row),
            key: Key::FlywayFile { version, script: row.script.clone() },
            checksum: row.checksum.map(Checksum::Crc32),
        });
    }
    found.notes.extend(repeatable.into_keys().map(|script| {
        format!("{script} is a repeatable migration, which llmhub does not have: what it made is left alone")
    }));
    Ok(found)
}

fn told(row: &FlywayRow) -> String {
    match &row.version {
        Some(version) => format!("the version {version} ({})", row.script),
        None => format!("the repeatable migration {}", row.script),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_with_dots_and_zeros_at_the_end_are_nothing() {
        #[track_caller]
        fn case(one: &str, other: &str, expected: Ordering) {
            let parse = |text| FlywayVersion::parse(text).unwrap();
            assert_eq!(parse(one).cmp(&parse(other)), expected, "{one} {other}");
        }
        case("1", "1.0", Ordering::Equal);
        case("01", "1", Ordering::Equal);
        case("1.2", "1_2", Ordering::Equal);
        case("1.9", "1.10", Ordering::Less);
        case("1", "1.0.1", Ordering::Less);
        case("2", "1.9", Ordering::Greater);
        for text in ["", "a", "1.", "1..2", "-1", "１"] {
            assert_eq!(FlywayVersion::parse(text), None, "{text}");
        }
        assert_eq!(FlywayVersion::of_file("sql/V1_2__a__b.sql"), FlywayVersion::parse("1.2"));
        assert_eq!(FlywayVersion::of_file("U1__a.sql"), None);
    }

    #[test]
    fn the_newest_word_about_a_version_counts() {
        #[track_caller]
        fn case(rows: &[(Option<&str>, &str, &str, bool)], expected: &str) {
            let row = |(version, kind, script, success): &(Option<&str>, &str, &str, bool)| FlywayRow {
                version: version.map(str::to_owned),
                kind: (*kind).to_owned(),
                script: (*script).to_owned(),
                checksum: None,
                success: *success,
            };
            let rows: Vec<FlywayRow> = rows.iter().map(row).collect();
            let told = match claims(&rows) {
                Ok(found) => {
                    let rows: Vec<String> = found.claims.into_iter().map(|claim| claim.row).collect();
                    format!("{} / {}", rows.join(", "), found.notes.len())
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(told, expected);
        }
        let one = (Some("1"), "SQL", "V1__a.sql", true);
        case(&[one], "the version 1 (V1__a.sql) / 0");
        case(&[(None, "SCHEMA", "public", true), one], "the version 1 (V1__a.sql) / 0");
        case(&[one, (None, "SQL", "R__v.sql", true)], "the version 1 (V1__a.sql) / 1");
        case(&[one, (Some("1"), "UNDO_SQL", "U1__a.sql", true)], " / 0");
        case(&[one, (Some("1"), "UNDO_SQL", "U1__a.sql", true), one], "the version 1 (V1__a.sql) / 0");
        case(&[one, (Some("1"), "DELETE", "V1__a.sql", true)], " / 0");
        case(
            &[one, (Some("1"), "UNDO_SQL", "U1__a.sql", false)],
            "the version 1 (U1__a.sql) is recorded as failed, and what it left behind is not known",
        );
        case(
            &[one, (Some("1.1"), "SQL", "V1.1__b.sql", false)],
            "the version 1.1 (V1.1__b.sql) is recorded as failed, and what it left behind is not known",
        );
        case(
            &[(Some("2"), "SQL", "V2__b.sql", false), (Some("2.0"), "SQL", "V2__b.sql", true)],
            "the version 2.0 (V2__b.sql) / 0",
        );
        case(&[(Some("3"), "BASELINE", "<< Flyway Baseline >>", true)], "the version 3 (<< Flyway Baseline >>) / 1");
        case(
            &[(Some("1"), "JDBC", "db.V1__a", true)],
            "the version 1 (db.V1__a) has the type JDBC: what it did is not in an SQL file",
        );
    }
}
