//! `NNNN_name.sql`, with a rollback file that has the same name behind its number.
//!
//! A rollback that fits no migration, or two, is refused; a migration without one has no way back.

use super::super::{Migration, Numbering, Version};
use super::names::{Rollback, rollback, stem, versioned};
use super::{FolderFile, Layout, LayoutError, Reading, stray, whole};

pub(super) fn read(files: &[FolderFile]) -> Result<Reading, LayoutError> {
    let mut reading = Reading::new(Layout::Loose, Numbering::Integer);
    let mut rollbacks = Vec::new();
    for file in files {
        let stem = if file.is_at_top() { stem(&file.path).ok() } else { None };
        let Some(stem) = stem else {
            reading.ignore(file, stray(file));
            continue;
        };
        if let Some(rollback) = rollback(stem) {
            rollbacks.push((file, rollback));
            continue;
        }
        let Some(parsed) = versioned(&file.path, stem) else {
            reading.ignore(file, stray(file));
            continue;
        };
        let (version, name) = parsed?;
        let up = whole(file, &mut reading.notes)?;
        reading.migrations.push(Migration { version, name, up, down: None });
    }
    let mut reading = reading.sorted()?;
    for (file, rollback) in rollbacks {
        let script = whole(file, &mut reading.notes)?;
        let migration = partner(&mut reading.migrations, file, &rollback)?;
        if let Some(first) = &migration.down {
            let (one, other) = (first.file().to_owned(), file.path.clone());
            return Err(LayoutError::TwoRollbacks { up: migration.up.file().to_owned(), one, other });
        }
        migration.down = Some(script);
    }
    Ok(reading)
}

/// The one migration that a rollback undoes: by its name, and where that is not enough, by its number as well.
fn partner<'m>(
    migrations: &'m mut [Migration],
    file: &FolderFile,
    rollback: &Rollback<'_>,
) -> Result<&'m mut Migration, LayoutError> {
    let numbered = |version: &Version| {
        rollback.number.as_ref().is_some_and(|number| Numbering::Integer.compare(number, version).is_eq())
    };
    let mut fitting: Vec<&mut Migration> = migrations
        .iter_mut()
        .filter(|migration| {
            migration.name == rollback.name || (rollback.name.is_empty() && numbered(&migration.version))
        })
        .collect();
    if fitting.len() > 1 && fitting.iter().any(|migration| numbered(&migration.version)) {
        fitting.retain(|migration| numbered(&migration.version));
    }
    let mut fitting = fitting.into_iter();
    match (fitting.next(), fitting.next()) {
        (None, _) => Err(LayoutError::RollbackOfNothing { file: file.path.clone() }),
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => Err(LayoutError::RollbackOfSeveral {
            file: file.path.clone(),
            one: one.up.file().to_owned(),
            other: other.up.file().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ignored, reads, refused};

    #[test]
    fn a_rollback_belongs_to_the_migration_of_its_name() {
        let set = reads(
            &[
                ("0001_users.sql", "SELECT 1"),
                ("rollback_users.sql", "SELECT -1"),
                ("0002_orders.sql", "SELECT 2"),
                ("0002_orders_rollback.sql", "SELECT -2"),
                ("0003_keys.sql", "SELECT 3"),
                ("keys_ROLLBACK.sql", "SELECT -3"),
                ("0004_alone.sql", "SELECT 4"),
                ("0005_late.sql", "SELECT 5"),
                ("0006_late_rollback.sql", "SELECT -5"),
                ("7_x.sql", "SELECT 7"),
                ("rollback_0007.sql", "SELECT -7"),
                ("all.sql", ""),
            ],
            &[
                "0001 users up 0001_users.sql[1:1 SELECT 1] down rollback_users.sql[1:1 SELECT -1]",
                "0002 orders up 0002_orders.sql[1:1 SELECT 2] down 0002_orders_rollback.sql[1:1 SELECT -2]",
                "0003 keys up 0003_keys.sql[1:1 SELECT 3] down keys_ROLLBACK.sql[1:1 SELECT -3]",
                "0004 alone up 0004_alone.sql[1:1 SELECT 4] down none",
                "0005 late up 0005_late.sql[1:1 SELECT 5] down 0006_late_rollback.sql[1:1 SELECT -5]",
                "7 x up 7_x.sql[1:1 SELECT 7] down rollback_0007.sql[1:1 SELECT -7]",
            ],
        );
        assert_eq!(ignored(&set), ["all.sql: its name does not start with a version"]);
    }

    #[test]
    fn the_number_decides_between_two_of_one_name() {
        reads(
            &[("1_a.sql", "SELECT 1"), ("2_a.sql", "SELECT 2"), ("02_a_rollback.sql", "SELECT -2")],
            &[
                "1 a up 1_a.sql[1:1 SELECT 1] down none",
                "2 a up 2_a.sql[1:1 SELECT 2] down 02_a_rollback.sql[1:1 SELECT -2]",
            ],
        );
    }

    #[test]
    fn a_rollback_of_nothing_or_of_two_is_refused() {
        let nothing = "is a rollback of no migration here; give both files the same name behind the number";
        refused(&[("1_a.sql", ""), ("rollback_b.sql", "")], &format!("rollback_b.sql {nothing}"));
        refused(&[("1_a.sql", ""), ("1_b_rollback.sql", "")], &format!("1_b_rollback.sql {nothing}"));
        refused(&[("rollback.sql", "")], &format!("rollback.sql {nothing}"));
        refused(
            &[("1_a.sql", ""), ("2_a.sql", ""), ("rollback_a.sql", "")],
            "rollback_a.sql could be the rollback of 1_a.sql or of 2_a.sql; put the number of the right one in its name",
        );
        refused(
            &[("1_a.sql", ""), ("rollback_a.sql", ""), ("1_a_rollback.sql", "")],
            "1_a_rollback.sql and rollback_a.sql are both a rollback of 1_a.sql; keep one",
        );
        refused(
            &[("1_a.sql", ""), ("01_b.sql", ""), ("rollback_a.sql", "")],
            "01_b.sql and 1_a.sql have the same version 01; give one of them a new version",
        );
    }
}
