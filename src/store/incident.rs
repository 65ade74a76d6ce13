//! The folder of an incident: the journal, appended and synced before and after each step, and the evidence beside it.
//!
//! For its owner only. Losing it must not stop an emergency: whoever uses it says so and goes on.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::StoreError;
use crate::domain::incident::Evidence;
use crate::domain::incident::journal::{Past, Record};

/// The journal's name in the folder.
const JOURNAL: &str = "journal.ndjson";

/// No journal is longer.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The folder of one incident, and the right to write its journal.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    journal: File,
}

impl Folder {
    /// A new folder `id` below `incidents`.
    ///
    /// # Errors
    /// [`StoreError::Local`].
    pub fn create(incidents: &Path, id: &str) -> Result<Self, StoreError> {
        let path = incidents.join(id);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(incidents);
        made.and_then(|()| DirBuilder::new().mode(0o700).create(&path)).map_err(|error| unwritable(&path, &error))?;
        Self::open(path)
    }

    /// The folder of an incident that was begun before.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] while another llmhub works on it; [`StoreError::Local`].
    pub fn open(path: PathBuf) -> Result<Self, StoreError> {
        let file = path.join(JOURNAL);
        let mut journal = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&file)
            .map_err(|error| unwritable(&file, &error))?;
        flock(&journal, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StoreError::Conflict(format!("another llmhub works on the incident in {}", path.display())))?;
        end_the_line(&mut journal).map_err(|error| unwritable(&file, &error))?;
        Ok(Self { path, journal })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Write a line of the journal, on the disk before this returns.
    ///
    /// # Errors
    /// [`StoreError::Local`], as on a full disk.
    pub fn append(&mut self, record: &Record) -> Result<(), StoreError> {
        let mut line = serde_json::to_string(record).map_err(|error| StoreError::Local(error.to_string()))?;
        line.push('\n');
        let written = self.journal.write_all(line.as_bytes()).and_then(|()| self.journal.sync_data());
        written.map_err(|error| unwritable(&self.path.join(JOURNAL), &error))
    }

    /// Keep a file of evidence, whole or not at all, and read it back.
    ///
    /// # Errors
    /// [`StoreError::Local`].
    pub fn keep(&self, name: &str, text: &str, shows: &str) -> Result<Evidence, StoreError> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!(".{name}.tmp"));
        let write = || {
            // Left over from a run that was killed here.
            let _ = std::fs::remove_file(&temporary);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            std::fs::read(&path)
        };
        let there = write().map_err(|error| {
            // Half a file under its temporary name is of no use, and the disk may be full.
            let _ = std::fs::remove_file(&temporary);
            unwritable(&path, &error)
        })?;
        if there != text.as_bytes() {
            return Err(StoreError::Local(format!("{} does not read back as it was written", path.display())));
        }
        let sha256 = Sha256::digest(&there).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Evidence { file: name.to_owned(), sha256, shows: shows.to_owned() })
    }
}

/// A line that a crash has torn must not swallow the one that is written next.
fn end_the_line(journal: &mut File) -> std::io::Result<()> {
    if journal.seek(SeekFrom::End(0))? == 0 {
        return Ok(());
    }
    journal.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    journal.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { journal.write_all(b"\n") }
}

/// The newest incident of a flag on these sources, and where it is.
pub fn newest(incidents: &Path, flag: &str, target: &str) -> Option<(PathBuf, Past)> {
    let entries = std::fs::read_dir(incidents).ok()?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // The names begin with the moment.
    paths.sort();
    paths.into_iter().rev().find_map(|path| {
        let mut text = Vec::new();
        File::open(path.join(JOURNAL)).ok()?.take(LIMIT).read_to_end(&mut text).ok()?;
        let past = Past::read(&String::from_utf8_lossy(&text))?;
        (past.opened.flag == flag && past.opened.target == target).then_some((path, past))
    })
}

fn unwritable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Local(format!("{} cannot be written: {error}", path.display()))
}
