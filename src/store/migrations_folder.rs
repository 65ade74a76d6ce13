//! A folder of migrations on disk: read whole and bounded into a [`Set`], and given its next migration.
//!
//! Links are followed, loops are refused, and nothing outside the folder is read unless a link leads there. A new migration
//! overwrites nothing, and two that are made at once never get one number in silence.

mod add;
mod legacy;

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

pub use self::add::{Added, add, plan};
pub use self::legacy::{Everything, TakenBack, everything, write_manifest};
use super::StoreError;
use crate::domain::migrations::{FileContent, FolderFile, LayoutError, MANIFEST, Set, named_in_manifest};

/// The largest file that is read, in bytes: a migration with data, and no dump of a whole database.
const FILE_LIMIT: u64 = 64 * 1024 * 1024;

/// The most entries that are looked at: the largest known histories have some thousand migrations.
const ENTRY_LIMIT: usize = 20_000;

/// The migrations of a folder, whichever layout it has.
///
/// # Errors
/// [`StoreError::Local`] with the path for what does not exist or cannot be read; [`StoreError::Refused`] for what is too
/// large, or no set of migrations.
pub fn read(folder: &Path) -> Result<Set, StoreError> {
    Set::read(entries(folder)?).map_err(|error| refused(folder, &error))
}

/// All entries of a folder, whether or not they are migrations.
///
/// # Errors
/// As [`read`], for what cannot be read or is too large.
pub fn look(folder: &Path) -> Result<Vec<FolderFile>, StoreError> {
    entries(folder)
}

/// One file that was named by itself; the path is left to the caller.
///
/// # Errors
/// As [`look`].
pub fn look_at(file: &Path) -> Result<FileContent, StoreError> {
    let metadata = fs::metadata(file).map_err(|error| unreadable(file, &error))?;
    text(file, &metadata)
}

fn refused(folder: &Path, error: &LayoutError) -> StoreError {
    StoreError::Refused(format!("{}: {error}", folder.display()))
}

fn unreadable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Local(format!("{} cannot be read: {error}", path.display()))
}

/// Every entry of the folder and of the folders in it, one level deep, and what a manifest names below that.
fn entries(folder: &Path) -> Result<Vec<FolderFile>, StoreError> {
    let real = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
    let mut walk = Walk { folder, real, seen: 0, files: Vec::new() };
    walk.level("", |name| name.ends_with(".sql") || name == MANIFEST)?;
    let below: Vec<String> = walk
        .files
        .iter()
        .filter(|file| file.content == FileContent::Folder)
        .map(|file| format!("{}/", file.path))
        .collect();
    for path in below {
        walk.level(&path, |name| matches!(name, "up.sql" | "down.sql" | "metadata.toml"))?;
    }
    walk.manifest()?;
    Ok(walk.files)
}

struct Walk<'a> {
    folder: &'a Path,
    /// The folder without links.
    real: PathBuf,
    seen: usize,
    files: Vec<FolderFile>,
}

impl Walk<'_> {
    /// Take up one level of entries; `prefix` is its path with a final `/`, or nothing for the top.
    fn level(&mut self, prefix: &str, is_read: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        // Without the final `/`, so that messages name the entry as it is called.
        let place = match prefix.strip_suffix('/') {
            Some(inner) => self.folder.join(inner),
            None => self.folder.to_owned(),
        };
        if !prefix.is_empty() {
            let real = place.canonicalize().map_err(|error| unreadable(&place, &error))?;
            if self.real.starts_with(&real) {
                let place = place.display();
                return Err(StoreError::Local(format!(
                    "{place} is a link to a folder that it lies in; remove the link"
                )));
            }
        }
        for entry in fs::read_dir(&place).map_err(|error| unreadable(&place, &error))? {
            let entry = entry.map_err(|error| unreadable(&place, &error))?;
            self.seen += 1;
            if self.seen > ENTRY_LIMIT {
                return Err(StoreError::Refused(format!(
                    "{} holds more than {ENTRY_LIMIT} entries; keep the migrations in a folder of their own",
                    self.folder.display()
                )));
            }
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            if name.to_str().is_none() && is_read(&shown) {
                return Err(StoreError::Refused(format!(
                    "{}: a name is not UTF-8; rename the file",
                    entry.path().display()
                )));
            }
            let content = self.content(&entry.path(), &shown, &is_read)?;
            self.files.push(FolderFile { path: format!("{prefix}{shown}"), content });
        }
        Ok(())
    }

    fn content(&self, path: &Path, name: &str, is_read: impl Fn(&str) -> bool) -> Result<FileContent, StoreError> {
        // Editors leave links to nowhere under such names.
        if name.starts_with('.') {
            return Ok(FileContent::Unread);
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(FileContent::Folder),
            Ok(metadata) if is_read(name) => text(path, &metadata),
            Ok(_) => Ok(FileContent::Unread),
            Err(error) if is_read(name) || is_loop(&error) => Err(unreadable(path, &error)),
            Err(_) => Ok(FileContent::Unread),
        }
    }

    /// Read what a manifest names and no level has read.
    fn manifest(&mut self) -> Result<(), StoreError> {
        let text_of = |file: &FolderFile| match &file.content {
            FileContent::Text(text) if file.path == MANIFEST => Some(text.clone()),
            _ => None,
        };
        let Some(manifest) = self.files.iter().find_map(text_of) else { return Ok(()) };
        for path in named_in_manifest(&manifest).map_err(|error| refused(self.folder, &error))? {
            let known = self.files.iter().position(|file| file.path == path);
            let known = known.and_then(|place| self.files.get_mut(place));
            if known.as_ref().is_some_and(|file| file.content != FileContent::Unread) {
                continue;
            }
            let place = self.folder.join(&path);
            let content = match fs::metadata(&place) {
                Ok(metadata) if metadata.is_dir() => FileContent::Folder,
                Ok(metadata) => text(&place, &metadata)?,
                // That it is missing is told with the manifest's line.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unreadable(&place, &error)),
            };
            match known {
                Some(file) => file.content = content,
                None => self.files.push(FolderFile { path, content }),
            }
        }
        Ok(())
    }
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn text(path: &Path, metadata: &Metadata) -> Result<FileContent, StoreError> {
    // Opening a pipe would wait for whoever writes into it.
    if !metadata.is_file() {
        return Ok(FileContent::Unread);
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(StoreError::Refused(format!(
            "{} is larger than {} MiB; load data in another way",
            path.display(),
            FILE_LIMIT / 1024 / 1024
        )));
    }
    Ok(String::from_utf8(bytes).map_or_else(
        |error| {
            let valid = error.utf8_error().valid_up_to();
            let line = 1 + error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count();
            FileContent::NotUtf8 { line }
        },
        FileContent::Text,
    ))
}
