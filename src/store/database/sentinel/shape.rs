//! What a row of each table must look like, read from the catalog.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::Row;

use crate::store::StoreError;
use crate::store::postgres::Session;

/// All tables and the types of their columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    pub(super) tables: Vec<Table>,
    pub(super) types: HashMap<u32, Type>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Table {
    pub(super) oid: u32,
    /// With its schema, quoted.
    pub(super) name: String,
    pub(super) partitioned: bool,
    /// Why its rows cannot be read, if so.
    pub(super) hidden: Option<String>,
    pub(super) columns: Vec<Column>,
    pub(super) key: Vec<i16>,
    /// Columns of unique and exclusive indexes.
    pub(super) indexed: Vec<i16>,
    /// Whether a unique index has an expression, whose columns the catalog does not list.
    pub(super) opaque: bool,
    pub(super) checks: Vec<Check>,
    pub(super) references: Vec<Reference>,
    /// The bounds of its partitions, as the server prints them.
    pub(super) bounds: Vec<String>,
    /// The columns by which a row finds its partition.
    pub(super) routed: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Column {
    pub(super) number: i16,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_oid: u32,
    pub(super) data_type: String,
    pub(super) modifier: i32,
    pub(super) required: bool,
    pub(super) generated: bool,
    pub(super) always: bool,
    pub(super) stamp: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) columns: Option<Vec<i16>>,
    pub(super) text: String,
}

/// A foreign key.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Reference {
    pub(super) table: u32,
    pub(super) name: String,
    pub(super) columns: Vec<i16>,
    /// The names of the referenced columns.
    pub(super) keys: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Type {
    pub(super) oid: u32,
    pub(super) name: String,
    /// As `pg_type.typtype`.
    pub(super) kind: char,
    /// As SQL writes it.
    pub(super) shown: String,
    pub(super) element: u32,
    pub(super) base: u32,
    pub(super) modifier: i32,
    pub(super) labels: Vec<String>,
    pub(super) subtype: u32,
    pub(super) fields: Vec<u32>,
    pub(super) checks: Vec<String>,
}

impl Table {
    pub(super) fn column(&self, number: i16) -> Option<&Column> {
        self.columns.iter().find(|column| column.number == number)
    }
}

impl Shapes {
    /// Read them in the transaction that is open.
    pub(super) async fn read(session: &mut Session) -> Result<Self, StoreError> {
        session.send("SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL jit = off").await?;
        let tables = all(session, include_str!("tables.sql")).await?;
        let types: Vec<Type> = all(session, include_str!("types.sql")).await?;
        Ok(Self { tables, types: types.into_iter().map(|one| (one.oid, one)).collect() })
    }

    pub(super) fn table(&self, oid: u32) -> Option<&Table> {
        self.tables.iter().find(|table| table.oid == oid)
    }
}

async fn all<T: DeserializeOwned>(session: &mut Session, sql: &'static str) -> Result<Vec<T>, StoreError> {
    let wrong = || StoreError::Invalid("the catalog answered with columns of another type than asked for".to_owned());
    let rows = session.rows(sqlx::query(sql)).await?;
    let parsed = rows.iter().map(|row| {
        let text: String = row.try_get("shape").ok()?;
        serde_json::from_str(&text).ok()
    });
    parsed.collect::<Option<Vec<T>>>().ok_or_else(wrong)
}
