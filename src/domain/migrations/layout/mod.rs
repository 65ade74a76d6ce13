//! The six ways to lay out migrations in a folder (migrations.md 3), read into one form.
//!
//! Pure: the files are given. One layout per folder; every `.sql` file becomes part of exactly one migration, is listed as
//! ignored with a reason, or the read fails. No rollback ever counts as forward.

mod dbmate;
mod diesel;
mod error;
mod goose;
mod loose;
mod manifest;
mod names;
mod next;
mod paired;
mod sections;

use std::fmt;

use super::{Ignored, Migration, Numbering, Script, Wrapping};

pub use error::{Kind, LayoutError, ManifestError, MarkerError};
pub use manifest::named as named_in_manifest;
pub use next::{Addition, MigrationName, NameError, NewFile, NextError, next};

/// The file that lists the migrations of a folder by hand.
pub const MANIFEST: &str = "llmhub.migrations.toml";

/// How a folder writes its migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `NNNN_name.up.sql` and `NNNN_name.down.sql`; `NNNN_name.sql` has no way back.
    Paired,
    /// `NNNN_name.sql`, and a rollback file of the same name.
    Loose,
    /// A folder `VERSION_name` with `up.sql` and `down.sql`.
    Diesel,
    /// One file with `-- migrate:up` and `-- migrate:down`.
    Dbmate,
    /// One file with `-- +goose Up` and `-- +goose Down`.
    Goose,
    /// Any files, in the order of [`MANIFEST`].
    Manifest,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paired => "paired",
            Self::Loose => "loose rollback",
            Self::Diesel => "diesel",
            Self::Dbmate => "dbmate",
            Self::Goose => "goose",
            Self::Manifest => "manifest",
        })
    }
}

/// Whether a file that is looked at by itself takes something back, as far as its name tells.
pub(in crate::domain) fn is_down(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = names::stem(name).unwrap_or(name);
    stem == "down" || names::direction(stem).0 == names::Direction::Down || names::rollback(stem).is_some()
}

/// Whether a file's name is that of SQL; or why it is passed over.
pub(in crate::domain) fn is_sql(path: &str) -> Result<(), String> {
    names::stem(path.rsplit('/').next().unwrap_or(path)).map(drop)
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFile {
    /// Its path relative to the folder, with `/`.
    pub path: String,
    /// What is in it.
    pub content: FileContent,
}

/// What is in one entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// This text.
    Text(String),
    /// Something else: from this line on, counted from 1.
    NotUtf8 {
        /// The line.
        line: usize,
    },
    /// It was not read, because its name or kind makes it no part of a migration.
    Unread,
    /// More entries, which have paths of their own.
    Folder,
}

impl FolderFile {
    fn text(&self) -> Result<&str, LayoutError> {
        match &self.content {
            FileContent::Text(text) => Ok(text),
            FileContent::NotUtf8 { line } => Err(LayoutError::NotUtf8 { file: self.path.clone(), line: *line }),
            FileContent::Unread | FileContent::Folder => Err(LayoutError::NotAFile { file: self.path.clone() }),
        }
    }

    /// The folder it lies in, if not the top, and its name there.
    fn split(&self) -> (Option<&str>, &str) {
        self.path.rsplit_once('/').map_or((None, self.path.as_str()), |(folder, name)| (Some(folder), name))
    }

    fn is_at_top(&self) -> bool {
        self.split().0.is_none() && self.content != FileContent::Folder
    }
}

/// A folder as its layout reads it.
#[derive(Debug)]
pub(super) struct Reading {
    pub layout: Layout,
    pub numbering: Numbering,
    pub migrations: Vec<Migration>,
    pub ignored: Vec<Ignored>,
    pub notes: Vec<String>,
}

impl Reading {
    fn new(layout: Layout, numbering: Numbering) -> Self {
        Self { layout, numbering, migrations: Vec::new(), ignored: Vec::new(), notes: Vec::new() }
    }

    fn ignore(&mut self, file: &FolderFile, reason: impl Into<String>) {
        self.ignored.push(Ignored { file: file.path.clone(), reason: reason.into() });
    }

    /// Oldest first, and no version twice.
    fn sorted(mut self) -> Result<Self, LayoutError> {
        let numbering = self.numbering;
        self.migrations.sort_by(|one, other| numbering.compare(&one.version, &other.version));
        for (one, other) in self.migrations.iter().zip(self.migrations.iter().skip(1)) {
            if numbering.compare(&one.version, &other.version).is_eq() {
                return Err(LayoutError::Duplicate {
                    version: one.version.clone(),
                    one: one.up.file().to_owned(),
                    other: other.up.file().to_owned(),
                });
            }
        }
        self.ignored.sort_by(|one, other| one.file.cmp(&other.file));
        Ok(self)
    }
}

/// Read a folder, whichever layout it has.
pub(super) fn read(mut files: Vec<FolderFile>) -> Result<Reading, LayoutError> {
    // Which of two faults is reported must not depend on the order in which a disk lists its files.
    files.sort_by(|one, other| one.path.cmp(&other.path));
    if let Some(manifest) = files.iter().find(|file| file.path == MANIFEST) {
        return manifest::read(manifest.text()?, &files);
    }
    let reading = match recognise(&files)? {
        Some(Layout::Loose) => loose::read(&files),
        Some(Layout::Diesel) => diesel::read(&files),
        Some(Layout::Dbmate) => dbmate::read(&files),
        Some(Layout::Goose) => goose::read(&files),
        Some(Layout::Paired | Layout::Manifest) => paired::read(&files),
        None => return Err(LayoutError::NoMigrations { strays: strays(&files) }),
    };
    reading?.sorted()
}

/// The one layout of the folder, or `None` where nothing is a migration.
fn recognise(files: &[FolderFile]) -> Result<Option<Layout>, LayoutError> {
    let mut first: Option<(&FolderFile, Kind)> = None;
    for file in files {
        for kind in kinds(file)? {
            match first {
                None => first = Some((file, kind)),
                Some((_, seen)) if seen == kind => {}
                // Diesel itself looks at folders only, so a script beside them is passed over.
                Some((_, Kind::Of(Layout::Diesel))) if kind == Kind::Of(Layout::Loose) => {}
                Some((_, Kind::Of(Layout::Loose))) if kind == Kind::Of(Layout::Diesel) => first = Some((file, kind)),
                // A plain file is a migration without a way back in these two; the rest of the folder says which it is.
                Some((_, Kind::Of(Layout::Paired | Layout::Loose))) if kind == Kind::Plain => {}
                Some((_, Kind::Plain)) if matches!(kind, Kind::Of(Layout::Paired | Layout::Loose)) => {
                    first = Some((file, kind));
                }
                Some((one, one_is)) => {
                    let (one, other) = (one.path.clone(), file.path.clone());
                    return Err(LayoutError::Mixed { one, one_is, other, other_is: kind });
                }
            }
        }
    }
    Ok(first.map(|(_, kind)| match kind {
        Kind::Of(layout) => layout,
        Kind::Plain => Layout::Paired,
    }))
}

/// What a file looks like: nothing for what is no migration, two things where its name and its text disagree.
fn kinds(file: &FolderFile) -> Result<Vec<Kind>, LayoutError> {
    if file.content == FileContent::Folder {
        return Ok(Vec::new());
    }
    let (folder, name) = file.split();
    if let Some(folder) = folder {
        let is_part = !folder.contains('/') && !folder.starts_with('.') && matches!(name, "up.sql" | "down.sql");
        return Ok(if is_part { vec![Kind::Of(Layout::Diesel)] } else { Vec::new() });
    }
    let Ok(stem) = names::stem(name) else { return Ok(Vec::new()) };
    let (direction, bare) = names::direction(stem);
    let rollback = direction == names::Direction::Alone && names::rollback(stem).is_some();
    if names::number(bare).0.is_empty() {
        // Without a number it is no migration of a single-file layout, whatever markers it holds.
        return Ok(if rollback { vec![Kind::Of(Layout::Loose)] } else { Vec::new() });
    }
    let text = file.text()?;
    let mut kinds = Vec::new();
    if direction != names::Direction::Alone {
        kinds.push(Kind::Of(Layout::Paired));
    }
    for (layout, holds) in [(Layout::Dbmate, dbmate::has_marker(text)), (Layout::Goose, goose::has_marker(text))] {
        if holds {
            kinds.push(Kind::Of(layout));
        }
    }
    if kinds.is_empty() {
        kinds.push(if rollback { Kind::Of(Layout::Loose) } else { Kind::Plain });
    }
    Ok(kinds)
}

/// Why a file that is no migration of a numbered layout is passed over.
fn stray(file: &FolderFile) -> String {
    if file.content == FileContent::Folder || file.split().0.is_some() {
        return "only the top of the folder is read".to_owned();
    }
    match names::stem(file.split().1) {
        Err(reason) => reason,
        Ok(_) => "its name does not start with a version".to_owned(),
    }
}

fn strays(files: &[FolderFile]) -> Vec<String> {
    let is_sql = |file: &&FolderFile| file.path.to_ascii_lowercase().contains(".sql");
    files.iter().filter(is_sql).map(|file| format!("{} was passed over: {}", file.path, stray(file))).collect()
}

/// A whole file as a script that may decline its transaction in its first line, and what to tell of that.
fn whole(file: &FolderFile, notes: &mut Vec<String>) -> Result<Script, LayoutError> {
    let text = file.text()?;
    let script = Script::new(text).named(&file.path);
    if script.wrapping() == Wrapping::None && !text.starts_with('-') {
        notes.push(format!(
            "{}: -- no-transaction stands behind a byte order mark, a blank or an empty line; it counts here, but other tools miss it",
            file.path
        ));
    }
    Ok(script)
}

/// Whether a text has its up and its down in sections, behind the markers of dbmate or goose.
pub(in crate::domain) fn has_sections(text: &str) -> bool {
    dbmate::has_marker(text) || goose::has_marker(text)
}

/// The name of a `.sql` file without its ending; or why it is none.
pub(in crate::domain) fn sql_stem(name: &str) -> Result<&str, String> {
    names::stem(name)
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::super::Set;
    use super::testing::{files, ignored, reads, refused, set};
    use super::*;

    const UP: &str = "-- migrate:up\nSELECT 1;\n";
    const GOOSE: &str = "-- +goose Up\nSELECT 1;\n";

    #[test]
    fn the_layout_is_seen_from_names_and_markers() {
        #[track_caller]
        fn case(given: &[(&str, &str)], expected: Layout) {
            assert_eq!(set(given).map(|set| set.layout()), Ok(expected), "{given:?}");
        }
        case(&[("1_a.sql", "")], Layout::Paired);
        case(&[("1_a.sql", ""), ("2_b.up.sql", "")], Layout::Paired);
        case(&[("1_a.sql", ""), ("a_rollback.sql", "")], Layout::Loose);
        case(&[("1_a/up.sql", "SELECT 1"), ("schema.sql", "")], Layout::Diesel);
        case(&[("1_a/up.sql", "SELECT 1"), ("rollback_all.sql", "")], Layout::Diesel);
        case(&[("1_a.sql", UP), ("schema.sql", "")], Layout::Dbmate);
        case(&[("1_a.sql", GOOSE)], Layout::Goose);
    }

    #[test]
    fn two_layouts_in_one_folder_are_refused_with_both_files() {
        #[track_caller]
        fn case(given: &[(&str, &str)], words: &str) {
            let tail = "; keep one of them, or list the files in llmhub.migrations.toml";
            refused(given, &format!("the folder mixes layouts: {words}{tail}"));
        }
        case(&[("1_a.sql", UP), ("2_b.sql", GOOSE)], "1_a.sql is dbmate, 2_b.sql is goose");
        case(&[("1_a.sql", UP), ("2_b.sql", "SELECT 1")], "1_a.sql is dbmate, 2_b.sql is plain SQL");
        case(&[("1_a.sql", ""), ("2_b.sql", GOOSE)], "1_a.sql is plain SQL, 2_b.sql is goose");
        case(&[("1_a.up.sql", GOOSE)], "1_a.up.sql is paired, 1_a.up.sql is goose");
        case(&[("1_a.up.sql", ""), ("a_rollback.sql", "")], "1_a.up.sql is paired, a_rollback.sql is loose rollback");
        case(
            &[("1_a.sql", ""), ("2024-01-01-000000_b/up.sql", "")],
            "1_a.sql is plain SQL, 2024-01-01-000000_b/up.sql is diesel",
        );
        case(&[("1_a.sql", UP), ("rollback_all.sql", "")], "1_a.sql is dbmate, rollback_all.sql is loose rollback");
    }

    #[test]
    fn a_manifest_overrules_every_other_layout() {
        let manifest = "[[migration]]\nversion = '1'\nup = '1_a.sql'\n[[migration]]\nversion = '2'\nup = '2_b.sql'\n";
        let set = reads(
            &[(MANIFEST, manifest), ("1_a.sql", "SELECT 1"), ("2_b.sql", GOOSE)],
            &["1 a up 1_a.sql[1:1 SELECT 1] down none", "2 b up 2_b.sql[2:1 SELECT 1] down none"],
        );
        assert_eq!(set.layout(), Layout::Manifest);
    }

    #[test]
    fn a_folder_without_migrations_is_an_error_that_tells_what_was_passed_over() {
        refused(&[], "the folder holds no migrations; write the first one: llmhub db new NAME");
        refused(&[("README.md", "")], "the folder holds no migrations; write the first one: llmhub db new NAME");
        let one = "the folder holds no migrations; users.sql was passed over: its name does not start with a version";
        refused(&[("users.sql", "")], one);
        refused(
            &[("1_a.SQL", ""), ("1_a.sql.txt", "")],
            "the folder holds no migrations; 1_a.SQL was passed over: its name ends in .SQL, not in .sql, and 1 more .sql \
             files were passed over",
        );
    }

    #[test]
    fn strays_are_listed_with_a_reason() {
        let set = set(&[
            ("1_a.sql", "SELECT 1"),
            ("2_b.SQL", ""),
            ("3_c.sql.txt", ""),
            ("4_d.sql~", ""),
            (".5_e.sql", ""),
            ("schema.sql", ""),
            ("README.md", ""),
            ("old/6_f.sql", ""),
        ])
        .unwrap();
        assert_eq!(
            ignored(&set),
            [
                ".5_e.sql: its name starts with a dot",
                "2_b.SQL: its name ends in .SQL, not in .sql",
                "3_c.sql.txt: its name ends in .sql.txt, not in .sql",
                "4_d.sql~: an editor or a merge left it behind",
                "README.md: it is no .sql file",
                "old: only the top of the folder is read",
                "old/6_f.sql: only the top of the folder is read",
                "schema.sql: its name does not start with a version",
            ]
        );
    }

    #[test]
    fn a_file_that_counts_must_be_text() {
        #[track_caller]
        fn case(path: &str, content: FileContent, expected: Option<&str>) {
            let mut files = files(&[("1_a.sql", "SELECT 1")]);
            files.push(FolderFile { path: path.to_owned(), content });
            assert_eq!(Set::read(files).err().map(|error| error.to_string()).as_deref(), expected, "{path}");
        }
        let not_utf8 = FileContent::NotUtf8 { line: 7 };
        case("2_b.sql", not_utf8.clone(), Some("2_b.sql:7: the text is not UTF-8; save it as UTF-8"));
        case(MANIFEST, not_utf8.clone(), Some("llmhub.migrations.toml:7: the text is not UTF-8; save it as UTF-8"));
        case("notes.sql", not_utf8, None);
        let pipe = "2_b.sql is not a regular file; put the SQL itself there";
        case("2_b.sql", FileContent::Unread, Some(pipe));
        case("2_b.sql", FileContent::Folder, None);
    }

    #[test]
    fn a_version_is_found_as_its_layout_compares_it() {
        let integers = set(&[("0003_a.sql", ""), ("10_b.sql", "")]).unwrap();
        let name =
            |set: &Set, version: &str| set.find(&version.parse().unwrap()).map(|migration| migration.name.clone());
        assert_eq!(name(&integers, "3").as_deref(), Some("a"));
        assert_eq!(name(&integers, "00010").as_deref(), Some("b"));
        assert_eq!(name(&integers, "1"), None);
        let texts = set(&[("003_a.sql", UP)]).unwrap();
        assert_eq!(name(&texts, "3"), None);
        assert_eq!(name(&texts, "003").as_deref(), Some("a"));
    }
}
