//! Why a folder of migrations cannot be read: one variant per thing that an operator can fix.
//!
//! Every message names the file, and the line where there is one. Nothing was run when one of them is shown.

use std::fmt;

use super::super::{SplitError, Version};
use super::{Layout, MANIFEST};

/// Why a folder is no set of migrations.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Nothing in it is a migration.
    #[error("the folder holds no migrations{}", of_strays(.strays))]
    NoMigrations {
        /// The `.sql` files that were passed over, each with its reason.
        strays: Vec<String>,
    },
    /// A file that is part of a migration is no text.
    #[error("{file}:{line}: the text is not UTF-8; save it as UTF-8")]
    NotUtf8 {
        /// Where.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// A file that is part of a migration was left unread.
    #[error("{file} is not a regular file; put the SQL itself there")]
    NotAFile {
        /// Where.
        file: String,
    },
    /// Two ways to write migrations in one folder.
    #[error(
        "the folder mixes layouts: {one} is {one_is}, {other} is {other_is}; keep one of them, or list the files in {MANIFEST}"
    )]
    Mixed {
        /// A file.
        one: String,
        /// What it is.
        one_is: Kind,
        /// Another, or the same.
        other: String,
        /// What that is.
        other_is: Kind,
    },
    /// Two files claim one version.
    #[error("{one} and {other} have the same version {version}; give one of them a new version")]
    Duplicate {
        /// As the first writes it.
        version: Version,
        /// A file.
        one: String,
        /// The other.
        other: String,
    },
    /// A name that starts like a version and is none.
    #[error("{file}: its name must start with a version of 1 to 32 digits and an underscore, such as 0001_name")]
    BadVersion {
        /// The file or folder.
        file: String,
    },
    /// A down file that belongs to nothing.
    #[error("{file} has no {up} beside it; write that, or remove the down file")]
    DownWithoutUp {
        /// The down file.
        file: String,
        /// The up file that is missing.
        up: String,
    },
    /// A rollback file that belongs to nothing.
    #[error("{file} is a rollback of no migration here; give both files the same name behind the number")]
    RollbackOfNothing {
        /// The rollback file.
        file: String,
    },
    /// A rollback file that could belong to two migrations.
    #[error("{file} could be the rollback of {one} or of {other}; put the number of the right one in its name")]
    RollbackOfSeveral {
        /// The rollback file.
        file: String,
        /// A candidate.
        one: String,
        /// Another.
        other: String,
    },
    /// Two rollback files of one migration.
    #[error("{one} and {other} are both a rollback of {up}; keep one")]
    TwoRollbacks {
        /// The migration.
        up: String,
        /// A rollback file.
        one: String,
        /// The other.
        other: String,
    },
    /// SQL that stands in no section.
    #[error("{file}:{line}: there is text before the first {layout} marker; move it below the marker")]
    TextBeforeMarker {
        /// Where.
        file: String,
        /// The line, from 1.
        line: usize,
        /// Whose marker.
        layout: Layout,
    },
    /// A marker that cannot be followed.
    #[error("{file}:{line}: {wrong}")]
    Marker {
        /// Where.
        file: String,
        /// The line, from 1.
        line: usize,
        /// Why.
        wrong: MarkerError,
    },
    /// A file without a section to apply.
    #[error("{file} has no {marker} section; put its marker above the SQL that makes the change")]
    NoUpSection {
        /// Where.
        file: String,
        /// The marker, as its layout writes it.
        marker: &'static str,
    },
    /// Sections of one file that ask for different things.
    #[error("{file}:{line}: this section and the one before it differ in transaction:false; they are one unit")]
    SectionsDiffer {
        /// Where.
        file: String,
        /// The line of the later marker, from 1.
        line: usize,
    },
    /// A section that does not end by itself.
    #[error("{file}:{}: {error}", error.at())]
    Section {
        /// Where.
        file: String,
        /// What is open.
        error: SplitError,
    },
    /// A diesel folder that cannot be applied.
    #[error("{folder}/ has no up.sql; write it, or remove the folder")]
    NoUpFile {
        /// The folder.
        folder: String,
    },
    /// A diesel file of 0 bytes.
    #[error("{file} is empty; write the SQL, or remove the file")]
    EmptyFile {
        /// Where.
        file: String,
    },
    /// A `metadata.toml` that cannot be read. Diesel would take its default in silence.
    #[error("{file}:{line}: {message}")]
    Metadata {
        /// Where.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A migration that is a Go program.
    #[error("{file} is a migration written in Go, which llmhub cannot run; write it as SQL")]
    GoProgram {
        /// Where.
        file: String,
    },
    /// The manifest is wrong.
    #[error("{MANIFEST}:{line}: {wrong}")]
    Manifest {
        /// The line, from 1.
        line: usize,
        /// Why.
        wrong: ManifestError,
    },
    /// A `.sql` file that the manifest does not speak of.
    #[error("{file} is neither a migration nor ignored in {MANIFEST}; list it there")]
    Unlisted {
        /// The file.
        file: String,
    },
}

/// What a file looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of this layout.
    Of(Layout),
    /// SQL without markers.
    Plain,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(layout) => layout.fmt(f),
            Self::Plain => f.write_str("plain SQL"),
        }
    }
}

/// Why a marker of a single-file layout cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    /// Looks like one, and is none.
    #[error("this marker is not known; check its spelling")]
    Unknown,
    /// The tool itself would not see it.
    #[error("a marker must stand at the start of its line, in lower case")]
    Unseen,
    /// An option that is not known.
    #[error("the only option of a marker is transaction:true or transaction:false")]
    BadOption,
    /// The environment would become part of the SQL.
    #[error("ENVSUB ON would put environment variables into the SQL; write the values out")]
    EnvSub,
    /// A way back before the way.
    #[error("the down section stands before the up section; turn them around")]
    DownFirst,
    /// One of a kind was seen already.
    #[error("this section is here a second time; keep one")]
    Second,
}

/// Why a manifest cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// No TOML, or not its form.
    #[error("{0}")]
    Form(String),
    /// A version that is none.
    #[error("a version is 1 to 32 digits in quotes")]
    Version,
    /// A version that does not come after the one before it.
    #[error("versions must rise: {version} stands behind {before}")]
    Order {
        /// The later entry's.
        version: Version,
        /// The earlier entry's.
        before: Version,
    },
    /// A path that leaves the folder, or is written in two ways.
    #[error("`{0}` must be a path inside the folder, with / and without . or ..")]
    Path(String),
    /// A file that is not there.
    #[error("`{0}` does not exist")]
    Missing(String),
    /// A file that is listed already.
    #[error("`{0}` is listed twice")]
    Twice(String),
    /// A way back that goes forward.
    #[error("the down file `{0}` holds the same text as its up file")]
    DownIsUp(String),
    /// An entry that must come first, and does not.
    #[error("it needs {0}, which is not listed before it")]
    Needs(String),
    /// An ignored file without a reason.
    #[error("`{0}` is ignored without a reason")]
    NoReason(String),
}

fn of_strays(strays: &[String]) -> String {
    match strays {
        [] => "; write the first one: llmhub db new NAME".to_owned(),
        [one] => format!("; {one}"),
        [one, rest @ ..] => format!("; {one}, and {} more .sql files were passed over", rest.len()),
    }
}
