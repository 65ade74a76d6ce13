//! Small files, read whole or not at all, and replaced whole or not at all.
//!
//! Reading is bounded and never waits: a folder, a pipe or a file beyond 1 MiB is an error. Writing goes through a
//! temporary file beside the target (fsync, rename), so that a reader sees the old text or the new, and a failure leaves
//! the old one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{ConfigError, Line};

/// The largest configuration file, in bytes.
const LIMIT: u64 = 1024 * 1024;

/// A text file as it was found.
#[derive(Clone, Debug)]
pub(super) struct TextFile {
    /// How the operator knows it.
    pub shown: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its text, without a byte-order mark.
    pub text: String,
    /// The byte-order mark it started with, or nothing.
    pub mark: &'static str,
    /// Where each line but the first starts. Kept, since every value asks for its line.
    starts: Vec<usize>,
    /// Who may read it.
    pub readers: Readers,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// Its owner only, or the system does not tell.
    Owner,
    /// Its group or everybody.
    Others,
}

/// The byte-order mark that some editors put in front.
const MARK: &str = "\u{feff}";

impl TextFile {
    /// The text at `path`; `None` when there is no such file.
    ///
    /// # Errors
    /// Whatever makes the file unfit: unreadable, no regular file, over 1 MiB, not UTF-8.
    pub(super) fn read(path: PathBuf, shown: String) -> Result<Option<Self>, ConfigError> {
        let found = match fs::metadata(&path) {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(shown, &error)),
        };
        // Looked at before it is opened: opening a pipe waits for a writer. `/dev/null` is how one says "no file".
        if !found.is_file() && path != Path::new("/dev/null") {
            return Err(ConfigError::NotAFile(shown));
        }
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Err(unreadable(shown, &error));
        }
        if bytes.len() as u64 > LIMIT {
            return Err(ConfigError::TooLarge(shown));
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let number = 1 + error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
                return Err(ConfigError::NotUtf8(Line { file: shown, number }));
            }
        };
        Ok(Some(Self::of(path, shown, text, readers(&found))))
    }

    /// A file with this text.
    pub(super) fn of(path: PathBuf, shown: String, text: String, readers: Readers) -> Self {
        let (mark, text) = match text.strip_prefix(MARK) {
            Some(rest) => (MARK, rest.to_owned()),
            None => ("", text),
        };
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect();
        Self { shown, path, text, mark, starts, readers }
    }

    /// The line that holds the byte at `offset` of the text.
    pub(super) fn line(&self, offset: usize) -> Line {
        let number = 1 + self.starts.partition_point(|start| *start <= offset);
        Line { file: self.shown.clone(), number }
    }

    /// The column of the byte at `offset`, in characters from 1.
    pub(super) fn column(&self, offset: usize) -> usize {
        // `offset` comes from the parser; should it fall inside a character, the whole text before it is not countable.
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or_default();
        1 + before.chars().rev().take_while(|c| *c != '\n').count()
    }
}

fn unreadable(path: String, error: &io::Error) -> ConfigError {
    ConfigError::Unreadable { path, reason: error.kind().to_string() }
}

#[cfg(unix)]
fn readers(found: &fs::Metadata) -> Readers {
    use std::os::unix::fs::PermissionsExt;
    if found.permissions().mode() & 0o044 == 0 { Readers::Owner } else { Readers::Others }
}

#[cfg(not(unix))]
fn readers(_: &fs::Metadata) -> Readers {
    Readers::Owner
}

/// Replace the file at `path` by `text`, keeping its mode and owner; a link stays and its target is replaced. A file that
/// does not exist yet is created for its owner only (0600, in a 0700 folder).
///
/// # Errors
/// [`ConfigError::Unwritable`]; the file is as it was before.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), ConfigError> {
    let write = || -> io::Result<()> {
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_path_buf(),
            Err(error) => return Err(error),
        };
        let folder = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
        private_folder(folder)?;
        let unique = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let temporary = folder.join(format!(".llmhub-{unique:016x}.tmp"));
        let written = fill(&temporary, &target, text).and_then(|()| fs::rename(&temporary, &target));
        if written.is_err() {
            // The first failure is the one to tell; what is left over is a file nobody reads.
            let _ = fs::remove_file(&temporary);
        }
        written.and_then(|()| sync_folder(folder))
    };
    write().map_err(|error| unwritable(path, &error))
}

/// Write `text` to a new file at `path`, with the mode the umask gives.
///
/// # Errors
/// [`ConfigError::Exists`] when there is one already, [`ConfigError::Unwritable`] otherwise.
pub(super) fn create(path: &Path, text: &str) -> Result<(), ConfigError> {
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(ConfigError::Exists(path.display().to_string()));
        }
        Err(error) => return Err(unwritable(path, &error)),
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a file would be refused by the next run; it is ours, since it was created above.
        let _ = fs::remove_file(path);
        unwritable(path, &error)
    })
}

fn unwritable(path: &Path, error: &io::Error) -> ConfigError {
    ConfigError::Unwritable { path: path.display().to_string(), reason: error.kind().to_string() }
}

fn fill(temporary: &Path, target: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(temporary)?;
    file.write_all(text.as_bytes())?;
    match fs::metadata(target) {
        Ok(before) => keep_owner_and_mode(&file, &before)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.sync_all()
}

#[cfg(unix)]
fn keep_owner_and_mode(file: &File, before: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (before.uid(), before.gid()) {
        fchown(file, Some(before.uid()), Some(before.gid()))?;
    }
    // After the owner: changing it may clear mode bits.
    file.set_permissions(before.permissions())
}

#[cfg(not(unix))]
fn keep_owner_and_mode(file: &File, before: &fs::Metadata) -> io::Result<()> {
    file.set_permissions(before.permissions())
}

fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<Option<TextFile>, ConfigError> {
        TextFile::read(path.to_path_buf(), "f.toml".into())
    }

    #[test]
    fn a_file_that_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("none")).unwrap().is_none());
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(read(&folder.path().join("file/none")).unwrap().is_none());
    }

    #[test]
    fn a_folder_is_not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap_err(), ConfigError::NotAFile("f.toml".into()));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_writer() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(read(&pipe).unwrap_err(), ConfigError::NotAFile("f.toml".into()));
    }

    #[cfg(unix)]
    #[test]
    fn what_the_system_will_not_open_is_unreadable_not_absent() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("f");
        std::os::unix::fs::symlink("f", &link).unwrap();
        assert!(matches!(read(&link), Err(ConfigError::Unreadable { path, .. }) if path == "f.toml"));
    }

    #[test]
    fn a_mebibyte_is_read_and_a_byte_more_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let full = usize::try_from(LIMIT).unwrap();
        fs::write(&path, " ".repeat(full)).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().text.len(), full);
        fs::write(&path, " ".repeat(full + 1)).unwrap();
        assert_eq!(read(&path).unwrap_err(), ConfigError::TooLarge("f.toml".into()));
    }

    #[test]
    fn bytes_that_are_no_text_are_named_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
        let line = Line { file: "f.toml".into(), number: 2 };
        assert_eq!(read(&path).unwrap_err(), ConfigError::NotUtf8(line));
    }

    #[test]
    fn lines_and_columns_count_from_1_and_in_characters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "\u{feff}a\r\nüb\n").unwrap();
        let file = read(&path).unwrap().unwrap();
        assert_eq!((file.line(0).number, file.column(0)), (1, 1));
        assert_eq!((file.line(5).number, file.column(5)), (2, 2));
        assert_eq!((file.line(999).number, file.column(999)), (3, 1));
    }

    #[cfg(unix)]
    #[test]
    fn replacing_keeps_the_mode_and_the_link_and_leaves_nothing_behind() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("target", &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/llmhub/trusted.toml");
        replace(&path, "x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn creating_never_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        create(&path, "one").unwrap();
        assert_eq!(create(&path, "two"), Err(ConfigError::Exists(path.display().to_string())));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert!(matches!(create(&folder.path().join("no/f"), "x"), Err(ConfigError::Unwritable { .. })));
    }
}
