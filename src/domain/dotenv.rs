//! A `.env` text and its assignments, edited without touching any other byte.
//!
//! Two programs read the hub's file: python-dotenv and docker compose. A value counts as certain where they agree; where
//! they do not, or would put something else in its place, it carries a [`Doubt`]. What either of them rejects is an error
//! with its line. Nothing is expanded here, and no message repeats a value: the file holds secrets.

mod edit;
mod read;

use std::fmt;
use std::ops::Range;

pub use edit::{Action, Edited, SetError};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// As it is.
    Unquoted,
    /// Between `'`: nothing is expanded, but for python-dotenv's `${…}`.
    Single,
    /// Between `"`, with backslash escapes.
    Double,
}

/// Why the two readers may not see the text of an entry as its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It holds a `$` that one of them expands.
    Expands,
    /// They understand its quotes, escapes or comment differently.
    ReadersDisagree,
    /// A name alone: docker compose takes the value from its own environment, python-dotenv sets nothing.
    Inherited,
    /// It is on the first line, behind a byte order mark that python-dotenv takes for part of the name.
    ByteOrderMark,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expands => "holds a `$` that readers may expand",
            Self::ReadersDisagree => "is read differently by python-dotenv and by docker compose",
            Self::Inherited => "is a name without a value, which is taken from elsewhere",
            Self::ByteOrderMark => "stands behind a byte order mark, which hides it from python-dotenv",
        })
    }
}

/// One assignment.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    name: String,
    line: usize,
    text: Option<String>,
    doubt: Option<Doubt>,
    quoting: Quoting,
    /// Where the value stands, quotes included.
    value: Range<usize>,
    /// All of its lines, the last line ending included.
    lines: Range<usize>,
}

impl Entry {
    /// The variable.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line on which it begins, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The value without quotes and escapes, as python-dotenv reads it; `None` for a name alone.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Why a reader may see another value.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// How it is written.
    pub fn quoting(&self) -> Quoting {
        self.quoting
    }
}

impl fmt::Debug for Entry {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, line, doubt, quoting, .. } = self;
        f.debug_struct("Entry")
            .field("name", name)
            .field("line", line)
            .field("doubt", doubt)
            .field("quoting", quoting)
            .finish_non_exhaustive()
    }
}

/// Why a text is not a `.env` file that both readers accept. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Neither a comment nor an assignment.
    #[error("line {line}: neither a comment nor NAME=value")]
    NotAnAssignment {
        /// The line.
        line: usize,
    },
    /// A quote that is never closed.
    #[error("line {line}: the quote of {name} is not closed")]
    Unterminated {
        /// The line on which it opens.
        line: usize,
        /// The variable.
        name: String,
    },
    /// `\\` before a quote: python-dotenv reads an escaped quote, docker compose the end of the value.
    #[error("line {line}: readers disagree where the value of {name} ends, because of a backslash before a quote")]
    AmbiguousEnd {
        /// The line on which the value begins.
        line: usize,
        /// The variable.
        name: String,
    },
    /// Something other than a comment behind a quoted value.
    #[error("line {line}: there is text behind the quoted value of {name}")]
    TextAfterQuote {
        /// The line.
        line: usize,
        /// The variable.
        name: String,
    },
    /// White space that only one of the readers skips.
    #[error("line {line}: an unusual blank before the value of {name}")]
    OddBlank {
        /// The line.
        line: usize,
        /// The variable.
        name: String,
    },
    /// A carriage return that ends no line for docker compose, but does for python-dotenv.
    #[error("line {line}: a carriage return without a newline")]
    LoneCarriageReturn {
        /// The line.
        line: usize,
    },
}

/// A whole file.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    text: String,
    entries: Vec<Entry>,
}

impl Document {
    /// Read a file's text.
    ///
    /// # Errors
    /// [`ParseError`] for the first line that one of the two readers rejects.
    pub fn parse(text: impl Into<String>) -> Result<Self, ParseError> {
        let text = text.into();
        let entries = read::entries(&text)?;
        Ok(Self { text, entries })
    }

    /// The file's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// All assignments, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The assignment that readers use: the last one of that name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.name == name)
    }
}

impl fmt::Debug for Document {
    /// Without the text, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("entries", &self.entries).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    type Bindings = Vec<(String, Option<String>)>;

    #[test]
    fn what_is_accepted_reads_as_in_python_dotenv() {
        let recorded: Value = serde_json::from_str(include_str!("../../tests/data/python-dotenv.json")).unwrap();
        let files: Vec<(String, Option<Bindings>)> = serde_json::from_value(recorded["files"].clone()).unwrap();
        assert_eq!(files.len(), 3000);
        let mut accepted = 0;
        for (text, bindings) in files {
            let Ok(document) = Document::parse(text.as_str()) else { continue };
            accepted += 1;
            let hidden = |entry: &Entry| text.starts_with('\u{feff}') && entry.line == 1;
            let ours: Bindings = document
                .entries()
                .iter()
                .map(|entry| {
                    let mark = if hidden(entry) { "\u{feff}" } else { "" };
                    (format!("{mark}{}", entry.name), entry.text.clone())
                })
                .collect();
            let theirs = bindings.unwrap_or_else(|| panic!("python-dotenv rejects {text:?}"));
            // A byte order mark before a comment is a name without a value there, which sets nothing.
            let theirs: Bindings = theirs.into_iter().filter(|(name, _)| name != "\u{feff}").collect();
            assert_eq!(ours, theirs, "{text:?}");
        }
        assert!(accepted > 1500, "{accepted}");
    }

    #[track_caller]
    fn read(text: &str, value: Option<&str>, doubt: Option<Doubt>) {
        let document = Document::parse(text).unwrap();
        let entry = document.get("A").unwrap();
        assert_eq!((entry.text(), entry.doubt()), (value, doubt), "{text:?}");
    }

    #[test]
    fn a_value_is_certain_where_both_readers_agree() {
        for (text, value) in [
            ("A=1", "1"),
            ("\n# c\nexport  A = 1  # c\r\n", "1"),
            ("A=", ""),
            ("A=\t\r\n", ""),
            ("A=''", ""),
            ("A=x#y", "x#y"),
            ("A='x # y' # c", "x # y"),
            ("A=\"x\\n\\\"y\\\\\\\"\\\\z\"", "x\n\"y\\\"\\z"),
            ("A=\"x\r\ny\"\r\n", "x\ny"),
            ("A='$x'", "$x"),
            ("A=a\\nb", "a\\nb"),
            ("A=1\nA=2\nB=3", "2"),
        ] {
            read(text, Some(value), None);
        }
    }

    #[test]
    fn a_value_is_in_doubt_where_they_do_not() {
        read("A=$x", Some("$x"), Some(Doubt::Expands));
        read("A=\"$x\"", Some("$x"), Some(Doubt::Expands));
        read("A='${x}'", Some("${x}"), Some(Doubt::Expands));
        read("A= # c", Some("# c"), Some(Doubt::ReadersDisagree));
        read("A=x\t# c", Some("x"), Some(Doubt::ReadersDisagree));
        read("A='x\\\\y'", Some("x\\y"), Some(Doubt::ReadersDisagree));
        read("A=\"x\\'y\"", Some("x'y"), Some(Doubt::ReadersDisagree));
        read("A=x\0y", Some("x\0y"), Some(Doubt::ReadersDisagree));
        read("A='x\0y'", Some("x\0y"), Some(Doubt::ReadersDisagree));
        read("A\nB=1", None, Some(Doubt::Inherited));
        read("A=1\nA", None, Some(Doubt::Inherited));
        read("\u{feff}A=1", Some("1"), Some(Doubt::ByteOrderMark));
        read("\u{feff}\nA=1", Some("1"), None);
    }

    #[test]
    fn what_a_reader_rejects_is_an_error_with_its_line_and_without_the_value() {
        #[track_caller]
        fn case(text: &str, expected: &str) {
            assert_eq!(Document::parse(text).unwrap_err().to_string(), expected, "{text:?}");
        }
        case("A=1\nsecret\u{7} value", "line 2: neither a comment nor NAME=value");
        case("A: secret", "line 1: neither a comment nor NAME=value");
        case("A B=secret", "line 1: neither a comment nor NAME=value");
        case("=secret", "line 1: neither a comment nor NAME=value");
        case("'A'=secret", "line 1: neither a comment nor NAME=value");
        case("# c\n\nA=\"secret\nB=1\n", "line 3: the quote of A is not closed");
        case("A='a\nsecret' B=2", "line 2: there is text behind the quoted value of A");
        case(
            "B=1\nA='x\\\\'\nC='y'",
            "line 2: readers disagree where the value of A ends, because of a backslash before a quote",
        );
        case("A=\u{a0}'secret'", "line 1: an unusual blank before the value of A");
        case("A=1\n# c\rB=2\n", "line 2: a carriage return without a newline");
    }

    #[test]
    fn no_debug_text_shows_a_value() {
        let document = Document::parse("A=hunter2").unwrap();
        assert!(!format!("{document:?}").contains("hunter2"));
    }

    #[track_caller]
    fn set(before: &str, value: &str, after: &str) -> Edited {
        let mut document = Document::parse(before).unwrap();
        let edited = document.set("A", value).unwrap();
        assert_eq!(document.as_str(), after);
        edited
    }

    #[test]
    fn an_edit_replaces_the_value_and_nothing_else() {
        set("A=1", "2", "A=2");
        set("# c\r\nexport A = \"1\" # d\r\nB=2", "x y", "# c\r\nexport A = \"x y\" # d\r\nB=2");
        set("A='1'\n", "2", "A='2'\n");
        set("A=\n", "x", "A=x\n");
        set("A= \t\n", "x", "A= \tx\n");
        set("A=x # c", "", "A='' # c");
        set("A=\"a\nb\" # c\nB=1", "x", "A=\"x\" # c\nB=1");
        set("A\nB=1", "x", "A=x\nB=1");
        set("\u{feff}A=1\r\n", "2", "\u{feff}A=2\r\n");
    }

    #[test]
    fn quotes_appear_only_where_they_are_needed() {
        set("", "a@x.com,b-c+d@y.org", "A=a@x.com,b-c+d@y.org\n");
        set("", "a b", "A='a b'\n");
        set("", "it's", "A=\"it's\"\n");
        set("", "$x", "A='$x'\n");
        set("", "a#b", "A='a#b'\n");
        set("", "a\\b", "A='a\\b'\n");
        set("", " x ", "A=' x '\n");
        set("A=1", "a b", "A=a b");
        set("A=1", "a #b", "A='a #b'");
        set("A=\"1\"", "$x", "A='$x'");
        set("A=\"1\"", "say \"hi\" \\o/", "A=\"say \\\"hi\\\" \\\\o/\"");
        set("A=it", "a'b\"c\\d", "A=a'b\"c\\d");
        set("A=$B", "$B", "A='$B'");
    }

    #[test]
    fn a_new_variable_gets_a_line_of_its_own_in_the_style_of_the_file() {
        assert_eq!(set("B=1", "2", "B=1\nA=2\n").action, Action::Added);
        set("B=1\r\n", "2", "B=1\r\nA=2\r\n");
        set("B=1\r\nC=2", "2", "B=1\r\nC=2\r\nA=2\r\n");
        set("\u{feff}", "2", "\u{feff}\nA=2\n");
    }

    #[test]
    fn the_winning_one_of_duplicates_is_edited() {
        let edited = set("A=1\nB=2\nA=3\nA=4\n", "5", "A=1\nB=2\nA=3\nA=5\n");
        assert_eq!(edited, Edited { action: Action::Replaced, shadowed: vec![1, 3] });
    }

    #[test]
    fn removing_takes_every_assignment_and_only_their_lines() {
        let mut document = Document::parse("# c\n\n  A=1 # d\nB=2\nA='x\ny'\n\nC=3").unwrap();
        assert_eq!(document.unset("A"), Edited { action: Action::Removed, shadowed: vec![3] });
        assert_eq!(document.as_str(), "# c\n\nB=2\n\nC=3");
        assert_eq!(document.unset("A").action, Action::Unchanged);
    }

    #[test]
    fn what_no_quoting_carries_is_refused_and_changes_nothing() {
        #[track_caller]
        fn case(name: &str, value: &str, error: &str) {
            let mut document = Document::parse("A=1\n").unwrap();
            assert_eq!(document.set(name, value).unwrap_err().to_string(), error);
            assert_eq!(document.as_str(), "A=1\n");
        }
        let control = "the value of A holds a control character, which a .env file cannot carry safely";
        case("A", "a\nb", control);
        case("A", "a\rb", control);
        case("A", "a\0b", control);
        case("A", "\u{1b}[2J", control);
        case("A", "${x}", "the value of A holds `${`, which python-dotenv expands in every kind of quotes");
        case("A", "'$", "the value of A holds quotes, backslashes or `$` that no quoting carries past both readers");
        case("A B", "x", "this is not the name of an environment variable");
        case("", "x", "this is not the name of an environment variable");
    }

    /// Files as people write them, and worse.
    fn files() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            "[a-z0-9@.,-]{0,12}",
            "'[a-z \t#$\\\\\"]{0,12}'",
            "\"[a-z \t#$'\n]{0,12}\"",
            "\"(\\\\[n\"\\\\]|[a-z]){0,8}\"",
            "[ -~é]{0,12}",
        ];
        let line = prop_oneof![
            4 => ("( |\t|export )?", "[ABC]", "( ?= ?|=)", value, "( # .{0,8})?").prop_map(|(a, b, c, d, e)| a + &b + &c + &d + &e),
            1 => "#[^\n\r]{0,12}",
            1 => "[ \t]{0,3}",
            1 => "[ABC]",
        ];
        let line = (line, prop_oneof![3 => Just("\n"), 1 => Just("\r\n")]).prop_map(|(line, end)| line + end);
        let mark = prop_oneof![4 => Just(""), 1 => Just("\u{feff}")];
        let last = prop_oneof![1 => Just("".to_owned()), 1 => Just("B=last".to_owned())];
        (mark, prop::collection::vec(line, 0..6), last)
            .prop_map(|(mark, lines, last)| mark.to_owned() + &lines.concat() + &last)
    }

    fn values() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9@.,-]{0,20}", "[ -~\té]{0,12}", "[$'\"\\\\# a]{0,6}", ".{0,12}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn an_edit_keeps_every_other_byte(file in files(), value in values()) {
            let Ok(before) = Document::parse(file.as_str()) else { return Ok(()) };
            let mut after = before.clone();
            let Ok(edited) = after.set("A", &value) else {
                prop_assert_eq!(after, before);
                return Ok(());
            };
            prop_assert_eq!(after.get("A").and_then(Entry::text), Some(value.as_str()));
            match (before.get("A"), after.get("A")) {
                (Some(old), Some(_)) => {
                    let (head, tail) = (&file[..old.value.start], &file[old.value.end..]);
                    prop_assert!(after.as_str().len() >= head.len() + tail.len());
                    prop_assert!(after.as_str().starts_with(head) && after.as_str().ends_with(tail));
                    prop_assert_eq!(edited.action == Action::Unchanged, before == after);
                }
                (None, _) => {
                    prop_assert!(after.as_str().starts_with(before.as_str()));
                    prop_assert_eq!(edited.action, Action::Added);
                }
                (Some(_), None) => prop_assert!(false, "the edit lost its variable"),
            }
            let others = |document: &Document| {
                let keep = |entry: &&Entry| entry.name != "A";
                document.entries().iter().filter(keep).map(|entry| (entry.name.clone(), entry.text.clone())).collect::<Vec<_>>()
            };
            prop_assert_eq!(others(&before), others(&after));
            let once = after.clone();
            prop_assert_eq!(after.set("A", &value).map(|edited| edited.action), Ok(Action::Unchanged));
            prop_assert_eq!(once, after);
        }

        #[test]
        fn removing_leaves_the_other_assignments(file in files()) {
            let Ok(before) = Document::parse(file.as_str()) else { return Ok(()) };
            let mut after = before.clone();
            after.unset("A");
            prop_assert!(after.get("A").is_none());
            let texts = |document: &Document| {
                document.entries().iter().filter(|entry| entry.name != "A").map(|entry| entry.text.clone()).collect::<Vec<_>>()
            };
            prop_assert_eq!(texts(&before), texts(&after));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,80}") {
            let _ = Document::parse(text);
        }
    }
}
