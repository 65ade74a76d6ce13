//! Where a preview's users come from: a file is read in place, anything that cannot be read twice is spooled first.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::store::StoreError;

/// A list of users that every core can read at once, as often as needed.
#[derive(Debug)]
pub struct UserFile {
    name: String,
    file: File,
    length: u64,
}

impl UserFile {
    /// The list in a file, or on stdin for `-`.
    ///
    /// # Errors
    /// [`StoreError::Local`] for what cannot be read, or when a pipe does not fit on the disk.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let name = path.display().to_string();
        let fail = |error: io::Error| StoreError::Local(format!("{name} cannot be read: {error}"));
        let file = if path == Path::new("-") { stdin().map_err(fail)? } else { File::open(path).map_err(fail)? };
        let kind = file.metadata().map_err(fail)?;
        if kind.is_dir() {
            return Err(StoreError::Local(format!("{name} is a folder, not a list of users")));
        }
        if kind.is_file() {
            return Ok(Self { name, length: kind.len(), file });
        }
        let mut spool = Spool::new(&name)?;
        let mut input = file;
        io::copy(&mut input, &mut spool.out).map_err(|error| spool.fail(&error))?;
        spool.finish()
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes when it was opened; a file that grows meanwhile is read to here.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fill `buffer` from `offset`; returns how much there was.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StoreError::Local(format!("{} cannot be read: {error}", self.name))),
            }
        }
        Ok(filled)
    }
}

/// The process's own stdin as a file: where it is one, it can be read in place.
fn stdin() -> io::Result<File> {
    use std::os::fd::AsFd;
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// An unnamed private file that takes ids one after another; it vanishes with the process.
#[derive(Debug)]
pub struct Spool {
    name: String,
    out: BufWriter<File>,
}

impl Spool {
    /// An empty spool for the list called `name`.
    ///
    /// # Errors
    /// [`StoreError::Local`] when the temporary folder cannot be written.
    pub fn new(name: &str) -> Result<Self, StoreError> {
        let file = tempfile::tempfile().map_err(|error| {
            StoreError::Local(format!(
                "no temporary file can be made for {name}: {error}; set TMPDIR to a folder with room"
            ))
        })?;
        Ok(Self { name: name.to_owned(), out: BufWriter::with_capacity(1 << 20, file) })
    }

    /// Take one id.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for an id that does not fit on a line; [`StoreError::Local`] for a full disk.
    pub fn push(&mut self, id: &str) -> Result<(), StoreError> {
        if id.contains('\n') {
            return Err(StoreError::Refused(format!("{}: a user id holds a line break", self.name)));
        }
        let written = self.out.write_all(id.as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| self.fail(&error))
    }

    /// The list that was taken.
    ///
    /// # Errors
    /// [`StoreError::Local`] for a full disk.
    pub fn finish(self) -> Result<UserFile, StoreError> {
        let Self { name, out } = self;
        let full = |error: &dyn std::fmt::Display| {
            StoreError::Local(format!("{name} does not fit into the temporary folder: {error}; set TMPDIR"))
        };
        let file = out.into_inner().map_err(|error| full(&error))?;
        let length = file.metadata().map_err(|error| full(&error))?.len();
        Ok(UserFile { name, file, length })
    }

    fn fail(&self, error: &io::Error) -> StoreError {
        StoreError::Local(format!("{} does not fit into the temporary folder: {error}; set TMPDIR", self.name))
    }
}
