//! How many rows each table holds: the evidence that two databases hold the same.

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Row};

use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

/// A table with rows of its own; a partitioned table has none, its partitions have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// How many rows it held.
    pub rows: u64,
}

/// Count the rows of every table that a dump holds, in the transaction that is open. The tables stay as they are until it
/// ends, because each is locked against changes of its shape.
pub(super) async fn count(session: &mut Session) -> Result<Vec<Table>, StoreError> {
    let query = sqlx::query(
        "SELECT n.nspname::text, c.relname::text, format('SELECT count(*) FROM ONLY %I.%I', n.nspname, c.relname) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass \
         AND d.objid = c.oid AND d.deptype = 'e') \
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"",
    );
    let wrong = |_| StoreError::Invalid("the catalog has columns of another type".to_owned());
    let mut tables = Vec::new();
    for row in session.rows(query).await? {
        let (schema, name): (String, String) = (row.try_get(0).map_err(wrong)?, row.try_get(1).map_err(wrong)?);
        let sql: String = row.try_get(2).map_err(wrong)?;
        let counted = session.row(sqlx::query(AssertSqlSafe(sql))).await?;
        let rows: Option<i64> = counted.and_then(|row| row.try_get(0).ok());
        let rows = rows.and_then(|rows| u64::try_from(rows).ok());
        let rows = rows.ok_or_else(|| StoreError::Invalid(format!("{schema}.{name} has no number of rows")))?;
        tables.push(Table { schema, name, rows });
    }
    Ok(tables)
}

/// Count the rows of every table of a database that nobody else works in.
pub(in crate::store::database) async fn tally(target: &Target) -> Result<Vec<Table>, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Long).await?;
    let tables = count(&mut session).await?;
    session.abandon().await;
    Ok(tables)
}

/// What differs between two counts, at most three tables by name; `None` when nothing does.
pub(in crate::store::database) fn differences(expected: &[Table], found: &[Table]) -> Option<String> {
    let of = |tables: &[Table], wanted: &Table| {
        tables
            .iter()
            .find(|table| (&table.schema, &table.name) == (&wanted.schema, &wanted.name))
            .map(|table| table.rows)
    };
    let mut lines = Vec::new();
    for table in expected {
        let name = format!("{}.{}", table.schema, table.name);
        match of(found, table) {
            Some(rows) if rows == table.rows => {}
            Some(rows) => lines.push(format!("{name} has {rows} rows instead of {}", table.rows)),
            None => lines.push(format!("{name} is missing")),
        }
    }
    for table in found.iter().filter(|table| of(expected, table).is_none()) {
        lines.push(format!("{}.{} was not there", table.schema, table.name));
    }
    let more = lines.len().saturating_sub(3);
    lines.truncate(3);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    (!lines.is_empty()).then(|| lines.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(list: &[(&str, u64)]) -> Vec<Table> {
        list.iter()
            .map(|(name, rows)| Table { schema: "s".to_owned(), name: (*name).to_owned(), rows: *rows })
            .collect()
    }

    #[test]
    fn every_table_must_be_there_with_every_row_and_no_other() {
        #[track_caller]
        fn case(expected: &[(&str, u64)], found: &[(&str, u64)], said: Option<&str>) {
            assert_eq!(differences(&tables(expected), &tables(found)).as_deref(), said);
        }
        case(&[("a", 1), ("b", 0)], &[("b", 0), ("a", 1)], None);
        case(&[("a", 2)], &[("a", 1)], Some("s.a has 1 rows instead of 2"));
        case(&[("a", 0)], &[], Some("s.a is missing"));
        case(&[], &[("a", 0)], Some("s.a was not there"));
        case(
            &[("a", 1), ("b", 1), ("c", 1), ("d", 1)],
            &[],
            Some("s.a is missing, s.b is missing, s.c is missing, and 1 more"),
        );
    }
}
