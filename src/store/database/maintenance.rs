//! One connection to a server's maintenance database: from it databases are listed, made, marked and dropped.
//!
//! It holds advisory locks for as long as it is open. They belong to the maintenance database, so that everybody who works on
//! the same names meets there, and they are free a moment after their holder dies.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::Row;
use tokio::time::{Instant, sleep};

use crate::config::database_url::DatabaseUrl;
use crate::domain::test_database::{TEMPLATE, UNFINISHED};
use crate::store::StoreError;
use crate::store::postgres::{Failure, Session, Target};

/// The connection, and whose it is.
pub(super) struct Maintenance {
    session: Session,
    role: String,
    version: i32,
}

/// A database as the server lists it.
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) connections: bool,
    pub(super) owned: bool,
    pub(super) comment: Option<String>,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grip {
    /// Nobody else has it.
    Exclusive,
    /// Others may have it in this way too.
    Shared,
}

impl Maintenance {
    /// Connect to `postgres`, or to `template1` where that is not there or closed to this role.
    ///
    /// # Errors
    /// As a connection; [`StoreError::Denied`] for a role that may not create databases.
    pub(super) async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let connect = async |database: &str| {
            Session::open_as(&Target::Url(url.with_database(database)), "llmhub-db setup-test").await
        };
        let mut session = match connect("postgres").await {
            Err(StoreError::Denied(_)) => connect("template1").await?,
            // A missing database arrives as a refused login, which keeps the server's code in its text.
            Err(StoreError::Credentials(text)) if text.contains("(3D000)") => connect("template1").await?,
            other => other?,
        };
        let query = sqlx::query(
            "SELECT rolname::text AS role, current_setting('server_version_num')::int AS version, \
             rolsuper OR rolcreatedb AS creates FROM pg_catalog.pg_roles WHERE rolname = current_user",
        );
        let row = session.row(query).await?;
        let wrong = || StoreError::Invalid("the server does not know the role that is logged in".to_owned());
        let row = row.ok_or_else(wrong)?;
        let read = |row: &sqlx::postgres::PgRow| -> Result<(String, i32, bool), sqlx::Error> {
            Ok((row.try_get("role")?, row.try_get("version")?, row.try_get("creates")?))
        };
        let (role, version, creates) = read(&row).map_err(|_| wrong())?;
        if !creates {
            let place = session.place();
            return Err(StoreError::Denied(format!(
                "the role `{role}` may not create databases at {place}; nothing was done. A superuser allows it with \
                 ALTER ROLE … CREATEDB"
            )));
        }
        Ok(Self { session, role, version })
    }

    /// The role that is logged in; what it makes is its own.
    pub(super) fn role(&self) -> &str {
        &self.role
    }

    /// The server's version, such as 150014.
    pub(super) fn version(&self) -> i32 {
        self.version
    }

    /// From 15 the server can clone in two ways; for a database this small the one without checkpoints is the faster.
    pub(super) fn strategy(&self) -> &'static str {
        if self.version >= 150_000 { " STRATEGY WAL_LOG" } else { "" }
    }

    /// The templates and unfinished databases of this role.
    pub(super) async fn list_own(&mut self) -> Result<Vec<Listed>, StoreError> {
        self.listed(None).await
    }

    /// The same, and the database of this name.
    pub(super) async fn listed(&mut self, name: Option<&str>) -> Result<Vec<Listed>, StoreError> {
        let query = sqlx::query(
            "SELECT d.datname::text AS name, d.datallowconn AS connections, pg_has_role(d.datdba, 'USAGE') AS owned, \
             shobj_description(d.oid, 'pg_database') AS comment FROM pg_catalog.pg_database d \
             JOIN pg_catalog.pg_roles r ON r.oid = d.datdba \
             WHERE d.datname = $1 OR (r.rolname = current_user AND (starts_with(d.datname, $2) OR starts_with(d.datname, $3)))",
        );
        let rows = self.session.rows(query.bind(name).bind(TEMPLATE).bind(UNFINISHED)).await?;
        let read = |row: &sqlx::postgres::PgRow| -> Result<Listed, sqlx::Error> {
            Ok(Listed {
                name: row.try_get("name")?,
                connections: row.try_get("connections")?,
                owned: row.try_get("owned")?,
                comment: row.try_get("comment")?,
            })
        };
        let listed = rows.iter().map(read).collect::<Result<_, _>>();
        listed.map_err(|_| StoreError::Invalid("the server lists its databases in another form".to_owned()))
    }

    /// Wait for a lock of this connection, and tell once that it is waited for.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when `patience` ends.
    pub(super) async fn lock(
        &mut self,
        what: &str,
        grip: Grip,
        patience: Duration,
        on_wait: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), StoreError> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(10);
        while !self.try_lock(what, grip).await? {
            if Instant::now() >= deadline {
                return Err(StoreError::Conflict(format!(
                    "another llmhub db setup-test is at work on this server and was not done after {} s; run it again",
                    patience.as_secs()
                )));
            }
            if pause == Duration::from_millis(10) {
                on_wait("waiting for another llmhub db setup-test");
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Take a lock if it is free.
    pub(super) async fn try_lock(&mut self, what: &str, grip: Grip) -> Result<bool, StoreError> {
        let query = match grip {
            Grip::Exclusive => sqlx::query("SELECT pg_try_advisory_lock($1)"),
            Grip::Shared => sqlx::query("SELECT pg_try_advisory_lock_shared($1)"),
        };
        let row = self.session.row(query.bind(lock_key(what))).await?;
        Ok(row.and_then(|row| row.try_get(0).ok()) == Some(true))
    }

    /// Give a lock back early.
    pub(super) async fn unlock(&mut self, what: &str, grip: Grip) -> Result<(), StoreError> {
        let query = match grip {
            Grip::Exclusive => sqlx::query("SELECT pg_advisory_unlock($1)"),
            Grip::Shared => sqlx::query("SELECT pg_advisory_unlock_shared($1)"),
        };
        self.session.run(query.bind(lock_key(what))).await
    }

    /// Run a statement that makes, marks or drops a database.
    pub(super) async fn run(&mut self, sql: String) -> Result<(), StoreError> {
        self.session.administer(&sql).await.map_err(|failure| match &failure {
            Failure::Server { sqlstate, message, .. } if ["55006", "42P04", "3D000"].contains(&sqlstate.as_str()) => {
                StoreError::Conflict(format!("somebody else is at work on this database: {message} ({sqlstate})"))
            }
            Failure::Gone { reason, .. } => StoreError::OutcomeUnknown(format!(
                "the server went away in the middle ({reason}); run it again, it starts over"
            )),
            _ => failure.into_store_error(self.session.place()),
        })
    }

    /// Say goodbye, which frees the locks.
    pub(super) async fn close(self) {
        self.session.close().await;
    }
}

/// A name for a database that is being made. Whoever makes it holds the lock of that name.
pub(super) fn unfinished() -> Result<String, StoreError> {
    let number =
        getrandom::u64().map_err(|error| StoreError::Local(format!("the system gives no random numbers: {error}")))?;
    Ok(format!("{UNFINISHED}{number:016x}"))
}

fn lock_key(what: &str) -> i64 {
    let name = format!("llmhub: test database: {what}");
    Sha256::digest(name.as_bytes()).iter().take(8).fold(0, |key, byte| key << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_keys_never_change_or_an_older_llmhub_would_not_see_us() {
        assert_eq!(lock_key(TEMPLATE), -7_889_327_348_083_833_435);
        assert_ne!(lock_key("a_test"), lock_key("b_test"));
    }
}
