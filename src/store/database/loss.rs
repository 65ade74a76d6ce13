//! How much a rollback would destroy, counted on the live database before anybody is asked.
//!
//! Each item is counted in a transaction that cannot write, within a time limit. What takes longer or may not be read is the
//! server's own estimate and marked as such; what cannot be known at all says so.

use std::time::Duration;

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use crate::domain::schema::{Doomed, Extent, Fate, Loses};
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

/// What is lost of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Its name, quoted as SQL would.
    pub object: String,
    /// What becomes of it, in words such as "dropped with its rows".
    pub what: String,
    /// The rows that lose something; `None` where that is not known.
    pub rows: Option<i64>,
    /// Of a column: its values that are not NULL.
    pub non_null: Option<i64>,
    /// Whether the numbers were counted; false for an estimate and for what is not known.
    pub exact: bool,
    /// The newest time in those rows, if the table has a column of times (UTC); of a sequence its last value.
    pub newest: Option<String>,
    /// Why it was not counted.
    pub note: Option<String>,
}

impl Loss {
    /// Whether it is known that there is nothing to lose.
    pub fn is_nothing(&self) -> bool {
        self.exact && (self.rows == Some(0) || self.non_null == Some(0))
    }
}

/// Count on `target` what is doomed, each item within `limit` (10 s is a good one). Writes nothing and locks nothing that a
/// reader would not.
///
/// # Errors
/// Those of the connection; what cannot be counted is no error.
pub async fn count_losses(target: &Target, doomed: &[Doomed], limit: Duration) -> Result<Vec<Loss>, StoreError> {
    let mut session = Session::open(target).await?;
    let mut losses = Vec::with_capacity(doomed.len());
    for item in doomed {
        // A transaction each: a lock on the first table shall not be held while the last is counted.
        session.begin_read(Pace::Long).await?;
        losses.push(count(&mut session, item, limit).await?);
        session.send("ROLLBACK").await?;
    }
    session.close().await;
    Ok(losses)
}

async fn count(session: &mut Session, item: &Doomed, limit: Duration) -> Result<Loss, StoreError> {
    let mut loss = Loss {
        object: item.object.clone(),
        what: words(&item.loses),
        rows: None,
        non_null: None,
        exact: false,
        newest: None,
        note: None,
    };
    let (query, fallback) = match &item.loses {
        Loses::Uncounted { why } => {
            loss.note = Some(why.clone());
            return Ok(loss);
        }
        Loses::Type => {
            // A type holds nothing; the columns of that type are items of their own.
            (loss.rows, loss.exact) = (Some(0), true);
            return Ok(loss);
        }
        Loses::Sequence => {
            let query = format!(
                "SELECT CASE WHEN is_called THEN 1 ELSE 0 END::bigint AS rows, NULL::bigint AS non_null, \
                 CASE WHEN is_called THEN last_value::text END AS newest FROM {}",
                item.object
            );
            (query, None)
        }
        Loses::Table { extent } => rows(session, &item.object, *extent).await?,
        Loses::MaterializedView => rows(session, &item.object, Extent::Partitions).await?,
        Loses::Column { table, column, extent } | Loses::Narrowed { table, column, extent, .. } => {
            values(session, table, *extent, &format!("{column} IS NOT NULL")).await?
        }
        Loses::Label { table, column, extent, label, of } => {
            let array = of.ends_with("[]");
            let holds =
                if array { format!("{label} = ANY ({column}::text[])") } else { format!("{column}::text = {label}") };
            values(session, table, *extent, &holds).await?
        }
        Loses::Rows { from, .. } => {
            (format!("SELECT count(*) AS rows, NULL::bigint AS non_null, NULL::text AS newest FROM {from}"), None)
        }
    };
    let estimated: Option<&str> = fallback.as_deref();
    match exactly(session, &query, limit).await? {
        Ok(row) => {
            loss.rows = row.try_get("rows").ok();
            loss.non_null = row.try_get("non_null").ok().flatten();
            loss.newest = row.try_get("newest").ok().flatten();
            loss.exact = loss.rows.is_some();
            // Only the rows that hold a value lose one.
            if matches!(item.loses, Loses::Label { .. }) {
                loss.rows = loss.non_null;
            }
        }
        Err(why) => {
            loss.note = Some(why);
            if let Some(table) = estimated {
                loss.rows = estimate(session, table).await?;
            }
        }
    }
    Ok(loss)
}

/// The query that counts the rows of a relation, and the relation to estimate by.
async fn rows(session: &mut Session, relation: &str, extent: Extent) -> Result<(String, Option<String>), StoreError> {
    let newest = newest(session, relation).await?.map_or("NULL".to_owned(), |column| format!("max({column})"));
    let from = from(relation, extent);
    let query = format!("SELECT count(*) AS rows, NULL::bigint AS non_null, {newest}::text AS newest FROM {from}");
    Ok((query, Some(relation.to_owned())))
}

/// The same for the rows of a table that fulfil a condition.
async fn values(
    session: &mut Session,
    table: &str,
    extent: Extent,
    condition: &str,
) -> Result<(String, Option<String>), StoreError> {
    let newest = newest(session, table).await?;
    let newest = newest.map_or("NULL".to_owned(), |column| format!("max({column}) FILTER (WHERE {condition})"));
    let from = from(table, extent);
    let query = format!(
        "SELECT count(*) AS rows, count(*) FILTER (WHERE {condition}) AS non_null, {newest}::text AS newest FROM {from}"
    );
    Ok((query, Some(table.to_owned())))
}

fn from(relation: &str, extent: Extent) -> String {
    match extent {
        Extent::Only => format!("ONLY {relation}"),
        Extent::Partitions => relation.to_owned(),
    }
}

/// The column that tells best how fresh a row is, quoted; by its name, else the first column of times.
async fn newest(session: &mut Session, relation: &str) -> Result<Option<String>, StoreError> {
    let query = sqlx::query(
        "SELECT quote_ident(a.attname) AS name FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE format('%I.%I', n.nspname, c.relname) = $1 AND a.attnum > 0 AND NOT a.attisdropped \
         AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype) \
         ORDER BY coalesce(array_position(ARRAY['updated_at', 'created_at', 'timestamp', 'at'], a.attname::text), 9), a.attnum \
         LIMIT 1",
    );
    let row = session.row(query.bind(relation)).await?;
    Ok(row.and_then(|row| row.try_get("name").ok()))
}

/// The row of a query within the limit, or why there is none; the transaction lives on either way.
async fn exactly(session: &mut Session, sql: &str, limit: Duration) -> Result<Result<PgRow, String>, StoreError> {
    // Row security would hide rows that the rollback destroys all the same: then it shall fail and not count too few.
    let limits = format!(
        "SAVEPOINT item; SET LOCAL statement_timeout = {}; SET LOCAL row_security = off; SET LOCAL jit = off",
        limit.as_millis().max(1)
    );
    session.send(&limits).await?;
    match session.row(sqlx::query(AssertSqlSafe(sql))).await {
        Ok(Some(row)) => Ok(Ok(row)),
        Ok(None) => Ok(Err("the server counted nothing".to_owned())),
        Err(error) => {
            // If the connection itself is gone, this says so.
            session.send("ROLLBACK TO SAVEPOINT item").await?;
            Ok(Err(match error {
                StoreError::Unreachable(_) => format!("counting took longer than {} s", limit.as_secs().max(1)),
                StoreError::Denied(_) => "the role may not read it".to_owned(),
                StoreError::NoSchema(_) => "it is not there now".to_owned(),
                // The server's words would repeat a stored value.
                StoreError::Refused(_) => "its condition fails on a stored value".to_owned(),
                other => format!("it cannot be counted: {other}"),
            }))
        }
    }
}

/// The planner's figure, summed over partitions; `None` where no ANALYZE has been.
async fn estimate(session: &mut Session, relation: &str) -> Result<Option<i64>, StoreError> {
    let query = sqlx::query(
        "WITH RECURSIVE part AS (SELECT c.oid, c.relkind, c.reltuples, c.relpages FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE format('%I.%I', n.nspname, c.relname) = $1 \
         UNION ALL SELECT c.oid, c.relkind, c.reltuples, c.relpages FROM part \
         JOIN pg_catalog.pg_inherits i ON i.inhparent = part.oid AND part.relkind = 'p' \
         JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid) \
         SELECT CASE WHEN bool_and(reltuples > 0 OR reltuples = 0 AND relpages > 0) THEN sum(reltuples)::bigint END AS about \
         FROM part WHERE relkind <> 'p'",
    );
    let row = session.row(query.bind(relation)).await?;
    Ok(row.and_then(|row| row.try_get("about").ok()).flatten())
}

fn words(loses: &Loses) -> String {
    match loses {
        Loses::Table { .. } => "table dropped with its rows".to_owned(),
        Loses::MaterializedView => "materialized view dropped, its rows can be computed again".to_owned(),
        Loses::Column { .. } => "column dropped with its values".to_owned(),
        Loses::Narrowed { from, to, .. } => format!("column narrowed from {from} to {to}"),
        Loses::Label { of, .. } => format!("label removed from {of}"),
        Loses::Sequence => "sequence dropped with its position".to_owned(),
        Loses::Type => "type dropped".to_owned(),
        Loses::Rows { fate: Fate::Truncated, .. } => "table emptied".to_owned(),
        Loses::Rows { fate: Fate::Deleted, .. } => "rows deleted".to_owned(),
        Loses::Rows { fate: Fate::Changed, .. } => "rows changed, their old values are lost".to_owned(),
        Loses::Uncounted { .. } => "cannot be counted".to_owned(),
    }
}
