//! A list of users cut into chunks that all cores walk at once. A line belongs to the chunk in which it begins.

use std::sync::atomic::{AtomicU64, Ordering};

use memchr::{memchr, memchr_iter};

use super::UserFile;
use crate::store::StoreError;

/// Bytes of a chunk.
const CHUNK: u64 = 1 << 20;

/// The longest line; no user id comes near it.
const LINE: usize = 64 * 1024;

/// Where a list cannot be read as ids, and why.
#[derive(Debug)]
enum Flaw {
    /// Not UTF-8, at this byte of the file.
    Encoding(u64),
    /// A line of more than 64 KiB that begins at this byte.
    Length(u64),
    /// The file itself.
    Store(StoreError),
}

/// Walk the list on all cores. Each core starts with `state()`, is handed every non-empty line by `line`, and its state is
/// returned.
///
/// # Errors
/// [`StoreError::Refused`] with the number of the first bad line; [`StoreError::Local`] for what cannot be read.
pub fn walk<S: Send>(
    users: &UserFile,
    state: impl Fn() -> S + Sync,
    line: impl Fn(&mut S, &str) -> Result<(), StoreError> + Sync,
) -> Result<Vec<S>, StoreError> {
    walk_chunks(users, CHUNK, state, line)
}

fn walk_chunks<S: Send>(
    users: &UserFile,
    chunk: u64,
    state: impl Fn() -> S + Sync,
    line: impl Fn(&mut S, &str) -> Result<(), StoreError> + Sync,
) -> Result<Vec<S>, StoreError> {
    let next = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let results: Vec<Result<S, Flaw>> = std::thread::scope(|scope| {
        let work = || {
            let mut state = state();
            let mut buffer = Vec::new();
            loop {
                let start = next.fetch_add(chunk, Ordering::Relaxed);
                if start >= users.length() {
                    return Ok(state);
                }
                if let Err(flaw) = one_chunk(users, start, chunk, &mut buffer, |text| line(&mut state, text)) {
                    // The others need not go on; what they find before this is found by counting lines all the same.
                    next.store(users.length(), Ordering::Relaxed);
                    return Err(flaw);
                }
            }
        };
        let handles: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let lost = || Flaw::Store(StoreError::Local("a reader of the user list died".to_owned()));
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err(lost()))).collect()
    });
    let mut states = Vec::with_capacity(results.len());
    let mut first: Option<Flaw> = None;
    for result in results {
        match (result, &first) {
            (Ok(state), _) => states.push(state),
            (Err(flaw), Some(earlier)) if place(earlier) <= place(&flaw) => {}
            (Err(flaw), _) => first = Some(flaw),
        }
    }
    match first {
        None => Ok(states),
        Some(flaw) => Err(explain(users, flaw)),
    }
}

fn place(flaw: &Flaw) -> u64 {
    match flaw {
        Flaw::Encoding(offset) | Flaw::Length(offset) => *offset,
        Flaw::Store(_) => 0,
    }
}

/// Hand every line that begins in `start .. start + chunk` to `each`.
fn one_chunk(
    users: &UserFile,
    start: u64,
    chunk: u64,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(&str) -> Result<(), StoreError>,
) -> Result<(), Flaw> {
    // One byte before the chunk tells whether its first byte begins a line; a line may run on behind it.
    let from = start.saturating_sub(1);
    let lead = start - from;
    // A chunk is 1 MiB, so this fits any address space.
    let wanted = (lead + chunk) as usize + LINE + 1;
    buffer.resize(wanted, 0);
    let filled = users.read_at(buffer, from).map_err(Flaw::Store)?;
    let bytes = buffer.get(..filled).unwrap_or_default();
    let first = if start == 0 {
        if bytes.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 }
    } else {
        match memchr(b'\n', bytes) {
            Some(end) => end + 1,
            None => return Ok(()),
        }
    };
    // The first line begins in the first chunk, however short that is.
    let border = ((lead + chunk) as usize).max(if start == 0 { first + 1 } else { 0 });
    if first >= border.min(filled) {
        return Ok(());
    }
    // The end of the last line that begins before the border.
    let last = match bytes.get(border.saturating_sub(1)..).and_then(|rest| memchr(b'\n', rest)) {
        Some(end) if filled > border => border.saturating_sub(1) + end,
        _ => filled,
    };
    let text = bytes.get(first..last).unwrap_or_default();
    let text =
        std::str::from_utf8(text).map_err(|error| Flaw::Encoding(from + (first + error.valid_up_to()) as u64))?;
    let mut begin = 0;
    for end in memchr_iter(b'\n', text.as_bytes()).chain(std::iter::once(text.len())) {
        let line = text.get(begin..end).unwrap_or_default();
        if line.len() > LINE {
            return Err(Flaw::Length(from + (first + begin) as u64));
        }
        begin = end + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.is_empty() {
            each(line).map_err(Flaw::Store)?;
        }
    }
    Ok(())
}

fn explain(users: &UserFile, flaw: Flaw) -> StoreError {
    let (offset, what) = match flaw {
        Flaw::Store(error) => return error,
        Flaw::Encoding(offset) => (offset, "the text is not UTF-8"),
        Flaw::Length(offset) => (offset, "the line is longer than 64 KiB, which no user id is"),
    };
    match line_number(users, offset) {
        Ok(line) => StoreError::Refused(format!("{}:{line}: {what}", users.name())),
        Err(error) => error,
    }
}

fn line_number(users: &UserFile, offset: u64) -> Result<u64, StoreError> {
    let mut buffer = vec![0; 1 << 16];
    let (mut at, mut line) = (0, 1);
    while at < offset {
        let filled = users.read_at(&mut buffer, at)?;
        let until = usize::try_from(offset - at).unwrap_or(usize::MAX).min(filled);
        line += memchr_iter(b'\n', buffer.get(..until).unwrap_or_default()).count() as u64;
        if filled == 0 {
            break;
        }
        at += filled as u64;
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::super::source::Spool;
    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::NamedTempFile, UserFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let users = UserFile::open(file.path()).unwrap();
        (file, users)
    }

    fn lines(users: &UserFile, chunk: u64) -> Vec<String> {
        let push = |lines: &mut Vec<String>, line: &str| {
            lines.push(line.to_owned());
            Ok(())
        };
        let mut lines = walk_chunks(users, chunk, Vec::new, push).unwrap().concat();
        lines.sort();
        lines
    }

    #[test]
    fn every_line_is_seen_once_wherever_the_chunks_are_cut() {
        for text in ["", "\n", "a", "a\n", "a\nbb\nccc", "\u{feff}a\r\n\r\n\nünï\n", "a\n\n\nb\n", "\r\n", "😀\n😀😀"]
        {
            let (_file, users) = file(text.as_bytes());
            let plain = text.strip_prefix('\u{feff}').unwrap_or(text);
            let mut expected: Vec<&str> = plain
                .split('\n')
                .map(|line| line.strip_suffix('\r').unwrap_or(line))
                .filter(|line| !line.is_empty())
                .collect();
            expected.sort_unstable();
            for chunk in 1..=text.len() as u64 + 2 {
                assert_eq!(lines(&users, chunk), expected, "{text:?} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn a_flaw_is_named_by_its_line() {
        let visit = |(): &mut (), _: &str| Ok(());
        for (bytes, line) in [(&b"a\nb\n\xff\n"[..], 3), (b"\xc3", 1), (b"ok\n\xe2\x82\nok\n", 2)] {
            let (_file, users) = file(bytes);
            let message = walk(&users, || (), visit).unwrap_err().to_string();
            assert!(message.ends_with(&format!(":{line}: the text is not UTF-8")), "{message}");
        }
        let (_file, users) = file(format!("a\n{}\nb\n", "x".repeat(LINE + 1)).as_bytes());
        let message = walk(&users, || (), visit).unwrap_err().to_string();
        assert!(message.ends_with(":2: the line is longer than 64 KiB, which no user id is"), "{message}");
    }

    #[test]
    fn a_spool_is_a_list() {
        let mut spool = Spool::new("rows").unwrap();
        for id in ["a", "b"] {
            spool.push(id).unwrap();
        }
        assert!(spool.push("c\nd").is_err());
        assert_eq!(lines(&spool.finish().unwrap(), 2), ["a", "b"]);
    }
}
