//! A log in a file: the window is found by bisection where times rise, and its bytes are shared out among the processors.
//!
//! The file is opened anew for each measurement, so that a rotation is noticed: where the window begins before the file does,
//! the file that it was renamed to (`PATH.1`) is read too. Where the window begins before both, nothing is measured.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use memchr::memchr;

use super::LONGEST_LINE;
use super::line::record;
use super::tally::{Tally, field};
use crate::domain::rollout::query::LogQuery;
use crate::domain::rollout::reading::{Reading, Window};

/// What is read at once.
const CHUNK: usize = 1 << 20;

/// What is read to find the time at one place; longer where a line is.
const PROBE: usize = 4096;

/// Several workers write one file: a record may stand this far from its place.
const DISORDER: i64 = 60_000;

/// Where the order of the times is looked at.
const PLACES: u64 = 32;

/// A thread is worth its start from here on.
const SHARE: u64 = 4 << 20;

/// Measure the window, in milliseconds since 1970.
pub(super) fn measure(path: &Path, query: &LogQuery, window: Window) -> Reading {
    match tally(path, query, window) {
        Ok(Found::Covered(tally)) => tally.reading(query),
        Ok(Found::Late(first)) => {
            let first = Timestamp::from_millisecond(first).map(|first| first.to_string()).unwrap_or_default();
            Reading::Nothing(format!("the log begins at {first}, after the window does"))
        }
        Ok(Found::NoRecord) => Reading::Nothing(format!(
            "{} holds no record of the hub: JSON lines, or text that begins with a time",
            path.display()
        )),
        Err(error) => Reading::Failed(format!("{} cannot be read: {error}", path.display())),
    }
}

enum Found {
    Covered(Tally),
    Late(i64),
    NoRecord,
}

fn tally(path: &Path, query: &LogQuery, window: Window) -> io::Result<Found> {
    let (from, to) = (window.from.as_millisecond(), window.to.as_millisecond());
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let first = time_at(&file, 0, length)?;
    let mut found = scan(&file, length, query, from..to)?;
    if first.is_some_and(|first| first <= from) {
        return Ok(Found::Covered(found));
    }
    let earlier = match File::open(renamed(path)) {
        Ok(earlier) => earlier,
        Err(_) => return Ok(first.map_or(Found::NoRecord, Found::Late)),
    };
    let length = earlier.metadata()?.len();
    let begins = time_at(&earlier, 0, length)?;
    found.join(&scan(&earlier, length, query, from..to)?);
    Ok(match begins.or(first) {
        Some(begins) if begins <= from => Found::Covered(found),
        Some(begins) => Found::Late(begins),
        None => Found::NoRecord,
    })
}

/// What a rotation calls the file.
fn renamed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Count the records of a window.
fn scan(file: &File, length: u64, query: &LogQuery, window: Range<i64>) -> io::Result<Tally> {
    let bytes = match rises(file, length)? {
        Order::Rising => {
            let start = place(file, length, window.start.saturating_sub(DISORDER))?.start;
            start..place(file, length, window.end.saturating_add(DISORDER))?.end
        }
        Order::Unknown => 0..length,
    };
    let wanted = bytes.end.saturating_sub(bytes.start);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let shares = threads.min(8).min(wanted / SHARE).max(1);
    let share = wanted.div_ceil(shares).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..shares)
            .map(|number| {
                let start = bytes.start + number * share;
                let range = start..bytes.end.min(start + share);
                let window = &window;
                scope.spawn(move || count(file, range, query, window))
            })
            .collect();
        let mut sum = Tally::default();
        for thread in threads {
            let counted = thread.join().map_err(|_| io::Error::other("a thread of the scan failed"))?;
            sum.join(&counted?);
        }
        Ok(sum)
    })
}

/// Count the records whose line begins in a range of bytes.
fn count(file: &File, range: Range<u64>, query: &LogQuery, window: &Range<i64>) -> io::Result<Tally> {
    let (mut tally, field) = (Tally::default(), field(query));
    each_line(file, range, |line| {
        if let Some(record) = record(line, field).filter(|record| window.contains(&record.at)) {
            tally.add(query, &record);
        }
        Go::On
    })?;
    Ok(tally)
}

/// Whether more lines are wanted.
enum Go {
    On,
    Enough,
}

/// Hand out each line that begins in a range of bytes, without its end. A line that is too long is passed over.
fn each_line(file: &File, range: Range<u64>, mut each: impl FnMut(&[u8]) -> Go) -> io::Result<()> {
    // From the byte before: a range that begins behind a line's end begins with a line.
    let mut offset = range.start.saturating_sub(1);
    let mut inside = if range.start == 0 { Inside::Line } else { Inside::Rest };
    let (mut buffer, mut filled) =
        (vec![0; CHUNK.min(usize::try_from(range.end - range.start.min(range.end)).unwrap_or(CHUNK).max(PROBE))], 0);
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        // The offset is that of the buffer's start.
        let read = file.read_at(room, offset + filled as u64)?;
        filled += read;
        let mut at = 0;
        while let Some(end) = memchr(b'\n', buffer.get(at..filled).unwrap_or_default()) {
            if matches!(inside, Inside::Line) {
                if offset + at as u64 >= range.end {
                    return Ok(());
                }
                if let Go::Enough = each(buffer.get(at..at + end).unwrap_or_default()) {
                    return Ok(());
                }
            }
            inside = Inside::Line;
            at += end + 1;
        }
        if read == 0 {
            if matches!(inside, Inside::Line) && at < filled && offset + (at as u64) < range.end {
                each(buffer.get(at..filled).unwrap_or_default());
            }
            return Ok(());
        }
        if offset + at as u64 >= range.end && matches!(inside, Inside::Line) {
            return Ok(());
        }
        buffer.copy_within(at..filled, 0);
        (offset, filled) = (offset + at as u64, filled - at);
        if matches!(inside, Inside::Rest) || filled > LONGEST_LINE {
            inside = Inside::Rest;
            (offset, filled) = (offset + filled as u64, 0);
        } else if filled * 2 > buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
    }
}

/// What the next byte belongs to.
enum Inside {
    /// A line whose beginning was seen.
    Line,
    /// The rest of a line that is not wanted.
    Rest,
}

/// The time of the first record that begins at or after a place.
fn time_at(file: &File, offset: u64, end: u64) -> io::Result<Option<i64>> {
    let mut at = None;
    // Read in small steps: only one line is wanted.
    let mut from = offset;
    let mut step = PROBE as u64;
    while at.is_none() && from < end {
        let until = end.min(from.saturating_add(step));
        each_line(file, from..until, |line| match record(line, &[]) {
            Some(record) => {
                at = Some(record.at);
                Go::Enough
            }
            None => Go::On,
        })?;
        from = until;
        step = (step * 2).min(CHUNK as u64);
    }
    Ok(at)
}

/// Whether a file can be searched by bisection.
enum Order {
    Rising,
    Unknown,
}

fn rises(file: &File, length: u64) -> io::Result<Order> {
    let mut newest = i64::MIN;
    for number in 0..PLACES {
        let start = length / PLACES * number;
        let Some(at) = time_at(file, start, length.min(start + CHUNK as u64))? else { continue };
        if at.saturating_add(DISORDER) < newest {
            return Ok(Order::Unknown);
        }
        newest = newest.max(at);
    }
    Ok(Order::Rising)
}

/// Between which bytes the first record at or after a time begins.
fn place(file: &File, length: u64, time: i64) -> io::Result<Range<u64>> {
    let (mut low, mut high) = (0, length);
    while high - low > PROBE as u64 {
        let middle = low + (high - low) / 2;
        match time_at(file, middle, high)? {
            Some(at) if at < time => low = middle,
            _ => high = middle,
        }
    }
    Ok(low..high)
}
