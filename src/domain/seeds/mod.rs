//! Seed sets: rows that a database should start with, as TOML or as SQL.
//!
//! Pure: texts come in, sets come out. A set's name is its file's name without the extension; a collection has no name
//! twice. What a set adds is never taken for what an operator edited since: rows are found by their key, and a row that is
//! there stays as it is.

mod embedded;
mod rows;

use sha2::{Digest, Sha256};

use super::migrations::{Script, Wrapping};

pub use embedded::embedded;
pub use rows::{Group, RowSet, TableName};

/// One set.
#[derive(Clone, Debug)]
pub struct SeedSet {
    name: String,
    file: String,
    body: Body,
    hash: [u8; 32],
}

/// What a set is made of.
#[derive(Clone, Debug)]
pub enum Body {
    /// Rows of one table, added where their key is not there yet.
    Rows(RowSet),
    /// Statements, run in their order; that a second run changes nothing is up to their author.
    Sql(Script),
}

/// Why a text is no seed set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", line_words(.line))]
pub struct SeedError {
    /// The file, as the operator knows it.
    pub file: String,
    /// The line, from 1, where one is to blame.
    pub line: Option<usize>,
    /// What is wrong; never a value.
    pub message: String,
}

fn line_words(line: &Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

impl SeedSet {
    /// Read the set in a file called `file`: SQL if its name ends in `.sql`, else TOML.
    ///
    /// # Errors
    /// [`SeedError`] with the line.
    pub fn parse(file: &str, text: &str) -> Result<Self, SeedError> {
        let leaf = file.rsplit('/').next().unwrap_or(file);
        let (name, extension) = leaf.rsplit_once('.').unwrap_or((leaf, ""));
        let body =
            if extension == "sql" { Body::Sql(sql(file, text)?) } else { Body::Rows(RowSet::parse(file, text)?) };
        let hash = Sha256::digest(text.as_bytes()).into();
        Ok(Self { name: name.to_owned(), file: file.to_owned(), body, hash })
    }

    /// Its name, for `llmhub db seed NAME`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file; a shipped one starts with `seeds/`.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What it is made of.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// SHA-256 of its text.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

fn sql(file: &str, text: &str) -> Result<Script, SeedError> {
    let wrong = |line, message: String| SeedError { file: file.to_owned(), line, message };
    let script = Script::new(text).named(file);
    if script.wrapping() == Wrapping::None {
        return Err(wrong(Some(1), "a seed set runs in one transaction; take `no-transaction` out".to_owned()));
    }
    let statements = script.statements().map_err(|error| wrong(Some(error.at().line), error.to_string()))?;
    if let Some(control) = statements.iter().find(|statement| statement.controls_transaction()) {
        let message = "a seed set runs in llmhub's transaction; take the transaction control out".to_owned();
        return Err(wrong(Some(control.position().line), message));
    }
    Ok(script)
}

/// Refuse a name that stands twice.
///
/// # Errors
/// [`SeedError`] naming both files.
pub fn distinct(sets: Vec<SeedSet>) -> Result<Vec<SeedSet>, SeedError> {
    for (index, set) in sets.iter().enumerate() {
        if let Some(first) = sets.iter().take(index).find(|first| first.name == set.name) {
            return Err(SeedError {
                file: set.file.clone(),
                line: None,
                message: format!("a seed set `{}` exists already ({}); rename one of them", set.name, first.file),
            });
        }
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_named_after_its_file() {
        #[track_caller]
        fn case(file: &str, text: &str, name: &str) {
            assert_eq!(SeedSet::parse(file, text).unwrap().name(), name);
        }
        case("seeds/tiers.toml", "table = \"t\"\nkey = [\"a\"]\nrows = []", "tiers");
        case("/x/10_demo.sql", "SELECT 1;", "10_demo");
        case("a.b.sql", "SELECT 1", "a.b");
    }

    #[test]
    fn sql_that_cannot_run_inside_one_transaction_is_refused_with_its_line() {
        #[track_caller]
        fn case(text: &str, expected: &str) {
            assert_eq!(SeedSet::parse("x.sql", text).unwrap_err().to_string(), expected);
        }
        case("-- no-transaction\nVACUUM;", "x.sql:1: a seed set runs in one transaction; take `no-transaction` out");
        case(
            "SELECT 1;\nCOMMIT;",
            "x.sql:2: a seed set runs in llmhub's transaction; take the transaction control out",
        );
        case("SELECT 'a", "x.sql:1: the string that starts here never ends");
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let set = |file: &str| SeedSet::parse(file, "SELECT 1").unwrap();
        assert_eq!(distinct(vec![set("a.sql"), set("b.sql")]).unwrap().len(), 2);
        let error = distinct(vec![set("one/a.sql"), set("two/a.sql")]).unwrap_err();
        assert_eq!(error.to_string(), "two/a.sql: a seed set `a` exists already (one/a.sql); rename one of them");
    }
}
