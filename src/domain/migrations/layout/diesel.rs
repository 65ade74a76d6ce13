//! A folder `YYYY-MM-DD-HHMMSS_name/` with `up.sql`, and perhaps `down.sql` and `metadata.toml`.
//!
//! The version is all before the first `_` without its dashes, compared as text. Where diesel would be silent about a file
//! that it cannot use, the read fails.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::{Migration, Numbering, Script, Version, Wrapping};
use super::{FileContent, FolderFile, Layout, LayoutError, Reading};

/// The files of one folder that count.
#[derive(Default)]
struct Parts<'a> {
    up: Option<&'a FolderFile>,
    down: Option<&'a FolderFile>,
    metadata: Option<&'a FolderFile>,
}

pub(super) fn read(files: &[FolderFile]) -> Result<Reading, LayoutError> {
    let mut reading = Reading::new(Layout::Diesel, Numbering::Text);
    let mut folders: BTreeMap<&str, Parts<'_>> = BTreeMap::new();
    for file in files {
        let (folder, name) = match (file.split(), &file.content) {
            ((None, name), FileContent::Folder) => (name, None),
            ((None, _), _) => {
                reading.ignore(file, "diesel reads folders, not the files beside them");
                continue;
            }
            ((Some(folder), name), _) => (folder, Some(name)),
        };
        if folder.starts_with('.') {
            reading.ignore(file, "its name starts with a dot");
            continue;
        }
        if folder.contains('/') || (name.is_some() && file.content == FileContent::Folder) {
            reading.ignore(file, "diesel reads no folders inside a migration");
            continue;
        }
        let parts = folders.entry(folder).or_default();
        match name {
            Some("up.sql") => parts.up = Some(file),
            Some("down.sql") => parts.down = Some(file),
            Some("metadata.toml") => parts.metadata = Some(file),
            Some(_) => reading.ignore(file, "diesel reads up.sql, down.sql and metadata.toml only"),
            None => {}
        }
    }
    for (folder, parts) in folders {
        reading.migrations.push(migration(folder, &parts, &mut reading.notes)?);
    }
    Ok(reading)
}

fn migration(folder: &str, parts: &Parts<'_>, notes: &mut Vec<String>) -> Result<Migration, LayoutError> {
    let up = parts.up.ok_or_else(|| LayoutError::NoUpFile { folder: folder.to_owned() })?;
    let (digits, name) = folder.split_once('_').unwrap_or((folder, ""));
    let version: Version =
        digits.replace('-', "").parse().map_err(|_| LayoutError::BadVersion { file: folder.to_owned() })?;
    let wrapping = match parts.metadata {
        None => Wrapping::Transaction,
        Some(file) => wrapping(file, notes)?,
    };
    Ok(Migration {
        version,
        name: name.to_owned(),
        up: script(up, wrapping)?,
        down: parts.down.map(|down| script(down, wrapping)).transpose()?,
    })
}

fn script(file: &FolderFile, wrapping: Wrapping) -> Result<Script, LayoutError> {
    let text = file.text()?;
    if text.trim_start_matches('\u{feff}').is_empty() {
        return Err(LayoutError::EmptyFile { file: file.path.clone() });
    }
    Ok(Script::new(text).named(&file.path).wrapped(wrapping))
}

#[derive(Deserialize)]
struct Metadata {
    run_in_transaction: Option<bool>,
}

fn wrapping(file: &FolderFile, notes: &mut Vec<String>) -> Result<Wrapping, LayoutError> {
    let text = file.text()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let metadata: Metadata = toml::from_str(text).map_err(|error| {
        let line = super::manifest::line_of(text, error.span().map_or(0, |span| span.start));
        LayoutError::Metadata { file: file.path.clone(), line, message: error.message().to_owned() }
    })?;
    Ok(match metadata.run_in_transaction {
        Some(true) => Wrapping::Transaction,
        Some(false) => Wrapping::None,
        None => {
            notes.push(format!(
                "{}: without run_in_transaction the migration runs outside a transaction, as diesel does it",
                file.path
            ));
            Wrapping::None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ignored, reads, refused, set};

    #[test]
    fn a_folder_is_a_migration_and_its_version_has_no_dashes() {
        let set = reads(
            &[
                ("00000000000000_first/up.sql", "SELECT 0"),
                ("00000000000000_first/down.sql", "-- nothing"),
                ("2024-01-02-030405_b_c/up.sql", "SELECT 1"),
                ("2024-01-02-030405_b_c/notes.txt", ""),
                (".hidden/up.sql", ""),
                ("README.md", ""),
                ("schema.sql", ""),
            ],
            &[
                "00000000000000 first up 00000000000000_first/up.sql[1:1 SELECT 0] down 00000000000000_first/down.sql[]",
                "20240102030405 b_c up 2024-01-02-030405_b_c/up.sql[1:1 SELECT 1] down none",
            ],
        );
        assert_eq!(
            ignored(&set),
            [
                ".hidden: its name starts with a dot",
                ".hidden/up.sql: its name starts with a dot",
                "2024-01-02-030405_b_c/notes.txt: diesel reads up.sql, down.sql and metadata.toml only",
                "README.md: diesel reads folders, not the files beside them",
                "schema.sql: diesel reads folders, not the files beside them",
            ]
        );
    }

    #[test]
    fn versions_are_compared_as_text() {
        let set = set(&[("9_c/up.sql", "x"), ("1-0_b/up.sql", "x"), ("1_a/up.sql", "x")]).unwrap();
        let versions: Vec<&str> = set.migrations().iter().map(|migration| migration.version.as_str()).collect();
        assert_eq!(versions, ["1", "10", "9"]);
    }

    #[test]
    fn metadata_without_the_key_means_no_transaction() {
        for (metadata, mark, notes) in [
            (None, "", 0),
            (Some("run_in_transaction = true"), "", 0),
            (Some("run_in_transaction = false"), "!", 0),
            (Some(""), "!", 1),
            (Some("other = 1"), "!", 1),
        ] {
            let mut files = vec![("1_a/up.sql", "-- no-transaction\nSELECT 1")];
            files.extend(metadata.map(|text| ("1_a/metadata.toml", text)));
            let set = reads(&files, &[&format!("1 a up {mark}1_a/up.sql[2:1 SELECT 1] down none")]);
            assert_eq!(set.notes().len(), notes, "{metadata:?}");
        }
    }

    #[test]
    fn what_diesel_would_pass_over_in_silence_is_refused() {
        let up = ("1_a/up.sql", "SELECT 1");
        refused(&[up, ("2_b/down.sql", "")], "2_b/ has no up.sql; write it, or remove the folder");
        refused(&[up, ("2_b/", "")], "2_b/ has no up.sql; write it, or remove the folder");
        refused(&[("1_a/up.sql", "")], "1_a/up.sql is empty; write the SQL, or remove the file");
        refused(&[up, ("1_a/down.sql", "\u{feff}")], "1_a/down.sql is empty; write the SQL, or remove the file");
        refused(
            &[up, ("1_a/metadata.toml", "\nrun_in_transaction = 1")],
            "1_a/metadata.toml:2: invalid type: integer `1`, expected a boolean",
        );
        refused(
            &[up, ("b/up.sql", "x")],
            "b: its name must start with a version of 1 to 32 digits and an underscore, such as 0001_name",
        );
        refused(
            &[("2024-01_a/up.sql", "x"), ("202401_b/up.sql", "x")],
            "2024-01_a/up.sql and 202401_b/up.sql have the same version 202401; give one of them a new version",
        );
    }
}
