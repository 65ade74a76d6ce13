//! One script as the rules see it: its statements, their first words, and the place of every offset.
//!
//! The index of lines is made once, so a file of many megabytes with many findings stays linear.

use std::cell::OnceCell;

use super::Way;
use super::cursor::Cursor;
use super::folder::Piece;
use super::squawk::{self, Look};
use crate::domain::migrations::{Script, SplitError, Statement};

/// A script, split.
pub(super) struct Unit<'a> {
    pub script: &'a Script,
    pub way: Way,
    /// None where it cannot be split.
    pub lines: Vec<Line<'a>>,
    pub error: Option<SplitError>,
    starts: Vec<usize>,
    look: OnceCell<Look>,
}

/// A statement.
pub(super) struct Line<'a> {
    pub statement: Statement<'a>,
    /// At most five of its first words, in lower case.
    pub head: Vec<String>,
    /// Where it starts in the script.
    pub start: usize,
}

impl<'a> Line<'a> {
    /// Whether it starts with these words.
    pub(super) fn starts(&self, words: &[&str]) -> bool {
        self.head.len() >= words.len() && self.head.iter().zip(words).all(|(one, other)| one == other)
    }

    pub(super) fn text(&self) -> &'a str {
        self.statement.text()
    }

    pub(super) fn cursor(&self) -> Cursor<'a> {
        Cursor::of(self.text())
    }

    /// The texts of its bodies in dollar quotes, each with its offset in the statement.
    pub(super) fn bodies(&self) -> Vec<(usize, &'a str)> {
        if !matches!(self.head.first().map(String::as_str), Some("do" | "create")) {
            return Vec::new();
        }
        let body = |(offset, token): &(usize, &'a str)| {
            let tag = token.strip_prefix('$')?.find('$')? + 2;
            Some((offset + tag, token.get(tag..token.len().checked_sub(tag)?)?))
        };
        self.cursor().rest().iter().filter_map(body).collect()
    }
}

/// What a rule has found, before it is told whose it is.
pub(super) struct Hit {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// Instead of the rule's own advice.
    pub fix: Option<String>,
    pub source: Option<String>,
    pub also: Vec<String>,
    /// Whether it is about the file and no place in it.
    pub of_file: bool,
}

impl Hit {
    /// About a file, or about one of its lines.
    pub(super) fn of_file(file: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        let (file, message) = (file.into(), message.into());
        Self { file, line, column: 1, message, fix: None, source: None, also: Vec::new(), of_file: true }
    }

    pub(super) fn with(self, also: &str) -> Self {
        Self { also: vec![also.to_owned()], ..self }
    }
}

impl<'a> Unit<'a> {
    pub(super) fn of(piece: &'a Piece) -> Self {
        let script = &piece.script;
        let (statements, error) = match script.statements() {
            Ok(statements) => (statements, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let line = |statement: Statement<'a>| Line { head: statement.words(5), start: statement.span().0, statement };
        let mut starts = vec![0];
        starts.extend(script.text().match_indices('\n').map(|(at, _)| at + 1));
        let lines = statements.into_iter().map(line).collect();
        Self { script, way: piece.way, lines, error, starts, look: OnceCell::new() }
    }

    pub(super) fn file(&self) -> &'a str {
        self.script.file()
    }

    /// The line and the column of an offset in the script.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let (number, start, text) = self.line_at(offset);
        (number, text.get(..offset.saturating_sub(start)).unwrap_or(text).chars().count() + 1)
    }

    /// The line of the file that an offset stands in: its number, where it starts, and its text.
    fn line_at(&self, offset: usize) -> (usize, usize, &'a str) {
        let index = |offset: usize| self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let (part, above) =
            self.script.parts().iter().rev().find(|(start, _)| *start <= offset).copied().unwrap_or((0, 0));
        let start = self.starts.get(index(offset)).copied().unwrap_or(0).max(part);
        let text = self.script.text().get(start..).unwrap_or_default();
        let text = text.get(..text.find('\n').unwrap_or(text.len())).unwrap_or_default();
        (above + index(offset) - index(part) + 1, start, text)
    }

    /// Something at an offset of the script.
    pub(super) fn hit(&self, offset: usize, message: impl Into<String>) -> Hit {
        let (line, column) = self.place(offset);
        let source = Some(self.line_at(offset).2.to_owned());
        let (file, message) = (self.file().to_owned(), message.into());
        Hit { file, line, column, message, fix: None, source, also: Vec::new(), of_file: false }
    }

    /// Where an offset stands, for a message about another place.
    pub(super) fn named(&self, offset: usize) -> String {
        format!("{}:{}", self.file(), self.place(offset).0)
    }

    /// What squawk makes of it; looked at once.
    pub(super) fn look(&self) -> &Look {
        self.look.get_or_init(|| squawk::look(self))
    }
}
