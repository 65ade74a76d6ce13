//! The search for leaked keys: files, folders and the history of repositories, read and never written.
//!
//! Memory is bounded whatever is there: bytes are looked at in pieces, places are counted beyond a limit, and what could not
//! be read is said. Links to folders are not followed, and of all that is no file nothing is opened.

mod files;
mod history;

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::domain::keys::leak::{Content, Hit, Searcher, Stream, What};

/// How much is read at a time, in bytes.
const PIECE: usize = 256 * 1024;

/// How many places are kept; a place more adds nothing to what is to be done.
const MOST_PLACES: usize = 1_000;

/// How many things that could not be looked at are named, and how many archives.
const MOST_UNREAD: usize = 50;

/// Beginnings of files whose content cannot be searched, and what they are.
const PACKED: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf", "7z"),
];

/// One place where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The path, or `commit:path`.
    pub file: String,
    /// The line, from 1; `None` where there are no lines.
    pub line: Option<u64>,
    /// What stands there.
    pub what: What,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Swept {
    /// The places, in the order of the search.
    pub leaks: Vec<Leak>,
    /// How many files, versions of files and commits were looked at.
    pub scanned: u64,
    /// What could not be looked at although it may hold keys, and why, one sentence each.
    pub unread: Vec<String>,
    /// Archives, which cannot be looked into, one sentence each.
    pub packed: Vec<String>,
    /// What else is not in the lists, one sentence each.
    pub notes: Vec<String>,
}

/// A search under way.
struct Sweep<'a> {
    searcher: &'a Searcher,
    swept: Swept,
    /// Device and number of each file that was read: one that has several names is read once.
    seen: HashSet<(u64, u64)>,
    more_places: u64,
    more_unread: u64,
    more_packed: u64,
}

/// Search these files and folders, and the history of each repository among them. Paths are shown relative to `base`.
pub fn sweep(paths: &[PathBuf], base: &Path, searcher: &Searcher) -> Swept {
    let (swept, seen) = (Swept::default(), HashSet::new());
    let mut sweep = Sweep { searcher, swept, seen, more_places: 0, more_unread: 0, more_packed: 0 };
    for path in paths {
        let repositories = sweep.files(path, base);
        for repository in repositories {
            sweep.history(&repository, base);
        }
    }
    let Sweep { mut swept, more_places, more_unread, more_packed, .. } = sweep;
    if more_unread > 0 {
        swept.unread.push(format!("{more_unread} more could not be looked at"));
    }
    if more_packed > 0 {
        swept.packed.push(format!("{more_packed} more are packed"));
    }
    if more_places > 0 {
        swept.notes.push(format!("{more_places} more places are not listed"));
    }
    swept
}

impl Sweep<'_> {
    /// Look at the bytes of one place.
    fn look(&mut self, file: &str, bytes: &mut dyn Read) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut filled = read(bytes, &mut piece)?;
        let first = piece.get(..filled).unwrap_or_default();
        if let Some((_, kind)) = PACKED.iter().find(|(opening, _)| first.starts_with(opening)) {
            self.packed(format!("{file} is packed ({kind}) and cannot be searched"));
            return Ok(());
        }
        let content = if first.iter().take(8_192).any(|byte| *byte == 0) { Content::Binary } else { Content::Text };
        let (mut stream, mut hits) = (Stream::new(self.searcher, content), Vec::new());
        while filled > 0 {
            stream.feed(piece.get(..filled).unwrap_or_default(), &mut hits);
            self.keep(file, content, &mut hits);
            filled = read(bytes, &mut piece)?;
        }
        stream.end(&mut hits);
        self.keep(file, content, &mut hits);
        self.swept.scanned += 1;
        Ok(())
    }

    fn keep(&mut self, file: &str, content: Content, hits: &mut Vec<Hit>) {
        for Hit { line, what } in hits.drain(..) {
            let leak = Leak { file: file.to_owned(), line: (content == Content::Text).then_some(line), what };
            // Twice on one line is once; the last few are those of this line.
            if self.swept.leaks.iter().rev().take_while(|known| known.file == leak.file).any(|known| *known == leak) {
                continue;
            }
            if self.swept.leaks.len() < MOST_PLACES {
                self.swept.leaks.push(leak);
            } else {
                self.more_places += 1;
            }
        }
    }

    fn unread(&mut self, why: String) {
        if self.swept.unread.len() < MOST_UNREAD {
            self.swept.unread.push(why);
        } else {
            self.more_unread += 1;
        }
    }

    fn packed(&mut self, what: String) {
        if self.swept.packed.len() < MOST_UNREAD {
            self.swept.packed.push(what);
        } else {
            self.more_packed += 1;
        }
    }

    /// A path for people, without a key that it may hold.
    fn shown(&self, path: &Path, base: &Path) -> String {
        let shown = path.strip_prefix(base).unwrap_or(path).display().to_string();
        if self.searcher.is_in(shown.as_bytes()) { "(a path that holds a key)".to_owned() } else { shown }
    }
}

/// Fill the piece as far as there are bytes.
fn read(bytes: &mut dyn Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = piece.get_mut(filled..).filter(|room| !room.is_empty()) {
        match bytes.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
