//! One variable of the hub's `.env` file that is no flag: the master key.
//!
//! It is written under the file's lock, only over what the caller expects there, and read back from the path before it counts.
//! No message repeats a value.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::PATIENCE;
use super::lock::Lock;
use super::replace::{Original, resolve};
use crate::domain::dotenv::Document;
use crate::store::StoreError;

/// A variable of one file.
#[derive(Clone, Debug)]
pub struct EnvVariable {
    path: PathBuf,
    name: &'static str,
}

impl EnvVariable {
    /// The variable `name` of the file at `path`, which is not touched yet.
    pub fn new(path: impl Into<PathBuf>, name: &'static str) -> Self {
        Self { path: path.into(), name }
    }

    /// The file as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its value; `None` where the file does not set it.
    ///
    /// # Errors
    /// [`StoreError::Local`], or [`StoreError::Refused`] for a file that its readers would understand differently.
    pub fn read(&self) -> Result<Option<SecretString>, StoreError> {
        let document = self.parse(&Original::read(&self.path)?)?;
        if let Some((line, doubt)) = document.get(self.name).and_then(|entry| Some((entry.line(), entry.doubt()?))) {
            return Err(StoreError::Refused(format!(
                "{}: line {line}: {} {doubt}; nothing was written",
                self.path.display(),
                self.name
            )));
        }
        Ok(document.get(self.name).and_then(|entry| entry.text()).map(SecretString::from))
    }

    /// Put `wanted` there, or take the variable out, if what is there is what the caller expects.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for another value; [`StoreError::OutcomeUnknown`] where it does not read back.
    pub fn replace(&self, expected: &dyn Fn(Option<&str>) -> bool, wanted: Option<&str>) -> Result<(), StoreError> {
        let target = resolve(&self.path)?;
        let _lock = Lock::acquire(&target, PATIENCE)?;
        let original = Original::read(&self.path)?;
        let mut document = self.parse(&original)?;
        let there = document.get(self.name).and_then(|entry| entry.text());
        if there == wanted {
            return Ok(());
        }
        if original.path != target || !expected(there) {
            return Err(StoreError::Conflict(format!(
                "{} of {} was changed by somebody else meanwhile; the file was left as it is",
                self.name,
                self.path.display()
            )));
        }
        match wanted {
            Some(value) => {
                drop(document.set(self.name, value).map_err(|error| StoreError::Refused(error.to_string()))?)
            }
            None => drop(document.unset(self.name)),
        }
        original.replace(document.as_str())?;
        let back = self.parse(&Original::read(&self.path)?)?;
        if back.get(self.name).and_then(|entry| entry.text()) == wanted {
            return Ok(());
        }
        Err(StoreError::OutcomeUnknown(format!(
            "{} was written, but {} does not read back: another program edits the file",
            self.path.display(),
            self.name
        )))
    }

    fn parse(&self, original: &Original) -> Result<Document, StoreError> {
        Document::parse(original.text.as_str())
            .map_err(|error| StoreError::Refused(format!("{}: {error}", original.path.display())))
    }
}
