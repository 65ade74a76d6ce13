//! The ledgers of other tools: what each records as applied, and which of our files that is (migrations.md 4.11).
//!
//! Pure: tables and files are read elsewhere. A row counts only for what its tool means by it; what a tool does not record is
//! never guessed, and a row that cannot be trusted is refused by name.

mod alembic;
mod checksum;
mod claims;
mod flyway;
mod identify;
mod matching;

use std::fmt;

pub use alembic::Revisions;
pub use checksum::{Checksum, VersionWidth};
pub use claims::{Claim, Claims, FlywayRow, GolangMigrateRow, GooseRow, Key, RefineryRow, Rows, SqlxRow};
pub use flyway::FlywayVersion;
pub use identify::{Column, Neighbour, Shape, shape};
pub use matching::{Adoption, adoption};

/// A tool whose ledger can be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is called as it calls itself")]
pub enum Tool {
    Sqlx,
    Dbmate,
    GolangMigrate,
    Goose,
    Diesel,
    Refinery,
    Flyway,
    Alembic,
}

impl Tool {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Sqlx,
        Self::Dbmate,
        Self::GolangMigrate,
        Self::Goose,
        Self::Diesel,
        Self::Refinery,
        Self::Flyway,
        Self::Alembic,
    ];

    /// The word on the command line and in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sqlx => "sqlx",
            Self::Dbmate => "dbmate",
            Self::GolangMigrate => "golang-migrate",
            Self::Goose => "goose",
            Self::Diesel => "diesel",
            Self::Refinery => "refinery",
            Self::Flyway => "flyway",
            Self::Alembic => "alembic",
        }
    }

    /// The names that its table has unless it was told another one, newest first.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Self::Sqlx => &["_sqlx_migrations"],
            Self::Dbmate | Self::GolangMigrate => &["schema_migrations"],
            Self::Goose => &["goose_db_version"],
            Self::Diesel => &["__diesel_schema_migrations"],
            Self::Refinery => &["refinery_schema_history"],
            Self::Flyway => &["flyway_schema_history", "schema_version"],
            Self::Alembic => &["alembic_version"],
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a ledger cannot be taken over as it stands. Each names the row or the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The tool itself says that it failed half way.
    #[error("{row} is recorded as failed, and what it left behind is not known")]
    Failed {
        /// The row.
        row: String,
    },
    /// Nothing is recorded.
    #[error("it records nothing as applied")]
    Empty,
    /// No file is that migration.
    #[error("{row} is recorded as applied, and no file is that migration")]
    NoFile {
        /// The row.
        row: String,
    },
    /// It was made by a program, not by SQL.
    #[error("{row} has the type {kind}: what it did is not in an SQL file")]
    NotSql {
        /// The row.
        row: String,
        /// The tool's word for it.
        kind: String,
    },
    /// A file between applied ones is not recorded.
    #[error("{file} is not recorded as applied, and the later {later} is")]
    Gap {
        /// The file.
        file: String,
        /// The first later file that is recorded.
        later: String,
    },
    /// Two rows are one file.
    #[error("{one} and {other} are the same file {file}")]
    Twice {
        /// The file.
        file: String,
        /// One row.
        one: String,
        /// The other.
        other: String,
    },
    /// Only the newest revisions are recorded, and what came before them is written elsewhere.
    #[error("{heads} is all that is recorded: which revisions came before it stands in Alembic's own files only")]
    NoRevisions {
        /// The heads.
        heads: String,
    },
    /// A revision that the files do not know.
    #[error("the revision {revision} is in none of the Python files, so what came before it is not known")]
    UnknownRevision {
        /// The revision.
        revision: String,
    },
    /// A Python file whose revision cannot be read.
    #[error("{file}: {what}")]
    RevisionFile {
        /// The file.
        file: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl Obstacle {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "finish or undo it with the tool that began it, then run this again",
            Self::Empty => "nothing is to be taken over: llmhub db apply",
            Self::NoFile { .. } => {
                "give the folder that has it (--dir), or list it in llmhub.migrations.toml under the file name that the row has"
            }
            Self::NotSql { .. } => "take over the schema instead of the ledger: llmhub db baseline",
            Self::Gap { .. } => "apply it with the old tool, or give it a later version",
            Self::Twice { .. } => "give each of them a file of its own",
            Self::NoRevisions { .. } => "--revisions PATH, the folder `versions` of Alembic",
            Self::UnknownRevision { .. } => {
                "give the folder `versions` that the database was migrated with: --revisions PATH"
            }
            Self::RevisionFile { .. } => "correct the file",
        }
    }
}
