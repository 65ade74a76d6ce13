//! The rows of runs, steps, measurements, events and requests, inside the transaction that is open.

use jiff::Timestamp;
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::schema::wrong;
use crate::domain::flags::FlagKey;
use crate::store::StoreError;
use crate::store::postgres::Session;
use crate::store::rollout::lease::moment;
use crate::store::rollout::record::{
    Commit, Direction, End, EventRecord, MeasurementRecord, NewEvent, NewRun, Request, RunId, RunRecord, StepRecord,
    StepWrite, Wish,
};
use crate::store::rollout::{Ask, Grant, SHOWN};

/// The newest run of a flag.
pub(super) async fn newest(
    session: &mut Session,
    profile: &str,
    flag: &FlagKey,
) -> Result<Option<RunRecord>, StoreError> {
    let query = sqlx::query(
        "SELECT id, plan, plan_digest, snapshot, state, progress, started_by, \
         (extract(epoch FROM started_at) * 1000000)::bigint AS started_at, \
         (extract(epoch FROM updated_at) * 1000000)::bigint AS updated_at, \
         (extract(epoch FROM ended_at) * 1000000)::bigint AS ended_at \
         FROM llmhub.rollout_run WHERE profile = $1 AND flag = $2 ORDER BY position DESC LIMIT 1",
    );
    let row = session.row(query.bind(profile).bind(flag.as_str())).await?;
    row.map(|row| run(&row)).transpose()
}

fn run(row: &PgRow) -> Result<RunRecord, StoreError> {
    let json = |name: &str| row.try_get::<Json<Value>, _>(name).map(|Json(value)| value).map_err(wrong);
    Ok(RunRecord {
        id: RunId::stored(row.try_get("id").map_err(wrong)?),
        plan: row.try_get("plan").map_err(wrong)?,
        plan_digest: row.try_get("plan_digest").map_err(wrong)?,
        snapshot: json("snapshot")?,
        state: row.try_get("state").map_err(wrong)?,
        progress: json("progress")?,
        started_by: row.try_get("started_by").map_err(wrong)?,
        started_at: time(row, "started_at")?.unwrap_or_default(),
        updated_at: time(row, "updated_at")?.unwrap_or_default(),
        ended_at: time(row, "ended_at")?,
    })
}

fn time(row: &PgRow, name: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(name).map_err(wrong)?.map(moment))
}

pub(super) async fn steps(session: &mut Session, run: &RunId) -> Result<Vec<StepRecord>, StoreError> {
    let query = sqlx::query(
        "SELECT number, rung, direction, digest_before, digest_wanted, \
         (extract(epoch FROM intent_at) * 1000000)::bigint AS intent_at, \
         (extract(epoch FROM applied_at) * 1000000)::bigint AS applied_at, \
         (extract(epoch FROM converged_at) * 1000000)::bigint AS converged_at \
         FROM llmhub.rollout_step WHERE run = $1 ORDER BY number",
    );
    let step = |row: &PgRow| {
        let direction: &str = row.try_get("direction").map_err(wrong)?;
        let rung: i32 = row.try_get("rung").map_err(wrong)?;
        Ok(StepRecord {
            number: row.try_get("number").map_err(wrong)?,
            rung: u8::try_from(rung).unwrap_or_default(),
            direction: if direction == Direction::Down.word() { Direction::Down } else { Direction::Up },
            digest_before: row.try_get("digest_before").map_err(wrong)?,
            digest_wanted: row.try_get("digest_wanted").map_err(wrong)?,
            intent_at: time(row, "intent_at")?.unwrap_or_default(),
            applied_at: time(row, "applied_at")?,
            converged_at: time(row, "converged_at")?,
        })
    };
    session.rows(query.bind(run.as_str())).await?.iter().map(step).collect()
}

/// The newest ones, oldest first.
pub(super) async fn measurements(session: &mut Session, run: &RunId) -> Result<Vec<MeasurementRecord>, StoreError> {
    let query = sqlx::query(
        "SELECT rung, metric, verdict, details FROM (SELECT * FROM llmhub.rollout_measurement WHERE run = $1 \
         ORDER BY number DESC LIMIT $2) newest ORDER BY number",
    );
    let limit = i64::try_from(SHOWN).unwrap_or(i64::MAX);
    let measurement = |row: &PgRow| {
        let rung: i32 = row.try_get("rung").map_err(wrong)?;
        Ok(MeasurementRecord {
            rung: u8::try_from(rung).unwrap_or_default(),
            metric: row.try_get("metric").map_err(wrong)?,
            verdict: row.try_get("verdict").map_err(wrong)?,
            details: row.try_get::<Json<Value>, _>("details").map_err(wrong)?.0,
        })
    };
    session.rows(query.bind(run.as_str()).bind(limit)).await?.iter().map(measurement).collect()
}

pub(super) async fn events(session: &mut Session, run: &RunId) -> Result<Vec<EventRecord>, StoreError> {
    let query = sqlx::query(
        "SELECT number, at, kind, actor, details, previous, hash FROM llmhub.rollout_event WHERE run = $1 \
         ORDER BY number",
    );
    let event = |row: &PgRow| {
        Ok(EventRecord {
            number: row.try_get("number").map_err(wrong)?,
            at: row.try_get("at").map_err(wrong)?,
            kind: row.try_get("kind").map_err(wrong)?,
            actor: row.try_get("actor").map_err(wrong)?,
            details: row.try_get("details").map_err(wrong)?,
            previous: row.try_get("previous").map_err(wrong)?,
            hash: row.try_get("hash").map_err(wrong)?,
        })
    };
    session.rows(query.bind(run.as_str())).await?.iter().map(event).collect()
}

pub(super) async fn requests(session: &mut Session, run: &RunId) -> Result<Vec<Request>, StoreError> {
    let query = sqlx::query(
        "SELECT id, kind, actor, reason, (extract(epoch FROM asked_at) * 1000000)::bigint AS asked_at \
         FROM llmhub.rollout_request WHERE run = $1 AND answered_at IS NULL ORDER BY id",
    );
    let mut found = Vec::new();
    for row in session.rows(query.bind(run.as_str())).await? {
        let kind: &str = row.try_get("kind").map_err(wrong)?;
        let wish = Wish::ALL.into_iter().find(|wish| wish.word() == kind);
        let wish = wish.ok_or_else(|| StoreError::Invalid(format!("a request of kind `{kind}`, which is none")))?;
        found.push(Request {
            id: row.try_get("id").map_err(wrong)?,
            wish,
            actor: row.try_get("actor").map_err(wrong)?,
            reason: row.try_get("reason").map_err(wrong)?,
            asked_at: time(&row, "asked_at")?.unwrap_or_default(),
        });
    }
    Ok(found)
}

pub(super) async fn ask(session: &mut Session, run: &RunId, ask: &Ask) -> Result<i64, StoreError> {
    let query = sqlx::query(
        "INSERT INTO llmhub.rollout_request (run, kind, actor, reason, asked_at) VALUES ($1, $2, $3, $4, clock_timestamp()) \
         RETURNING id",
    );
    let query = query.bind(run.as_str()).bind(ask.wish.word()).bind(&ask.actor).bind(&ask.reason);
    let row = session.row(query).await?;
    row.and_then(|row| row.try_get(0).ok())
        .ok_or_else(|| StoreError::Invalid("the database did not number the request".to_owned()))
}

pub(super) async fn begin(
    session: &mut Session,
    profile: &str,
    grant: &Grant,
    run: &NewRun,
    now: i64,
) -> Result<(), StoreError> {
    let open = sqlx::query("SELECT id FROM llmhub.rollout_run WHERE profile = $1 AND flag = $2 AND ended_at IS NULL");
    if let Some(row) = session.row(open.bind(profile).bind(grant.flag.as_str())).await? {
        let id: String = row.try_get(0).map_err(wrong)?;
        return Err(StoreError::Conflict(format!("run {id} of `{}` is still open; nothing was written", grant.flag)));
    }
    let query = sqlx::query(
        "INSERT INTO llmhub.rollout_run (id, profile, flag, plan, plan_digest, snapshot, state, progress, fence, \
         started_by, started_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp(), \
         clock_timestamp())",
    );
    let query = query.bind(run.id.as_str()).bind(profile).bind(grant.flag.as_str()).bind(&run.plan);
    let query = query.bind(&run.plan_digest).bind(Json(&run.snapshot)).bind(&run.state).bind(Json(&run.progress));
    session.run(query.bind(grant.fence).bind(&run.started_by)).await?;
    append(session, &run.id, &grant.holder, now, &run.events).await
}

pub(super) async fn commit(
    session: &mut Session,
    grant: &Grant,
    run: &RunId,
    commit: &Commit,
    now: i64,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "UPDATE llmhub.rollout_run SET state = $2, progress = $3, fence = $4, updated_at = clock_timestamp(), \
         ended_at = CASE WHEN $5 THEN clock_timestamp() END WHERE id = $1 AND ended_at IS NULL RETURNING id",
    );
    let query = query.bind(run.as_str()).bind(&commit.state).bind(Json(&commit.progress)).bind(grant.fence);
    if session.row(query.bind(commit.end == End::Closed)).await?.is_none() {
        return Err(StoreError::Conflict(format!("run {} has come to its end already", run.as_str())));
    }
    for step in &commit.steps {
        write_step(session, run, step).await?;
    }
    for measured in &commit.measurements {
        let query = sqlx::query(
            "INSERT INTO llmhub.rollout_measurement (run, number, rung, metric, measured_at, verdict, details) \
             SELECT $1, coalesce(max(number), 0) + 1, $2, $3, clock_timestamp(), $4, $5 \
             FROM llmhub.rollout_measurement WHERE run = $1",
        );
        let query = query.bind(run.as_str()).bind(i32::from(measured.rung)).bind(&measured.metric);
        session.run(query.bind(&measured.verdict).bind(Json(&measured.details))).await?;
    }
    for id in &commit.answered {
        let query = sqlx::query("UPDATE llmhub.rollout_request SET answered_at = clock_timestamp() WHERE id = $1");
        session.run(query.bind(id)).await?;
    }
    append(session, run, &grant.holder, now, &commit.events).await
}

async fn write_step(session: &mut Session, run: &RunId, step: &StepWrite) -> Result<(), StoreError> {
    match step {
        StepWrite::Intent { number, rung, direction, before, wanted } => {
            let query = sqlx::query(
                "INSERT INTO llmhub.rollout_step (run, number, rung, direction, digest_before, digest_wanted, intent_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())",
            );
            let query = query.bind(run.as_str()).bind(number).bind(i32::from(*rung)).bind(direction.word());
            session.run(query.bind(before).bind(wanted)).await
        }
        StepWrite::Applied { number } => {
            let query = sqlx::query(
                "UPDATE llmhub.rollout_step SET applied_at = coalesce(applied_at, clock_timestamp()), \
                 converged_at = clock_timestamp() WHERE run = $1 AND number = $2",
            );
            session.run(query.bind(run.as_str()).bind(number)).await
        }
    }
}

/// Add events to the chain of a run; the lease's row is locked, so nobody else adds meanwhile.
pub(super) async fn append(
    session: &mut Session,
    run: &RunId,
    actor: &str,
    now: i64,
    events: &[NewEvent],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let query =
        sqlx::query("SELECT number, hash FROM llmhub.rollout_event WHERE run = $1 ORDER BY number DESC LIMIT 1");
    let row = session.row(query.bind(run.as_str())).await?;
    let mut last: Option<(i64, String)> = match row {
        Some(row) => Some((row.try_get(0).map_err(wrong)?, row.try_get(1).map_err(wrong)?)),
        None => None,
    };
    for event in events {
        let next = EventRecord::after(run, last, now, actor, event);
        let query = sqlx::query(
            "INSERT INTO llmhub.rollout_event (run, number, at, kind, actor, details, previous, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        );
        let query = query.bind(run.as_str()).bind(next.number).bind(next.at).bind(&next.kind).bind(&next.actor);
        session.run(query.bind(&next.details).bind(&next.previous).bind(&next.hash)).await?;
        last = Some((next.number, next.hash));
    }
    Ok(())
}
