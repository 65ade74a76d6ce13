//! One change of one row: look at the columns, lock, compare, write, read back elsewhere, put back what is wrong.

use sqlx::{Postgres, QueryBuilder, Row as _};

use crate::store::StoreError;
use crate::store::keys::{Material, StoredKey};

use super::super::pace::Pace;
use super::super::session::Session;
use super::super::settle::settle;
use super::PostgresKeys;
use super::columns::Columns;
use super::row::{self, Row};

/// What is changed.
pub(super) enum Change<'a> {
    /// Store a key.
    Key {
        /// The ciphertext.
        token: &'a str,
        /// The type word: the hub overwrites it as well.
        provider: &'a str,
        /// The endpoint to remember.
        base_url: Option<&'a str>,
        /// The hub's word for a test that was just made.
        tested: Option<&'static str>,
        /// Whether a row holds the key.
        holds: &'a (dyn Fn(&Row) -> bool + Sync),
    },
    /// Clear the key and keep the row, as the hub's DELETE does.
    Clear,
    /// Switch the provider.
    Enabled(bool),
}

/// The columns that a change may touch; put back together.
const TOUCHED: [&str; 9] = [
    "type",
    "api_key_encrypted",
    "api_key_source",
    "api_key_updated_at",
    "api_key_last_tested",
    "api_key_test_status",
    "config",
    "enabled",
    "updated_at",
];

impl Change<'_> {
    /// Whether the row is as the change wants it.
    fn holds(&self, row: &Row) -> bool {
        let word = |column: &str| row.json.get(column).and_then(|value| value.as_str());
        let source = |wanted: &str| row.json.get("api_key_source").is_none() || word("api_key_source") == Some(wanted);
        match self {
            Self::Key { token, holds, .. } => row.token() == Some(token) && holds(row) && source("database"),
            Self::Clear => row.token().is_none(),
            Self::Enabled(wanted) => row.json.get("enabled").and_then(|value| value.as_bool()) == Some(*wanted),
        }
    }
}

impl PostgresKeys {
    /// Make the change to the row that was seen, or to a new row of that name.
    pub(super) async fn write(
        &self,
        seen: Option<&StoredKey>,
        name: &str,
        change: &Change<'_>,
        what: &str,
    ) -> Result<Row, StoreError> {
        seen.map_or(Ok(()), StoredKey::require_sound)?;
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        let columns = Columns::of(&mut session).await?;
        let (id, before) = match seen {
            Some(seen) => {
                let before = compared(&mut session, seen).await?;
                (seen.id.clone(), Some(before))
            }
            None => (insert(&mut session, &columns, name, change).await?, None),
        };
        update(&mut session, &columns, &id, change).await?;
        let written = row::by_id(&mut session, &id).await?;
        // A trigger of the hub's may do as it likes; before the commit it costs nothing to see it.
        if !written.as_ref().is_some_and(|row| change.holds(row)) {
            session.abandon().await;
            return Err(StoreError::Refused(format!(
                "the database keeps another value than {what}: look for a trigger on llm_providers; nothing was written"
            )));
        }
        let mut reader = settle(session, &self.target, &transaction, what).await?;
        let read = row::by_id(&mut reader, &id).await.map_err(|error| {
            StoreError::OutcomeUnknown(format!("{what} was committed but could not be read back: {error}"))
        })?;
        reader.abandon().await;
        match read {
            Some(row) if change.holds(&row) => Ok(row),
            Some(row) if row.written_by(&transaction) => Err(self.put_back(&row, before.as_ref(), what).await),
            Some(_) => Err(StoreError::OutcomeUnknown(format!(
                "{what} was committed, but somebody else has changed the row since: look before running it again"
            ))),
            None => Err(StoreError::OutcomeUnknown(format!(
                "{what} was committed, but somebody else has deleted the row since: look before running it again"
            ))),
        }
    }

    /// Undo a write that reads back wrong, and say how that ended.
    async fn put_back(&self, wrong: &Row, before: Option<&Row>, what: &str) -> StoreError {
        match self.restore(wrong, before, what).await {
            Ok(()) => StoreError::RolledBack(format!(
                "{what} did not read back as it was written; what was there before was put back and read back"
            )),
            Err(error) => StoreError::OutcomeUnknown(format!(
                "{what} did not read back as it was written, and putting back what was there before failed: {error}"
            )),
        }
    }

    async fn restore(&self, wrong: &Row, before: Option<&Row>, what: &str) -> Result<(), StoreError> {
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        let columns = Columns::of(&mut session).await?;
        let current = row::locked(&mut session, wrong.id()).await?;
        if current.is_none_or(|current| current.json != wrong.json) {
            return Err(StoreError::Conflict("somebody else has changed the row meanwhile".to_owned()));
        }
        let mut sql: QueryBuilder<Postgres> = match before {
            Some(before) => {
                let touched: Vec<&str> = TOUCHED.into_iter().filter(|name| columns.has(name)).collect();
                let list = touched.join(", ");
                let mut sql = QueryBuilder::new(format!(
                    "UPDATE llm_providers SET ({list}) = (SELECT {list} FROM jsonb_populate_record(NULL::llm_providers, "
                ));
                sql.push_bind(before.json.clone()).push("))");
                sql
            }
            None => QueryBuilder::new("DELETE FROM llm_providers"),
        };
        sql.push(" WHERE id::text = ").push_bind(wrong.id());
        session.run(sql.build()).await?;
        let mut reader = settle(session, &self.target, &transaction, &format!("putting back {what}")).await?;
        let after = row::by_id(&mut reader, wrong.id()).await?;
        reader.abandon().await;
        if after.as_ref().map(|row| &row.json) == before.map(|row| &row.json) {
            Ok(())
        } else {
            Err(StoreError::Invalid("it did not read back as it was before".to_owned()))
        }
    }
}

/// Lock the row that was seen, if it still holds what was seen.
async fn compared(session: &mut Session, seen: &StoredKey) -> Result<Row, StoreError> {
    let name = &seen.name;
    let Some(current) = row::locked(session, &seen.id).await? else {
        return Err(StoreError::Conflict(format!("`{name}` was deleted since it was read; nothing was written")));
    };
    let stored = match &seen.material {
        Material::Stored(token) => Some(token.as_str()),
        Material::Hidden { .. } | Material::Empty => None,
    };
    if current.token() != stored || current.stored().enabled != seen.enabled {
        return Err(StoreError::Conflict(format!(
            "somebody else changed `{name}` since it was read; nothing was written, look and run it again"
        )));
    }
    Ok(current)
}

/// A new row, without its key.
async fn insert(
    session: &mut Session,
    columns: &Columns,
    name: &str,
    change: &Change<'_>,
) -> Result<String, StoreError> {
    // Not every schema has a unique name: two of us must not make the row twice.
    session
        .run(
            sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('llmhub provider ' || lower($1), 0))")
                .bind(name),
        )
        .await?;
    if !row::named(session, name).await?.is_empty() {
        return Err(StoreError::Conflict(format!(
            "somebody else made a provider `{name}` meanwhile; nothing was written, look and run it again"
        )));
    }
    let (provider, base_url) = match change {
        Change::Key { provider, base_url, .. } => (*provider, base_url.unwrap_or_default()),
        Change::Clear | Change::Enabled(_) => ("", ""),
    };
    let filled = ["name", "type", "api_base_url"];
    let open: Vec<&str> = columns.demanded().filter(|name| !filled.contains(name)).collect();
    if !open.is_empty() && open != ["api_key_encrypted"] {
        return Err(StoreError::Refused(format!(
            "a new row of llm_providers must fill {}, and llmhub does not know with what; insert the row yourself, then \
             run it again",
            open.join(", ")
        )));
    }
    let mut into: QueryBuilder<Postgres> = QueryBuilder::new("INSERT INTO llm_providers (name, type");
    let mut values = vec![name, provider];
    // As the hub is delivered this column refuses null, which is why its own router cannot make rows (CONTRACT 4.3).
    if columns.refuses_null("api_base_url") {
        into.push(", api_base_url");
        values.push(base_url);
    }
    if columns.refuses_null("api_key_encrypted") {
        into.push(", api_key_encrypted");
        values.push("");
    }
    if columns.has("enabled") {
        into.push(", enabled");
    }
    into.push(") VALUES (");
    let mut list = into.separated(", ");
    for value in values {
        list.push_bind(value.to_owned());
    }
    if columns.has("enabled") {
        list.push("true");
    }
    into.push(") RETURNING id::text");
    let row = session.row(into.build()).await?;
    row.and_then(|row| row.try_get(0).ok())
        .ok_or_else(|| StoreError::Invalid("the database did not say which row it made".to_owned()))
}

async fn update(session: &mut Session, columns: &Columns, id: &str, change: &Change<'_>) -> Result<(), StoreError> {
    let mut sql: QueryBuilder<Postgres> = QueryBuilder::new("UPDATE llm_providers SET ");
    // An assignment to a column without zone takes the session's, which is UTC.
    let now = |sql: &mut QueryBuilder<Postgres>, column: &str| {
        if columns.has(column) {
            sql.push(format!(", {column} = now()"));
        }
    };
    let word = |sql: &mut QueryBuilder<Postgres>, column: &str, word: Option<&str>| {
        if columns.has(column) {
            sql.push(format!(", {column} = ")).push_bind(word.map(str::to_owned));
        }
    };
    match change {
        Change::Key { token, provider, base_url, tested, .. } => {
            sql.push("api_key_encrypted = ").push_bind((*token).to_owned());
            sql.push(", type = ").push_bind((*provider).to_owned());
            word(&mut sql, "api_key_source", Some("database"));
            now(&mut sql, "api_key_updated_at");
            word(&mut sql, "api_key_test_status", *tested);
            match tested {
                Some(_) => now(&mut sql, "api_key_last_tested"),
                // What was tested then was another key.
                None if columns.has("api_key_last_tested") => drop(sql.push(", api_key_last_tested = NULL")),
                None => {}
            }
            if let Some(base_url) = base_url {
                remember_base_url(&mut sql, columns, base_url)?;
            }
        }
        Change::Clear if columns.refuses_null("api_key_encrypted") => {
            return Err(StoreError::Refused(
                "the column api_key_encrypted is NOT NULL in this database, so a key cannot be cleared, by the hub neither; \
                 `ALTER TABLE llm_providers ALTER COLUMN api_key_encrypted DROP NOT NULL`, or disable the provider; nothing \
                 was written"
                    .to_owned(),
            ));
        }
        Change::Clear => {
            sql.push("api_key_encrypted = NULL");
            word(&mut sql, "api_key_source", Some("environment"));
            now(&mut sql, "api_key_updated_at");
            word(&mut sql, "api_key_test_status", None);
        }
        Change::Enabled(_) if !columns.has("enabled") => {
            return Err(StoreError::Refused(
                "llm_providers has no column enabled here: a provider cannot be switched; nothing was written"
                    .to_owned(),
            ));
        }
        Change::Enabled(enabled) => drop(sql.push("enabled = ").push_bind(*enabled)),
    }
    now(&mut sql, "updated_at");
    sql.push(" WHERE id::text = ").push_bind(id);
    session.run(sql.build()).await
}

/// Set `base_url` in the config and keep its other members, whichever way the hub has stored it (CONTRACT 4.2).
fn remember_base_url(sql: &mut QueryBuilder<Postgres>, columns: &Columns, base_url: &str) -> Result<(), StoreError> {
    let Some(kind) = columns.kind("config") else {
        return Err(StoreError::Refused(
            "llm_providers has no column config here, where the hub looks for a base URL; nothing was written"
                .to_owned(),
        ));
    };
    let config = "coalesce(nullif(config::text, ''), '{}')::jsonb";
    sql.push(format!(
        ", config = ((CASE jsonb_typeof({config}) WHEN 'object' THEN {config} \
         WHEN 'string' THEN ({config} #>> '{{}}')::jsonb ELSE '{{}}' END) || jsonb_build_object('base_url', "
    ));
    sql.push_bind(base_url.to_owned()).push(format!("::text))::{kind}"));
    Ok(())
}
