//! Seed sets into a database: all of them in one transaction, or nothing.
//!
//! A row that is there under its key stays as it is, whoever edited it since. The tables need no unique key for that: the
//! transaction holds the lock that migrations run under, so two runs at once add nothing twice. What was added is reported
//! after another connection has read it back.

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row};

use crate::domain::migrations::{Script, Statement};
use crate::domain::seeds::{Body, RowSet, SeedSet, TableName};
use crate::store::StoreError;
use crate::store::postgres::{Failure, Pace, Session, Target, Transaction, settle};

use super::literal::quote;
use super::lock::{Purpose, wait_for};
use super::run::Run;

/// What one set did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seeded {
    /// Its name.
    pub set: String,
    /// Rows that it added.
    pub inserted: u64,
    /// Rows that were there already; `None` for SQL, which does not say.
    pub unchanged: Option<u64>,
}

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is committed.
    Keep,
    /// It is really run, and rolled back.
    RollBack,
}

/// Run the sets in their order.
///
/// # Errors
/// [`StoreError::NoSchema`] when a table is missing; [`StoreError::Refused`] for rows or SQL that the server refuses, with
/// everything rolled back; [`StoreError::Conflict`] when another run does not end in time; [`StoreError::OutcomeUnknown`]
/// when the commit's fate cannot be learned.
pub async fn seed(target: &Target, sets: &[SeedSet], run: &Run<'_>, effect: Effect) -> Result<Vec<Seeded>, StoreError> {
    let name = format!("llmhub-db seed {}@{}", run.operator.user, run.operator.host);
    let mut worker = Session::open_as(target, &name).await?;
    let transaction =
        wait_for(&mut worker, Purpose::Worker, run, async |worker| worker.begin_write(Pace::Long).await).await?;
    let mut done = Vec::with_capacity(sets.len());
    for set in sets {
        let result = match set.body() {
            Body::Rows(rows) => add_rows(&mut worker, set, rows).await,
            Body::Sql(script) => run_script(&mut worker, set, script, &transaction).await,
        };
        done.push(result?);
    }
    if effect == Effect::RollBack {
        worker.abandon().await;
        return Ok(done);
    }
    let mut reader = settle(worker, target, &transaction, "the seeds").await?;
    for (set, seeded) in sets.iter().zip(&done) {
        let Body::Rows(rows) = set.body() else { continue };
        let unknown = |why: String| {
            StoreError::OutcomeUnknown(format!("the seeds were committed, but {why}: look before you run it again"))
        };
        let found = present(&mut reader, rows).await.map_err(|error| unknown(error.to_string()))?;
        if found < seeded.inserted {
            return Err(unknown(format!("`{}` reads back {found} of {} rows", seeded.set, seeded.inserted)));
        }
    }
    reader.abandon().await;
    Ok(done)
}

/// Add the rows whose key is not there. `ON CONFLICT` is for the table's own rules, such as names that differ in case only.
async fn add_rows(worker: &mut Session, set: &SeedSet, rows: &RowSet) -> Result<Seeded, StoreError> {
    check(worker, set, rows).await?;
    let (table, matches) = (quoted(rows.table()), matches(rows));
    let mut inserted = 0;
    for group in rows.groups() {
        let columns: Vec<String> = group.columns.iter().map(|column| quote(column)).collect();
        let columns = columns.join(", ");
        let sql = format!(
            "WITH given AS (SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, $1::text::jsonb)), \
             added AS (INSERT INTO {table} ({columns}) SELECT {columns} FROM given \
             WHERE NOT EXISTS (SELECT 1 FROM {table} AS there WHERE {matches}) ON CONFLICT DO NOTHING RETURNING 1) \
             SELECT count(*) FROM added"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(serde_json::Value::from(group.rows.clone()).to_string());
        let row = worker.row(query).await.map_err(|error| about(set, error))?;
        inserted += count(row)?;
    }
    let unchanged = (rows.len() as u64).saturating_sub(inserted);
    Ok(Seeded { set: set.name().to_owned(), inserted, unchanged: Some(unchanged) })
}

/// How many of the set's keys are in the table.
pub(super) async fn present(session: &mut Session, rows: &RowSet) -> Result<u64, StoreError> {
    let (table, matches) = (quoted(rows.table()), matches(rows));
    let sql = format!(
        "SELECT count(*) FROM jsonb_populate_recordset(NULL::{table}, $1::text::jsonb) AS given \
         WHERE EXISTS (SELECT 1 FROM {table} AS there WHERE {matches})"
    );
    let all: Vec<serde_json::Value> = rows.groups().iter().flat_map(|group| group.rows.clone()).collect();
    let query = sqlx::query(AssertSqlSafe(sql)).bind(serde_json::Value::from(all).to_string());
    count(session.row(query).await?)
}

fn count(row: Option<sqlx::postgres::PgRow>) -> Result<u64, StoreError> {
    let count: Option<i64> = row.and_then(|row| row.try_get(0).ok());
    count
        .and_then(|count| u64::try_from(count).ok())
        .ok_or_else(|| StoreError::Invalid("the database answered a count with no number".to_owned()))
}

/// See that the table is there and has the set's columns.
async fn check(worker: &mut Session, set: &SeedSet, rows: &RowSet) -> Result<(), StoreError> {
    let table = rows.table();
    let query = sqlx::query(
        "SELECT a.attname::text AS name FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'f') AND a.attnum > 0 \
         AND NOT a.attisdropped",
    );
    let found = worker.rows(query.bind(table.schema.as_str()).bind(table.table.as_str())).await?;
    if found.is_empty() {
        let (place, name) = (worker.place(), set.name());
        return Err(StoreError::NoSchema(format!(
            "{place} has no table `{table}`, which the seed set `{name}` fills; nothing was written, run `llmhub db apply`"
        )));
    }
    let found: Vec<String> = found.iter().filter_map(|row| row.try_get("name").ok()).collect();
    match rows.columns().into_iter().find(|column| !found.iter().any(|known| known == column)) {
        None => Ok(()),
        Some(missing) => Err(StoreError::Refused(format!(
            "{}: the table `{table}` has no column `{missing}`; nothing was written",
            set.file()
        ))),
    }
}

async fn run_script(
    worker: &mut Session,
    set: &SeedSet,
    script: &Script,
    transaction: &Transaction,
) -> Result<Seeded, StoreError> {
    let statements = script
        .statements()
        .map_err(|error| StoreError::Refused(format!("{}:{}: {error}; nothing was written", set.file(), error.at())))?;
    let mut inserted = 0;
    for statement in &statements {
        let touched = worker.foreign_counted(statement.text(), statement.copy_data()).await;
        let touched = touched.map_err(|failure| sql_error(worker, set, statement, failure))?;
        if matches!(statement.words(1).first().map(String::as_str), Some("insert" | "copy")) {
            inserted += touched;
        }
    }
    worker.pin_again().await?;
    let row = worker.row(sqlx::query("SELECT pg_current_xact_id_if_assigned()::text")).await?;
    let now: Option<String> = row.and_then(|row| row.try_get(0).ok()).flatten();
    if now.as_deref() != Some(transaction.as_str()) {
        return Err(StoreError::OutcomeUnknown(format!(
            "{} ended the transaction it was run in: what came before stands; look at the tables before going on",
            set.file()
        )));
    }
    Ok(Seeded { set: set.name().to_owned(), inserted, unchanged: None })
}

/// The server's complaint with file, line and column.
fn sql_error(worker: &Session, set: &SeedSet, statement: &Statement<'_>, failure: Failure) -> StoreError {
    let Failure::Server { sqlstate, message, position, .. } = &failure else {
        return failure.into_store_error(worker.place());
    };
    let at = position.map_or_else(|| statement.position(), |character| statement.locate(character));
    let text = format!("{}:{at}: {message} ({sqlstate}); everything was rolled back", set.file());
    match sqlstate.as_str() {
        "42P01" | "3F000" => StoreError::NoSchema(format!("{text}; run `llmhub db apply`")),
        "42501" => StoreError::Denied(text),
        "55P03" | "40P01" | "40001" => StoreError::Conflict(text),
        "57014" => StoreError::Unreachable(text),
        _ => StoreError::Refused(text),
    }
}

/// The same error, saying which set it is about.
fn about(set: &SeedSet, error: StoreError) -> StoreError {
    let said = |text: String| format!("the seed set `{}`: {text}", set.name());
    match error {
        StoreError::Refused(text) => StoreError::Refused(said(text)),
        // A value that does not fit its column is the file's fault, whatever class the server puts it in.
        StoreError::Invalid(text) => StoreError::Refused(said(text)),
        StoreError::Denied(text) => StoreError::Denied(said(text)),
        StoreError::Conflict(text) => StoreError::Conflict(said(text)),
        other => other,
    }
}

/// The condition that `there` is the row `given`.
fn matches(rows: &RowSet) -> String {
    let equal = |column: &String| format!("there.{0} = given.{0}", quote(column));
    rows.key().iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

fn quoted(table: &TableName) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.table))
}
