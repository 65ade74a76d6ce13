//! When two texts are the same migration: equal token by token.
//!
//! Layout, comments and the case of unquoted words do not count; strings, dollar-quoted bodies and COPY data count byte for
//! byte. Directives are comments to the server but change how a file is run, so they count as well (migrations.md 4.7).

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};
use squawk_lexer::TokenKind;

use super::script::{Script, Wrapping};
use super::split::{SplitError, Statement, is_blank, lexemes};

/// SHA-256 of a script's tokens, in hexadecimal. The ledger keeps it, so what goes into it must never change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Checksum(String);

impl Checksum {
    /// 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Script {
    /// The checksum of what the script does.
    ///
    /// # Errors
    /// [`SplitError`] when the script cannot be split.
    pub fn checksum(&self) -> Result<Checksum, SplitError> {
        let mut hash = TokenHash(Sha256::new());
        if self.wrapping() == Wrapping::None {
            hash.part(b'd', "no-transaction");
        }
        let mut gap_start = 0;
        for statement in self.statements()? {
            let (start, after) = statement.span();
            hash.directives(self.text().get(gap_start..start).unwrap_or_default());
            hash.statement(statement.text());
            if let Some(data) = statement.copy_data() {
                hash.part(b'c', data);
            }
            gap_start = after;
        }
        hash.directives(self.text().get(gap_start..).unwrap_or_default());
        Ok(Checksum(hex(&hash.0.finalize())))
    }
}

/// The checksum of some statements of a script.
pub(super) fn phase_checksum(statements: &[Statement<'_>]) -> Checksum {
    let mut hash = TokenHash(Sha256::new());
    for statement in statements {
        hash.statement(statement.text());
        if let Some(data) = statement.copy_data() {
            hash.part(b'c', data);
        }
    }
    Checksum(hex(&hash.0.finalize()))
}

/// Whether a text asks to be run outside a transaction: its first line says `-- no-transaction`.
pub(super) fn declines_transaction(text: &str) -> bool {
    lexemes(text)
        .find(|(kind, _, _)| *kind != TokenKind::Whitespace)
        .is_some_and(|(_, text, _)| text.starts_with("--") && comment(text).eq_ignore_ascii_case("no-transaction"))
}

struct TokenHash(Sha256);

impl TokenHash {
    /// Kind and length go in front of the bytes, so that no two sequences of parts look the same.
    fn part(&mut self, kind: u8, bytes: &str) {
        self.0.update([kind]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes.as_bytes());
    }

    fn statement(&mut self, text: &str) {
        let mut glued = false;
        for (kind, text, _) in lexemes(text) {
            let operator = is_operator(kind);
            match kind {
                kind if is_blank(kind) => {}
                TokenKind::Ident => self.part(b'w', &text.to_ascii_lowercase()),
                // `a @ -1` is two operators and `a @-1` is one.
                _ if operator && glued => self.part(b'g', text),
                _ => self.part(b't', text),
            }
            glued = operator;
        }
        self.part(b';', "");
    }

    fn directives(&mut self, gap: &str) {
        for (kind, text, _) in lexemes(gap) {
            if kind == TokenKind::LineComment && is_marker(text) {
                let words: Vec<&str> = comment(text).split_whitespace().collect();
                self.part(b'd', &words.join(" ").to_ascii_lowercase());
            }
        }
    }
}

fn comment(text: &str) -> &str {
    text.trim_start_matches('-').trim()
}

/// The section markers of single-file layouts.
fn is_marker(text: &str) -> bool {
    let comment = comment(text).to_ascii_lowercase();
    comment.starts_with("migrate:") || comment.starts_with("+goose")
}

fn is_operator(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Slash
            | TokenKind::Minus
            | TokenKind::Eq
            | TokenKind::Gt
            | TokenKind::And
            | TokenKind::Lt
            | TokenKind::Bang
            | TokenKind::Plus
            | TokenKind::Tilde
            | TokenKind::Pound
            | TokenKind::Question
            | TokenKind::Or
            | TokenKind::Percent
            | TokenKind::Caret
            | TokenKind::Star
            | TokenKind::Backtick
            | TokenKind::At
    )
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(text: &str) -> Checksum {
        Script::new(text).checksum().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_checksum_is_a_named_algorithm_that_never_changes() {
        let known = "f921cd292693a6a8c20e9070e871dccc623fcea111c3c8ca60c350379e5f9e32";
        assert_eq!(sum("CREATE TABLE t (a int);").as_str(), known);
    }

    #[test]
    fn layout_comments_and_case_are_cosmetic() {
        #[track_caller]
        fn case(one: &str, other: &str) {
            assert_eq!(sum(one), sum(other), "{one} / {other}");
        }
        case("SELECT a\nFROM t;\n", "\u{feff}select  A\r\n\tfrom T;\r\n");
        case("SELECT 1;", "-- why\nSELECT /* no-transaction */ 1 -- because\n;");
        case("SELECT 1", "SELECT 1;;\n");
        case("DO $$a\r\nb$$", "do $$a\nb$$");
        case("COPY t FROM stdin;\r\na\r\n\\.\r\n", "copy t from STDIN ;\na\n\\.\n");
        case("SELECT 1;\n-- no-transaction\n", "SELECT 1;");
    }

    #[test]
    fn what_the_server_or_the_engine_would_see_is_not() {
        #[track_caller]
        fn case(one: &str, other: &str) {
            assert_ne!(sum(one), sum(other), "{one} / {other}");
        }
        case("SELECT 'a'", "SELECT 'A'");
        case("SELECT 'a b'", "SELECT 'a  b'");
        case("SELECT \"a\"", "SELECT \"A\"");
        case("DO $$ a $$", "DO $$ a  $$");
        case("DO $$ -- x\n$$", "DO $$ -- y\n$$");
        case("SELECT a b", "SELECT ab");
        case("SELECT 1; SELECT 2", "SELECT 2; SELECT 1");
        case("SELECT a @-1", "SELECT a @ -1");
        case("COPY t FROM stdin;\na\n\\.\n", "COPY t FROM stdin;\na \n\\.\n");
        case("COPY t FROM stdin;\n\\.\n", "COPY t FROM stdin;\n\n\\.\n");
        case("-- no-transaction\nSELECT 1", "SELECT 1");
        case("-- migrate:up\nSELECT 1", "-- migrate:up transaction:false\nSELECT 1");
        case("-- +goose Up\nSELECT 1", "SELECT 1");
        case("SELECT 1; SELECT 2;", "SELECT 1;\n-- migrate:down\nSELECT 2;");
    }

    #[test]
    fn data_of_copy_holds_no_directives() {
        let with = "COPY t FROM stdin;\n-- migrate:up\n\\.\nSELECT 1;";
        let without = "COPY t FROM stdin;\nx\n\\.\nSELECT 1;";
        assert_ne!(sum(with), sum(without));
        assert_eq!(sum(with), sum(&with.replace("\nSELECT", "\n\nSELECT")));
    }

    #[test]
    fn only_the_first_line_can_decline_the_transaction() {
        for (text, expected) in [
            ("-- no-transaction\nVACUUM;", true),
            ("\u{feff}\r\n--  No-Transaction \nVACUUM;", true),
            ("-- a\n-- no-transaction\nVACUUM;", false),
            ("/* no-transaction */ VACUUM;", false),
            ("VACUUM;", false),
        ] {
            let wrapping = if expected { Wrapping::None } else { Wrapping::Transaction };
            assert_eq!(Script::new(text).wrapping(), wrapping, "{text}");
        }
    }
}
