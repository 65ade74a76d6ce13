//! A folder of legacy scripts: every `.sql` file at any depth, read; and its manifest, written.
//!
//! A manifest is there whole or not at all, and it stays only if the ordinary reader takes it back as it was meant.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::add::lock;
use super::{Walk, read, unreadable};
use crate::domain::migrations::{FileContent, FolderFile, MANIFEST, Set};
use crate::store::StoreError;

/// How deep folders are looked into: deeper ones are no folders of scripts.
const DEPTH: usize = 12;

/// The entries of a folder, all the way down.
#[derive(Debug)]
pub struct Everything {
    /// What lies in it, the manifest left out.
    pub files: Vec<FolderFile>,
    /// The text of its manifest, if it has one.
    pub manifest: Option<String>,
}

/// Read every `.sql` file of a folder and of the folders in it. Names that start with a dot are passed over.
///
/// # Errors
/// [`StoreError::Local`] with the path for what cannot be read; [`StoreError::Refused`] for what is too large or too deep, and
/// for names that a manifest cannot hold.
pub fn everything(folder: &Path) -> Result<Everything, StoreError> {
    let real = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
    let mut walk = Walk { folder, real: real.clone(), seen: 0, files: Vec::new() };
    walk.level("", |name| name.ends_with(".sql") || name == MANIFEST)?;
    let mut known: BTreeSet<PathBuf> = BTreeSet::from([real]);
    let (mut next, mut manifest) = (0, None);
    while let Some(file) = walk.files.get(next) {
        next += 1;
        if file.content != FileContent::Folder {
            continue;
        }
        let place = folder.join(&file.path);
        let real = place.canonicalize().map_err(|error| unreadable(&place, &error))?;
        if file.path.split('/').count() > DEPTH {
            let place = place.display();
            return Err(StoreError::Refused(format!(
                "{place} lies more than {DEPTH} folders deep; name a folder nearer to it"
            )));
        }
        // A folder that two links lead to is read once.
        if known.insert(real) {
            let prefix = format!("{}/", file.path);
            walk.level(&prefix, |name| name.ends_with(".sql"))?;
        }
    }
    let mut files = walk.files;
    if let Some(place) = files.iter().position(|file| file.path == MANIFEST) {
        match files.remove(place).content {
            FileContent::Text(text) => manifest = Some(text),
            _ => return Err(StoreError::Refused(format!("{} is no text file", folder.join(MANIFEST).display()))),
        }
    }
    if let Some(file) = files.iter().find(|file| file.path.ends_with(".sql") && file.path.contains(['\\', '\0'])) {
        let place = folder.join(&file.path);
        return Err(StoreError::Refused(format!(
            "{}: a manifest cannot hold this name; rename the file",
            place.display()
        )));
    }
    Ok(Everything { files, manifest })
}

/// Why a manifest was taken back: llmhub itself does not read it as it was meant.
#[derive(Debug)]
pub struct TakenBack(pub String);

/// Write the manifest of a folder in the place of `before`, and read the folder as it is then.
///
/// # Errors
/// [`StoreError::Conflict`] when the manifest is not `before` any more, or somebody else works in the folder;
/// [`StoreError::Local`] for what cannot be written. The folder is then as it was.
pub fn write_manifest(
    folder: &Path,
    before: Option<&str>,
    text: &str,
    patience: Duration,
) -> Result<Result<Set, TakenBack>, StoreError> {
    let path = folder.join(MANIFEST);
    let unwritable = |error: std::io::Error| {
        StoreError::Local(format!("{} cannot be written: {error}; it is as it was", path.display()))
    };
    let _lock = lock(folder, patience)?;
    let now = match fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(&path, &error)),
    };
    if now.as_deref() != before {
        let path = path.display();
        return Err(StoreError::Conflict(format!("{path} was changed meanwhile; it is as it was, run it again")));
    }
    put(&path, text, before).map_err(unwritable)?;
    let set = match read(folder) {
        Ok(set) => set,
        Err(error) => {
            match before {
                Some(before) => put(&path, before, Some(before)),
                None => fs::remove_file(&path),
            }
            .map_err(unwritable)?;
            return Ok(Err(TakenBack(error.to_string())));
        }
    };
    Ok(Ok(set))
}

/// Whole or not at all; a manifest that is new must not meet another one.
fn put(path: &Path, text: &str, before: Option<&str>) -> std::io::Result<()> {
    // Through a link, so that the link stays one.
    let path = if before.is_some() { path.canonicalize()? } else { path.to_owned() };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let rights = match before {
        Some(_) => fs::metadata(&path)?.permissions(),
        None => fs::Permissions::from_mode(0o666),
    };
    let mut file = tempfile::Builder::new().prefix(".llmhub-").permissions(rights).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    let kept = if before.is_some() { file.persist(&path) } else { file.persist_noclobber(&path) };
    kept.map(drop).map_err(|error| error.error)
}
