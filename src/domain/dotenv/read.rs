//! The reader: one pass over the text, by the grammar that python-dotenv 1.x and docker compose share.
//!
//! Promises positions that fit the text exactly, so that an edit can replace a value and nothing else.

use std::ops::Range;

use super::{Doubt, Entry, ParseError, Quoting};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The assignments of `text`.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, ParseError> {
    let mut reader = Reader { text, at: 0, line: 1 };
    reader.reject_lone_carriage_returns()?;
    let marked = reader.take_if(|character| character == BYTE_ORDER_MARK);
    let mut entries = Vec::new();
    loop {
        let start = reader.at;
        reader.skip_while(|character| is_blank(character) || character == '\n');
        match reader.peek() {
            None => return Ok(entries),
            Some('#') => reader.skip_line(),
            Some(_) => {
                // Blank lines above belong to nobody.
                let start = text
                    .get(start..reader.at)
                    .and_then(|skipped| skipped.rfind('\n'))
                    .map_or(start, |at| start + at + 1);
                let mut entry = reader.entry(start)?;
                if marked && entry.line == 1 {
                    entry.doubt = entry.doubt.or(Some(Doubt::ByteOrderMark));
                }
                entries.push(entry);
            }
        }
    }
}

/// Whether `name` can be the name of a variable for both readers.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_name_character)
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '-' | '[' | ']')
}

/// A blank inside a line. The carriage return is one because it stands only before a newline here.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r')
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

/// A value as it was read.
struct Value {
    text: String,
    doubt: Option<Doubt>,
    quoting: Quoting,
    range: Range<usize>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self, length: usize) {
        let passed = self.rest().get(..length).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', passed.as_bytes()).count();
        self.at += passed.len();
    }

    fn take_if(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().filter(|character| wanted(*character));
        self.advance(found.map_or(0, char::len_utf8));
        found.is_some()
    }

    /// Skip what `wanted` accepts and return it.
    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|character| !wanted(character)).unwrap_or(rest.len());
        self.advance(length);
        rest.get(..length).unwrap_or_default()
    }

    /// Skip to the next line.
    fn skip_line(&mut self) {
        self.skip_while(|character| character != '\n');
        self.take_if(|character| character == '\n');
    }

    fn reject_lone_carriage_returns(&self) -> Result<(), ParseError> {
        let bytes = self.text.as_bytes();
        match memchr::memchr_iter(b'\r', bytes).find(|at| bytes.get(at + 1) != Some(&b'\n')) {
            None => Ok(()),
            Some(at) => {
                let before = bytes.get(..at).unwrap_or_default();
                Err(ParseError::LoneCarriageReturn { line: 1 + memchr::memchr_iter(b'\n', before).count() })
            }
        }
    }

    /// One assignment, whose first line begins at `start`, up to and including its last line ending.
    fn entry(&mut self, start: usize) -> Result<Entry, ParseError> {
        let line = self.line;
        if self.rest().strip_prefix("export").is_some_and(|rest| rest.starts_with([' ', '\t'])) {
            self.advance("export".len());
            self.skip_while(is_blank);
        }
        let name = self.skip_while(is_name_character).to_owned();
        let name_end = self.at;
        self.skip_while(is_blank);
        let (text, doubt, quoting, value) = match self.peek() {
            _ if name.is_empty() => return Err(ParseError::NotAnAssignment { line }),
            None | Some('\n') => (None, Some(Doubt::Inherited), Quoting::Unquoted, name_end..name_end),
            Some('=') => {
                self.advance(1);
                let Value { text, doubt, quoting, range } = self.value(line, &name)?;
                (Some(text), doubt, quoting, range)
            }
            Some(_) => return Err(ParseError::NotAnAssignment { line }),
        };
        self.skip_line();
        Ok(Entry { name, line, text, doubt, quoting, value, lines: start..self.at })
    }

    fn value(&mut self, line: usize, name: &str) -> Result<Value, ParseError> {
        self.skip_while(|character| matches!(character, ' ' | '\t'));
        match self.peek() {
            Some('\'') => self.quoted('\'', line, name),
            Some('"') => self.quoted('"', line, name),
            None | Some('\n' | '\r') => {
                let range = self.at..self.at;
                Ok(Value { text: String::new(), doubt: None, quoting: Quoting::Unquoted, range })
            }
            Some(blank) if blank.is_whitespace() => Err(ParseError::OddBlank { line, name: name.to_owned() }),
            Some(_) => Ok(self.unquoted()),
        }
    }

    /// Up to the end of the line or a comment, which needs a blank before its `#`.
    fn unquoted(&mut self) -> Value {
        let start = self.at;
        let line = self.skip_while(|character| character != '\n');
        let comment = line
            .match_indices('#')
            .map(|(at, _)| at)
            .find(|at| line.get(..*at).and_then(|before| before.chars().next_back()).is_some_and(char::is_whitespace));
        let kept = comment.and_then(|at| line.get(..at)).unwrap_or(line);
        let text = kept.trim_end();
        let disagree = text.starts_with('#')
            // Only a blank makes a comment for docker compose, any white space does for python-dotenv.
            || comment.is_some() && !kept.ends_with(' ')
            || text.chars().any(|character| character.is_control() && character != '\t');
        let doubt = if disagree { Some(Doubt::ReadersDisagree) } else { text.contains('$').then_some(Doubt::Expands) };
        Value { text: text.to_owned(), doubt, quoting: Quoting::Unquoted, range: start..start + text.len() }
    }

    /// A quoted value; what follows it on the line may only be a comment.
    fn quoted(&mut self, quote: char, line: usize, name: &str) -> Result<Value, ParseError> {
        let start = self.at;
        self.advance(1);
        let end = self.end_of_quote(quote, line, name)?;
        let raw = self.rest().get(..end).unwrap_or_default();
        // Both readers see Windows line endings as newlines.
        let raw = raw.replace("\r\n", "\n");
        let (text, doubt, quoting) = match quote {
            '\'' => {
                let (text, doubt) = unescape_single(&raw);
                (text, doubt, Quoting::Single)
            }
            _ => {
                let (text, doubt) = unescape_double(&raw);
                (text, doubt, Quoting::Double)
            }
        };
        self.advance(end + 1);
        let range = start..self.at;
        let line = self.line;
        self.skip_while(is_blank);
        match self.peek() {
            None | Some('\n' | '#') => Ok(Value { text, doubt, quoting, range }),
            Some(_) => Err(ParseError::TextAfterQuote { line, name: name.to_owned() }),
        }
    }

    /// Where the closing quote is. python-dotenv takes the first one without a backslash directly before it; docker compose
    /// counts backslashes in pairs.
    fn end_of_quote(&self, quote: char, line: usize, name: &str) -> Result<usize, ParseError> {
        let rest = self.rest();
        let mut escaped = false;
        let mut previous = quote;
        let (mut by_pairs, mut by_neighbour) = (None, None);
        for (at, character) in rest.char_indices() {
            if character == quote {
                if !escaped {
                    by_pairs = by_pairs.or(Some(at));
                }
                if previous != '\\' {
                    by_neighbour = Some(at);
                    break;
                }
            }
            escaped = character == '\\' && !escaped;
            previous = character;
        }
        match (by_pairs, by_neighbour) {
            (Some(one), Some(other)) if one == other => Ok(one),
            (None, None) => Err(ParseError::Unterminated { line, name: name.to_owned() }),
            _ => Err(ParseError::AmbiguousEnd { line, name: name.to_owned() }),
        }
    }
}

/// Python-dotenv takes a backslash before `\` and `'` away, docker compose only before `'`.
fn unescape_single(raw: &str) -> (String, Option<Doubt>) {
    let mut doubt = (raw.contains("${")).then_some(Doubt::Expands);
    let text = unescape(raw, |character| match character {
        '\'' => Some('\''),
        '\\' => {
            doubt = Some(Doubt::ReadersDisagree);
            Some('\\')
        }
        _ => None,
    });
    (text, doubt.or_else(|| nul(raw)))
}

fn unescape_double(raw: &str) -> (String, Option<Doubt>) {
    let mut doubt = raw.contains('$').then_some(Doubt::Expands);
    let text = unescape(raw, |character| match character {
        '\\' | '"' => Some(character),
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        '\'' => {
            doubt = Some(Doubt::ReadersDisagree);
            Some('\'')
        }
        // An octal number for docker compose, two characters for python-dotenv.
        '0' => {
            doubt = Some(Doubt::ReadersDisagree);
            None
        }
        _ => None,
    });
    (text, doubt.or_else(|| nul(raw)))
}

/// No process can have a variable with a NUL in it.
fn nul(raw: &str) -> Option<Doubt> {
    raw.contains('\0').then_some(Doubt::ReadersDisagree)
}

/// Replace each backslash and its follower by what `meaning` says; both stay where it says nothing.
fn unescape(raw: &str, mut meaning: impl FnMut(char) -> Option<char>) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut characters = raw.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.clone().next() {
            Some(follower) => match meaning(follower) {
                Some(meant) => {
                    text.push(meant);
                    characters.next();
                }
                None => text.push('\\'),
            },
            None => text.push('\\'),
        }
    }
    text
}
