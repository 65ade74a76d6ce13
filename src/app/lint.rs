//! Linting: which files are looked at, under which names, and which of them count as new. No database is contacted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::App;
use crate::domain::lint::{Finding, Folder, files, lint};
use crate::domain::migrations::FolderFile;
use crate::error::Error;
use crate::store::{git, migrations_folder};

/// What was looked at, and what was found.
pub struct Linted {
    /// By file and place.
    pub findings: Vec<Finding>,
    /// How many SQL files were looked at; with a commit, those that are new against it.
    pub files: usize,
    /// What lies there and was passed over, `file: reason`.
    pub ignored: Vec<String>,
}

impl App {
    /// Lint these folders and files; without any the profile's folder, else the migrations that travel in the binary. With
    /// `since` only findings that touch a file which is new or changed since the merge base with that commit; the rules for
    /// whole folders still see all files.
    ///
    /// # Errors
    /// [`Error::Store`] for what cannot be read or is too large, and for what git does not know.
    pub async fn lint(&self, paths: &[PathBuf], since: Option<&str>) -> Result<Linted, Error> {
        let here = self.environment.directory().to_owned();
        let mut places: Vec<PathBuf> = paths.iter().map(|path| here.join(path)).collect();
        if places.is_empty() {
            places.extend(self.folder(None));
        }
        let since = since.map(str::to_owned);
        // Beside the runtime, so that a signal or the time limit ends the command while it reads.
        let work = tokio::task::spawn_blocking(move || look(&here, &places, since.as_deref()));
        work.await.map_err(|error| Error::Bug(format!("the lint ended early: {error}")))?
    }
}

fn look(here: &Path, places: &[PathBuf], since: Option<&str>) -> Result<Linted, Error> {
    let mut folders = Vec::new();
    let mut loose = Vec::new();
    for place in places {
        let shown = place.strip_prefix(here).unwrap_or(place);
        if place.is_dir() {
            let prefix = if shown.as_os_str().is_empty() { String::new() } else { with_slash(shown) };
            folders.push(Folder::read(&prefix, migrations_folder::look(place)?));
        } else {
            let content = migrations_folder::look_at(place)?;
            loose.push(FolderFile { path: shown.display().to_string(), content });
        }
    }
    if places.is_empty() {
        folders.push(Folder::embedded());
    }
    folders.push(Folder::loose(loose));
    let mut findings = lint(&folders);
    let mut names: BTreeSet<&str> = files(&folders);
    if let Some(reference) = since {
        let mut changed = BTreeSet::new();
        let parents: BTreeSet<&Path> = places.iter().map(|place| folder_of(place)).collect();
        for parent in parents {
            changed.extend(git::changed_since(parent, reference)?);
        }
        let is_new = |name: &str| here.join(name).canonicalize().is_ok_and(|path| changed.contains(&path));
        let of_folder = |name: &str| here.join(name).is_dir();
        findings.retain(|one| is_new(&one.file) || of_folder(&one.file) || one.also.iter().any(|also| is_new(also)));
        names.retain(|name| is_new(name));
    }
    let count = names.len();
    let ignored = folders.iter().flat_map(Folder::ignored).map(|file| format!("{}: {}", file.file, file.reason));
    Ok(Linted { findings, files: count, ignored: ignored.collect() })
}

fn with_slash(path: &Path) -> String {
    let shown = path.display().to_string();
    if shown.ends_with('/') { shown } else { format!("{shown}/") }
}

/// The folder, or the one that a file lies in.
fn folder_of(place: &Path) -> &Path {
    if place.is_dir() { place } else { place.parent().unwrap_or(place) }
}
