//! The TOML of a plan, table by table: keys are known, values are read by type, and each keeps its line.
//!
//! Reading goes on after a fault, so that one look shows all of them. No fault repeats a value, which may be a secret.

use jiff::SignedDuration;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something about one line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The line, from 1.
    pub line: usize,
    /// In words.
    pub message: String,
}

impl Finding {
    /// With the file's name, as an editor finds it: `plan.toml:12: …`.
    pub fn at(&self, file: &str) -> String {
        format!("{file}:{}: {}", self.line, self.message)
    }
}

/// One table whose keys are known.
pub(super) struct Table<'a> {
    path: String,
    /// Where it begins.
    pub line: usize,
    entries: Vec<(&'static str, usize, &'a DeValue<'a>)>,
}

impl<'a> Table<'a> {
    /// The line of a key, or of the table where the key is missing.
    pub fn line_of(&self, key: &str) -> usize {
        self.entry(key).map_or(self.line, |(_, line, _)| *line)
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    fn entry(&self, key: &str) -> Option<&(&'static str, usize, &'a DeValue<'a>)> {
        self.entries.iter().find(|(name, ..)| *name == key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// The text with what was found in it.
pub(super) struct Reader<'a> {
    text: &'a str,
    /// What is wrong.
    pub faults: Vec<Finding>,
}

impl<'a> Reader<'a> {
    /// A reader without faults.
    pub fn new(text: &'a str) -> Self {
        Self { text, faults: Vec::new() }
    }

    /// The line of a byte.
    pub fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count().saturating_add(1)
    }

    /// Note a fault.
    pub fn fault(&mut self, line: usize, message: impl Into<String>) {
        self.faults.push(Finding { line, message: message.into() });
    }

    /// A table, with a fault for each key that is not known.
    pub fn open(&mut self, path: &str, line: usize, table: &'a DeTable<'a>, known: &[&'static str]) -> Table<'a> {
        let mut open = Table { path: path.to_owned(), line, entries: Vec::new() };
        for (key, value) in table.iter() {
            let (word, line) = (key.get_ref().as_ref(), self.line(key.span().start));
            match known.iter().find(|name| **name == word) {
                Some(name) => open.entries.push((name, line, value.get_ref())),
                None => {
                    let meant = nearest(word, known).map(|near| format!("; did you mean `{near}`?"));
                    self.fault(line, format!("unknown key `{}`{}", open.path_of(word), meant.unwrap_or_default()));
                }
            }
        }
        open
    }

    /// The value at a key, if it is there and right.
    pub fn take<T>(
        &mut self,
        table: &Table<'a>,
        key: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let (_, line, value) = table.entry(key)?;
        match read(value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(*line, format!("`{}` {message}", table.path_of(key)));
                None
            }
        }
    }

    /// The table at a key.
    pub fn inner(&mut self, table: &Table<'a>, key: &str, known: &[&'static str]) -> Option<Table<'a>> {
        let inner = self.take(table, key, table_of)?;
        Some(self.open(&table.path_of(key), table.line_of(key), inner, known))
    }
}

/// The known name that a mistyped one is closest to, if any is close.
pub(super) fn nearest<'n>(word: &str, known: &[&'n str]) -> Option<&'n str> {
    let scored = known.iter().map(|name| (strsim::damerau_levenshtein(word, name), *name));
    scored.filter(|(distance, name)| *distance <= (name.len() / 3).max(1)).min().map(|(_, name)| name)
}

/// A table.
pub(super) fn table_of<'a>(value: &'a DeValue<'a>) -> Result<&'a DeTable<'a>, String> {
    value.as_table().ok_or_else(|| "must be a table".to_owned())
}

/// A text that is not empty.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    match value.as_str() {
        Some("") => Err("must not be empty".to_owned()),
        Some(text) => Ok(text.to_owned()),
        None => Err("must be a text in quotes".to_owned()),
    }
}

/// A program and its arguments.
pub(super) fn command(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let refused = || "must be a list of texts: a program, then its arguments".to_owned();
    let items = value.as_array().ok_or_else(refused)?;
    let words: Option<Vec<String>> = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
    words.filter(|words| words.first().is_some_and(|word| !word.is_empty())).ok_or_else(refused)
}

/// One of some words.
pub(super) fn word<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let refused =
        || format!("must be {}", names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or "));
    let said = value.as_str().ok_or_else(refused)?;
    words.iter().find(|(name, _)| *name == said).map(|(_, value)| *value).ok_or_else(refused)
}

/// `true` or `false`.
pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be true or false, without quotes".to_owned())
}

/// A whole number of 64 bits.
pub(super) fn integer(value: &DeValue<'_>) -> Result<i64, String> {
    value
        .as_integer()
        .and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok())
        .ok_or_else(|| "must be a whole number, without quotes".to_owned())
}

/// How often, at least once.
pub(super) fn count(value: &DeValue<'_>) -> Result<u32, String> {
    match u32::try_from(integer(value)?) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("must be 1 or more".to_owned()),
    }
}

/// A list of whole numbers.
pub(super) fn integers(value: &DeValue<'_>) -> Result<Vec<i64>, String> {
    let refused = || "must be a list of whole numbers".to_owned();
    let items: &[Spanned<DeValue<'_>>] = value.as_array().ok_or_else(refused)?;
    items.iter().map(|item| integer(item.get_ref()).map_err(|_| refused())).collect()
}

/// A time span of at least a second and at most thirty days.
pub(super) fn span(value: &DeValue<'_>) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    let refused = || "must be a time such as \"90s\", \"30m\" or \"1h\"".to_owned();
    let span: SignedDuration = value.as_str().and_then(|text| text.parse().ok()).ok_or_else(refused)?;
    match Duration::try_from(span) {
        Ok(span) if span >= Duration::from_secs(1) && span <= LONGEST => Ok(span),
        _ => Err("must be from 1 s to 30 days".to_owned()),
    }
}
