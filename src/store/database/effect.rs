//! What a statement outside of any transaction has left in the catalog: the only witness after a death (migrations.md 4.6).
//!
//! An index counts as built when it is valid and belongs to the table that the statement names. An invalid one is remains.

use sqlx::Row;

use crate::domain::migrations::{Alone, ObjectName};
use crate::store::StoreError;
use crate::store::postgres::Session;

use super::literal::quote;

/// What stands of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Nothing,
    /// All of it.
    Done,
    /// Invalid indexes, by the names that the server gives them.
    Remains(Vec<String>),
    /// The name is taken by something else.
    Taken {
        /// Whose it is, in words.
        by: String,
    },
    /// Nobody can tell.
    Unknown,
}

/// The indexes of the table of a statement that makes up a name for its index, so that the new one can be told afterwards.
pub(super) async fn indexes(session: &mut Session, effect: &Alone) -> Result<Vec<String>, StoreError> {
    let Alone::BuildIndex { index: None, table } = effect else { return Ok(Vec::new()) };
    Ok(indexes_of(session, table).await?.into_iter().map(|(name, _)| name).collect())
}

/// What stands of a statement; `before` are the indexes of its table before it was first begun.
pub(super) async fn standing(session: &mut Session, effect: &Alone, before: &[String]) -> Result<Standing, StoreError> {
    match effect {
        Alone::BuildIndex { index: Some(index), table } => named(session, index, table).await,
        Alone::BuildIndex { index: None, table } => {
            let new: Vec<(String, bool)> =
                indexes_of(session, table).await?.into_iter().filter(|(name, _)| !before.contains(name)).collect();
            let remains: Vec<String> = new.iter().filter(|(_, valid)| !valid).map(|(name, _)| name.clone()).collect();
            Ok(match (remains.is_empty(), new.is_empty()) {
                (false, _) => Standing::Remains(remains),
                (true, false) => Standing::Done,
                (true, true) => Standing::Nothing,
            })
        }
        Alone::DropIndex { index } => {
            let query = sqlx::query("SELECT to_regclass($1) IS NULL").bind(quoted(index));
            let gone: Option<bool> = session.row(query).await?.and_then(|row| row.try_get(0).ok());
            Ok(if gone == Some(true) { Standing::Done } else { Standing::Nothing })
        }
        // Once more does no harm.
        Alone::Repeatable => Ok(Standing::Nothing),
        Alone::Undecidable => Ok(Standing::Unknown),
    }
}

async fn named(session: &mut Session, index: &ObjectName, table: &ObjectName) -> Result<Standing, StoreError> {
    let query = sqlx::query(
        "SELECT c.oid::regclass::text AS name, coalesce(i.indisvalid AND i.indisready AND i.indislive, false) AS valid, \
         coalesce(i.indrelid = t.oid, false) AS same, i.indrelid::regclass::text AS owner \
         FROM pg_catalog.pg_class t JOIN pg_catalog.pg_class c ON c.relnamespace = t.relnamespace AND c.relname = $1 \
         LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid WHERE t.oid = to_regclass($2)",
    )
    .bind(index.name.as_str())
    .bind(quoted(table));
    let Some(row) = session.row(query).await? else { return Ok(Standing::Nothing) };
    let (name, owner): (String, Option<String>) = (get(&row, "name")?, get(&row, "owner")?);
    Ok(match (get(&row, "same")?, get(&row, "valid")?) {
        (true, true) => Standing::Done,
        (true, false) => Standing::Remains(vec![name]),
        (false, _) => Standing::Taken {
            by: owner.map_or_else(|| "something that is no index".to_owned(), |owner| format!("an index of {owner}")),
        },
    })
}

/// Name and validity.
async fn indexes_of(session: &mut Session, table: &ObjectName) -> Result<Vec<(String, bool)>, StoreError> {
    let query = sqlx::query(
        "SELECT indexrelid::regclass::text AS name, indisvalid AND indisready AND indislive AS valid \
         FROM pg_catalog.pg_index WHERE indrelid = to_regclass($1) ORDER BY 1",
    )
    .bind(quoted(table));
    session.rows(query).await?.iter().map(|row| Ok((get(row, "name")?, get(row, "valid")?))).collect()
}

fn get<'r, T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(
    row: &'r sqlx::postgres::PgRow,
    column: &str,
) -> Result<T, StoreError> {
    row.try_get(column).map_err(|_| StoreError::Invalid("pg_index has columns of another type".to_owned()))
}

fn quoted(name: &ObjectName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(&name.name)),
        None => quote(&name.name),
    }
}
