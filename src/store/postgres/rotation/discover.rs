//! What the master key protects: every column of every table whose values begin like a Fernet token (craft.md 2.5).
//!
//! Text and bytea columns can be rotated, tokens inside JSON, arrays, hstore and XML are only listed. Views, foreign tables and
//! generated columns hold nothing of their own.

use std::collections::BTreeMap;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use crate::domain::keys::rotation::token_paths;
use crate::store::StoreError;
use crate::store::postgres::Session;

/// How a column keeps its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As text of any type.
    Text,
    /// As bytes.
    Bytes,
    /// Somewhere inside a document or a list.
    Inside,
}

/// A column, and how SQL names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPlace {
    /// `schema.table.column`, quoted where needed: its name for people and in the journal.
    pub name: String,
    /// `schema.table`, quoted.
    pub(super) table: String,
    /// The column, quoted.
    pub(super) column: String,
    /// How it keeps them.
    pub kind: Kind,
}

/// A column that holds tokens.
#[derive(Clone, Debug)]
pub struct TokenColumn {
    /// Where.
    pub place: TokenPlace,
    /// The distinct tokens, and how many rows hold each.
    pub tokens: Vec<(String, u64)>,
}

/// Tokens inside JSON and the like, which are never touched.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct JsonHit {
    /// The column.
    pub column: String,
    /// Where in the document.
    pub path: String,
    /// In how many rows.
    pub rows: u64,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// By name.
    pub columns: Vec<TokenColumn>,
    /// By column and path.
    pub json: Vec<JsonHit>,
}

impl TokenPlace {
    /// The value as text.
    pub(super) fn text(&self, alias: &str) -> String {
        match self.kind {
            Kind::Text | Kind::Inside => format!("{alias}.{}::text", self.column),
            Kind::Bytes => format!("encode({alias}.{}, 'escape')", self.column),
        }
    }

    /// A text as a value of the column; a text that is too long for it is an error of the server.
    pub(super) fn value(&self, text: &str) -> String {
        match self.kind {
            Kind::Text | Kind::Inside => text.to_owned(),
            Kind::Bytes => format!("convert_to({text}, 'UTF8')"),
        }
    }

    /// Whether a value begins like a token; blanks before it are nothing to the hub.
    pub(super) fn looks_sealed(&self, alias: &str) -> String {
        let column = &self.column;
        match self.kind {
            Kind::Text => format!("ltrim({alias}.{column}::text, E' \\t\\r\\n') LIKE 'gAAAA%'"),
            Kind::Bytes => format!("substring({alias}.{column} FROM 1 FOR 5) = 'gAAAA'::bytea"),
            Kind::Inside => format!("{alias}.{column}::text LIKE '%gAAAA%'"),
        }
    }
}

/// Look through all tables, in the transaction that is open.
pub(super) async fn discover(session: &mut Session) -> Result<Discovery, StoreError> {
    let mut found = Discovery::default();
    for place in places(session).await? {
        match place.kind {
            Kind::Inside => found.json.extend(inside(session, &place).await?),
            Kind::Text | Kind::Bytes => {
                let tokens = tokens(session, &place).await?;
                if !tokens.is_empty() {
                    found.columns.push(TokenColumn { place, tokens });
                }
            }
        }
    }
    Ok(found)
}

/// Every column that could hold tokens. A domain counts as what it is made of; a partition is seen through its parent.
async fn places(session: &mut Session) -> Result<Vec<TokenPlace>, StoreError> {
    let query = sqlx::query(
        "WITH RECURSIVE base (oid, ground) AS (SELECT oid, oid FROM pg_catalog.pg_type WHERE typtype <> 'd' UNION ALL \
         SELECT d.oid, base.ground FROM base JOIN pg_catalog.pg_type d ON d.typtype = 'd' AND d.typbasetype = base.oid), \
         kinds AS (SELECT base.oid, CASE WHEN t.typname = 'bytea' THEN 'bytes' WHEN t.typcategory = 'S' THEN 'text' \
         WHEN t.typname IN ('json', 'jsonb', 'hstore', 'xml') OR e.typcategory = 'S' OR e.typname IN ('json', 'jsonb') \
         THEN 'inside' END AS kind FROM base JOIN pg_catalog.pg_type t ON t.oid = base.ground \
         LEFT JOIN pg_catalog.pg_type e ON t.typcategory = 'A' AND e.oid = t.typelem) \
         SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname) AS name, format('%I.%I', n.nspname, c.relname) AS relation, \
         quote_ident(a.attname) AS attribute, k.kind \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN kinds k ON k.oid = a.atttypid \
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped \
         AND a.attgenerated = '' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'llmhub') \
         AND k.kind IS NOT NULL ORDER BY 1",
    );
    session.rows(query).await?.iter().map(place).collect()
}

fn place(row: &PgRow) -> Result<TokenPlace, StoreError> {
    let text = |name: &str| row.try_get::<String, _>(name).map_err(wrong);
    let kind = match text("kind")?.as_str() {
        "bytes" => Kind::Bytes,
        "inside" => Kind::Inside,
        _ => Kind::Text,
    };
    Ok(TokenPlace { name: text("name")?, table: text("relation")?, column: text("attribute")?, kind })
}

async fn tokens(session: &mut Session, place: &TokenPlace) -> Result<Vec<(String, u64)>, StoreError> {
    let (text, condition) = (place.text("t"), place.looks_sealed("t"));
    let sql = format!("SELECT {text} AS token, count(*) AS held FROM {} t WHERE {condition} GROUP BY 1", place.table);
    let rows = session.rows(sqlx::query(AssertSqlSafe(sql))).await?;
    let token = |row: &PgRow| -> Result<(String, u64), StoreError> {
        let held: i64 = row.try_get("held").map_err(wrong)?;
        Ok((row.try_get("token").map_err(wrong)?, u64::try_from(held).unwrap_or_default()))
    };
    rows.iter().map(token).collect()
}

async fn inside(session: &mut Session, place: &TokenPlace) -> Result<Vec<JsonHit>, StoreError> {
    let (text, condition) = (place.text("t"), place.looks_sealed("t"));
    let sql = format!("SELECT {text} AS document FROM {} t WHERE {condition}", place.table);
    let mut hits: BTreeMap<String, u64> = BTreeMap::new();
    for row in session.rows(sqlx::query(AssertSqlSafe(sql))).await? {
        let text: String = row.try_get("document").map_err(wrong)?;
        // PostgreSQL takes numbers and escapes that this reader does not, and a list is no JSON: then the whole is the hit.
        let paths = serde_json::from_str(&text).map_or_else(|_| vec!["$".to_owned()], |json| token_paths(&json));
        for path in paths {
            *hits.entry(path).or_default() += 1;
        }
    }
    Ok(hits.into_iter().map(|(path, rows)| JsonHit { column: place.name.clone(), path, rows }).collect())
}

pub(super) fn wrong(_: sqlx::Error) -> StoreError {
    StoreError::Invalid("the database answered with columns of another type than was asked for".to_owned())
}
