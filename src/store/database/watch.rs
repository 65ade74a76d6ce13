//! What a run tells while it works: where it is, what it waits for, and who keeps it waiting.

use std::fmt;
use std::time::Duration;

use super::lock::Holder;
use crate::domain::migrations::{Direction, Script, Statement};

/// Something that happens while migrations run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Another run holds the migration lock; told once.
    WaitsForRun(&'a Holder),
    /// A migration begins.
    Migration {
        /// Its version.
        version: &'a str,
        /// Its name.
        name: &'a str,
        /// Its number in this run, from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// Which way.
        direction: Direction,
    },
    /// A statement begins.
    Statement {
        /// The file that it stands in.
        script: &'a Script,
        /// The statement.
        statement: &'a Statement<'a>,
    },
    /// The statement is still running.
    Still {
        /// For how long.
        elapsed: Duration,
        /// What it waits for, if it waits.
        blocked: Option<&'a Blocked>,
    },
    /// A lock was not to be had in time; everything was let go, and is tried again after a pause.
    Again {
        /// Who was in the way, if they were seen.
        blocked: Option<&'a Blocked>,
        /// The pause.
        pause: Duration,
    },
    /// What the operator should know afterwards as well.
    Note(&'a str),
}

/// Who listens.
pub trait Watch: Send + Sync {
    /// Called in the middle of the work: must return at once.
    fn see(&self, event: Event<'_>);
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn see(&self, _event: Event<'_>) {}
}

/// A session that holds what another one needs. What the role may not see is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The server's process.
    pub pid: i32,
    /// Its database role.
    pub role: Option<String>,
    /// What it calls itself.
    pub application: Option<String>,
    /// Whether it works or idles in its transaction.
    pub state: Option<String>,
    /// Its current or last query, its beginning.
    pub query: Option<String>,
    /// Seconds since its transaction began.
    pub age: Option<i64>,
}

/// What a statement waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Those in the way.
    pub by: Vec<Blocker>,
    /// How many sessions wait for us in turn.
    pub behind: i64,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if let Some(role) = &self.role {
            write!(f, ", role {role}")?;
        }
        if let Some(application) = self.application.as_deref().filter(|name| !name.is_empty()) {
            write!(f, ", {application}")?;
        }
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if let Some(age) = self.age {
            write!(f, ", in a transaction since {age} s")?;
        }
        match self.query.as_deref().filter(|query| !query.is_empty()) {
            Some(query) => write!(f, ": {query}"),
            None => f.write_str(" (its query is hidden from this role: pg_read_all_stats shows it)"),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, blocker) in self.by.iter().enumerate() {
            write!(f, "{}{blocker}", if number > 0 { "; " } else { "" })?;
        }
        match self.behind {
            0 => Ok(()),
            1 => f.write_str("; 1 session waits behind this one"),
            behind => write!(f, "; {behind} sessions wait behind this one"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocker_is_named_with_what_the_role_may_see() {
        let seen = Blocker {
            pid: 7,
            role: Some("app".to_owned()),
            application: Some("psql".to_owned()),
            state: Some("idle in transaction".to_owned()),
            query: Some("UPDATE t SET a = 1".to_owned()),
            age: Some(12),
        };
        let hidden = Blocker { application: Some(String::new()), state: None, query: None, age: None, ..seen.clone() };
        let blocked = Blocked { by: vec![seen, hidden], behind: 2 };
        assert_eq!(
            blocked.to_string(),
            "process 7, role app, psql, idle in transaction, in a transaction since 12 s: UPDATE t SET a = 1; process 7, \
             role app (its query is hidden from this role: pg_read_all_stats shows it); 2 sessions wait behind this one"
        );
    }
}
