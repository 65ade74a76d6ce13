//! A row of `llm_providers` as JSON, whatever columns it has, and what is told of it.
//!
//! The number of the transaction that wrote a row comes along: it tells our own write, garbled, from somebody else's.

use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use crate::store::StoreError;
use crate::store::keys::{KeySource, Material, StoredKey, named as identity};

use super::super::pace::Transaction;
use super::super::session::Session;

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The row as the server prints it as JSON.
    pub(super) json: Value,
    /// The lower half of the number of the transaction that wrote it.
    writer: u32,
}

/// What [`Row::read`] reads.
macro_rules! row {
    () => {
        "to_jsonb(p), p.xmin::text::bigint"
    };
}

/// All rows in the hub's order (CONTRACT 4.2).
pub(super) async fn all(session: &mut Session) -> Result<Vec<Row>, StoreError> {
    const ALL: &str = concat!(
        "SELECT ",
        row!(),
        " FROM llm_providers p ORDER BY coalesce(p.api_key_encrypted, '') = '', \
         (to_jsonb(p) ->> 'priority')::numeric DESC NULLS FIRST, p.name, p.id"
    );
    session.rows(sqlx::query(ALL)).await?.iter().map(Row::read).collect()
}

/// The rows of this name, compared as the hub does; at most two.
pub(super) async fn named(session: &mut Session, name: &str) -> Result<Vec<Row>, StoreError> {
    const NAMED: &str = concat!("SELECT ", row!(), " FROM llm_providers p WHERE lower(name) = lower($1) LIMIT 2");
    session.rows(sqlx::query(NAMED).bind(name)).await?.iter().map(Row::read).collect()
}

/// The row of this id.
pub(super) async fn by_id(session: &mut Session, id: &str) -> Result<Option<Row>, StoreError> {
    const BY_ID: &str = concat!("SELECT ", row!(), " FROM llm_providers p WHERE id::text = $1");
    session.row(sqlx::query(BY_ID).bind(id)).await?.as_ref().map(Row::read).transpose()
}

/// The same, locked until the transaction ends.
pub(super) async fn locked(session: &mut Session, id: &str) -> Result<Option<Row>, StoreError> {
    const LOCKED: &str = concat!("SELECT ", row!(), " FROM llm_providers p WHERE id::text = $1 FOR UPDATE");
    session.row(sqlx::query(LOCKED).bind(id)).await?.as_ref().map(Row::read).transpose()
}

impl Row {
    fn read(row: &PgRow) -> Result<Self, StoreError> {
        let read = || Some((row.try_get(0).ok()?, row.try_get::<i64, _>(1).ok()?));
        let (Json(json), writer) =
            read().ok_or_else(|| StoreError::Invalid("a row of llm_providers does not read as JSON".to_owned()))?;
        let writer = u32::try_from(writer)
            .map_err(|_| StoreError::Invalid("a transaction has a number beyond 32 bits".to_owned()))?;
        Ok(Self { json, writer })
    }

    /// Whether this transaction wrote it.
    pub(super) fn written_by(&self, transaction: &Transaction) -> bool {
        // A row keeps the lower 32 bits of the number.
        transaction.as_str().parse::<u64>().is_ok_and(|number| number & u64::from(u32::MAX) == u64::from(self.writer))
    }

    pub(super) fn id(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    /// The stored text, if there is any.
    pub(super) fn token(&self) -> Option<&str> {
        self.text("api_key_encrypted").filter(|text| !text.is_empty())
    }

    /// The text of the second column; `None` where there is no such column.
    pub(super) fn second(&self) -> Option<&str> {
        self.json.get("encrypted_api_key").map(|text| text.as_str().unwrap_or_default())
    }

    fn text(&self, column: &str) -> Option<&str> {
        self.json.get(column).and_then(Value::as_str)
    }

    /// What is told of the row.
    pub(super) fn stored(&self) -> StoredKey {
        let (id, name, fault) = identity(self.text("id"), self.text("name"));
        let material = self.token().map_or(Material::Empty, |token| Material::Stored(token.to_owned()));
        StoredKey {
            id,
            name,
            fault,
            provider: self.text("type").unwrap_or_default().to_owned(),
            enabled: self.json.get("enabled").and_then(Value::as_bool).unwrap_or(false),
            source: (material != Material::Empty).then_some(KeySource::Database),
            material,
            second: self.second().filter(|text| !text.is_empty()).map(str::to_owned),
            last_tested: self.text("api_key_last_tested").map(|moment| naive(moment).to_owned()),
            test_status: self.text("api_key_test_status").map(str::to_owned),
            base_url: base_url(self.json.get("config")),
        }
    }
}

/// A moment in whole seconds without a zone: sessions of ours speak UTC.
fn naive(moment: &str) -> &str {
    moment.get(..19).unwrap_or(moment)
}

/// `base_url` of a config, which the hub as it is stores as a JSON string (CONTRACT 4.2).
fn base_url(config: Option<&Value>) -> Option<String> {
    match config? {
        Value::Object(members) => members.get("base_url")?.as_str().map(str::to_owned),
        Value::String(text) => base_url(serde_json::from_str(text).ok().filter(Value::is_object).as_ref()),
        _ => None,
    }
}
