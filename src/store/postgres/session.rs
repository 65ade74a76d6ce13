//! One connection and the transactions on it, with every wait bounded.
//!
//! Settings are pinned with `SET LOCAL` in the very message that begins a transaction: a transaction pooler may hand each
//! transaction to another server process, and a plain `SET` would stay behind for a stranger. All statements are unnamed for
//! the same reason. A session that fails is dropped, and the server rolls its transaction back.

use std::time::Duration;

use futures_util::stream::BoxStream;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Postgres, Row, SqlSafeStr};
use tokio::time::timeout;

use crate::store::StoreError;

use super::answer::{bounded, first, last};
use super::failure::{Failure, Place};
use super::pace::{Backend, Mark, Pace, Transaction, Work};
use super::settle::Durability;
use super::target::{Occupied, Target};

/// Whether the server looks now and then if we are still there (from 14, not on every system).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeadClientCheck {
    On,
    Off,
}

/// A connection.
pub(in crate::store) struct Session {
    connection: PgConnection,
    /// Given back after the connection: fields are dropped in this order.
    occupied: Occupied,
    place: Place,
    check: DeadClientCheck,
    pace: Pace,
    /// What the server lists it as.
    name: String,
    /// The role that foreign SQL runs as, where it is another than the one that logged in.
    role: Option<String>,
}

impl Session {
    /// Open a connection under the target's ordinary name.
    pub(in crate::store) async fn open(target: &Target) -> Result<Self, StoreError> {
        Self::open_as(target, target.application_name()).await
    }

    /// Open a connection that the server lists as `name`.
    pub(in crate::store) async fn open_as(target: &Target, name: &str) -> Result<Self, StoreError> {
        let place = Place::of(target);
        let (connection, occupied) = target.connect(&place, name).await?;
        tracing::debug!(%place, version = connection.server_version_num(), "connected");
        let version = connection.server_version_num();
        if version.is_some_and(|version| version < 130_000) {
            return Err(StoreError::Unsupported {
                message: format!("{place} is older than PostgreSQL 13, which can tell what became of a transaction"),
                hint: "upgrade the server to a supported PostgreSQL".to_owned(),
            });
        }
        let check =
            if version.is_some_and(|version| version >= 140_000) { DeadClientCheck::On } else { DeadClientCheck::Off };
        Ok(Self { connection, occupied, place, check, pace: Pace::Quick, name: name.to_owned(), role: None })
    }

    /// From now on every transaction and every foreign statement runs as `role`, a quoted name. A script can still say
    /// RESET ROLE: this holds accidents, not malice.
    pub(in crate::store) fn act_as(&mut self, role: String) {
        self.role = Some(role);
    }

    /// The database, for messages.
    pub(in crate::store) fn place(&self) -> &Place {
        &self.place
    }

    /// Begin a transaction of a run, marked by a lock of its own: whoever comes after a death sees by it that the statement of
    /// a dead client still works.
    ///
    /// # Errors
    /// [`Failure`]; [`Work::marked`] tells whether somebody else has the mark.
    pub(in crate::store) async fn begin_work(&mut self, pace: Pace, mark: i64) -> Result<Work, StoreError> {
        let then = format!("SELECT pg_current_xact_id()::text, pg_backend_pid(), pg_try_advisory_xact_lock({mark})");
        let row = self.begin(pace, "", &then).await.map_err(|failure| self.not_begun(failure))?;
        let work = row.and_then(|row| {
            Some(Work {
                transaction: Transaction(row.try_get(0).ok()?),
                backend: Backend(row.try_get(1).ok()?),
                mark: if row.try_get(2).ok()? { Mark::Ours } else { Mark::SomebodyElses },
            })
        });
        work.ok_or_else(|| StoreError::Invalid(format!("{} gave the transaction no number", self.place)))
    }

    fn not_begun(&self, failure: Failure) -> StoreError {
        match failure.sqlstate() {
            Some("55000") => StoreError::Denied(format!("{} is a standby and takes no writes", self.place)),
            _ => failure.into_store_error(&self.place),
        }
    }

    /// Begin a transaction that only reads.
    pub(in crate::store) async fn begin_read(&mut self, pace: Pace) -> Result<(), StoreError> {
        self.begin(pace, "READ ONLY", "").await.map(drop).map_err(|failure| failure.into_store_error(&self.place))
    }

    /// Begin a transaction that writes. A role whose transactions are read-only by default keeps that guard.
    pub(in crate::store) async fn begin_write(&mut self, pace: Pace) -> Result<Transaction, StoreError> {
        let begun = self.begin(pace, "", "SELECT pg_current_xact_id()::text").await;
        let row = begun.map_err(|failure| self.not_begun(failure))?;
        row.and_then(|row| row.try_get(0).ok())
            .map(Transaction)
            .ok_or_else(|| StoreError::Invalid(format!("{} gave the transaction no number", self.place)))
    }

    /// The server's process behind this session, as long as the transaction lasts: a pooler may give the next one another.
    pub(in crate::store) async fn backend(&mut self) -> Result<Backend, StoreError> {
        let row = self.simple("SELECT pg_backend_pid()".to_owned()).await;
        let row = row.map_err(|failure| failure.into_store_error(&self.place))?;
        row.and_then(|row| row.try_get(0).ok())
            .map(Backend)
            .ok_or_else(|| StoreError::Invalid(format!("{} has no process number", self.place)))
    }

    /// Get ready for somebody else's statements outside of any transaction, as long as each may take: locks may take their time
    /// too, since a build that gives up half way leaves an invalid index (migrations.md 2.2), and the server shall notice when
    /// we die. [`Self::reset`] takes it back.
    pub(in crate::store) async fn settle_down(&mut self) -> Result<(), StoreError> {
        self.pace = Pace::Work { lock: Duration::ZERO, statement: None };
        let mut settings = "SET lock_timeout = 0; SET statement_timeout = 0; SET search_path = public, pg_temp; \
                            SET TimeZone = 'UTC'"
            .to_owned();
        if self.check == DeadClientCheck::On {
            settings.push_str("; SET client_connection_check_interval = '500ms'");
        }
        if let Some(role) = &self.role {
            settings.push_str(&format!("; SET ROLE {role}"));
        }
        self.simple(settings).await.map(drop).map_err(|failure| failure.into_store_error(&self.place))
    }

    /// After [`Self::settle_down`]: no lock is worth more than a second any more.
    pub(in crate::store) async fn hurry(&mut self) -> Result<(), StoreError> {
        let hurry = self.simple("SET lock_timeout = '1s'".to_owned()).await;
        hurry.map(drop).map_err(|failure| failure.into_store_error(&self.place))
    }

    /// Take back what [`Self::settle_down`] and foreign SQL have set.
    pub(in crate::store) async fn reset(&mut self) -> Result<(), StoreError> {
        self.simple(self.unset()).await.map(drop).map_err(|failure| failure.into_store_error(&self.place))
    }

    /// Whether the server's own grammar accepts a statement. Nothing is run; outside of any transaction.
    ///
    /// # Errors
    /// The server's answer, a syntax error or another.
    pub(in crate::store) async fn parse(&mut self, sql: &str) -> Result<(), Failure> {
        let limit = Some(Duration::from_secs(15));
        bounded(limit, self.connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str())).await.map(drop)
    }

    /// End the transaction without effect and keep the session.
    pub(in crate::store) async fn roll_back(&mut self) -> Result<(), Failure> {
        self.simple("ROLLBACK".to_owned()).await.map(drop)
    }

    /// Pin, see that the transaction is still ours, run `records`, commit, and ask what became of it: `committed` or `aborted`,
    /// since the answer to COMMIT does not tell. One message; the division by zero is the sign of a transaction that has ended.
    pub(super) async fn close_transaction(
        &mut self,
        transaction: &Transaction,
        records: &str,
        durability: Durability,
    ) -> Result<Option<String>, Failure> {
        let (xid, pin) = (transaction.as_str(), self.pin(transaction));
        let synchronous = match durability {
            Durability::Now => "",
            Durability::WithTheNext => "SET LOCAL synchronous_commit = off;",
        };
        let sql = format!("{pin}; {records}; {synchronous} COMMIT; SELECT pg_xact_status('{xid}'::xid8)");
        let limit = self.pace.answer_limit();
        let row = bounded(limit, last(self.connection.fetch(sqlx::raw_sql(AssertSqlSafe(sql))))).await?;
        Ok(row.and_then(|row| row.try_get(0).ok()).flatten())
    }

    /// Take back what foreign SQL has set, and fail by a division where it has ended the transaction.
    fn pin(&self, transaction: &Transaction) -> String {
        format!(
            "{}; {}; SELECT 1 / coalesce((pg_current_xact_id_if_assigned()::text = '{}')::int, 0)",
            self.unset(),
            self.settings(),
            transaction.as_str()
        )
    }

    /// The first statement of a migration behind another one in the same transaction. The place of an error is not that of the
    /// statement.
    pub(in crate::store) async fn foreign_next(&mut self, sql: &str, transaction: &Transaction) -> Result<(), Failure> {
        self.simple(format!("{}; {sql}", self.pin(transaction))).await.map(drop)
    }

    /// What became of a transaction, in the server's word.
    pub(in crate::store) async fn fate(&mut self, transaction: &Transaction) -> Result<Option<String>, StoreError> {
        let row = self.row(sqlx::query("SELECT pg_xact_status($1::xid8)").bind(transaction.as_str())).await?;
        Ok(row.and_then(|row| row.try_get(0).ok()).flatten())
    }

    /// Begin a transaction that holds a lock and does nothing else. It must be READ COMMITTED: an older snapshot would stall
    /// every CREATE INDEX CONCURRENTLY (migrations.md 2.3).
    pub(in crate::store) async fn begin_hold(&mut self) -> Result<(), StoreError> {
        self.begin(Pace::Holding, "", "").await.map(drop).map_err(|failure| failure.into_store_error(&self.place))
    }

    /// Begin a transaction that sees the whole database as of now and lends this view to others: its exported name. Rows that
    /// a policy would hide are an error, not a smaller count.
    pub(in crate::store) async fn begin_snapshot(&mut self) -> Result<String, StoreError> {
        let then = "SET LOCAL row_security = off; SELECT pg_export_snapshot()";
        let row = self.begin(Pace::Snapshot, "READ ONLY", then).await;
        let row = row.map_err(|failure| failure.into_store_error(&self.place))?;
        row.and_then(|row| row.try_get(0).ok())
            .ok_or_else(|| StoreError::Invalid(format!("{} gave the snapshot no name", self.place)))
    }

    /// The server's `server_version_num`, such as 150018.
    pub(in crate::store) fn server_version(&self) -> Option<u32> {
        self.connection.server_version_num()
    }

    async fn begin(&mut self, pace: Pace, access: &str, then: &str) -> Result<Option<PgRow>, Failure> {
        self.pace = pace;
        let isolation = pace.isolation();
        let begin = format!("BEGIN ISOLATION LEVEL {isolation} {access}; {}; {then}", self.settings());
        match self.simple(begin).await {
            // Not every system can watch its clients; the code is that of a value out of range.
            Err(failure) if self.check == DeadClientCheck::On && failure.sqlstate() == Some("22023") => {
                self.check = DeadClientCheck::Off;
                self.simple("ROLLBACK".to_owned()).await?;
                let begin = format!("BEGIN ISOLATION LEVEL {isolation} {access}; {}; {then}", self.settings());
                self.simple(begin).await
            }
            begun => begun,
        }
    }

    /// The settings of the running transaction, as SQL. `pg_temp` comes last, so that no temporary table can stand in for one
    /// of the hub's.
    fn settings(&self) -> String {
        let mut settings = format!(
            "SET LOCAL search_path = public, pg_temp; SET LOCAL TimeZone = 'UTC'; SET LOCAL lock_timeout = {}; \
             SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}",
            self.pace.lock_limit().as_millis(),
            self.pace.statement_limit().map_or(0, |limit| limit.as_millis()),
            self.pace.idle_limit(),
        );
        if self.check == DeadClientCheck::On {
            settings.push_str("; SET LOCAL client_connection_check_interval = '500ms'");
        }
        if matches!(self.pace, Pace::Holding | Pace::Snapshot)
            && self.connection.server_version_num().is_some_and(|version| version >= 170_000)
        {
            settings.push_str("; SET LOCAL transaction_timeout = 0");
        }
        if let Some(role) = &self.role {
            settings.push_str(&format!("; SET LOCAL ROLE {role}"));
        }
        settings
    }

    /// Take back what foreign SQL may have set, in the running transaction and for later ones: role, search path, limits.
    ///
    /// Returns the transaction that is running; another one, or none, means that foreign SQL has ended ours.
    pub(in crate::store) async fn pin_again(&mut self) -> Result<Option<Transaction>, StoreError> {
        let pin = format!("{}; {}; SELECT pg_current_xact_id_if_assigned()::text", self.unset(), self.settings());
        let row = self.simple(pin).await.map_err(|failure| failure.into_store_error(&self.place))?;
        Ok(row.and_then(|row| row.try_get(0).ok()).flatten().map(Transaction))
    }

    /// Back to what the session began with, as SQL. A pooler that hears of the reset takes our name away, by which others know
    /// who works; it gives each of its clients their own again.
    fn unset(&self) -> String {
        let name = self.name.replace('\'', "''");
        format!("RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SET application_name = '{name}'")
    }

    /// All rows of a query.
    pub(in crate::store) async fn rows(
        &mut self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let limit = self.pace.answer_limit();
        let rows = bounded(limit, self.connection.fetch_all(query.persistent(false))).await;
        rows.map_err(|failure| failure.into_store_error(&self.place))
    }

    /// The first row of a query, if it has one; the answer is read to its end, where an error may hide.
    pub(in crate::store) async fn row(
        &mut self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Option<PgRow>, StoreError> {
        let limit = self.pace.answer_limit();
        let row = bounded(limit, first(self.connection.fetch(query.persistent(false)))).await;
        row.map_err(|failure| failure.into_store_error(&self.place))
    }

    /// Run a query for its effect.
    pub(in crate::store) async fn run(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<(), StoreError> {
        self.row(query).await.map(drop)
    }

    /// Rows as they arrive, for results of any size; the caller bounds each wait.
    pub(in crate::store) fn stream<'a>(
        &'a mut self,
        query: Query<'a, Postgres, PgArguments>,
    ) -> BoxStream<'a, Result<PgRow, sqlx::Error>> {
        self.connection.fetch(query.persistent(false))
    }

    /// One statement of a migration, alone in its message; with its data if it is a COPY.
    pub(in crate::store) async fn foreign(&mut self, sql: &str, copy_data: Option<&str>) -> Result<(), Failure> {
        let Some(data) = copy_data else { return self.simple(sql.to_owned()).await.map(drop) };
        let limit = self.pace.answer_limit();
        bounded(limit, async {
            let mut copy = self.connection.copy_in_raw(sql).await?;
            copy.send(data.as_bytes()).await?;
            copy.finish().await.map(drop)
        })
        .await
    }

    /// The same, and how many rows it touched.
    pub(in crate::store) async fn foreign_counted(
        &mut self,
        sql: &str,
        copy_data: Option<&str>,
    ) -> Result<u64, Failure> {
        let limit = self.pace.answer_limit();
        bounded(limit, async {
            let Some(data) = copy_data else {
                let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
                return Ok(self.connection.execute(statement).await?.rows_affected());
            };
            let mut copy = self.connection.copy_in_raw(sql).await?;
            copy.send(data.as_bytes()).await?;
            copy.finish().await
        })
        .await
    }

    /// One statement of ours that no transaction may be around, such as CREATE DATABASE: at most ten minutes. Nothing is pinned.
    pub(in crate::store) async fn administer(&mut self, sql: &str) -> Result<(), Failure> {
        self.pace = Pace::Long;
        self.simple(sql.to_owned()).await.map(drop)
    }

    /// One statement of ours that needs no answer, such as a SAVEPOINT.
    pub(in crate::store) async fn send(&mut self, sql: &str) -> Result<(), StoreError> {
        let sent = self.simple(sql.to_owned()).await.map(drop);
        sent.map_err(|failure| failure.into_store_error(&self.place))
    }

    /// Ask the server for nothing, to see that it is still there.
    pub(in crate::store) async fn ping(&mut self) -> Result<(), Failure> {
        bounded(self.pace.answer_limit(), self.connection.ping()).await
    }

    /// Send COMMIT. `Ok` only means that something was answered: the driver drops the command's tag, which says ROLLBACK for an
    /// aborted transaction. [`super::settle`] finds out.
    pub(super) async fn commit(&mut self) -> Result<(), Failure> {
        self.simple("COMMIT".to_owned()).await.map(drop)
    }

    /// End the transaction without effect and leave.
    pub(in crate::store) async fn abandon(mut self) {
        // A rollback that gets no answer happens anyway, when the connection ends.
        if self.simple("ROLLBACK".to_owned()).await.is_ok() {
            self.close().await;
        }
    }

    /// Say goodbye, so that the server is free of this session before the next one is opened.
    pub(in crate::store) async fn close(self) {
        // A goodbye that fails or hangs leaves the same state as one that arrives: the connection is gone.
        let Self { connection, occupied: _until_closed, .. } = self;
        let _ = timeout(Duration::from_secs(1), connection.close()).await;
    }

    async fn simple(&mut self, sql: String) -> Result<Option<PgRow>, Failure> {
        let limit = self.pace.answer_limit();
        bounded(limit, first(self.connection.fetch(sqlx::raw_sql(AssertSqlSafe(sql))))).await
    }
}
