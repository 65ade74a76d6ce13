//! What is linted together: a folder of migrations in any layout, or files that were named one by one.
//!
//! A fault of the folder is a finding, and what it leaves readable is still linted: the file at fault is taken out and
//! looked at by itself. Where the layout itself is in doubt, all files are.

use std::collections::BTreeSet;

use super::Way;
use super::unit::Hit;
use crate::domain::migrations::{
    FileContent, FolderFile, Ignored, Layout, LayoutError, MANIFEST, Script, Set, is_down, is_sql,
};

/// How many files of a folder are taken out before it is given up as a whole: each costs another read of all.
const PATIENCE: usize = 50;

/// The files that see each other.
#[derive(Default)]
pub struct Folder {
    pub(super) pieces: Vec<Piece>,
    pub(super) steps: Vec<Step>,
    pub(super) troubles: Vec<Trouble>,
    /// What stands above the first marker of a file with sections.
    pub(super) preambles: Vec<(String, String)>,
    ignored: Vec<Ignored>,
}

/// A script and what it is for.
pub(super) struct Piece {
    pub script: Script,
    pub way: Way,
}

/// A migration, by the places of its scripts.
pub(super) struct Step {
    pub up: usize,
    pub down: Option<usize>,
}

/// A fault of the folder itself.
pub(super) struct Trouble {
    pub kind: TroubleKind,
    pub file: String,
    pub line: usize,
    pub message: String,
    pub also: Option<String>,
}

/// Which rule it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TroubleKind {
    DuplicateVersion,
    NotUtf8,
    Layout,
}

impl Trouble {
    pub(super) fn hit(&self) -> Hit {
        let hit = Hit::of_file(&self.file, self.line, &self.message);
        self.also.iter().fold(hit, |hit, also| hit.with(also))
    }
}

impl Folder {
    /// A folder; `prefix` goes in front of every path that is shown, and `files` are all its entries.
    pub fn read(prefix: &str, mut files: Vec<FolderFile>) -> Self {
        let mut folder = Self::default();
        let has_manifest = files.iter().any(|file| file.path == MANIFEST);
        let mut apart: Vec<FolderFile> = Vec::new();
        loop {
            let error = match Set::read(files.clone()) {
                Ok(set) => {
                    folder.take_set(prefix, &set, &files);
                    files.clear();
                    break;
                }
                // All that was a migration has a fault of its own, which is told already.
                Err(LayoutError::NoMigrations { .. }) if !apart.is_empty() => break,
                Err(error) => error,
            };
            folder.blame(prefix, &error);
            let Some(culprit) = at_fault(&error).filter(|_| !has_manifest && apart.len() < PATIENCE) else { break };
            let scope = culprit.split_once('/').map(|(folder, _)| format!("{folder}/"));
            let is_it = |file: &FolderFile| {
                file.path == culprit || scope.as_ref().is_some_and(|scope| file.path.starts_with(scope))
            };
            let (out, rest): (Vec<_>, Vec<_>) = files.into_iter().partition(is_it);
            files = rest;
            if out.is_empty() {
                break;
            }
            apart.extend(out);
        }
        apart.append(&mut files);
        for file in apart {
            folder.take_file(&format!("{prefix}{}", file.path), file.content);
        }
        folder
    }

    /// Files that were named one by one.
    pub fn loose(files: Vec<FolderFile>) -> Self {
        let mut folder = Self::default();
        for FolderFile { path, content } in files {
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            if let Err(reason) = is_sql(&name) {
                folder.ignored.push(Ignored { file: path, reason });
                continue;
            }
            let alone = vec![FolderFile { path: name.clone(), content: content.clone() }];
            let prefix = path.strip_suffix(&name).unwrap_or_default();
            match Set::read(alone.clone()) {
                Ok(set) if matches!(set.layout(), Layout::Dbmate | Layout::Goose) => {
                    folder.take_set(prefix, &set, &alone);
                }
                _ => folder.take_file(&path, content),
            }
        }
        folder
    }

    /// The migrations that travel in the binary.
    pub fn embedded() -> Self {
        let mut folder = Self::default();
        folder.take_set("", &Set::embedded(), &[]);
        folder
    }

    /// The names of its SQL files.
    pub(super) fn files(&self) -> BTreeSet<&str> {
        let troubled = self.troubles.iter().filter(|trouble| trouble.kind == TroubleKind::NotUtf8);
        let named = self.pieces.iter().map(|piece| piece.script.file());
        named.chain(troubled.map(|trouble| trouble.file.as_str())).collect()
    }

    /// What lies there and is not linted, and why.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    fn take_set(&mut self, prefix: &str, set: &Set, files: &[FolderFile]) {
        let sectioned = matches!(set.layout(), Layout::Dbmate | Layout::Goose);
        for migration in set.migrations() {
            let mut take = |script: &Script, way| {
                let script = script.clone().named(format!("{prefix}{}", script.file()));
                self.pieces.push(Piece { script, way });
                self.pieces.len() - 1
            };
            let up = take(&migration.up, Way::Up);
            let down = migration.down.as_ref().map(|down| take(down, Way::Down));
            self.steps.push(Step { up, down });
            let whole = files.iter().find(|file| sectioned && file.path == migration.up.file());
            if let Some(FolderFile { path, content: FileContent::Text(text) }) = whole {
                let above = migration.up.position(0).line - 1;
                let lines: String = text.split_inclusive('\n').take(above).collect();
                self.preambles.push((format!("{prefix}{path}"), lines));
            }
        }
        let named = |one: &Ignored| Ignored { file: format!("{prefix}{}", one.file), reason: one.reason.clone() };
        self.ignored.extend(set.ignored().iter().map(named));
    }

    fn take_file(&mut self, path: &str, content: FileContent) {
        if let Err(reason) = is_sql(path) {
            if content != FileContent::Folder && !path.ends_with(MANIFEST) {
                self.ignored.push(Ignored { file: path.to_owned(), reason });
            }
            return;
        }
        match content {
            FileContent::Text(text) => {
                let way = if is_down(path) { Way::Down } else { Way::Up };
                self.pieces.push(Piece { script: Script::new(&text).named(path), way });
            }
            FileContent::NotUtf8 { line } => {
                let known = |trouble: &Trouble| trouble.kind == TroubleKind::NotUtf8 && trouble.file == path;
                if !self.troubles.iter().any(known) {
                    self.troubles.push(Trouble {
                        kind: TroubleKind::NotUtf8,
                        file: path.to_owned(),
                        line,
                        message: "the text is not UTF-8".to_owned(),
                        also: None,
                    });
                }
            }
            FileContent::Unread | FileContent::Folder => {}
        }
    }

    fn blame(&mut self, prefix: &str, error: &LayoutError) {
        let trouble = match error {
            LayoutError::Duplicate { version, one, other } => Trouble {
                kind: TroubleKind::DuplicateVersion,
                file: format!("{prefix}{other}"),
                line: 1,
                message: format!("it has the version {version} of {prefix}{one}"),
                also: Some(format!("{prefix}{one}")),
            },
            LayoutError::NotUtf8 { file, line } => Trouble {
                kind: TroubleKind::NotUtf8,
                file: format!("{prefix}{file}"),
                line: *line,
                message: "the text is not UTF-8".to_owned(),
                also: None,
            },
            // The file that was cut out took its partner's reason with it.
            LayoutError::DownWithoutUp { .. } | LayoutError::RollbackOfNothing { .. } if !self.troubles.is_empty() => {
                return;
            }
            // The split itself is told by its own rule, when the file is looked at alone.
            LayoutError::Section { .. } => return,
            other => Trouble {
                kind: TroubleKind::Layout,
                file: at_fault(other).map_or_else(|| shown(prefix), |file| format!("{prefix}{file}")),
                line: line(other),
                message: other.to_string(),
                also: None,
            },
        };
        self.troubles.push(trouble);
    }
}

/// The folder itself, as a file that a finding can name.
fn shown(prefix: &str) -> String {
    let trimmed = prefix.trim_end_matches('/');
    if trimmed.is_empty() { ".".to_owned() } else { trimmed.to_owned() }
}

fn line(error: &LayoutError) -> usize {
    match error {
        LayoutError::TextBeforeMarker { line, .. }
        | LayoutError::Marker { line, .. }
        | LayoutError::SectionsDiffer { line, .. }
        | LayoutError::Metadata { line, .. }
        | LayoutError::Manifest { line, .. } => *line,
        _ => 1,
    }
}

/// The file without which the folder could be read; `None` where it is not one file's fault.
fn at_fault(error: &LayoutError) -> Option<String> {
    match error {
        LayoutError::Duplicate { other: file, .. }
        | LayoutError::NotUtf8 { file, .. }
        | LayoutError::NotAFile { file }
        | LayoutError::BadVersion { file }
        | LayoutError::DownWithoutUp { file, .. }
        | LayoutError::RollbackOfNothing { file }
        | LayoutError::RollbackOfSeveral { file, .. }
        | LayoutError::TwoRollbacks { other: file, .. }
        | LayoutError::TextBeforeMarker { file, .. }
        | LayoutError::Marker { file, .. }
        | LayoutError::NoUpSection { file, .. }
        | LayoutError::SectionsDiffer { file, .. }
        | LayoutError::Section { file, .. }
        | LayoutError::EmptyFile { file }
        | LayoutError::Metadata { file, .. }
        | LayoutError::GoProgram { file } => Some(file.clone()),
        LayoutError::NoUpFile { folder } => Some(format!("{folder}/up.sql")),
        LayoutError::NoMigrations { .. } | LayoutError::Mixed { .. } => None,
        LayoutError::Manifest { .. } => Some(MANIFEST.to_owned()),
        LayoutError::Unlisted { file } => Some(file.clone()),
    }
}
