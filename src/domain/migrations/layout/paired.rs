//! `NNNN_name.up.sql` with `NNNN_name.down.sql`, or `NNNN_name.sql` alone, which has no way back.
//!
//! Versions are integers: `01` and `1` are one, and two files that claim it are refused.

use super::super::{Migration, Numbering, Script, Version};
use super::names::{Direction, direction, stem, versioned};
use super::{FolderFile, Layout, LayoutError, Reading, stray, whole};

struct Down {
    version: Version,
    name: String,
    script: Script,
}

pub(super) fn read(files: &[FolderFile]) -> Result<Reading, LayoutError> {
    let mut reading = Reading::new(Layout::Paired, Numbering::Integer);
    let mut downs = Vec::new();
    for file in files {
        let parsed = file.is_at_top().then(|| stem(&file.path).ok()).flatten().and_then(|stem| {
            let (direction, bare) = direction(stem);
            Some((direction, versioned(&file.path, bare)?))
        });
        let Some((direction, parsed)) = parsed else {
            reading.ignore(file, stray(file));
            continue;
        };
        let (version, name) = parsed?;
        let script = whole(file, &mut reading.notes)?;
        match direction {
            Direction::Down => downs.push(Down { version, name, script }),
            Direction::Up | Direction::Alone => {
                if direction == Direction::Alone && name.to_ascii_lowercase().ends_with("_down") {
                    reading.notes.push(format!(
                        "{}: it counts as a migration of its own; the way back is called NNNN_name.down.sql",
                        file.path
                    ));
                }
                reading.migrations.push(Migration { version, name, up: script, down: None });
            }
        }
    }
    // Two files of one version are found first: which of them a down belongs to would be a guess.
    let mut reading = reading.sorted()?;
    for down in downs {
        attach(&mut reading.migrations, down)?;
    }
    Ok(reading)
}

fn attach(migrations: &mut [Migration], down: Down) -> Result<(), LayoutError> {
    let order = |migration: &Migration| Numbering::Integer.compare(&migration.version, &down.version);
    let place = migrations.binary_search_by(order).ok();
    let file = down.script.file().to_owned();
    let migration = place.and_then(|place| migrations.get_mut(place));
    let is_pair = |migration: &Migration| {
        let up = migration.up.file();
        migration.name == down.name && stem(up).is_ok_and(|stem| direction(stem).0 == Direction::Up)
    };
    match migration {
        Some(migration) if is_pair(migration) => match &migration.down {
            None => migration.down = Some(down.script),
            Some(first) => {
                return Err(LayoutError::Duplicate {
                    version: down.version,
                    one: first.file().to_owned(),
                    other: file,
                });
            }
        },
        _ => {
            let up = format!("{}_{}.up.sql", down.version, down.name);
            return Err(LayoutError::DownWithoutUp { file, up });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{reads, refused};

    #[test]
    fn a_migration_is_an_up_with_its_down_or_stands_alone() {
        reads(
            &[
                ("10_c.sql", "SELECT 3"),
                ("0002_b.up.sql", "-- no-transaction\nSELECT 2"),
                ("0002_b.down.sql", "-- nothing yet"),
                ("1_a é b.up.sql", "\u{feff}SELECT 1;\r\nSELECT 1;"),
            ],
            &[
                "1 a é b up 1_a é b.up.sql[1:1 SELECT 1; 2:1 SELECT 1] down none",
                "0002 b up !0002_b.up.sql[2:1 SELECT 2] down 0002_b.down.sql[]",
                "10 c up 10_c.sql[1:1 SELECT 3] down none",
            ],
        );
    }

    #[test]
    fn a_directive_behind_a_mark_or_blank_line_counts_and_is_noted() {
        for (text, notes) in [
            ("-- no-transaction\nSELECT 1", 0),
            ("\u{feff}-- no-transaction\nSELECT 1", 1),
            ("\n-- no-transaction\nSELECT 1", 1),
            ("\n-- other\nSELECT 1", 0),
        ] {
            let set = super::super::testing::set(&[("1_a.sql", text)]).unwrap();
            assert_eq!(set.notes().len(), notes, "{text:?} {:?}", set.notes());
        }
    }

    #[test]
    fn a_name_that_sounds_like_a_way_back_is_noted() {
        let notes = |name| super::super::testing::set(&[(name, "")]).unwrap().notes().to_vec();
        let note = "1_a_down.sql: it counts as a migration of its own; the way back is called NNNN_name.down.sql";
        assert_eq!(notes("1_a_down.sql"), [note]);
        assert_eq!(notes("1_a_down.up.sql"), [""; 0]);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        refused(
            &[("01_a.sql", ""), ("1_b.up.sql", "")],
            "01_a.sql and 1_b.up.sql have the same version 01; give one of them a new version",
        );
        refused(
            &[("1_a.sql", ""), ("1_a.up.sql", "")],
            "1_a.sql and 1_a.up.sql have the same version 1; give one of them a new version",
        );
        refused(
            &[("1_a.up.sql", ""), ("1_a.down.sql", ""), ("01_a.down.sql", "")],
            "01_a.down.sql and 1_a.down.sql have the same version 1; give one of them a new version",
        );
        let alone = "1_a.down.sql has no 1_a.up.sql beside it; write that, or remove the down file";
        refused(&[("1_a.down.sql", "")], alone);
        refused(&[("1_b.up.sql", ""), ("1_a.down.sql", "")], alone);
        refused(&[("1_a.sql", ""), ("1_a.down.sql", "")], alone);
        refused(
            &[("2_a.DOWN.sql", "")],
            "2_a.DOWN.sql has no 2_a.up.sql beside it; write that, or remove the down file",
        );
        let version = "2024-01-01_a.sql: its name must start with a version of 1 to 32 digits and an underscore, such as 0001_name";
        refused(&[("2024-01-01_a.sql", "")], version);
    }
}
