//! Cutting one file into its up and down sections, for the layouts that keep both in it.
//!
//! Each section remembers the line that it starts on, so every message keeps naming the line of the real file.

use super::super::Wrapping;
use super::{FolderFile, Layout, LayoutError, MarkerError};

/// Which way a section goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It makes the change.
    Up,
    /// It takes the change back.
    Down,
}

/// What a line is to a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The start of a section; `Wrapping` is what its marker asks for.
    Start(Way, Wrapping),
    /// The whole file is to be run outside a transaction.
    NoTransaction,
    /// A marker that changes nothing here, or any other line.
    Other,
}

/// One section.
#[derive(Debug)]
pub(super) struct Section {
    pub way: Way,
    pub wrapping: Wrapping,
    /// Lines of the file above its first one, its marker's included.
    pub lines_before: usize,
    pub text: String,
}

/// A file, cut.
#[derive(Debug)]
pub(super) struct Cut {
    /// At least one, the first of them up.
    pub sections: Vec<Section>,
    /// What the file as a whole asks for.
    pub wrapping: Wrapping,
}

/// Cut a file by its markers, as `read` knows them.
pub(super) fn cut(
    file: &FolderFile,
    layout: Layout,
    read: impl Fn(&str) -> Result<Line, MarkerError>,
) -> Result<Cut, LayoutError> {
    let mut sections: Vec<Section> = Vec::new();
    let mut wrapping = Wrapping::Transaction;
    for (index, raw) in lines(file.text()?).enumerate() {
        let line = index + 1;
        let wrong = |wrong| LayoutError::Marker { file: file.path.clone(), line, wrong };
        match read(raw.trim_end()).map_err(wrong)? {
            Line::Start(Way::Down, _) if sections.is_empty() => return Err(wrong(MarkerError::DownFirst)),
            Line::Start(way, wrapping) => {
                sections.push(Section { way, wrapping, lines_before: line, text: String::new() });
                continue;
            }
            Line::NoTransaction => wrapping = Wrapping::None,
            Line::Other => {}
        }
        match sections.last_mut() {
            Some(section) => section.text.push_str(raw),
            None if raw.trim().is_empty() || raw.trim_start().starts_with("--") => {}
            None => return Err(LayoutError::TextBeforeMarker { file: file.path.clone(), line, layout }),
        }
    }
    Ok(Cut { sections, wrapping })
}

/// The lines with their endings, behind a byte order mark.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.strip_prefix('\u{feff}').unwrap_or(text).split_inclusive('\n')
}

/// What a line says behind `--` and `word`, however it is indented and whatever its case, where that word begins the
/// comment.
pub(super) fn behind<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let comment = line.trim().strip_prefix("--")?.trim_start();
    let (front, rest) = (comment.get(..word.len())?, comment.get(word.len()..)?);
    front.eq_ignore_ascii_case(word).then_some(rest)
}
