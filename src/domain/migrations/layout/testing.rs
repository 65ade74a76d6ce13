//! Folders as the tests of the layouts write them, and what was read as one text.

use super::super::{Set, Wrapping};
use super::{FileContent, FolderFile, LayoutError};

/// Entries from paths and texts; a path that ends in `/` is a folder, and folders of files are added.
pub fn files(given: &[(&str, &str)]) -> Vec<FolderFile> {
    let mut files: Vec<FolderFile> = Vec::new();
    let mut add = |path: &str, content: FileContent| {
        if !files.iter().any(|file| file.path == path) {
            files.push(FolderFile { path: path.to_owned(), content });
        }
    };
    for (path, text) in given {
        for (at, _) in path.match_indices('/') {
            add(&path[..at], FileContent::Folder);
        }
        if !path.ends_with('/') {
            add(path, FileContent::Text((*text).to_owned()));
        }
    }
    files
}

/// The folder, read.
pub fn set(given: &[(&str, &str)]) -> Result<Set, LayoutError> {
    Set::read(files(given))
}

/// One line a migration: version, name, up and down with their statements' places, `!` where one runs without a transaction.
pub fn told(set: &Set) -> Vec<String> {
    let script = |script: &super::Script| {
        let statements = script.statements().unwrap();
        let statements: Vec<String> =
            statements.iter().map(|one| format!("{} {}", one.position(), one.text())).collect();
        let mark = if script.wrapping() == Wrapping::None { "!" } else { "" };
        format!("{mark}{}[{}]", script.file(), statements.join("; "))
    };
    let line = |migration: &super::Migration| {
        let down = migration.down.as_ref().map_or("none".to_owned(), script);
        format!("{} {} up {} down {down}", migration.version, migration.name, script(&migration.up))
    };
    set.migrations().iter().map(line).collect()
}

/// What was passed over, `file: reason`.
pub fn ignored(set: &Set) -> Vec<String> {
    set.ignored().iter().map(|ignored| format!("{}: {}", ignored.file, ignored.reason)).collect()
}

/// Hold that a folder reads like this.
#[track_caller]
pub fn reads(given: &[(&str, &str)], expected: &[&str]) -> Set {
    let set = set(given).unwrap_or_else(|error| panic!("{error}: {given:?}"));
    assert_eq!(told(&set), expected, "{given:?}");
    set
}

/// Hold that a folder is refused in these words.
#[track_caller]
pub fn refused(given: &[(&str, &str)], words: &str) {
    match set(given) {
        Err(error) => assert_eq!(error.to_string(), words, "{given:?}"),
        Ok(set) => panic!("read as {:?}: {given:?}", told(&set)),
    }
}
