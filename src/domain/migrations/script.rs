//! The text of one SQL file, or of one section of it, free of what a checkout adds: no byte order mark, no CRLF.
//!
//! What is sent to the server is this text, so it does not depend on the machine that holds the file. Every place in it can
//! be named as file, line and column.

use std::fmt;

use sha2::{Digest, Sha256};

use super::checksum::{declines_transaction, hex};

/// A place in a script, as editors count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Bytes from the start of the script's text, a section's included.
    pub offset: usize,
    /// The line of the file, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Whether a script is run inside one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// All of it, with its ledger row: the rule.
    Transaction,
    /// Its author asked for none: every statement stands for itself.
    None,
}

/// The text of one SQL file, or of one section of it.
#[derive(Clone, Debug)]
pub struct Script {
    file: String,
    text: String,
    raw_hash: String,
    /// Where in the file each part of the text stands: its offset here, and the lines of the file above it.
    parts: Vec<(usize, usize)>,
    wrapping: Wrapping,
}

impl Script {
    /// Take a file's content. A first line `-- no-transaction` asks to be run outside a transaction.
    pub fn new(content: &str) -> Self {
        let text = content.strip_prefix('\u{feff}').unwrap_or(content).replace("\r\n", "\n");
        let wrapping = if declines_transaction(&text) { Wrapping::None } else { Wrapping::Transaction };
        Self {
            file: "SQL".to_owned(),
            text,
            raw_hash: hex(&Sha256::digest(content.as_bytes())),
            parts: vec![(0, 0)],
            wrapping,
        }
    }

    /// Take a section of a file, without its markers; `lines_before` is how many lines of the file stand above it. Its hash is
    /// that of the section.
    pub fn section(content: &str, lines_before: usize) -> Self {
        Self { parts: vec![(0, lines_before)], ..Self::new(content) }
    }

    /// Take several sections of one file as one script, each with the number of lines above it. A statement ends with its
    /// section.
    pub fn joined(sections: &[(&str, usize)]) -> Self {
        let (mut content, mut parts) = (String::new(), Vec::with_capacity(sections.len()));
        for (text, lines_before) in sections {
            if !content.is_empty() {
                content.push_str("\n;\n");
            }
            // Lines are counted in the text without CR, so it is taken out before any offset is noted.
            parts.push((content.len(), *lines_before));
            content.push_str(&text.replace("\r\n", "\n"));
        }
        Self { parts, ..Self::new(&content) }
    }

    /// The same, known under this path, which messages print.
    pub fn named(self, file: impl Into<String>) -> Self {
        Self { file: file.into(), ..self }
    }

    /// The same, run as its layout says elsewhere than in the text: in a marker, in a file beside it.
    pub fn wrapped(self, wrapping: Wrapping) -> Self {
        Self { wrapping, ..self }
    }

    /// The path for messages, relative to the folder of migrations.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The text that is run and kept.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is run inside one transaction.
    pub fn wrapping(&self) -> Wrapping {
        self.wrapping
    }

    /// SHA-256 in hexadecimal of the content as it was given, byte for byte: for an audit, never for a decision.
    pub fn raw_hash(&self) -> &str {
        &self.raw_hash
    }

    /// Where in the file each part of the text stands: its offset in the text, and the lines of the file above it.
    pub(in crate::domain) fn parts(&self) -> &[(usize, usize)] {
        &self.parts
    }

    /// The place of a byte offset; an offset past the end or inside a character is taken back to the nearest place before it.
    pub fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let (start, lines_before) =
            self.parts.iter().rev().find(|(start, _)| *start <= offset).copied().unwrap_or((0, 0));
        let before = self.text.get(start..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            offset,
            line: lines_before + before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_does_not_depend_on_the_checkout() {
        assert_eq!(Script::new("\u{feff}a\r\nb\r\n").text(), "a\nb\n");
        assert_eq!(Script::new("a\rb").text(), "a\rb");
        assert_ne!(Script::new("a\r\n").raw_hash(), Script::new("a\n").raw_hash());
    }

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        let script = Script::new("é;\n  ñ x");
        #[track_caller]
        fn case(script: &Script, offset: usize, shown: &str) {
            assert_eq!(script.position(offset).to_string(), shown);
        }
        case(&script, 0, "1:1");
        case(&script, 1, "1:1");
        case(&script, 2, "1:2");
        case(&script, 4, "2:1");
        case(&script, 9, "2:5");
        case(&script, 999, "2:6");
        case(&Script::section("a\n b", 6), 3, "8:2");
        let joined = Script::joined(&[("a;\r\nb\r\n", 9), ("c", 1)]);
        assert_eq!(joined.text(), "a;\nb\n\n;\nc");
        case(&joined, 3, "11:1");
        case(&joined, 8, "2:1");
    }
}
