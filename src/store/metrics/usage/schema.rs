//! Which table holds the usage, and what its columns are called: the shipped `llm_usage_analytics`, or a hub's own
//! `llm_usage_logs`.
//!
//! Names come from fixed lists; nothing that a database says becomes part of a statement.

use sqlx::Row;

use crate::domain::rollout::plan::Identity;
use crate::store::StoreError;
use crate::store::postgres::Session;

/// The tables, the shipped one first; with rows in neither, the first that exists.
const TABLES: [&str; 2] = ["llm_usage_analytics", "llm_usage_logs"];

/// What the time of a request is called.
const TIMES: [&str; 2] = ["timestamp", "created_at"];

/// Status words of a request that did what was asked; requests that are under way or were called off by the user do not count,
/// and whatever else there is counts as failed.
const DONE: &str = "'success', 'succeeded', 'ok', 'completed', 'complete', 'cached'";
const NEITHER: &str = "'pending', 'running', 'cancelled', 'canceled'";

/// How requests are told apart there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A text: `success`, `error`, ….
    Status,
    /// A boolean.
    Success,
}

/// What a row says about its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserId {
    /// The `id` of `users`.
    Uuid,
    /// A text: the `id` of `users`, or what the hub hashes itself.
    Text,
}

/// The usage table of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    table: &'static str,
    time: &'static str,
    outcome: Outcome,
    user_id: UserId,
}

impl Usage {
    /// Look for it.
    ///
    /// # Errors
    /// [`StoreError::NoSchema`] when there is none that can be read; [`StoreError::Denied`] when the role may not.
    pub(super) async fn find(session: &mut Session, identity: Identity) -> Result<Self, StoreError> {
        let sql = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL), \
                   has_table_privilege(c.oid, 'SELECT') \
                   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
                   WHERE c.oid IN (to_regclass('users'), to_regclass('llm_usage_analytics'), \
                   to_regclass('llm_usage_logs')) AND a.attnum > 0 AND NOT a.attisdropped";
        let rows = session.rows(sqlx::query(sql)).await?;
        let columns: Vec<(String, String, String, bool)> = rows
            .iter()
            .filter_map(|row| {
                Some((row.try_get(0).ok()?, row.try_get(1).ok()?, row.try_get(2).ok()?, row.try_get(3).ok()?))
            })
            .collect();
        let kind = |table: &str, column: &str| {
            let fits = |found: &&(String, String, String, bool)| found.0 == table && found.1 == column;
            columns.iter().find(fits).map(|(_, _, kind, _)| kind.as_str())
        };
        let place = session.place().clone();
        for table in ["users"].into_iter().chain(TABLES) {
            if columns.iter().any(|(name, _, _, readable)| name == table && !readable) {
                return Err(StoreError::Denied(format!("the role may not read {table} at {place}")));
            }
        }
        if kind("users", "id").is_none() || kind("users", column(identity)).is_none() {
            return Err(StoreError::NoSchema(format!("{place} has no users with the column {}", column(identity))));
        }
        for table in TABLES {
            let time =
                TIMES.into_iter().find(|time| kind(table, time).is_some_and(|kind| kind.starts_with("timestamp")));
            let outcome = match (kind(table, "status"), kind(table, "success")) {
                (Some("text" | "character varying"), _) => Some(Outcome::Status),
                (_, Some("boolean")) => Some(Outcome::Success),
                _ => None,
            };
            let user_id = match kind(table, "user_id") {
                Some("uuid") => Some(UserId::Uuid),
                Some("text" | "character varying") => Some(UserId::Text),
                _ => None,
            };
            let latency = kind(table, "latency_ms");
            if let (Some(time), Some(outcome), Some(user_id), Some(_)) = (time, outcome, user_id, latency) {
                return Ok(Self { table, time, outcome, user_id });
            }
        }
        Err(StoreError::NoSchema(format!(
            "{place} has neither llm_usage_analytics nor llm_usage_logs with user_id, a time, latency_ms and status or success"
        )))
    }

    /// The table's name.
    pub(super) fn table(&self) -> &'static str {
        self.table
    }

    /// The column of the time, quoted.
    pub(super) fn time(&self) -> String {
        format!("l.\"{}\"", self.time)
    }

    /// The condition of the requests that count.
    pub(super) fn counted(&self) -> String {
        match self.outcome {
            // The usual word first: folding the case of every row would cost more than all the rest.
            Outcome::Status => format!("(l.status = 'success' OR lower(l.status) NOT IN ({NEITHER}))"),
            Outcome::Success => "l.success IS NOT NULL".to_owned(),
        }
    }

    /// The condition of a request that failed, among those that count.
    pub(super) fn failed(&self) -> String {
        match self.outcome {
            Outcome::Status => {
                format!("l.status <> 'success' AND lower(l.status) NOT IN ({DONE}) AND l.status !~ '^2[0-9][0-9]$'")
            }
            Outcome::Success => "NOT l.success".to_owned(),
        }
    }

    /// How the rows of `seen` find their user, and what the hub hashes of that user.
    pub(super) fn join(&self, identity: Identity) -> (String, String) {
        let column = column(identity);
        match self.user_id {
            UserId::Uuid => ("LEFT JOIN users u ON u.id = seen.user_id".to_owned(), format!("u.{column}::text")),
            UserId::Text => (
                format!(
                    "LEFT JOIN users u ON u.id::text = seen.user_id LEFT JOIN users v ON v.{column}::text = seen.user_id"
                ),
                format!("coalesce(u.{column}::text, v.{column}::text)"),
            ),
        }
    }
}

/// The column of `users` that the hub hashes.
pub(super) fn column(identity: Identity) -> &'static str {
    match identity {
        Identity::Email => "email",
        Identity::Id => "id",
        Identity::Username => "username",
        Identity::KeycloakId => "keycloak_id",
    }
}
