//! One llmhub of this machine writes to a hub at a time.
//!
//! The hub has no compare-and-set, so two operators can only be kept apart on the client's side. A lock file does it for
//! everybody on one machine; between machines, edits of others are seen in the read-back and reported as a conflict.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use crate::store::StoreError;

/// Held until dropped; the kernel drops it when the process dies.
#[derive(Debug)]
pub struct WriteLock {
    /// `None` when the state folder cannot be written: then there is nobody to be kept apart from.
    _file: Option<File>,
}

impl WriteLock {
    /// Take the lock of these addresses, waiting at most `patience`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] that names the process which holds it.
    pub async fn take(folder: Option<&Path>, addresses: &[&str], patience: Duration) -> Result<Self, StoreError> {
        let mut sorted = addresses.to_vec();
        sorted.sort_unstable();
        let digest = Sha256::digest(sorted.join("\n"));
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let Some(folder) = folder.filter(|folder| std::fs::create_dir_all(folder).is_ok()) else {
            return Ok(Self { _file: None });
        };
        let path = folder.join(format!("hub-{name}.lock"));
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let Ok(mut file) = open else {
            return Ok(Self { _file: None });
        };
        let deadline = Instant::now() + patience;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= deadline {
                let mut holder = String::new();
                let known = Read::by_ref(&mut file).take(32).read_to_string(&mut holder).is_ok();
                let who = if known && !holder.is_empty() { format!(" (process {holder})") } else { String::new() };
                return Err(StoreError::Conflict(format!("another llmhub{who} is writing to this hub")));
            }
            sleep(Duration::from_millis(20)).await;
        }
        // Only a courtesy for the message above: the lock itself is the kernel's.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| write!(file, "{}", std::process::id()));
        Ok(Self { _file: Some(file) })
    }
}
