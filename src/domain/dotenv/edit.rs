//! The writer: one value is replaced, added or removed, and every other byte stays.
//!
//! A new text is read again before it is taken: an edit that the reader would not understand as meant is refused.

use super::read::is_name;
use super::{Document, Doubt, Entry, Quoting};

/// What an edit did to the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it was so already.
    Unchanged,
    /// The value of the winning assignment was replaced.
    Replaced,
    /// A line was added at the end.
    Added,
    /// Every assignment of the name was removed.
    Removed,
}

/// The outcome of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// What was done.
    pub action: Action,
    /// The lines of earlier assignments of the same name, which no reader uses.
    pub shadowed: Vec<usize>,
}

/// Why a value cannot be written; the value is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// Both readers would reject the line.
    #[error("this is not the name of an environment variable")]
    Name,
    /// A newline or another control character, which readers and shells take apart.
    #[error("the value of {name} holds a control character, which a .env file cannot carry safely")]
    ControlCharacter {
        /// The variable.
        name: String,
    },
    /// python-dotenv expands `${…}` even between single quotes.
    #[error("the value of {name} holds `${{`, which python-dotenv expands in every kind of quotes")]
    Expands {
        /// The variable.
        name: String,
    },
    /// Quotes and backslashes that no quoting carries past both readers.
    #[error("the value of {name} holds quotes, backslashes or `$` that no quoting carries past both readers")]
    NoQuoting {
        /// The variable.
        name: String,
    },
}

impl Document {
    /// Give `name` the value `value`: in its winning assignment, else on a new last line.
    ///
    /// The quoting stays where it can express the value; new quotes appear only where they are needed. A `$` is written
    /// between single quotes, so that no reader expands it.
    ///
    /// # Errors
    /// [`SetError`]; the document is as before.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Edited, SetError> {
        if !is_name(name) {
            return Err(SetError::Name);
        }
        let name = name.to_owned();
        if value.chars().any(|character| character.is_control() && character != '\t') {
            return Err(SetError::ControlCharacter { name });
        }
        if value.contains("${") {
            return Err(SetError::Expands { name });
        }
        let shadowed = self.shadowed(&name);
        let old = self.get(&name);
        if old.is_some_and(|entry| says(entry, value)) {
            return Ok(Edited { action: Action::Unchanged, shadowed });
        }
        let action = if old.is_some() { Action::Replaced } else { Action::Added };
        for quoting in [old.map(|entry| entry.quoting), plain(value), Some(Quoting::Single), Some(Quoting::Double)] {
            let Some(written) = quoting.and_then(|quoting| write(value, quoting)) else { continue };
            let text = match old {
                Some(entry) => self.replaced(entry, &written),
                None => self.appended(&name, &written),
            };
            if let Ok(edited) = Self::parse(text)
                && edited.get(&name).is_some_and(|entry| says(entry, value))
            {
                *self = edited;
                return Ok(Edited { action, shadowed });
            }
        }
        Err(SetError::NoQuoting { name })
    }

    /// Remove every assignment of `name` with its lines, so that no earlier one comes to win.
    pub fn unset(&mut self, name: &str) -> Edited {
        let shadowed = self.shadowed(name);
        let mut text = self.text.clone();
        let mut action = Action::Unchanged;
        for entry in self.entries.iter().rev().filter(|entry| entry.name == name) {
            text.replace_range(entry.lines.clone(), "");
            action = Action::Removed;
        }
        // Whole lines are gone, so what is left reads as before.
        if let Ok(edited) = Self::parse(text) {
            *self = edited;
        }
        Edited { action, shadowed }
    }

    /// The lines of all assignments of `name` but the winning one.
    fn shadowed(&self, name: &str) -> Vec<usize> {
        let mut lines: Vec<usize> = self.entries.iter().filter(|entry| entry.name == name).map(Entry::line).collect();
        lines.pop();
        lines
    }

    fn replaced(&self, entry: &Entry, written: &str) -> String {
        let mut text = self.text.clone();
        let sign = if entry.text.is_none() { "=" } else { "" };
        text.replace_range(entry.value.clone(), &format!("{sign}{written}"));
        text
    }

    fn appended(&self, name: &str, written: &str) -> String {
        let line_end = match self.text.find('\n') {
            Some(at) if self.text.get(..at).is_some_and(|line| line.ends_with('\r')) => "\r\n",
            _ => "\n",
        };
        let open_line = !self.text.is_empty() && !self.text.ends_with('\n');
        let close = if open_line { line_end } else { "" };
        format!("{}{close}{name}={written}{line_end}", self.text)
    }
}

/// Whether readers see exactly this value. A byte order mark hides the name and not the value, and no edit of a value cures it.
fn says(entry: &Entry, value: &str) -> bool {
    entry.text() == Some(value) && matches!(entry.doubt, None | Some(Doubt::ByteOrderMark))
}

/// No quotes, if not even a shell that sources the file would see anything in the value but itself.
fn plain(value: &str) -> Option<Quoting> {
    let harmless = |character: char| character.is_alphanumeric() || "@._-+:,/%=".contains(character);
    value.chars().all(harmless).then_some(Quoting::Unquoted)
}

/// The value in that quoting; `None` where a shell or an older reader would see something else.
fn write(value: &str, quoting: Quoting) -> Option<String> {
    match quoting {
        // Older readers begin a comment at any `#`.
        Quoting::Unquoted => (!value.contains('#')).then(|| value.to_owned()),
        // An escaped quote is the end for a shell.
        Quoting::Single => (!value.contains('\'')).then(|| format!("'{value}'")),
        Quoting::Double => Some(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))),
    }
}
