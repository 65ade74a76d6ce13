//! From what a ledger says to our own files: every claim has its file, and no file before the newest one is left out.

use std::collections::BTreeMap;

use super::super::migrations::{Migration, Set, Version};
use super::{Claim, FlywayVersion, Key, Obstacle};

/// The files that are applied by what another ledger says.
#[derive(Clone, Debug)]
pub struct Adoption<'a> {
    /// They, oldest first: the beginning of the set without a gap.
    pub migrations: Vec<&'a Migration>,
    /// Those whose text is not the one that was applied, by the tool's own checksum: each as a sentence.
    pub edited: Vec<String>,
}

/// Find the files of these claims.
///
/// # Errors
/// [`Obstacle::NoFile`], [`Obstacle::Twice`], [`Obstacle::Gap`], [`Obstacle::Empty`].
pub fn adoption<'a>(claims: &[Claim], set: &'a Set) -> Result<Adoption<'a>, Obstacle> {
    let mut claimed: BTreeMap<usize, &Claim> = BTreeMap::new();
    let mut edited = Vec::new();
    for claim in claims {
        let places = places(&claim.key, set);
        if places.is_empty() && !matches!(claim.key, Key::FlywayUpTo(_)) {
            return Err(Obstacle::NoFile { row: claim.row.clone() });
        }
        for place in places {
            let Some(migration) = set.migrations().get(place) else { continue };
            let file = migration.up.file().to_owned();
            if let Some(checksum) = &claim.checksum
                && !checksum.is_of(&migration.up)
            {
                edited
                    .push(format!("{file} is not the text that was applied: the checksum of {} is another", claim.row));
            }
            // A baseline may speak of what has a row of its own as well.
            match claimed.insert(place, claim) {
                Some(other) if !is_range(&other.key) && !is_range(&claim.key) => {
                    return Err(Obstacle::Twice { file, one: other.row.clone(), other: claim.row.clone() });
                }
                _ => {}
            }
        }
    }
    let Some((last, _)) = claimed.last_key_value() else { return Err(Obstacle::Empty) };
    let migrations: Vec<&Migration> = set.migrations().iter().take(last + 1).collect();
    let missing = (0..*last).find(|place| !claimed.contains_key(place));
    if let Some(missing) = missing {
        let file = |place: usize| migrations.get(place).map_or("", |migration| migration.up.file()).to_owned();
        let later = claimed.range(missing..).next().map_or(*last, |(place, _)| *place);
        return Err(Obstacle::Gap { file: file(missing), later: file(later) });
    }
    Ok(Adoption { migrations, edited })
}

fn is_range(key: &Key) -> bool {
    matches!(key, Key::UpTo(_) | Key::FlywayUpTo(_))
}

/// Where in the set the files of a key stand.
fn places(key: &Key, set: &Set) -> Vec<usize> {
    let of = |is_it: &dyn Fn(&Migration) -> bool| {
        let places = set.migrations().iter().enumerate();
        places.filter(|(_, migration)| is_it(migration)).map(|(place, _)| place).collect::<Vec<_>>()
    };
    let same = |migration: &Migration, version: &str| {
        version.parse::<Version>().is_ok_and(|version| set.numbering().compare(&migration.version, &version).is_eq())
    };
    match key {
        Key::Version(version) => of(&|migration| same(migration, version)),
        Key::UpTo(version) => match of(&|migration| same(migration, version)).first() {
            Some(last) => (0..=*last).collect(),
            None => Vec::new(),
        },
        Key::FlywayFile { version, script } => {
            let named = of(&|migration| base(migration.up.file()) == base(script));
            if named.is_empty() { of(&|migration| flyway_version(migration).as_ref() == Some(version)) } else { named }
        }
        Key::FlywayUpTo(last) => of(&|migration| flyway_version(migration).is_some_and(|version| version <= *last)),
        Key::Revision(revision) => of(&|migration| {
            [base(migration.up.file()), migration.name.as_str()].into_iter().any(|name| {
                let rest = name.strip_prefix(revision.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '.', '-']))
            })
        }),
    }
}

/// The version of a file that is called as Flyway wants it; else that of the migration.
fn flyway_version(migration: &Migration) -> Option<FlywayVersion> {
    FlywayVersion::of_file(migration.up.file()).or_else(|| FlywayVersion::parse(migration.version.as_str()))
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::super::super::migrations::{Numbering, Script};
    use super::super::Checksum;
    use super::*;

    fn set(files: &[(&str, &str, &str)]) -> Set {
        let migration = |(version, name, file): &(&str, &str, &str)| Migration {
            version: version.parse().unwrap(),
            name: (*name).to_owned(),
            up: Script::new("SELECT 1;").named(*file),
            down: None,
        };
        Set::of(files.iter().map(migration).collect(), Numbering::Integer)
    }

    fn claim(key: Key) -> Claim {
        Claim { row: format!("{key:?}"), key, checksum: None }
    }

    #[track_caller]
    fn case(keys: Vec<Key>, set: &Set, expected: &str) {
        let claims: Vec<Claim> = keys.into_iter().map(claim).collect();
        let told = match adoption(&claims, set) {
            Ok(found) => {
                let versions: Vec<&str> = found.migrations.iter().map(|one| one.version.as_str()).collect();
                versions.join(" ")
            }
            Err(Obstacle::NoFile { .. }) => "no file".to_owned(),
            Err(Obstacle::Gap { file, later }) => format!("{file} before {later}"),
            Err(Obstacle::Twice { file, .. }) => format!("twice {file}"),
            Err(other) => format!("{other:?}"),
        };
        assert_eq!(told, expected);
    }

    fn version(text: &str) -> Key {
        Key::Version(text.to_owned())
    }

    #[test]
    fn every_row_has_a_file_and_no_file_before_the_newest_is_left_out() {
        let files = set(&[("0001", "a", "0001_a.sql"), ("0002", "b", "0002_b.sql"), ("0003", "c", "0003_c.sql")]);
        case(vec![version("1"), version("2")], &files, "0001 0002");
        case(vec![version("2"), version("0001")], &files, "0001 0002");
        case(vec![version("1"), version("3")], &files, "0002_b.sql before 0003_c.sql");
        case(vec![version("3")], &files, "0001_a.sql before 0003_c.sql");
        case(vec![version("1"), version("4")], &files, "no file");
        case(vec![version("-5")], &files, "no file");
        case(vec![version("1"), version("01")], &files, "twice 0001_a.sql");
        case(vec![Key::UpTo("2".to_owned())], &files, "0001 0002");
        case(vec![Key::UpTo("9".to_owned())], &files, "no file");
    }

    #[test]
    fn flyways_files_are_found_by_their_name_or_their_version() {
        let files = set(&[("1", "V1__a", "V1__a.sql"), ("2", "V1.1__b", "sql/V1.1__b.sql"), ("3", "c", "3_c.up.sql")]);
        let file = |text: &str, script: &str| Key::FlywayFile {
            version: FlywayVersion::parse(text).unwrap(),
            script: script.to_owned(),
        };
        let up_to = |text: &str| Key::FlywayUpTo(FlywayVersion::parse(text).unwrap());
        case(vec![file("1", "V1__a.sql"), file("1.1", "other/V1.1__b.sql")], &files, "1 2");
        case(vec![file("1", "V1__old.sql"), file("1.1", "V1.1__old.sql"), file("3", "V3__c.sql")], &files, "1 2 3");
        case(vec![up_to("1.1")], &files, "1 2");
        case(vec![up_to("1"), file("1.1", "V1.1__b.sql")], &files, "1 2");
        case(vec![up_to("0")], &files, "Empty");
    }

    #[test]
    fn alembics_revision_is_how_the_files_name_begins() {
        let files = set(&[("1", "ae10_users", "0001_ae10_users.sql"), ("2", "27c6", "27c6_more.sql")]);
        let revision = |text: &str| Key::Revision(text.to_owned());
        case(vec![revision("ae10"), revision("27c6")], &files, "1 2");
        case(vec![revision("ae1")], &files, "no file");
    }

    #[test]
    fn a_file_that_was_edited_since_is_told() {
        let files = set(&[("1", "a", "1_a.sql")]);
        let claim = Claim { checksum: Some(Checksum::Crc32(7)), ..claim(version("1")) };
        let edited = adoption(&[claim], &files).unwrap().edited;
        assert!(edited[0].starts_with("1_a.sql is not the text that was applied"), "{edited:?}");
    }
}
