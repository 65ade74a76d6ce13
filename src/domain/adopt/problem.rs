//! What keeps a file from its place, in one sentence each.
//!
//! A problem makes the answer "no": somebody has to look. What only explains itself is a reason in the manifest, and no problem.

use serde::Serialize;

use super::super::migrations::Position;

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// No text, or no SQL that can be split for certain.
    Unreadable,
    /// It would act beyond its own database.
    ActsOutside,
    /// Its up and its down are in one file, behind another tool's markers.
    OtherLayout,
    /// A rollback that fits no file, or several, or is one too many.
    RollbackWithoutUp,
    /// A rollback that cannot be run.
    BadRollback,
    /// Another copy of the same change.
    Rival,
    /// An object that was there already, in another shape.
    Conflict,
    /// An object that no file makes.
    MissingObject,
    /// Files that need each other.
    Cycle,
    /// It cannot run, for another reason.
    NeverRuns,
}

impl Trouble {
    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::ActsOutside => "acts outside",
            Self::OtherLayout => "other layout",
            Self::RollbackWithoutUp => "rollback without up",
            Self::BadRollback => "bad rollback",
            Self::Rival => "rival",
            Self::Conflict => "conflict",
            Self::MissingObject => "missing object",
            Self::Cycle => "cycle",
            Self::NeverRuns => "never runs",
        }
    }
}

/// A problem of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1, where one is to blame.
    pub line: Option<usize>,
    /// The character in the line, from 1.
    pub column: Option<usize>,
    /// The kind.
    pub problem: Trouble,
    /// What is the matter, and what to do.
    pub message: String,
}

impl Problem {
    /// A problem of a whole file.
    pub(super) fn of(file: &str, problem: Trouble, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, column: None, problem, message: message.into() }
    }

    /// The same at a place of it.
    pub(super) fn at(self, at: Position) -> Self {
        Self { line: Some(at.line), column: Some(at.column), ..self }
    }

    /// `file`, or `file:line:column`.
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            (Some(line), None) => format!("{}:{line}", self.file),
            _ => self.file.clone(),
        }
    }
}
