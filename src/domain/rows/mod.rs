//! What is in the tables of a schema at one moment, and what an undone migration did to it.
//!
//! Pure: the rows are read elsewhere. A table is followed by its oid and a column by its number, so that a rename is no change;
//! what was made anew is followed by its name. No value of a row ever gets into a finding.

mod content;
mod examine;
mod pairing;

use std::fmt;

use serde::Serialize;

pub use examine::examine;

/// The content of every table at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The tables, in any order; a partitioned one stands for its partitions.
    pub tables: Vec<Table>,
    /// What could not be read, one sentence each.
    pub unchecked: Vec<String>,
}

/// One table and its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its identity in this database: it survives a rename.
    pub oid: u32,
    /// Its name with its schema, quoted where SQL needs it.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The numbers of the columns that tell its rows apart; empty where nothing does.
    pub key: Vec<i16>,
    /// What it holds.
    pub content: Content,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its number in the table: it survives a rename.
    pub number: i16,
    /// Its name, as it is.
    pub name: String,
    /// Its type, as the server prints it.
    pub data_type: String,
    /// Who gives it its values.
    pub source: Source,
}

/// Who gives a column its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Whoever writes the row.
    Writer,
    /// The server, from the other columns of the row.
    Generated,
    /// Whoever writes the row, until an update trigger of the table sets it to the time of the update.
    Stamp,
}

/// A row: the values in the order of the table's columns, as the server prints them; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// The rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of them, in any order.
    Rows(Vec<Row>),
    /// Too many to be listed.
    Digest {
        /// How many there are.
        rows: u64,
        /// A digest of each column's values that does not depend on their order, in the order of the columns.
        columns: Vec<String>,
    },
}

/// What an undone migration did to rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// The down harms what the up left alone or what was written after the up: `data_loss`.
    Harmed(Harm),
    /// The up itself took it and the down does not bring it back: a note.
    Lost(Harm),
    /// Only times moved that an update trigger sets: a note.
    Touched(Harm),
    /// Rows of the migration stay behind in a table that was there before: a note.
    Stays(Harm),
}

impl Finding {
    /// Whether it makes the verdict `data_loss`.
    pub fn is_harm(&self) -> bool {
        matches!(self, Self::Harmed(_))
    }

    /// What it is about.
    pub fn about(&self) -> &Harm {
        match self {
            Self::Harmed(harm) | Self::Lost(harm) | Self::Touched(harm) | Self::Stays(harm) => harm,
        }
    }
}

/// Which rows of which table, without their values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Harm {
    /// The table's name before the up.
    pub table: String,
    /// What became of the rows.
    pub what: What,
    /// The columns that it is about, by their names before the up; empty for whole rows.
    pub columns: Vec<String>,
    /// How many rows; where a table is too large to be listed, how many fewer or more, at least one.
    pub rows: u64,
}

/// What became of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Rows from before the up are gone.
    Deleted,
    /// Rows that were written after the up are gone.
    NewDeleted,
    /// Values are other ones.
    Changed,
    /// Values that were written after the up are other ones.
    EditLost,
    /// Rows that the up added are still there.
    Kept,
    /// Rows that nobody has seen before, or more copies of known ones.
    Appeared,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Harm { table, what, columns, rows } = self.about();
        let noun = if *rows == 1 { "row" } else { "rows" };
        write!(f, "{table}")?;
        if !columns.is_empty() {
            write!(f, " ({})", columns.join(", "))?;
        }
        write!(f, ": ")?;
        match (self, what) {
            (Self::Harmed(_), What::Deleted) => write!(f, "the down takes {rows} {noun} that the up left alone"),
            (Self::Harmed(_), What::NewDeleted) => write!(f, "the down loses {rows} {noun} written after the up"),
            (Self::Harmed(_), What::EditLost) => {
                write!(f, "the down loses what was changed after the up in {rows} {noun}")
            }
            (Self::Harmed(_), _) => write!(f, "the down changes {rows} {noun} that the up left alone"),
            (Self::Lost(_), What::Deleted) => write!(f, "the up takes {rows} {noun} that the down does not bring back"),
            (Self::Lost(_), _) => write!(f, "the up takes values of {rows} {noun} that the down does not bring back"),
            (Self::Touched(_), _) => write!(f, "the down updates {rows} {noun}, and a trigger notes the time"),
            (Self::Stays(_), What::Appeared) => {
                write!(f, "the down adds {rows} {noun} that were not there before the up")
            }
            (Self::Stays(_), _) => write!(f, "{rows} {noun} that the up added stay after the down"),
        }
    }
}
