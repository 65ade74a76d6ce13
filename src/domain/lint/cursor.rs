//! The tokens of a statement, read from the front, each with its place.
//!
//! For rules that look at words and names only. What they do not recognise they leave alone.

use crate::domain::migrations::{ObjectName, tokens};

/// The tokens that say something to the server.
pub(super) struct Cursor<'a> {
    tokens: Vec<(usize, &'a str)>,
    next: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { tokens: tokens(text), next: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.next).map(|(_, text)| *text)
    }

    /// The byte offset of the token that comes next.
    pub(super) fn offset(&self) -> usize {
        self.tokens.get(self.next).map_or(0, |(offset, _)| *offset)
    }

    /// Step over the next token and return it.
    pub(super) fn step(&mut self) -> Option<&'a str> {
        let token = self.peek();
        self.next += 1;
        token
    }

    /// Step over this word, if it comes next.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let matches = self.peek().is_some_and(|token| token.eq_ignore_ascii_case(word));
        self.next += usize::from(matches);
        matches
    }

    /// Step over these words, if all of them come next.
    pub(super) fn take_all(&mut self, words: &[&str]) -> bool {
        let rest = self.tokens.get(self.next..).unwrap_or_default();
        let matches = rest.len() >= words.len()
            && rest.iter().zip(words).all(|((_, token), word)| token.eq_ignore_ascii_case(word));
        self.next += if matches { words.len() } else { 0 };
        matches
    }

    /// Step over any of these words, for as long as one comes.
    pub(super) fn skip_any(&mut self, words: &[&str]) {
        while words.iter().any(|word| self.take(word)) {}
    }

    /// Step to just behind this word; false, and at the end, where there is none.
    pub(super) fn find(&mut self, word: &str) -> bool {
        while self.peek().is_some() {
            if self.take(word) {
                return true;
            }
            self.next += 1;
        }
        false
    }

    /// The tokens that are left.
    pub(super) fn rest(&self) -> &[(usize, &'a str)] {
        self.tokens.get(self.next..).unwrap_or_default()
    }

    /// Whether the word stands anywhere in what is left.
    pub(super) fn has(&self, word: &str) -> bool {
        self.rest().iter().any(|(_, token)| token.eq_ignore_ascii_case(word))
    }

    /// A name with or without its schema, as the server stores it.
    pub(super) fn name(&mut self) -> Option<ObjectName> {
        let first = self.identifier()?;
        if self.take(".") {
            let name = self.identifier()?;
            return Some(ObjectName { schema: Some(first), name });
        }
        Some(ObjectName { schema: None, name: first })
    }

    /// One name.
    pub(super) fn identifier(&mut self) -> Option<String> {
        let name = identifier(self.peek()?)?;
        self.next += 1;
        Some(name)
    }
}

/// A token as a name; `None` for what is no name.
pub(super) fn identifier(token: &str) -> Option<String> {
    if let Some(quoted) = token.strip_prefix('"') {
        return Some(quoted.strip_suffix('"')?.replace("\"\"", "\""));
    }
    let first = token.chars().next()?;
    (first.is_alphabetic() || first == '_').then(|| token.to_lowercase())
}

/// A token in the form in which two are compared: words in lower case, all else as it is.
pub(super) fn folded(token: &str) -> String {
    if token.starts_with(['\'', '"', '$']) { token.to_owned() } else { token.to_lowercase() }
}

/// The name with its schema, as most servers would find it.
pub(super) fn full(name: &ObjectName) -> (String, String) {
    (name.schema.clone().unwrap_or_else(|| "public".to_owned()), name.name.clone())
}
