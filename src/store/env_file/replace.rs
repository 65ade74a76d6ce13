//! A file's content, read whole and replaced whole.
//!
//! At every moment the path holds the old file or the new one, with the mode, owner and access list of the old one. What
//! cannot be kept is refused before a byte is written, and a failure leaves the old file and no temporary one.

use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, open};
use rustix::io::Errno;

use crate::store::StoreError;

/// An env file of this size is not one.
const LIMIT: u64 = 8 * 1024 * 1024;

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Original {
    /// Where it is, after all symbolic links.
    pub(super) path: PathBuf,
    /// Its content.
    pub(super) text: String,
    file: File,
    metadata: Metadata,
}

/// The file behind `path` and its symbolic links.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    let name = path.display();
    std::fs::canonicalize(path).map_err(|error| {
        StoreError::Local(match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => format!(
                "{name} does not exist, and an edit does not invent one; create it with `install -m 600 /dev/null {name}`, \
                 or name the right file with --env-file"
            ),
            Some(Errno::LOOP) => format!("{name} is a loop of symbolic links; nothing was changed"),
            _ => format!("{name} cannot be found: {error}"),
        })
    })
}

impl Original {
    /// Read the file behind `path`.
    pub(super) fn read(path: &Path) -> Result<Self, StoreError> {
        let path = resolve(path)?;
        let failed = |error: std::io::Error| StoreError::Local(format!("{} cannot be read: {error}", path.display()));
        // Without NONBLOCK a named pipe would hang here until somebody writes to it.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut file = File::from(open(&path, flags, Mode::empty()).map_err(|error| failed(error.into()))?);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(StoreError::Refused(format!("{} is not a regular file", path.display())));
        }
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > LIMIT {
            return Err(StoreError::Refused(format!(
                "{} is larger than {} MiB, so it is no env file",
                path.display(),
                LIMIT / 1024 / 1024
            )));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = 1 + memchr::memchr_iter(b'\n', valid).count();
            StoreError::Refused(format!("{}: line {line}: the text is not UTF-8", path.display()))
        })?;
        Ok(Self { path, text, file, metadata })
    }

    /// How many names the file has; the others keep the old content when it is replaced.
    pub(super) fn names(&self) -> u64 {
        self.metadata.nlink()
    }

    /// Put `content` in its place. Only one process at a time may do this to a file: the caller holds the lock.
    pub(super) fn replace(&self, content: &str) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| {
            let (path, bytes) = (self.path.display(), content.len());
            StoreError::Local(format!("{path} cannot be written ({bytes} bytes): {error}; it is unchanged"))
        };
        let temporary = Temporary::beside(&self.path).map_err(failed)?;
        self.give_owner(&temporary.file)?;
        (&temporary.file).write_all(content.as_bytes()).map_err(failed)?;
        // After the content and the owner: until here only this user can read it, and a change of owner clears mode bits.
        temporary.file.set_permissions(self.metadata.permissions()).map_err(failed)?;
        access::copy(&self.file, &temporary.file).map_err(|error| failed(error.into()))?;
        temporary.file.sync_all().map_err(failed)?;
        if !self.is_unchanged() {
            return Err(StoreError::Conflict(format!(
                "{} was changed by another program while it was being edited; it keeps that change, run the command again",
                self.path.display()
            )));
        }
        temporary.rename(&self.path).map_err(failed)?;
        self.sync_folder()
    }

    fn give_owner(&self, file: &File) -> Result<(), StoreError> {
        let refused = |error: std::io::Error| {
            let (path, uid, gid) = (self.path.display(), self.metadata.uid(), self.metadata.gid());
            StoreError::Refused(format!(
                "{path} belongs to user {uid} and group {gid}, and a new file cannot be given to them: {error}; it is unchanged"
            ))
        };
        let (mine, wanted) = (file.metadata().map_err(refused)?, &self.metadata);
        let uid = (mine.uid() != wanted.uid()).then(|| Uid::from_raw(wanted.uid()));
        let gid = (mine.gid() != wanted.gid()).then(|| Gid::from_raw(wanted.gid()));
        if uid.is_none() && gid.is_none() {
            return Ok(());
        }
        fchown(file, uid, gid).map_err(|error| refused(error.into()))
    }

    /// Whether the path still holds what was read: editors that know no lock replace or rewrite it.
    fn is_unchanged(&self) -> bool {
        let state = |metadata: &Metadata| {
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec(), changed)
        };
        std::fs::symlink_metadata(&self.path).is_ok_and(|now| state(&now) == state(&self.metadata))
    }

    fn sync_folder(&self) -> Result<(), StoreError> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        match synced.map_err(|error| (Errno::from_io_error(&error), error)) {
            // Some file systems cannot sync a folder and need not.
            Ok(()) | Err((Some(Errno::INVAL | Errno::NOTSUP), _)) => Ok(()),
            Err((_, error)) => Err(StoreError::OutcomeUnknown(format!(
                "{} was replaced, but its folder cannot be synced ({error}): a power failure may bring the old file back",
                self.path.display()
            ))),
        }
    }
}

/// A new file in the same folder, removed again unless it is renamed.
struct Temporary {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Temporary {
    /// The name is always the same: under the lock, one that exists was left by a crash, and with it a copy of the secrets.
    fn beside(target: &Path) -> std::io::Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".llmhub-tmp");
        let path = target.with_file_name(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(open(&path, flags, Mode::RUSR | Mode::WUSR)?);
        // The umask may have taken bits away.
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { path, file, renamed: false })
    }

    fn rename(mut self, target: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The failure that led here is the one to report.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Access lists: without its list, a service that reads the file by one is locked out at its next start.
#[cfg(target_os = "linux")]
mod access {
    use std::fs::File;

    use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr};
    use rustix::io::Errno;

    const NAME: &str = "system.posix_acl_access";
    /// The most that Linux stores in one attribute.
    const LARGEST: usize = 64 * 1024;

    /// Give `to` the access list of `from`, or none.
    pub(super) fn copy(from: &File, to: &File) -> Result<(), Errno> {
        let mut list = vec![0; LARGEST];
        match fgetxattr(from, NAME, list.as_mut_slice()) {
            Ok(length) => fsetxattr(to, NAME, list.get(..length).unwrap_or_default(), XattrFlags::empty()),
            Err(Errno::NODATA) => match fremovexattr(to, NAME) {
                // The folder's default list may have given it one.
                Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
                Err(error) => Err(error),
            },
            Err(Errno::NOTSUP) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Elsewhere modes and owners are all there is to keep.
#[cfg(not(target_os = "linux"))]
mod access {
    use std::fs::File;

    use rustix::io::Errno;

    pub(super) fn copy(_from: &File, _to: &File) -> Result<(), Errno> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_of_an_editor_without_a_lock_is_never_overwritten() {
        #[track_caller]
        fn case(edit: impl Fn(&Path), now: &str) {
            let folder = tempfile::TempDir::new().unwrap();
            let path = folder.path().join(".env");
            std::fs::write(&path, "A=1\n").unwrap();
            let original = Original::read(&path).unwrap();
            edit(&path);
            assert!(matches!(original.replace("A=2\n"), Err(StoreError::Conflict(_))));
            assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), now);
            let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(names.into_iter().all(|name| name != "..env.llmhub-tmp"));
        }
        case(|path| std::fs::write(path, "A=3, longer\n").unwrap(), "A=3, longer\n");
        case(
            |path| {
                std::fs::write(path.with_file_name("new"), "A=3\n").unwrap();
                std::fs::rename(path.with_file_name("new"), path).unwrap();
            },
            "A=3\n",
        );
        case(|path| std::fs::remove_file(path).unwrap(), "");
    }
}
