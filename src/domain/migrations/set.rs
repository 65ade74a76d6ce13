//! All migrations of one folder, as its layout reads them: oldest first, no version twice, every other file accounted for.

use super::layout::{self, FolderFile, Layout, LayoutError};
use super::{Migration, Numbering, Version, embedded};

/// A file of the folder that is no migration, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its path relative to the folder.
    pub file: String,
    /// In words, such as "its name ends in .sql.txt".
    pub reason: String,
}

/// The migrations that an operator has at hand.
#[derive(Clone, Debug)]
pub struct Set {
    layout: Layout,
    migrations: Vec<Migration>,
    numbering: Numbering,
    ignored: Vec<Ignored>,
    notes: Vec<String>,
}

impl Set {
    /// The migrations that travel in the binary.
    pub fn embedded() -> Self {
        Self::of(embedded(), Numbering::Integer)
    }

    /// Migrations that are in order and distinct already.
    pub fn of(migrations: Vec<Migration>, numbering: Numbering) -> Self {
        Self { layout: Layout::Paired, migrations, numbering, ignored: Vec::new(), notes: Vec::new() }
    }

    /// The migrations of a folder, whichever layout it has; `files` are its entries, in any order.
    ///
    /// # Errors
    /// [`LayoutError`] with the file, and the line where there is one.
    pub fn read(files: Vec<FolderFile>) -> Result<Self, LayoutError> {
        let layout::Reading { layout, numbering, migrations, ignored, notes } = layout::read(files)?;
        Ok(Self { layout, migrations, numbering, ignored, notes })
    }

    /// How the folder writes its migrations.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The migration with this version, however many zeros it is written with where versions are integers.
    pub fn find(&self, version: &Version) -> Option<&Migration> {
        let place = self.migrations.binary_search_by(|one| self.numbering.compare(&one.version, version)).ok()?;
        self.migrations.get(place)
    }

    /// The migrations, oldest first.
    pub fn migrations(&self) -> &[Migration] {
        &self.migrations
    }

    /// How their versions are ordered.
    pub fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// What else lies in the folder.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// What the operator should know of the folder, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}
