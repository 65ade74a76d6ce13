//! What providers said of stored keys, recorded in their rows as the hub records its own tests (CONTRACT 4.2).
//!
//! A row whose key is another by now is left alone: the test was of the key, not of the row.

use sqlx::{Postgres, QueryBuilder, Row as _};

use super::super::pace::Pace;
use super::super::session::Session;
use super::super::settle::settle;
use super::PostgresKeys;
use super::columns::Columns;
use crate::store::StoreError;

/// One result.
#[derive(Clone, Copy, Debug)]
pub struct Tested<'a> {
    /// The row.
    pub id: &'a str,
    /// The stored text that was tested.
    pub token: &'a str,
    /// Whether the provider said yes.
    pub ok: bool,
}

impl PostgresKeys {
    /// Record results; says how many rows read back with them.
    ///
    /// # Errors
    /// What the database says; [`StoreError::OutcomeUnknown`] when the commit cannot be shown.
    pub async fn record(&self, tests: &[Tested<'_>]) -> Result<usize, StoreError> {
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        let columns = Columns::of(&mut session).await?;
        if !columns.has("api_key_test_status") {
            session.abandon().await;
            return Err(StoreError::Refused("llm_providers has no column api_key_test_status here".to_owned()));
        }
        let mut update: QueryBuilder<Postgres> =
            QueryBuilder::new("UPDATE llm_providers p SET api_key_test_status = t.word");
        if columns.has("api_key_last_tested") {
            // An assignment to a column without zone takes the session's, which is UTC.
            update.push(", api_key_last_tested = now()");
        }
        update.push(" FROM ");
        results(&mut update, tests);
        update.push(" WHERE p.id::text = t.id AND p.api_key_encrypted = t.token");
        session.run(update.build()).await?;
        let mut reader = settle(session, &self.target, &transaction, "the record of the tests").await?;
        let mut count: QueryBuilder<Postgres> = QueryBuilder::new("SELECT count(*) FROM llm_providers p JOIN ");
        results(&mut count, tests);
        count.push(" ON p.id::text = t.id AND p.api_key_encrypted = t.token AND p.api_key_test_status = t.word");
        let row = reader.row(count.build()).await?;
        reader.abandon().await;
        let recorded = row.and_then(|row| row.try_get::<i64, _>(0).ok()).unwrap_or_default();
        Ok(usize::try_from(recorded).unwrap_or_default())
    }
}

/// The results as a table `t` of id, token and the hub's word.
fn results(sql: &mut QueryBuilder<Postgres>, tests: &[Tested<'_>]) {
    let column = |value: fn(&Tested<'_>) -> String| tests.iter().map(value).collect::<Vec<String>>();
    sql.push("unnest(").push_bind(column(|test| test.id.to_owned()));
    sql.push("::text[], ").push_bind(column(|test| test.token.to_owned()));
    sql.push("::text[], ").push_bind(column(|test| if test.ok { "success" } else { "failed" }.to_owned()));
    sql.push("::text[]) AS t (id, token, word)");
}
