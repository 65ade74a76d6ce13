//! The content of all tables, in few round trips.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, Row as _};

use crate::domain::rows::{Column, Content, Row, Rows, Source, Table};
use crate::store::StoreError;
use crate::store::database::literal::quote;
use crate::store::postgres::Session;

use super::shape;

/// A table with more rows is digested.
const LISTED: usize = 1000;

/// Tables in one statement: the planner's time grows faster than a query.
const CHUNK: usize = 64;

/// The rows that the open transaction sees, without those of tables that cannot be read.
pub(super) async fn rows(session: &mut Session, tables: &[shape::Table]) -> Result<Rows, StoreError> {
    session
        .send(
            "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex'; \
             SET LOCAL extra_float_digits = 1; SET LOCAL jit = off; SET LOCAL search_path = pg_catalog, pg_temp; \
             SET LOCAL row_security = off",
        )
        .await?;
    let mut found = Rows::default();
    let (readable, hidden): (Vec<_>, Vec<_>) = tables.iter().partition(|table| table.hidden.is_none());
    for table in hidden {
        let why = table.hidden.as_deref().unwrap_or_default();
        found.unchecked.push(format!("the rows of {} were not looked at: it is {why}", table.name));
    }
    for chunk in readable.chunks(CHUNK) {
        let parts: Vec<String> = chunk.iter().map(|table| listing(table)).collect();
        let mut rows: HashMap<u32, Vec<Row>> = HashMap::new();
        for row in session.rows(sqlx::query(AssertSqlSafe(parts.join(" UNION ALL ")))).await? {
            let oid: i64 = row.try_get(0).map_err(|_| wrong())?;
            let values: Row = row.try_get(1).map_err(|_| wrong())?;
            rows.entry(u32::try_from(oid).map_err(|_| wrong())?).or_default().push(values);
        }
        for shape in chunk {
            let rows = rows.remove(&shape.oid).unwrap_or_default();
            let content = if rows.len() > LISTED { digest(session, shape).await? } else { Content::Rows(rows) };
            if let Content::Digest { rows, .. } = &content {
                let name = &shape.name;
                found
                    .unchecked
                    .push(format!("{name} has {rows} rows: they were compared as a whole, column by column"));
            }
            found.tables.push(Table {
                oid: shape.oid,
                name: shape.name.clone(),
                columns: shape.columns.iter().map(column).collect(),
                key: shape.key.clone(),
                content,
            });
        }
    }
    Ok(found)
}

fn wrong() -> StoreError {
    StoreError::Invalid("a table answered with columns of another type than asked for".to_owned())
}

fn column(column: &shape::Column) -> Column {
    let source = match (column.generated, column.stamp) {
        (true, _) => Source::Generated,
        (false, true) => Source::Stamp,
        (false, false) => Source::Writer,
    };
    Column { number: column.number, name: column.name.clone(), data_type: column.data_type.clone(), source }
}

/// A partitioned table stands for its partitions; what inherits otherwise is a table of its own.
fn from(table: &shape::Table) -> String {
    if table.partitioned { table.name.clone() } else { format!("ONLY {}", table.name) }
}

fn listing(table: &shape::Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| format!("t.{}::text", quote(&column.name))).collect();
    let (oid, columns, from) = (table.oid, columns.join(", "), from(table));
    format!("(SELECT {oid}::bigint, ARRAY[{columns}]::text[] FROM {from} t LIMIT {})", LISTED + 1)
}

async fn digest(session: &mut Session, table: &shape::Table) -> Result<Content, StoreError> {
    let sum = |column: &shape::Column| {
        format!("coalesce(sum(hashtextextended(t.{}::text, 0)::numeric), 0)::text", quote(&column.name))
    };
    let columns: Vec<String> = table.columns.iter().map(sum).collect();
    let sql = format!("SELECT count(*), ARRAY[{}]::text[] FROM {} t", columns.join(", "), from(table));
    let row = session.row(sqlx::query(AssertSqlSafe(sql))).await?.ok_or_else(wrong)?;
    let rows: i64 = row.try_get(0).map_err(|_| wrong())?;
    let columns = row.try_get(1).map_err(|_| wrong())?;
    Ok(Content::Digest { rows: u64::try_from(rows).unwrap_or_default(), columns })
}
