//! A dump that is being written: under the name `FILE.partial`, until it is whole, verified and on the disk.
//!
//! Its writer holds a lock on it, which ends with the process. So a partial file without a lock was left by a process that
//! died, and the next backup takes it away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::store::StoreError;

use super::metadata::{Metadata, metadata_path};

/// The end of the name of a file that is not a backup yet.
const UNFINISHED: &str = ".partial";

/// How every dump in the custom format begins.
const MAGIC: &[u8] = b"PGDMP";

/// The file that becomes a backup; dropped before that, it is gone.
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
    hash: Sha256,
    size: u64,
    kept: bool,
}

impl Partial {
    /// Begin the backup `target`, and clear away what dead processes left beside it.
    pub(super) fn create(target: &Path) -> Result<Self, StoreError> {
        let folder = folder(target);
        let cannot = |error: std::io::Error| StoreError::Local(format!("{} cannot be used: {error}", folder.display()));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(cannot)?;
        if target.symlink_metadata().is_ok() {
            return Err(StoreError::Refused(format!(
                "{} exists, and a backup replaces nothing: choose another name, or leave it out",
                target.display()
            )));
        }
        clear(folder).map_err(cannot)?;
        let path = with_end(target, UNFINISHED);
        remove_abandoned(&path).map_err(cannot)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => StoreError::Conflict(format!(
                "another llmhub is writing {}, or somebody else's .partial file is there: wait, or choose another name",
                target.display()
            )),
            _ => cannot(error),
        })?;
        let partial = Self { file, path, target: target.to_owned(), hash: Sha256::new(), size: 0, kept: false };
        // Between its creation and its lock another run may have taken it for abandoned.
        let locked = partial.file.try_lock().is_ok();
        if !locked || partial.file.metadata().map_err(cannot)?.nlink() == 0 {
            return Err(StoreError::Conflict(format!(
                "another llmhub is writing beside {}: run it again",
                target.display()
            )));
        }
        // The umask may have taken bits away.
        partial.file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(cannot)?;
        Ok(partial)
    }

    /// Append.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(|error| self.failure(&error))?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What was written, for reading it back.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Wait until it is on the disk; its size and its hash.
    pub(super) async fn sync(&self) -> Result<(u64, String), StoreError> {
        let file = self.file.try_clone().map_err(|error| self.failure(&error))?;
        let synced = tokio::task::spawn_blocking(move || file.sync_all()).await;
        synced
            .map_err(|_| StoreError::Local("the disk's task died".to_owned()))?
            .map_err(|error| self.failure(&error))?;
        Ok((self.size, hex(&self.hash.clone().finalize())))
    }

    /// Give it its name. The metadata is there first: a dump without it would look like a stranger's.
    pub(super) fn finish(mut self, metadata: &Metadata) -> Result<(), StoreError> {
        let text = serde_json::to_string_pretty(metadata)
            .map_err(|error| StoreError::Invalid(format!("the metadata cannot be written: {error}")))?;
        let beside = metadata_path(&self.target);
        let written = write_private(&beside, &text).and_then(|()| std::fs::rename(&self.path, &self.target));
        if let Err(error) = written {
            // Metadata without a dump is nothing to keep.
            let _ = std::fs::remove_file(&beside);
            return Err(self.failure(&error));
        }
        self.kept = true;
        match File::open(folder(&self.target)).and_then(|folder| folder.sync_all()) {
            // Some file systems cannot sync a folder and need not.
            Err(error) if !matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::NOTSUP)) => {
                Err(StoreError::OutcomeUnknown(format!(
                    "{} was written, but its folder cannot be synced ({error}): a power failure may take it away",
                    self.target.display()
                )))
            }
            _ => Ok(()),
        }
    }

    fn failure(&self, error: &std::io::Error) -> StoreError {
        let (path, size) = (self.target.display(), self.size);
        match Errno::from_io_error(error) {
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => StoreError::Refused(format!(
                "there is no room for {path}: the disk was full after {size} bytes ({error}); no backup was made"
            )),
            _ => StoreError::Local(format!("{path} cannot be written after {size} bytes: {error}; no backup was made")),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            // The failure that led here is the one to report.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The folder of a file; the current one for a bare name.
pub(super) fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A hash as text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(end);
    path.with_file_name(name)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let temporary = with_end(path, UNFINISHED);
    let _ = std::fs::remove_file(&temporary);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Take away what interrupted backups left in this folder, under the names that llmhub gives.
fn clear(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".dump.partial") || name.ends_with(".dump.json.partial") {
            remove_abandoned(&path)?;
        } else if let Some(dump) = name.strip_suffix(".json").filter(|dump| dump.ends_with(".dump")) {
            let dump = path.with_file_name(dump);
            // Killed between the two renames: the metadata of a dump that never came to be.
            let alone = !dump.exists() && !with_end(&dump, UNFINISHED).exists();
            if alone && matches!(Metadata::read(&path), Ok(Some(_))) {
                std::fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

/// Remove a partial file unless its writer lives.
fn remove_abandoned(path: &Path) -> std::io::Result<()> {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let Ok(mut file) = OpenOptions::new().read(true).write(true).open(path) else { return Ok(()) };
    let mut beginning = Vec::new();
    Read::by_ref(&mut file).take(MAGIC.len() as u64).read_to_end(&mut beginning)?;
    // A download of somebody else's may have such a name; what begins like a dump, or like metadata, is ours.
    if !MAGIC.starts_with(&beginning) && !beginning.starts_with(b"{") {
        return Ok(());
    }
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}
