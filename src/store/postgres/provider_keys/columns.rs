//! The columns of `llm_providers` as this database has them: schemas differ, so each write looks first (craft.md 2.1).

use sqlx::Row as _;

use crate::store::StoreError;

use super::super::session::Session;

/// One column.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    /// The type as SQL writes it.
    kind: String,
    /// NOT NULL and nothing that fills it.
    demanded: bool,
    not_null: bool,
}

/// The columns of the table.
#[derive(Clone, Debug)]
pub(super) struct Columns(Vec<Column>);

impl Columns {
    /// Look them up.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`] where the table, or a column that the hub's router needs, is not there.
    pub(super) async fn of(session: &mut Session) -> Result<Self, StoreError> {
        let rows = session
            .rows(sqlx::query(
                "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, \
                        attnotnull AND NOT atthasdef AND attidentity = '' AS demanded \
                 FROM pg_attribute WHERE attrelid = to_regclass('llm_providers') AND attnum > 0 AND NOT attisdropped",
            ))
            .await?;
        let place = session.place();
        let mut columns = Vec::with_capacity(rows.len());
        for row in &rows {
            let column = || {
                Ok::<_, sqlx::Error>(Column {
                    name: row.try_get(0)?,
                    kind: row.try_get(1)?,
                    not_null: row.try_get(2)?,
                    demanded: row.try_get(3)?,
                })
            };
            columns
                .push(column().map_err(|_| StoreError::Invalid(format!("{place} does not tell its columns as text")))?);
        }
        let columns = Self(columns);
        if columns.0.is_empty() {
            return Err(StoreError::NoSchema(format!(
                "{place} has no table llm_providers, where the hub keeps its keys"
            )));
        }
        for needed in ["id", "name", "type", "api_key_encrypted"] {
            if !columns.has(needed) {
                return Err(StoreError::NoSchema(format!(
                    "llm_providers at {place} has no column {needed}, which the hub's router needs"
                )));
            }
        }
        Ok(columns)
    }

    /// Whether there is such a column.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The type of a column.
    pub(super) fn kind(&self, name: &str) -> Option<&str> {
        self.find(name).map(|column| column.kind.as_str())
    }

    /// Whether the column refuses null.
    pub(super) fn refuses_null(&self, name: &str) -> bool {
        self.find(name).is_some_and(|column| column.not_null)
    }

    /// The columns that a new row must fill by itself.
    pub(super) fn demanded(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|column| column.demanded).map(|column| column.name.as_str())
    }

    fn find(&self, name: &str) -> Option<&Column> {
        self.0.iter().find(|column| column.name == name)
    }
}
