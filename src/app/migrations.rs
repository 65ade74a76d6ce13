//! The folder of migrations.

use std::path::Path;

use super::App;
use crate::domain::migrations::Set;
use crate::error::Error;

impl App {
    /// The migrations that travel in the binary.
    ///
    /// # Errors
    /// None.
    pub fn migrations(&self, _dir: Option<&Path>) -> Result<Set, Error> {
        Ok(Set::embedded())
    }
}
