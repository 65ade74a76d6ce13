//! Creating the next migration's files: under a lock on the folder, overwriting nothing, and looked at again afterwards.
//!
//! What fails half-way is taken back. Where a file system knows no locks, the second look finds a number given twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::civil::DateTime;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{entries, read, refused, unreadable};
use crate::domain::migrations::{Addition, Layout, LayoutError, MANIFEST, MigrationName, Set, Version, next};
use crate::store::StoreError;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// A migration that was created.
#[derive(Debug)]
pub struct Added {
    /// Its version.
    pub version: Version,
    /// Its files, with the folder in front.
    pub files: Vec<PathBuf>,
}

/// What [`add`] would do now. A folder that does not exist counts as empty; nothing is created.
///
/// # Errors
/// As [`add`].
pub fn plan(folder: &Path, name: &MigrationName, now: DateTime) -> Result<Added, StoreError> {
    let exists = folder.try_exists().map_err(|error| unreadable(folder, &error))?;
    let addition = if exists { draft(folder, name, now)?.1 } else { of(None, name, now)? };
    Ok(added(folder, addition))
}

/// Create the files of the next migration in the folder's own layout; the folder itself too, if need be. Waits at most
/// `patience` for another one that does the same.
///
/// # Errors
/// [`StoreError::Conflict`] when a file exists already or somebody else works in the folder; [`StoreError::Local`] for what
/// cannot be read or written; [`StoreError::Refused`] for a folder that is no set of migrations. Nothing is left behind.
pub fn add(folder: &Path, name: &MigrationName, now: DateTime, patience: Duration) -> Result<Added, StoreError> {
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    let _lock = lock(folder, patience)?;
    let (set, addition) = draft(folder, name, now)?;
    let mut undo = Undo::default();
    for file in &addition.files {
        create(folder, &file.path, &file.text, &mut undo)?;
    }
    if set.is_some_and(|set| set.layout() == Layout::Manifest) {
        list(folder, &addition, &mut undo)?;
    }
    let after = read(folder).map_err(|error| {
        StoreError::Conflict(format!("with the new migration the folder cannot be read, so it was taken back: {error}"))
    })?;
    if after.find(&addition.version).is_none_or(|found| found.up.file() != first_path(&addition)) {
        return Err(StoreError::Conflict(format!(
            "{}: somebody else changed the folder meanwhile; nothing was created, run it again",
            folder.display()
        )));
    }
    undo.keep();
    Ok(added(folder, addition))
}

fn first_path(addition: &Addition) -> &str {
    addition.files.first().map_or("", |file| file.path.as_str())
}

fn added(folder: &Path, addition: Addition) -> Added {
    let files = addition.files.iter().map(|file| folder.join(&file.path)).collect();
    Added { version: addition.version, files }
}

fn draft(folder: &Path, name: &MigrationName, now: DateTime) -> Result<(Option<Set>, Addition), StoreError> {
    let set = match Set::read(entries(folder)?) {
        Ok(set) => Some(set),
        Err(LayoutError::NoMigrations { .. }) => None,
        Err(error) => return Err(refused(folder, &error)),
    };
    let addition = of(set.as_ref(), name, now)?;
    Ok((set, addition))
}

fn of(set: Option<&Set>, name: &MigrationName, now: DateTime) -> Result<Addition, StoreError> {
    next(set, name, now).map_err(|error| StoreError::Refused(error.to_string()))
}

fn unwritable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Local(format!("{} cannot be written: {error}; nothing was created", path.display()))
}

/// The folder, locked until the file is closed.
pub(super) fn lock(folder: &Path, patience: Duration) -> Result<File, StoreError> {
    let file = File::open(folder).map_err(|error| unreadable(folder, &error))?;
    let deadline = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(RETRY),
            Err(Errno::WOULDBLOCK) => {
                return Err(StoreError::Conflict(format!(
                    "{}: somebody else is making a migration for more than {} s; nothing was created, run it again",
                    folder.display(),
                    patience.as_secs()
                )));
            }
            Err(Errno::INTR) => {}
            // No locks on this file system: the second look stands in for them.
            Ok(()) | Err(_) => return Ok(file),
        }
    }
}

fn create(folder: &Path, path: &str, text: &str, undo: &mut Undo) -> Result<(), StoreError> {
    let place = folder.join(path);
    let failed = |place: &Path, error: &io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            StoreError::Conflict(format!("{} exists already; nothing was created", place.display()))
        }
        _ => unwritable(place, error),
    };
    if let Some((inner, _)) = path.split_once('/') {
        let inner = folder.join(inner);
        if !undo.folders.contains(&inner) {
            fs::create_dir(&inner).map_err(|error| failed(&inner, &error))?;
            undo.folders.push(inner);
        }
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(&place).map_err(|error| failed(&place, &error))?;
    undo.files.push(place.clone());
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| unwritable(&place, &error))
}

fn list(folder: &Path, addition: &Addition, undo: &mut Undo) -> Result<(), StoreError> {
    // Through a link, so that the link stays one.
    let path = folder.join(MANIFEST);
    let path = path.canonicalize().map_err(|error| unreadable(&path, &error))?;
    let before = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
    let after = addition
        .listed_in(&before)
        .map_err(|error| StoreError::Refused(format!("{}: {error}; nothing was created", path.display())))?;
    replace(&path, &after).map_err(|error| unwritable(&path, &error))?;
    undo.manifest = Some((path, before));
    Ok(())
}

/// Put another text in the place of a file, whole or not at all, with the same rights.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".llmhub-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::metadata(path)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// What was made so far; dropped, it takes it back.
#[derive(Default)]
struct Undo {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    manifest: Option<(PathBuf, String)>,
}

impl Undo {
    fn keep(mut self) {
        self.files.clear();
        self.folders.clear();
        self.manifest = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // The error that led here is the one to tell; what cannot be removed shows in the folder.
        if let Some((path, before)) = &self.manifest {
            let _ = replace(path, before);
        }
        for path in &self.files {
            let _ = fs::remove_file(path);
        }
        for path in &self.folders {
            let _ = fs::remove_dir(path);
        }
    }
}
