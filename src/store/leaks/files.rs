//! Files and folders of a search. What is no file is not opened; a folder is never entered through a link, so no loop can hold it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Sweep;

/// The folder of a repository's own data.
const GIT: &str = ".git";

impl Sweep<'_> {
    /// Search a file or a folder; the repositories whose own folder was seen are handed back.
    pub(super) fn files(&mut self, path: &Path, base: &Path) -> Vec<PathBuf> {
        let mut repositories = Vec::new();
        let mut waiting = vec![path.to_owned()];
        // What was named is followed if it is a link.
        let mut named = Some(path);
        while let Some(path) = waiting.pop() {
            let found = match named.take() {
                Some(_) => fs::metadata(&path),
                None => look(&path),
            };
            match found {
                Ok(found) if found.is_dir() => {
                    if is_repository(&path) {
                        repositories.push(path.clone());
                    }
                    if let Err(error) = self.enter(&path, base, &mut waiting) {
                        self.unreadable(&path, base, &error);
                    }
                }
                Ok(found) if found.is_file() => self.file(&path, base),
                // A socket, a pipe, a device, a link to a folder.
                Ok(_) => {}
                // A link to nothing, or a file that went meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.unreadable(&path, base, &error),
            }
        }
        repositories
    }

    fn enter(&mut self, folder: &Path, base: &Path, waiting: &mut Vec<PathBuf>) -> io::Result<()> {
        let first = waiting.len();
        for entry in fs::read_dir(folder)? {
            match entry {
                // What git has packed there is its history, which git is asked for.
                Ok(entry) if entry.file_name() == "objects" && (folder.ends_with(GIT) || is_bare(folder)) => {}
                Ok(entry) => waiting.push(entry.path()),
                Err(error) => self.unreadable(folder, base, &error),
            }
        }
        // The last is taken first: in the order of their names, whatever the file system's is.
        if let Some(new) = waiting.get_mut(first..) {
            new.sort_by(|one, two| two.cmp(one));
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, base: &Path) {
        let shown = self.shown(path, base);
        let looked = open(path).and_then(|opened| {
            let Some((mut file, found)) = opened else { return Ok(()) };
            if self.seen.insert((found.dev(), found.ino())) { self.look(&shown, &mut file) } else { Ok(()) }
        });
        if let Err(error) = looked {
            self.unread(format!("{shown} cannot be read: {error}"));
        }
    }

    fn unreadable(&mut self, path: &Path, base: &Path, error: &io::Error) {
        let shown = self.shown(path, base);
        self.unread(format!("{shown} cannot be read: {error}"));
    }
}

/// What stands there: behind a link, if that leads to a file.
fn look(path: &Path) -> io::Result<Metadata> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_symlink() {
        return Ok(found);
    }
    fs::metadata(path).map(|behind| if behind.is_file() { behind } else { found })
}

/// Whether git keeps a history here: a folder with its `.git`, or a bare repository.
fn is_repository(folder: &Path) -> bool {
    folder.join(GIT).exists() || (!folder.ends_with(GIT) && is_bare(folder))
}

fn is_bare(folder: &Path) -> bool {
    folder.join("HEAD").is_file() && folder.join("objects").is_dir() && folder.join("refs").is_dir()
}

/// The file, opened without waiting for a writer in case it became a pipe; nothing if it is no file any more.
fn open(path: &Path) -> io::Result<Option<(File, Metadata)>> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    Ok(found.is_file().then_some((file, found)))
}
