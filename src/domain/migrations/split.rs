//! A script into its statements, each sent to the server alone.
//!
//! A statement ends at a `;` outside parentheses and outside `BEGIN ATOMIC … END`; quotes, dollar quotes and comments are the
//! lexer's business. The data of `COPY … FROM stdin` is cut out before the lexer could take it for SQL. What cannot be split
//! for certain is an error with its place, never a guess (migrations.md 3).

use squawk_lexer::{LiteralKind, TokenKind, tokenize};

use super::script::{Position, Script};

/// One statement of a script.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    script: &'a Script,
    start: usize,
    end: usize,
    after: usize,
    copy_data: Option<&'a str>,
}

impl<'a> Statement<'a> {
    /// Its SQL from the first word to the last, without the final `;`.
    pub fn text(&self) -> &'a str {
        self.script.text().get(self.start..self.end).unwrap_or_default()
    }

    /// The lines between `COPY … FROM stdin;` and `\.`, if it is such a statement.
    pub fn copy_data(&self) -> Option<&'a str> {
        self.copy_data
    }

    /// Where its first word stands.
    pub fn position(&self) -> Position {
        self.script.position(self.start)
    }

    /// The place in the script of the server's error position: characters from 1, counted in [`Self::text`].
    pub fn locate(&self, character: usize) -> Position {
        let text = self.text();
        let bytes = text.char_indices().nth(character.saturating_sub(1)).map_or(text.len(), |(offset, _)| offset);
        self.script.position(self.start + bytes)
    }

    /// Its first words in lower case, at most `count`, comments skipped; fewer where something else than a word comes.
    pub fn words(&self, count: usize) -> Vec<String> {
        let mut words = Vec::with_capacity(count);
        for (kind, text, _) in lexemes(self.text()) {
            match kind {
                kind if is_blank(kind) => {}
                TokenKind::Ident if words.len() < count => words.push(text.to_ascii_lowercase()),
                _ => break,
            }
        }
        words
    }

    /// Whether it opens, ends or prepares a transaction: inside a migration it would end the one around it. Savepoints do not.
    pub fn controls_transaction(&self) -> bool {
        let words = self.words(4);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["rollback", "to", ..]
            | ["rollback", "work" | "transaction", "to", ..]
            | ["prepare", "transaction", ..] => words.first() == Some(&"prepare"),
            ["begin" | "commit" | "end" | "abort" | "rollback", ..] | ["start", "transaction", ..] => true,
            _ => false,
        }
    }

    /// Whether it opens a transaction.
    pub(super) fn opens_transaction(&self) -> bool {
        let words = self.words(2);
        matches!(
            words.iter().map(String::as_str).collect::<Vec<_>>().as_slice(),
            ["begin", ..] | ["start", "transaction"]
        )
    }

    /// Whether it commits the transaction that is open.
    pub(super) fn commits(&self) -> bool {
        let words = self.words(2);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        matches!(words.as_slice(), ["commit" | "end"] | ["commit" | "end", "work" | "transaction"])
    }

    /// Where it starts, and where the script goes on behind its `;` and its data.
    pub(in crate::domain) fn span(&self) -> (usize, usize) {
        (self.start, self.after)
    }
}

/// Why a script cannot be split; [`SplitError::at`] tells where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// A quote or comment without its end.
    #[error("the {what} that starts here never ends")]
    Unterminated {
        /// What was opened.
        what: &'static str,
        /// Where.
        at: Position,
    },
    /// A parenthesis or `BEGIN ATOMIC` without its end: everything after it would be one statement.
    #[error("the {what} that starts here is never closed")]
    Unclosed {
        /// What was opened.
        what: &'static str,
        /// Where.
        at: Position,
    },
    /// A backslash command of psql.
    #[error("psql commands cannot be run; write plain SQL")]
    PsqlCommand {
        /// Where.
        at: Position,
    },
    /// `COPY … FROM stdin` whose data has no end, or SQL behind its `;` on the same line.
    #[error("the data of COPY must start on the next line and end with a line that holds only \\.")]
    CopyData {
        /// Where the statement starts.
        at: Position,
    },
}

impl SplitError {
    /// The place.
    pub fn at(&self) -> Position {
        match self {
            Self::Unterminated { at, .. }
            | Self::Unclosed { at, .. }
            | Self::PsqlCommand { at }
            | Self::CopyData { at } => *at,
        }
    }
}

impl Script {
    /// The statements in their order; comments and empty statements are left out.
    ///
    /// `\restrict`, `\unrestrict` and `\echo` lines between statements are skipped, as a plain dump carries them.
    ///
    /// # Errors
    /// [`SplitError`] with the place, for anything that cannot be split for certain.
    pub fn statements(&self) -> Result<Vec<Statement<'_>>, SplitError> {
        let mut statements = Vec::new();
        let mut from = 0;
        while let Some(next) = self.next_statement(from)? {
            from = next.resume;
            statements.extend(next.statement);
        }
        Ok(statements)
    }

    fn next_statement(&self, from: usize) -> Result<Option<Next<'_>>, SplitError> {
        let rest = self.text().get(from..).unwrap_or_default();
        let mut open = Open::default();
        for (kind, text, offset) in lexemes(rest) {
            let at = from + offset;
            if let Some(what) = unterminated(kind) {
                return Err(SplitError::Unterminated { what, at: self.position(at) });
            }
            if is_blank(kind) {
                continue;
            }
            match kind {
                TokenKind::Unknown if text == "\\" => {
                    let line = line_at(self.text(), at);
                    let skipped = ["\\restrict ", "\\unrestrict ", "\\echo "].iter().any(|word| line.starts_with(word));
                    if open.start.is_none() && skipped {
                        return Ok(Some(Next { statement: None, resume: at + line.len() }));
                    }
                    return Err(SplitError::PsqlCommand { at: self.position(at) });
                }
                TokenKind::Semi if open.is_closed() => return self.finish(&open, at + 1).map(Some),
                _ => open.read(kind, text, at),
            }
        }
        if let Some((what, at)) = open.parentheses.last().map(|at| ("parenthesis", *at)).or(open.atomic_start()) {
            return Err(SplitError::Unclosed { what, at: self.position(at) });
        }
        if open.start.is_none() {
            return Ok(None);
        }
        self.finish(&open, self.text().len()).map(Some)
    }

    fn finish(&self, open: &Open, after: usize) -> Result<Next<'_>, SplitError> {
        let Some(start) = open.start else { return Ok(Next { statement: None, resume: after }) };
        let mut statement = Statement { script: self, start, end: open.end, after, copy_data: None };
        if open.reads_stdin {
            let wrong = || SplitError::CopyData { at: self.position(start) };
            let line = line_at(self.text(), after);
            let data = self.text().get(after + line.len() + 1..).ok_or_else(wrong)?;
            if !line.trim().is_empty() {
                return Err(wrong());
            }
            let length = copy_length(data).ok_or_else(wrong)?;
            statement.copy_data = data.get(..length);
            statement.after = after + line.len() + 1 + length + line_at(data, length).len();
        }
        Ok(Next { resume: statement.after, statement: Some(statement) })
    }
}

struct Next<'a> {
    statement: Option<Statement<'a>>,
    resume: usize,
}

/// What is open while a statement is read.
#[derive(Default)]
struct Open {
    start: Option<usize>,
    end: usize,
    parentheses: Vec<usize>,
    atomic: Vec<usize>,
    first_word: Option<String>,
    last_word: Option<(String, usize)>,
    reads_stdin: bool,
}

impl Open {
    fn is_closed(&self) -> bool {
        self.parentheses.is_empty() && self.atomic.is_empty()
    }

    fn atomic_start(&self) -> Option<(&'static str, usize)> {
        self.atomic.first().map(|at| ("BEGIN ATOMIC", *at))
    }

    fn read(&mut self, kind: TokenKind, text: &str, at: usize) {
        self.start.get_or_insert(at);
        self.end = at + text.len();
        match kind {
            TokenKind::OpenParen => self.parentheses.push(at),
            TokenKind::CloseParen => drop(self.parentheses.pop()),
            TokenKind::Ident => {
                let word = text.to_ascii_lowercase();
                if self.parentheses.is_empty() {
                    self.read_word(&word, at);
                }
                self.first_word.get_or_insert_with(|| word.clone());
                self.last_word = Some((word, at));
                return;
            }
            _ => {}
        }
        self.first_word.get_or_insert_default();
        self.last_word = None;
    }

    /// Inside `BEGIN ATOMIC` each CASE has an END of its own, so both count.
    fn read_word(&mut self, word: &str, at: usize) {
        let before = self.last_word.as_ref().map(|(word, at)| (word.as_str(), *at));
        match (before, word) {
            (Some(("begin", begin)), "atomic") if self.first_word.as_deref() == Some("create") => {
                self.atomic.push(begin)
            }
            (_, "case") if !self.atomic.is_empty() => self.atomic.push(at),
            (_, "end") => drop(self.atomic.pop()),
            (Some(("from", _)), "stdin") if self.first_word.as_deref() == Some("copy") => self.reads_stdin = true,
            _ => {}
        }
    }
}

/// Tokens with their text and byte offset.
pub(super) fn lexemes(text: &str) -> impl Iterator<Item = (TokenKind, &str, usize)> {
    let mut offset = 0;
    tokenize(text).map_while(move |token| {
        let start = offset;
        offset += token.len as usize;
        text.get(start..offset).map(|piece| (token.kind, piece, start))
    })
}

/// The tokens that say something to the server, with their byte offsets.
pub(in crate::domain) fn tokens(text: &str) -> Vec<(usize, &str)> {
    lexemes(text).filter(|(kind, ..)| !is_blank(*kind)).map(|(_, text, offset)| (offset, text)).collect()
}

/// The line comments, with their byte offsets.
pub(in crate::domain) fn line_comments(text: &str) -> impl Iterator<Item = (usize, &str)> {
    lexemes(text).filter(|(kind, ..)| *kind == TokenKind::LineComment).map(|(_, text, offset)| (offset, text))
}

/// Whether a token says nothing to the server.
pub(super) fn is_blank(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. })
}

fn unterminated(kind: TokenKind) -> Option<&'static str> {
    match kind {
        TokenKind::BlockComment { terminated: false } => Some("comment"),
        TokenKind::QuotedIdent { terminated: false, .. } => Some("quoted name"),
        TokenKind::Literal { kind: LiteralKind::DollarQuotedString { terminated: false } } => Some("dollar quote"),
        TokenKind::Literal {
            kind:
                LiteralKind::Str { terminated: false }
                | LiteralKind::NationalStr { terminated: false }
                | LiteralKind::ByteStr { terminated: false }
                | LiteralKind::BitStr { terminated: false }
                | LiteralKind::UnicodeEscStr { terminated: false }
                | LiteralKind::EscStr { terminated: false },
        } => Some("string"),
        _ => None,
    }
}

/// The rest of the line from `offset`, without its newline.
fn line_at(text: &str, offset: usize) -> &str {
    let rest = text.get(offset..).unwrap_or_default();
    rest.split('\n').next().unwrap_or(rest)
}

/// How many bytes of data come before the line `\.`.
fn copy_length(data: &str) -> Option<usize> {
    let mut offset = 0;
    for line in data.split_inclusive('\n') {
        if line.trim_end_matches('\n') == "\\." {
            return Some(offset);
        }
        offset += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(text: &str, expected: &[&str]) {
        let script = Script::new(text);
        let statements = script.statements().unwrap_or_else(|error| panic!("{text}: {error}"));
        let texts: Vec<&str> = statements.iter().map(Statement::text).collect();
        assert_eq!(texts, expected, "{text}");
    }

    #[test]
    fn a_semicolon_at_depth_zero_ends_a_statement() {
        case("", &[]);
        case(" ;; -- a\n /* b */ ;", &[]);
        case("SELECT 1", &["SELECT 1"]);
        case("SELECT 1; SELECT 2;", &["SELECT 1", "SELECT 2"]);
        case("SELECT 1 -- a;\n, 2;\n-- b;\nSELECT 3 /* c; /* d; */ */;", &["SELECT 1 -- a;\n, 2", "SELECT 3"]);
        case("-- lead\nSELECT 1 -- tail\n", &["SELECT 1"]);
    }

    #[test]
    fn quotes_hide_semicolons() {
        case("SELECT ';', ';''', \";\"\";\"; SELECT 2", &["SELECT ';', ';''', \";\"\";\"", "SELECT 2"]);
        case(
            "SELECT E'\\';', U&';', U&\";\", N';', B'0', X'0';",
            &["SELECT E'\\';', U&';', U&\";\", N';', B'0', X'0'"],
        );
        case("SELECT 'a\\'; SELECT 2", &["SELECT 'a\\'", "SELECT 2"]);
        case(
            "SELECT $$;$$, $a$ $$;$$ ; $b$;$b$ $a$; SELECT a$$b;",
            &["SELECT $$;$$, $a$ $$;$$ ; $b$;$b$ $a$", "SELECT a$$b"],
        );
        case("SELECT $1; SELECT $2", &["SELECT $1", "SELECT $2"]);
        case("SELECT 'é;ñ;日本'; SELECT 2", &["SELECT 'é;ñ;日本'", "SELECT 2"]);
    }

    #[test]
    fn parentheses_and_atomic_bodies_hide_semicolons() {
        case(
            "CREATE RULE r AS ON INSERT TO t DO ALSO (a; b); SELECT 1",
            &["CREATE RULE r AS ON INSERT TO t DO ALSO (a; b)", "SELECT 1"],
        );
        case(
            "CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT 1; SELECT 2",
            &["CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT 1", "SELECT 2"],
        );
        let atomic = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 ELSE (CASE WHEN \
                      false THEN 2 END) END; END";
        case(&format!("{atomic}; SELECT 2"), &[atomic, "SELECT 2"]);
        case("SELECT CASE WHEN a THEN b END; SELECT 2", &["SELECT CASE WHEN a THEN b END", "SELECT 2"]);
        case("BEGIN; COMMIT; END;", &["BEGIN", "COMMIT", "END"]);
        case("SELECT begin atomic; SELECT 2", &["SELECT begin atomic", "SELECT 2"]);
        case(
            "CREATE TABLE t (\"begin\" int, atomic int); SELECT 1",
            &["CREATE TABLE t (\"begin\" int, atomic int)", "SELECT 1"],
        );
    }

    #[test]
    fn copy_data_is_cut_out_before_it_is_taken_for_sql() {
        let script = Script::new("COPY t (a) FROM STDIN WITH (FORMAT text);\r\nit's; $$\r\n\\.x\r\n\\.\r\nSELECT 1;");
        let statements = script.statements().unwrap();
        assert_eq!(statements[0].copy_data(), Some("it's; $$\n\\.x\n"));
        assert_eq!(statements[1].text(), "SELECT 1");
        assert_eq!(statements[1].position().line, 5);
        case("COPY t FROM stdin;\n\\.\n", &["COPY t FROM stdin"]);
        case("COPY t FROM stdin;\n\\.", &["COPY t FROM stdin"]);
        case(
            "COPY t TO stdout; COPY t FROM 'stdin'; SELECT 1",
            &["COPY t TO stdout", "COPY t FROM 'stdin'", "SELECT 1"],
        );
        case("COPY (SELECT a FROM stdin) TO stdout; SELECT 1", &["COPY (SELECT a FROM stdin) TO stdout", "SELECT 1"]);
    }

    #[test]
    fn the_commands_that_a_dump_carries_are_skipped() {
        case("\\restrict aB0\nSELECT 1;\n\\echo it's; done\n\\unrestrict aB0\n", &["SELECT 1"]);
    }

    #[test]
    fn what_cannot_be_split_is_refused_with_its_place() {
        #[track_caller]
        fn case(text: &str, message: &str) {
            let error = Script::new(text).statements().expect_err(text);
            assert_eq!(format!("{}: {error}", error.at()), message);
        }
        case("SELECT 1;\n SELECT 'a;", "2:9: the string that starts here never ends");
        case("SELECT E'a\\';", "1:8: the string that starts here never ends");
        case("SELECT \"a;", "1:8: the quoted name that starts here never ends");
        case("DO $a$ x $b$;", "1:4: the dollar quote that starts here never ends");
        case("/* a /* b */ ;", "1:1: the comment that starts here never ends");
        case("SELECT (1;\nSELECT 2;", "1:8: the parenthesis that starts here is never closed");
        case("CREATE FUNCTION f() BEGIN ATOMIC SELECT 1;", "1:21: the BEGIN ATOMIC that starts here is never closed");
        case("SELECT 1;\n\\i other.sql", "2:1: psql commands cannot be run; write plain SQL");
        case("SELECT 1 \\gset", "1:10: psql commands cannot be run; write plain SQL");
        let copy = "1:1: the data of COPY must start on the next line and end with a line that holds only \\.";
        case("COPY t FROM stdin", copy);
        case("COPY t FROM stdin; SELECT 1;\n\\.\n", copy);
        case("COPY t FROM stdin;\n1\n", copy);
    }

    #[test]
    fn the_servers_character_is_found_in_the_file() {
        let script = Script::new("-- é\n  SELECT 'é', x;");
        let statement = script.statements().unwrap()[0];
        assert_eq!(statement.position().to_string(), "2:3");
        assert_eq!(statement.locate(13).to_string(), "2:15");
        assert_eq!(statement.locate(0).to_string(), "2:3");
        assert_eq!(statement.locate(99).to_string(), "2:16");
    }

    #[test]
    fn transaction_control_is_recognised_behind_comments_and_case() {
        #[track_caller]
        fn case(text: &str, expected: bool) {
            let script = Script::new(text);
            assert_eq!(script.statements().unwrap()[0].controls_transaction(), expected, "{text}");
        }
        case("/* a */ BeGin", true);
        case("START TRANSACTION", true);
        case("commit and chain", true);
        case("END", true);
        case("abort", true);
        case("ROLLBACK", true);
        case("ROLLBACK PREPARED 'x'", true);
        case("PREPARE TRANSACTION 'x'", true);
        case("ROLLBACK TO SAVEPOINT a", false);
        case("ROLLBACK WORK TO a", false);
        case("SAVEPOINT a", false);
        case("PREPARE p AS SELECT 1", false);
        case("SELECT begin", false);
    }
}
