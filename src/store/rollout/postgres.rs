//! The state of rollouts in Postgres, schema `llmhub`. The clock is the database's.
//!
//! Each call is a connection and a transaction of its own, so that it behaves the same behind a transaction pooler, and no
//! lock outlives it. A write counts as done once another connection has heard from the server that it was committed.

mod runs;
mod schema;

use async_trait::async_trait;
use serde_json::json;
use sqlx::Row as _;

use super::lease::{Acquired, Bumped, Claim, Grant, Lease, Row, Timing, moment};
use super::record::{Commit, NewEvent, NewRun, Request, RunId, Stored};
use super::{Ask, RunStore};
use crate::domain::flags::FlagKey;
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target, Transaction, settle};

/// The rollouts of one profile in one database.
#[derive(Clone, Debug)]
pub struct PostgresRuns {
    target: Target,
    profile: String,
    timing: Timing,
}

impl PostgresRuns {
    /// The state at `target`; nothing is opened yet.
    pub fn new(target: Target, profile: String, timing: Timing) -> Self {
        Self { target, profile, timing }
    }

    /// A connection in a reading transaction, if there is any state to be read.
    async fn reader(&self) -> Result<Option<Session>, StoreError> {
        let mut session = Session::open(&self.target).await?;
        session.begin_read(Pace::Quick).await?;
        if schema::exists(&mut session).await? {
            return Ok(Some(session));
        }
        session.abandon().await;
        Ok(None)
    }

    /// A connection in a writing transaction, if there is any state.
    async fn writer(&self) -> Result<Option<(Session, Transaction)>, StoreError> {
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        if schema::exists(&mut session).await? {
            return Ok(Some((session, transaction)));
        }
        session.abandon().await;
        Ok(None)
    }

    /// The lease's row, locked until the transaction ends, and the time.
    async fn locked(&self, session: &mut Session, flag: &FlagKey) -> Result<Option<(Row, i64)>, StoreError> {
        let query = sqlx::query(
            "SELECT holder, fence, expires_at FROM llmhub.rollout_lease WHERE profile = $1 AND flag = $2 FOR UPDATE",
        );
        let row = session.row(query.bind(&self.profile).bind(flag.as_str())).await?;
        match row.map(|row| lease(&row)).transpose()? {
            // The time is asked for after the lock was had: a wait for it must not shorten a lease.
            Some(row) => Ok(Some((row, now(session).await?))),
            None => Ok(None),
        }
    }

    /// The lease's row as it stands, and the time.
    async fn unlocked(&self, session: &mut Session, flag: &FlagKey) -> Result<(Option<Row>, i64), StoreError> {
        let query =
            sqlx::query("SELECT holder, fence, expires_at FROM llmhub.rollout_lease WHERE profile = $1 AND flag = $2");
        let row = session.row(query.bind(&self.profile).bind(flag.as_str())).await?;
        Ok((row.map(|row| lease(&row)).transpose()?, now(session).await?))
    }

    /// A writing transaction in which the fence of `grant` is the highest and stays so, and the time.
    async fn fenced(&self, grant: &Grant) -> Result<(Session, Transaction, i64), StoreError> {
        let Some((mut session, transaction)) = self.writer().await? else { return Err(gone(grant)) };
        let Some((row, now)) = self.locked(&mut session, &grant.flag).await? else { return Err(gone(grant)) };
        row.check(grant)?;
        Ok((session, transaction, now))
    }

    async fn keep(&self, session: &mut Session, flag: &FlagKey, row: &Row) -> Result<(), StoreError> {
        let query = sqlx::query(
            "UPDATE llmhub.rollout_lease SET holder = $3, fence = $4, expires_at = $5 WHERE profile = $1 AND flag = $2",
        );
        let query = query.bind(&self.profile).bind(flag.as_str()).bind(&row.holder).bind(row.fence);
        session.run(query.bind(row.expires_at)).await
    }

    /// Commit, and see on another connection that the lease stands as written.
    async fn settled(&self, session: Session, transaction: &Transaction, what: &str) -> Result<Session, StoreError> {
        settle(session, &self.target, transaction, what).await
    }
}

#[async_trait]
impl RunStore for PostgresRuns {
    fn place(&self) -> String {
        self.target.to_string()
    }

    async fn lease(&self, flag: &FlagKey) -> Result<Option<Lease>, StoreError> {
        let Some(mut session) = self.reader().await? else { return Ok(None) };
        let query =
            sqlx::query("SELECT holder, fence, expires_at FROM llmhub.rollout_lease WHERE profile = $1 AND flag = $2");
        let row = session.row(query.bind(&self.profile).bind(flag.as_str())).await?;
        let now = now(&mut session).await?;
        session.abandon().await;
        Ok(row.map(|row| lease(&row)).transpose()?.map(|row| row.at(now)))
    }

    async fn acquire(&self, flag: &FlagKey, holder: &str, claim: &Claim) -> Result<Acquired, StoreError> {
        let mut session = Session::open(&self.target).await?;
        let transaction = session.begin_write(Pace::Quick).await?;
        schema::ensure(&mut session).await?;
        let query = sqlx::query(
            "INSERT INTO llmhub.rollout_lease (profile, flag, fence, expires_at) VALUES ($1, $2, 0, 0) \
             ON CONFLICT DO NOTHING",
        );
        session.run(query.bind(&self.profile).bind(flag.as_str())).await?;
        let Some((mut row, now)) = self.locked(&mut session, flag).await? else {
            return Err(StoreError::Invalid("the lease that was just written is not there".to_owned()));
        };
        let acquired = row.acquire(flag, holder, claim, now, self.timing.ttl);
        if matches!(acquired, Acquired::Held(_)) {
            session.abandon().await;
            return Ok(acquired);
        }
        self.keep(&mut session, flag, &row).await?;
        self.settled(session, &transaction, "the lease").await?.abandon().await;
        Ok(acquired)
    }

    async fn renew(&self, grant: &Grant) -> Result<Grant, StoreError> {
        let Some((mut session, transaction)) = self.writer().await? else { return Err(gone(grant)) };
        let Some((mut row, now)) = self.locked(&mut session, &grant.flag).await? else { return Err(gone(grant)) };
        let renewed = row.renew(grant, now, self.timing.ttl)?;
        self.keep(&mut session, &grant.flag, &row).await?;
        self.settled(session, &transaction, "the renewal of the lease").await?.abandon().await;
        Ok(renewed)
    }

    async fn release(&self, grant: &Grant) -> Result<(), StoreError> {
        let Some((mut session, transaction)) = self.writer().await? else { return Ok(()) };
        let Some((mut row, now)) = self.locked(&mut session, &grant.flag).await? else { return Ok(()) };
        row.release(grant, now);
        self.keep(&mut session, &grant.flag, &row).await?;
        self.settled(session, &transaction, "the end of the lease").await?.abandon().await;
        Ok(())
    }

    async fn bump_fence(&self, flag: &FlagKey, who: &str, reason: &str) -> Result<Bumped, StoreError> {
        let nobody = Bumped { fence: 0, was_held_by: None, left: std::time::Duration::ZERO };
        let Some((mut session, transaction)) = self.writer().await? else { return Ok(nobody) };
        let Some((mut row, now)) = self.locked(&mut session, flag).await? else {
            session.abandon().await;
            return Ok(nobody);
        };
        let bumped = row.bump(now);
        self.keep(&mut session, flag, &row).await?;
        if let Some(run) = runs::newest(&mut session, &self.profile, flag).await?.filter(|run| run.ended_at.is_none()) {
            let details = json!({"reason": reason, "fence": bumped.fence});
            let event = NewEvent { kind: "fenced", details };
            runs::append(&mut session, &run.id, who, now, &[event]).await?;
        }
        self.settled(session, &transaction, "the fence").await?.abandon().await;
        match self.lease(flag).await? {
            Some(lease) if lease.fence >= bumped.fence => Ok(bumped),
            _ => Err(StoreError::OutcomeUnknown(format!("the fence of `{flag}` was raised, but reads back lower"))),
        }
    }

    async fn read(&self, flag: &FlagKey) -> Result<Option<Stored>, StoreError> {
        let Some(mut session) = self.reader().await? else { return Ok(None) };
        let Some(run) = runs::newest(&mut session, &self.profile, flag).await? else {
            session.abandon().await;
            return Ok(None);
        };
        let (row, now) = self.unlocked(&mut session, flag).await?;
        let stored = Stored {
            lease: row.unwrap_or_default().at(now),
            steps: runs::steps(&mut session, &run.id).await?,
            measurements: runs::measurements(&mut session, &run.id).await?,
            events: runs::events(&mut session, &run.id).await?,
            requests: runs::requests(&mut session, &run.id).await?,
            now: moment(now),
            run,
        };
        session.abandon().await;
        Ok(Some(stored))
    }

    async fn begin(&self, grant: &Grant, run: &NewRun) -> Result<(), StoreError> {
        let (mut session, transaction, now) = self.fenced(grant).await?;
        runs::begin(&mut session, &self.profile, grant, run, now).await?;
        self.settled(session, &transaction, "the begin of the run").await?.abandon().await;
        Ok(())
    }

    async fn commit(&self, grant: &Grant, run: &RunId, commit: &Commit) -> Result<(), StoreError> {
        let (mut session, transaction, now) = self.fenced(grant).await?;
        runs::commit(&mut session, grant, run, commit, now).await?;
        self.settled(session, &transaction, "the state of the run").await?.abandon().await;
        Ok(())
    }

    async fn ask(&self, _flag: &FlagKey, run: &RunId, ask: &Ask) -> Result<(), StoreError> {
        let Some((mut session, transaction)) = self.writer().await? else {
            return Err(StoreError::Conflict(format!("run {} is not there any more", run.as_str())));
        };
        runs::ask(&mut session, run, ask).await?;
        self.settled(session, &transaction, "the request").await?.abandon().await;
        Ok(())
    }

    async fn requests(&self, _flag: &FlagKey, run: &RunId) -> Result<Vec<Request>, StoreError> {
        let Some(mut session) = self.reader().await? else { return Ok(Vec::new()) };
        let requests = runs::requests(&mut session, run).await?;
        session.abandon().await;
        Ok(requests)
    }
}

/// Microseconds since 1970, by the database.
async fn now(session: &mut Session) -> Result<i64, StoreError> {
    let query = sqlx::query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
    let row = session.row(query).await?;
    row.and_then(|row| row.try_get(0).ok())
        .ok_or_else(|| StoreError::Invalid(format!("{} did not say what time it is", session.place())))
}

fn lease(row: &sqlx::postgres::PgRow) -> Result<Row, StoreError> {
    Ok(Row {
        holder: row.try_get("holder").map_err(schema::wrong)?,
        fence: row.try_get("fence").map_err(schema::wrong)?,
        expires_at: row.try_get("expires_at").map_err(schema::wrong)?,
    })
}

fn gone(grant: &Grant) -> StoreError {
    StoreError::Fenced(format!(
        "the lease of `{}` was removed from the database; this run writes nothing more",
        grant.flag
    ))
}
