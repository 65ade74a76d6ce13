//! A second pair of eyes on a statement that takes long: who blocks it, whether the server is still there, and its cancel.
//!
//! Works on a connection of its own that is opened when first needed and never holds a snapshot, so that it stalls no
//! CREATE INDEX CONCURRENTLY. Where the database has one connection only, there is nobody to look and nothing to cancel: a
//! statement that shall end is given up.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use sqlx::Row;
use tokio::time::{Instant, sleep, timeout};

use crate::store::StoreError;
use crate::store::postgres::{Backend, Connections, Failure, Session, Target};

use super::run::Run;
use super::watch::{Blocked, Blocker, Event};

/// When a statement is looked at for the first time.
const FIRST_LOOK: Duration = Duration::from_millis(60);

/// The longest pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);

/// How long a server that does not answer the second connection either is waited for.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a cancelled statement may take to end.
const GRACE: Duration = Duration::from_secs(15);

/// The second connection.
pub(super) struct Observer {
    target: Target,
    session: Option<Session>,
}

/// How a statement that was watched came to its end.
pub(super) struct Watched {
    /// What the server answered.
    pub(super) outcome: Result<(), Failure>,
    /// Who was in its way when it was last looked at.
    pub(super) blocked: Option<Blocked>,
}

impl Observer {
    pub(super) fn new(target: &Target) -> Self {
        Self { target: target.clone(), session: None }
    }

    /// Let a statement work, tell what it waits for, and cancel it when the operator asks for the end.
    pub(super) async fn watch(
        &mut self,
        run: &Run<'_>,
        backend: Backend,
        statement: impl Future<Output = Result<(), Failure>>,
    ) -> Watched {
        let mut statement = pin!(statement);
        let started = Instant::now();
        // A short try must have been looked at before it ends.
        let first = FIRST_LOOK.min((run.locks.each / 4).max(Duration::from_millis(5)));
        let (mut pause, mut blocked, mut seen) = (first, None, started);
        let mut cancelled: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                outcome = &mut statement => return Watched { outcome, blocked },
                () = run.stop.asked(), if cancelled.is_none() => {
                    if self.target.connections() == Connections::One {
                        // The statement ends with the process, and its transaction with it.
                        let reason = "it was given up".to_owned();
                        return Watched { outcome: Err(Failure::Gone { reason, sqlstate: None }), blocked };
                    }
                    cancelled = Some(Instant::now());
                    self.cancel(backend).await;
                }
                () = sleep(pause) => {
                    pause = (pause * 3 / 2).min(PAUSE);
                    match self.look(backend).await {
                        Ok(look) => (blocked, seen) = (look.or(blocked), Instant::now()),
                        Err(error) => tracing::debug!(%error, "the second connection sees nothing"),
                    }
                    run.watch.see(Event::Still { elapsed: started.elapsed(), blocked: blocked.as_ref() });
                    let silent = seen.elapsed() > SILENCE && self.target.connections() == Connections::Many;
                    if silent || cancelled.is_some_and(|at| at.elapsed() > GRACE) {
                        let reason = format!("no answer for {} s", started.elapsed().as_secs());
                        return Watched { outcome: Err(Failure::Gone { reason, sqlstate: None }), blocked };
                    }
                }
            }
        }
    }

    /// Ask the server to cancel what `backend` runs. Where that fails the connection is dropped in the end, which does the same.
    async fn cancel(&mut self, backend: Backend) {
        let cancel = async {
            let Some(session) = self.session().await? else { return Ok(()) };
            session.run(sqlx::query("SELECT pg_cancel_backend($1)").bind(backend.0)).await
        };
        if let Ok(Err(error)) = timeout(LOOK, cancel).await {
            tracing::debug!(%error, "the statement could not be cancelled");
        }
    }

    async fn look(&mut self, backend: Backend) -> Result<Option<Blocked>, StoreError> {
        let look = async {
            let Some(session) = self.session().await? else { return Ok(None) };
            blocked(session, backend).await
        };
        let seen = match timeout(LOOK, look).await {
            Ok(seen) => seen,
            Err(_) => Err(StoreError::Unreachable("no answer".to_owned())),
        };
        if seen.is_err() {
            self.session = None;
        }
        seen
    }

    async fn session(&mut self) -> Result<Option<&mut Session>, StoreError> {
        if self.target.connections() == Connections::One {
            return Ok(None);
        }
        if self.session.is_none() {
            self.session = Some(Session::open_as(&self.target, "llmhub-db observer").await?);
        }
        Ok(self.session.as_mut())
    }

    pub(super) async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }
}

async fn blocked(session: &mut Session, backend: Backend) -> Result<Option<Blocked>, StoreError> {
    let query = sqlx::query(
        "SELECT a.pid, a.usename::text AS role, a.application_name AS application, a.state, \
         left(regexp_replace(a.query, '\\s+', ' ', 'g'), 160) AS query, \
         extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS age, \
         (SELECT count(*) FROM pg_catalog.pg_locks w WHERE NOT w.granted AND $1 = ANY (pg_catalog.pg_blocking_pids(w.pid))) \
         AS behind \
         FROM unnest(pg_catalog.pg_blocking_pids($1)) AS b (pid) JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid \
         ORDER BY a.xact_start LIMIT 5",
    )
    .bind(backend.0);
    let rows = session.rows(query).await?;
    let wrong = |_| StoreError::Invalid("pg_stat_activity has columns of another type".to_owned());
    let mut behind = 0;
    let mut by = Vec::with_capacity(rows.len());
    for row in &rows {
        behind = row.try_get("behind").map_err(wrong)?;
        let query: Option<String> = row.try_get("query").map_err(wrong)?;
        by.push(Blocker {
            pid: row.try_get("pid").map_err(wrong)?,
            role: row.try_get("role").map_err(wrong)?,
            application: row.try_get("application").map_err(wrong)?,
            state: row.try_get("state").map_err(wrong)?,
            // What the server shows instead of a query that the role may not see.
            query: query.filter(|query| query != "<insufficient privilege>"),
            age: row.try_get("age").map_err(wrong)?,
        });
    }
    Ok((!by.is_empty()).then_some(Blocked { by, behind }))
}
