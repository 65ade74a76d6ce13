//! What went wrong with Postgres, in the words of [`StoreError`].
//!
//! The driver's own text of a server error ends in a line of PostgreSQL's C source, so it is never shown: a message is made of
//! SQLSTATE and the server's primary message. Detail is left out, since it repeats stored values.

use std::fmt;

use sqlx::postgres::{PgDatabaseError, PgErrorPosition, PgSeverity};

use crate::store::StoreError;

use super::target::Target;

/// The database that messages are about, without its password.
#[derive(Clone, Debug)]
pub(in crate::store) struct Place(String);

impl Place {
    /// Name a target once, for messages.
    pub(in crate::store) fn of(target: &Target) -> Self {
        Self(target.to_string())
    }

    /// A place by its words.
    #[cfg(test)]
    pub(in crate::store) fn named(words: &str) -> Self {
        Self(words.to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A failed step, by what it says about the transaction.
#[derive(Debug)]
pub(in crate::store) enum Failure {
    /// The server answered with an error and lives: the transaction is aborted.
    Server {
        /// Five characters.
        sqlstate: String,
        /// The server's primary message.
        message: String,
        /// Characters from 1 into the statement that was sent, if the server knows.
        position: Option<usize>,
        /// The violated constraint, if that is the matter.
        constraint: Option<String>,
        /// The server's advice.
        hint: Option<String>,
        /// Inside which function or block it happened, innermost first.
        context: Option<String>,
    },
    /// The session is gone, or never came up; if COMMIT was on its way, its fate is unknown.
    Gone {
        /// Why, in words.
        reason: String,
        /// The server's code, if it said goodbye.
        sqlstate: Option<String>,
    },
    /// It answered something that is no sense of the protocol or of the types asked for.
    Nonsense(String),
}

/// The SQLSTATE of a drop that other objects stand against.
const DEPENDENTS: &str = "2BP01";

impl Failure {
    /// Sort a driver's error.
    pub(in crate::store) fn of(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let Some(error) = error.try_downcast_ref::<PgDatabaseError>() else {
                    return Self::Nonsense("an error that is not PostgreSQL's".to_owned());
                };
                let (sqlstate, mut message) = (error.code().to_owned(), error.message().to_owned());
                // This detail names objects, no values: without it nobody knows what is in the way.
                if let (DEPENDENTS, Some(detail)) = (sqlstate.as_str(), error.detail()) {
                    message.push_str(&format!(": {}", detail.replace('\n', ", ")));
                }
                if matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) {
                    return Self::Gone { reason: message, sqlstate: Some(sqlstate) };
                }
                let position = match error.position() {
                    Some(PgErrorPosition::Original(position)) => Some(position),
                    Some(PgErrorPosition::Internal { .. }) | None => None,
                };
                let constraint = error.constraint().map(str::to_owned);
                let (hint, context) = (error.hint().map(str::to_owned), error.r#where().map(str::to_owned));
                Self::Server { sqlstate, message, position, constraint, hint, context }
            }
            sqlx::Error::Io(error) => Self::Gone { reason: error.to_string(), sqlstate: None },
            sqlx::Error::Tls(error) => {
                Self::Gone { reason: format!("TLS failed, and trying again will not help: {error}"), sqlstate: None }
            }
            sqlx::Error::Configuration(_) => Self::Gone {
                reason: "PGSSLCERT and PGSSLKEY do not name a certificate and its key".to_owned(),
                sqlstate: None,
            },
            sqlx::Error::RowNotFound => Self::Nonsense("no row where there is always one".to_owned()),
            // The text of the others can quote a stored value or what a stranger on that port said.
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::Nonsense("a column of another type than llmhub's schema has".to_owned())
            }
            _ => Self::Nonsense("a message that is not PostgreSQL's".to_owned()),
        }
    }

    /// The server took too long; what it does now is not known.
    pub(super) fn silent(seconds: u64) -> Self {
        Self::Gone { reason: format!("no answer for {seconds} s"), sqlstate: None }
    }

    /// The five characters of the server's code.
    pub(in crate::store) fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server { sqlstate, .. } => Some(sqlstate),
            Self::Gone { sqlstate, .. } => sqlstate.as_deref(),
            Self::Nonsense(_) => None,
        }
    }

    /// For a step before COMMIT: nothing stands.
    pub(in crate::store) fn into_store_error(self, place: &Place) -> StoreError {
        match self {
            Self::Server { sqlstate, message, constraint, .. } => server_error(place, &sqlstate, &message, constraint),
            Self::Gone { reason, sqlstate: Some(sqlstate) } => gone_error(place, &sqlstate, &reason),
            Self::Gone { reason, sqlstate: None } => {
                StoreError::Unreachable(format!("cannot work with {place}: {reason}; nothing was written"))
            }
            Self::Nonsense(what) => StoreError::Invalid(format!("{place} answered with {what}")),
        }
    }
}

/// An error that ended the session: a login that was refused, or a server that goes down.
fn gone_error(place: &Place, sqlstate: &str, message: &str) -> StoreError {
    match sqlstate {
        "3D000" => StoreError::Credentials(format!("there is no such database at {place}: {message} (3D000)")),
        _ if sqlstate.starts_with("28") => {
            StoreError::Credentials(format!("{place} refuses the login: {message} ({sqlstate})"))
        }
        "42501" => StoreError::Denied(format!("{place} refuses the connection: {message} (42501)")),
        _ => StoreError::Unreachable(format!("{place} ended the session: {message} ({sqlstate}); nothing was written")),
    }
}

fn server_error(place: &Place, sqlstate: &str, message: &str, constraint: Option<String>) -> StoreError {
    let said = format!("{message} ({sqlstate})");
    match sqlstate {
        "42501" => StoreError::Denied(format!("the role may not do this at {place}: {said}")),
        "25006" => StoreError::Denied(format!("{place} is read-only, for this role or as a standby: {said}")),
        "42P01" | "42703" | "3F000" => StoreError::NoSchema(format!(
            "{place} lacks what llmhub's migrations create: {said}; run `llmhub db apply`"
        )),
        "40001" | "40P01" | "23505" => StoreError::Conflict(format!(
            "somebody else was faster at {place}: {said}; nothing was written, run it again"
        )),
        "55P03" => StoreError::Conflict(format!(
            "another session at {place} keeps what is needed locked: {said}; nothing was written, run it again"
        )),
        "57014" => StoreError::Unreachable(format!("{place} took too long: {said}; nothing was written")),
        _ if sqlstate.starts_with("23") || sqlstate.starts_with("22") => {
            let rule = constraint.map(|name| format!(" by the rule {name}")).unwrap_or_default();
            StoreError::Refused(format!("{place} refuses the values{rule}: {said}; nothing was written"))
        }
        _ if sqlstate.starts_with("53") || sqlstate.starts_with("57") || sqlstate.starts_with("08") => {
            StoreError::Unreachable(format!("{place} cannot serve this now: {said}; nothing was written"))
        }
        _ => StoreError::Invalid(format!("{place} reports an error: {said}; nothing was written")),
    }
}
