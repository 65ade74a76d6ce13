//! One editor at a time: an exclusive `flock` on a sibling of the file.
//!
//! The kernel lets go of it when its holder dies, so a crash never blocks the next editor. Waiting is bounded. The lock file
//! is removed by its holder; whoever waited on the removed one notices and starts over.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use crate::store::StoreError;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// The right to edit one file, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// Closing it gives the lock back.
    file: File,
}

impl Lock {
    /// Wait for the lock of `target`, which must be free of symbolic links, for at most `patience`.
    pub(super) fn acquire(target: &Path, patience: Duration) -> Result<Self, StoreError> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".lock");
        let path = target.with_file_name(name);
        let failed = |error: Errno| {
            StoreError::Local(format!("{} cannot be locked: {error}; nothing was changed", path.display()))
        };
        let deadline = Instant::now() + patience;
        loop {
            let mut file = open_or_create(&path).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => {
                    // The number only makes the message of others better; the lock holds without it.
                    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                    return Ok(Self { path, file });
                }
                // Its last holder removed it between our open and our lock.
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(RETRY),
                Err(Errno::WOULDBLOCK) => return Err(StoreError::Conflict(held(&mut file, target, patience))),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Left behind, it would only be clutter. Somebody may have removed it by hand, and then the name is not ours.
        if is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Readable by all, so that an operator with another account can wait for it and see who holds it.
fn open_or_create(path: &Path) -> Result<File, Errno> {
    let common = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match open(path, common | OFlags::RDWR | OFlags::CREATE, Mode::from_raw_mode(0o644)) {
        Err(Errno::ACCESS) => open(path, common | OFlags::RDONLY, Mode::empty()),
        opened => opened,
    }
    .map(File::from)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn held(file: &mut File, target: &Path, patience: Duration) -> String {
    let mut text = String::new();
    // Bounded, because the file may be anything by now.
    let holder = match file.take(32).read_to_string(&mut text) {
        Ok(_) => text.trim().parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (process {pid})")),
        Err(_) => String::new(),
    };
    format!(
        "{} is being edited by somebody else{holder} for more than {} s; nothing was changed, run the command again",
        target.display(),
        patience.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_removed_by_hand_is_not_removed_from_its_next_holder() {
        let folder = tempfile::TempDir::new().unwrap();
        let target = folder.path().join(".env");
        let name = folder.path().join(".env.lock");
        let first = Lock::acquire(&target, Duration::ZERO).unwrap();
        assert!(matches!(Lock::acquire(&target, Duration::ZERO), Err(StoreError::Conflict(_))));
        std::fs::remove_file(&name).unwrap();
        let second = Lock::acquire(&target, Duration::ZERO).unwrap();
        drop(first);
        assert!(name.exists());
        drop(second);
        assert!(!name.exists());
    }

    #[test]
    fn a_lock_that_is_a_link_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join(".env.lock")).unwrap();
        let error = Lock::acquire(&folder.path().join(".env"), Duration::ZERO).unwrap_err();
        assert!(matches!(error, StoreError::Local(_)), "{error}");
    }
}
