//! The ledgers of other tools in a database: found in the catalog, in whichever schema they are, and read.
//!
//! Only ever read, in read-only transactions: nothing of them is created, changed or locked against their owner.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Decode, Row, Type};

use crate::domain::foreign_ledger::{
    Column, FlywayRow, GolangMigrateRow, GooseRow, Neighbour, RefineryRow, Rows, Shape, SqlxRow, Tool, VersionWidth,
    shape,
};
use crate::domain::migrations::Migration;
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

use super::apply::read_back;
use super::engine::Engine;
use super::literal::quote;
use super::run::{Ran, Run};

/// A table that may be somebody's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whose it is, by its columns.
    pub shape: Shape,
    columns: Vec<Column>,
}

impl ForeignTable {
    /// `schema.name`, for messages.
    pub fn path(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Whether an object of a fingerprint is this table, or the sequence or an index that its tool made with it.
    pub fn owns(&self, object: &str) -> bool {
        let plain = object.replace('"', "");
        let rest = plain.strip_prefix(&self.path());
        rest.is_some_and(|rest| matches!(rest, "" | "_id_seq" | "_pkey" | "_pk" | "_s_idx"))
    }

    /// The same, quoted for SQL.
    fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

/// The tables of these names, in every schema or in one, in the order of their paths. Nothing is created by looking.
///
/// # Errors
/// Those of connecting.
pub async fn foreign_tables(
    target: &Target,
    names: &[&str],
    schema: Option<&str>,
) -> Result<Vec<ForeignTable>, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Quick).await?;
    let query = sqlx::query(
        "SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, NULL), \
         EXISTS (SELECT FROM pg_catalog.pg_class r WHERE r.relnamespace = n.oid AND r.relname = 'ar_internal_metadata') \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'llmhub') \
         AND c.relname = ANY($1) AND n.nspname = coalesce($2, n.nspname) ORDER BY 1, 2, a.attnum",
    );
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let rows = session.rows(query.bind(names).bind(schema.map(str::to_owned))).await?;
    session.abandon().await;
    let mut tables: Vec<ForeignTable> = Vec::new();
    for row in rows {
        let (schema, name): (String, String) = (cell(&row, 0, "pg_class")?, cell(&row, 1, "pg_class")?);
        let column = Column { name: cell(&row, 2, "pg_class")?, kind: cell(&row, 3, "pg_class")? };
        let neighbour = if cell(&row, 4, "pg_class")? { Neighbour::Rails } else { Neighbour::None };
        if tables.last().is_none_or(|table| table.schema != schema || table.name != name) {
            tables.push(ForeignTable { schema, name, shape: Shape::Unknown, columns: Vec::new() });
        }
        if let Some(table) = tables.last_mut() {
            table.columns.push(column);
            table.shape = shape(&table.columns, neighbour);
        }
    }
    Ok(tables)
}

/// The rows of a tool's ledger.
///
/// # Errors
/// [`StoreError::Denied`] for a role that may not read it; [`StoreError::Invalid`] for other columns than the tool makes.
pub async fn foreign_rows(target: &Target, tool: Tool, table: &ForeignTable) -> Result<Rows, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Quick).await?;
    let rows = read(&mut session, tool, table).await?;
    session.abandon().await;
    Ok(rows)
}

/// The same, in the transaction that is open.
pub(super) async fn read(session: &mut Session, tool: Tool, table: &ForeignTable) -> Result<Rows, StoreError> {
    // A policy that hides a row would make an applied migration look pending.
    session.send("SET LOCAL row_security = off").await?;
    let (columns, order) = match tool {
        Tool::Sqlx => ("version::int8, description::text, success, checksum", "version"),
        Tool::Dbmate | Tool::Diesel => ("version::text", "version"),
        Tool::GolangMigrate => ("version::int8, dirty", "version"),
        Tool::Goose => ("version_id::int8, is_applied", "id"),
        Tool::Refinery => ("version::int8, coalesce(name, ''), coalesce(checksum, '')", "version"),
        Tool::Flyway => ("version::text, type::text, script::text, checksum::int4, success", "installed_rank"),
        Tool::Alembic => ("version_num::text", "version_num"),
    };
    let sql = format!("SELECT {columns} FROM {} ORDER BY {order}", table.quoted());
    let rows = session.rows(sqlx::query(AssertSqlSafe(sql))).await?;
    let path = &table.path();
    let texts = |rows: &[PgRow]| rows.iter().map(|row| cell(row, 0, path)).collect::<Result<Vec<String>, _>>();
    Ok(match tool {
        Tool::Sqlx => Rows::Sqlx(each(&rows, |row| {
            let (version, description) = (cell(row, 0, path)?, cell(row, 1, path)?);
            Ok(SqlxRow { version, description, success: cell(row, 2, path)?, checksum: cell(row, 3, path)? })
        })?),
        Tool::Dbmate => Rows::Dbmate(texts(&rows)?),
        Tool::Diesel => Rows::Diesel(texts(&rows)?),
        Tool::Alembic => Rows::Alembic(texts(&rows)?),
        Tool::GolangMigrate => Rows::GolangMigrate(each(&rows, |row| {
            Ok(GolangMigrateRow { version: cell(row, 0, path)?, dirty: cell(row, 1, path)? })
        })?),
        Tool::Goose => Rows::Goose(each(&rows, |row| {
            Ok(GooseRow { version_id: cell(row, 0, path)?, is_applied: cell(row, 1, path)? })
        })?),
        Tool::Refinery => {
            let wide = table.columns.iter().any(|column| column.name == "version" && column.kind == "bigint");
            let width = if wide { VersionWidth::Eight } else { VersionWidth::Four };
            Rows::Refinery(each(&rows, |row| {
                let (version, name) = (cell(row, 0, path)?, cell(row, 1, path)?);
                Ok(RefineryRow { version, width, name, checksum: cell(row, 2, path)? })
            })?)
        }
        Tool::Flyway => Rows::Flyway(each(&rows, |row| {
            let (version, kind, script) = (cell(row, 0, path)?, cell(row, 1, path)?, cell(row, 2, path)?);
            Ok(FlywayRow { version, kind, script, checksum: cell(row, 3, path)?, success: cell(row, 4, path)? })
        })?),
    })
}

fn each<T>(rows: &[PgRow], read: impl Fn(&PgRow) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    rows.iter().map(read).collect()
}

fn cell<'r, T: Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>>(
    row: &'r PgRow,
    place: usize,
    table: &str,
) -> Result<T, StoreError> {
    row.try_get(place).map_err(|_| StoreError::Invalid(format!("{table} has columns of another type, or holds NULL")))
}

/// What shall be taken over, and from where.
#[derive(Clone, Copy)]
pub struct Handover<'a> {
    /// Whose ledger it is.
    pub tool: Tool,
    /// Where it is.
    pub table: &'a ForeignTable,
    /// What it said when the decision was made.
    pub rows: &'a Rows,
    /// For the history: JSON that names the tool, its table and the proof.
    pub details: &'a str,
}

/// Put migrations on the ledger that another tool has applied, all or none. Its own table stays as it is.
///
/// # Errors
/// [`StoreError::Conflict`] when something is on the ledger already, or the other tool was at work since its rows were read.
pub async fn adopt(
    target: &Target,
    migrations: &[&Migration],
    from: Handover<'_>,
    run: &Run<'_>,
) -> Result<(), StoreError> {
    let mut engine = Engine::start(target, run).await?;
    let done = async {
        if engine.foreign_rows(from.tool, from.table).await? != *from.rows {
            let path = from.table.path();
            return Err(StoreError::Conflict(format!("{path} has changed since it was read; nothing was written")));
        }
        engine.adopt(migrations, Some(from.details)).await
    };
    let done = done.await;
    let id = engine.id().clone();
    engine.end().await;
    done?;
    let ran = |migration: &&Migration| Ran {
        version: migration.version.to_string(),
        name: migration.name.clone(),
        duration_ms: 0,
    };
    let adopted: Vec<Ran> = migrations.iter().map(ran).collect();
    read_back(target, &id, &adopted).await.map(drop)
}
