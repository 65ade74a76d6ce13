//! The text of one SQL file, free of what a checkout adds: no byte order mark, no CRLF.
//!
//! What is sent to the server is this text, so it does not depend on the machine that holds the file. Every place in it can
//! be named as line and column.

use std::fmt;

use sha2::{Digest, Sha256};

use super::checksum::hex;

/// A place in a script, as editors count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Bytes from the start of the script's text.
    pub offset: usize,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The text of one SQL file.
#[derive(Clone, Debug)]
pub struct Script {
    text: String,
    raw_hash: String,
}

impl Script {
    /// Take a file's content.
    pub fn new(content: &str) -> Self {
        let text = content.strip_prefix('\u{feff}').unwrap_or(content).replace("\r\n", "\n");
        Self { text, raw_hash: hex(&Sha256::digest(content.as_bytes())) }
    }

    /// The text that is run and kept.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 in hexadecimal of the content as it was given, byte for byte: for an audit, never for a decision.
    pub fn raw_hash(&self) -> &str {
        &self.raw_hash
    }

    /// The place of a byte offset; an offset past the end or inside a character is taken back to the nearest place before it.
    pub fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            offset,
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
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
    }
}
