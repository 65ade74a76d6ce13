//! One table of a configuration file: its keys are known, its values read by type, and each keeps its line.
//!
//! The TOML crate only parses. Names, types and places are judged here, so that an error can say all three and never has
//! to repeat the value.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::disk::TextFile;
use super::error::nearest;
use super::{ConfigError, Line, Origin, Refused, Setting};

type Entry<'a> = (&'static str, Line, &'a DeValue<'a>);

/// Parse the TOML of a file.
///
/// # Errors
/// [`ConfigError::Syntax`] with line and column. The parser's own message names what it expected and not what it read.
pub(super) fn parse(file: &TextFile) -> Result<DeTable<'_>, ConfigError> {
    DeTable::parse(&file.text).map(Spanned::into_inner).map_err(|error| {
        let offset = error.span().map_or(file.text.len(), |span| span.start);
        ConfigError::Syntax {
            line: file.line(offset),
            column: file.column(offset),
            message: error.message().to_owned(),
        }
    })
}

/// One table of the file, all of whose keys are known.
pub(super) struct Section<'a> {
    path: String,
    file: &'a TextFile,
    entries: Vec<Entry<'a>>,
}

impl<'a> Section<'a> {
    /// The table at `path`.
    ///
    /// # Errors
    /// [`ConfigError::UnknownKey`] for the topmost key that is not `known`.
    pub(super) fn open(
        file: &'a TextFile,
        path: String,
        table: &'a DeTable<'a>,
        known: &[&'static str],
    ) -> Result<Self, ConfigError> {
        let mut section = Self { path, file, entries: Vec::new() };
        for (key, value) in from_the_top(table) {
            let (word, line) = (key.get_ref().as_ref(), file.line(key.span().start));
            let Some(name) = known.iter().find(|name| **name == word) else {
                let nearest = nearest(word, known.iter().copied());
                return Err(ConfigError::UnknownKey { line, key: section.path_of(word), nearest });
            };
            section.entries.push((name, line, value.get_ref()));
        }
        Ok(section)
    }

    /// A key with the tables around it.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|(name, ..)| *name == key)
    }

    /// The value at `key`, as `read` understands it.
    pub(super) fn take<T>(
        &self,
        key: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Refused>,
    ) -> Result<Option<Setting<T>>, ConfigError> {
        let Some((_, line, value)) = self.entry(key) else { return Ok(None) };
        let origin = Origin::File(line.clone());
        match read(value) {
            Ok(value) => Ok(Some(Setting::new(value, origin))),
            Err(refused) => Err(ConfigError::InvalidValue { origin, key: self.path_of(key), refused }),
        }
    }

    /// The table at `key`, whose own keys must be `known`.
    pub(super) fn inner(&self, key: &str, known: &[&'static str]) -> Result<Option<Section<'a>>, ConfigError> {
        let Some((_, line, value)) = self.entry(key) else { return Ok(None) };
        let path = self.path_of(key);
        let table = table_of(value, line, &path)?;
        Section::open(self.file, path, table, known).map(Some)
    }

    /// The tables in the table at `key`, under names the operator chose, from the top.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<(String, Line, &'a DeTable<'a>)>, ConfigError> {
        let Some((_, line, value)) = self.entry(key) else { return Ok(Vec::new()) };
        let path = self.path_of(key);
        let mut tables = Vec::new();
        for (name, value) in from_the_top(table_of(value, line, &path)?) {
            let line = self.file.line(name.span().start);
            let table = table_of(value.get_ref(), &line, &format!("{path}.{}", name.get_ref()))?;
            tables.push((name.get_ref().to_string(), line, table));
        }
        Ok(tables)
    }

    /// Refuse a table that holds two of `keys`.
    pub(super) fn said_once(&self, keys: &[&str]) -> Result<(), ConfigError> {
        let mut said = self.entries.iter().filter(|(name, ..)| keys.contains(name));
        match (said.next(), said.next()) {
            (Some((first, ..)), Some((second, line, _))) => Err(ConfigError::SaidTwice {
                line: line.clone(),
                first: (*first).to_owned(),
                second: (*second).to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

type Row<'a> = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>);

/// The rows of a table as the operator reads them; the parser sorts them by name.
fn from_the_top<'a>(table: &'a DeTable<'a>) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = table.iter().collect();
    rows.sort_by_key(|(key, _)| key.span().start);
    rows
}

fn table_of<'a>(value: &'a DeValue<'a>, line: &Line, path: &str) -> Result<&'a DeTable<'a>, ConfigError> {
    value.as_table().ok_or_else(|| ConfigError::InvalidValue {
        origin: Origin::File(line.clone()),
        key: path.to_owned(),
        refused: Refused::new("must be a table"),
    })
}

/// A text that is not empty.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, Refused> {
    match value.as_str() {
        Some("") => Err(Refused::new("must not be empty; delete the line to leave it unset")),
        Some(text) => Ok(text.to_owned()),
        None => Err(Refused::new("must be a text in quotes")),
    }
}

/// A list of texts; the list may be empty, the texts not.
pub(super) fn texts(value: &DeValue<'_>) -> Result<Vec<String>, Refused> {
    let refused = || Refused::new("must be a list of texts in quotes");
    let items = value.as_array().ok_or_else(refused)?;
    items.iter().map(|item| text(item.get_ref()).map_err(|_| refused())).collect()
}

/// A program and its arguments, which may be empty texts.
pub(super) fn command(value: &DeValue<'_>) -> Result<Vec<String>, Refused> {
    let refused = || Refused::new("must be a list of texts: a program, then its arguments");
    let items = value.as_array().ok_or_else(refused)?;
    let words: Vec<String> = items
        .iter()
        .map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(refused))
        .collect::<Result<_, _>>()?;
    if words.first().is_none_or(String::is_empty) { Err(refused()) } else { Ok(words) }
}

/// As [`command`], or an empty list that means none.
pub(super) fn command_or_none(value: &DeValue<'_>) -> Result<Vec<String>, Refused> {
    if value.as_array().is_some_and(|items| items.is_empty()) { Ok(Vec::new()) } else { command(value) }
}

/// `true` or `false`.
pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, Refused> {
    value.as_bool().ok_or_else(|| Refused::new("must be true or false, without quotes"))
}

/// A whole number of 64 bits.
pub(super) fn integer(value: &DeValue<'_>) -> Result<i64, Refused> {
    value
        .as_integer()
        .and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok())
        .ok_or_else(|| Refused::new("must be a whole number, without quotes"))
}

/// A list of whole numbers.
pub(super) fn integers(value: &DeValue<'_>) -> Result<Vec<i64>, Refused> {
    let refused = || Refused::new("must be a list of whole numbers");
    let items = value.as_array().ok_or_else(refused)?;
    items.iter().map(|item| integer(item.get_ref()).map_err(|_| refused())).collect()
}
