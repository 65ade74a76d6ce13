//! The run: everything that is pending, in one transaction with its ledger rows, one statement per message.
//!
//! Killed at any moment it leaves nothing or everything. It is reported as done after another connection has seen the
//! transaction committed and the rows on the ledger.

use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::Row;

use crate::domain::migrations::{Checksum, Migration, Statement, Wrapping, embedded};
use crate::store::StoreError;
use crate::store::postgres::{Failure, Pace, Session, Target, Transaction, settle};

use super::ledger::{self, LedgerEntry, Record};
use super::lock::{Holder, Purpose, RunLock, wait_for};

/// Who runs llmhub, for the ledger and for a rival that waits.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The operating system's user.
    pub user: String,
    /// The machine.
    pub host: String,
}

/// How to run.
pub struct Run<'a> {
    /// Who runs it.
    pub operator: Operator,
    /// How long to wait for another run, or for the remains of one.
    pub patience: Duration,
    /// Called once when somebody else is waited for.
    pub on_wait: &'a (dyn Fn(&Holder) + Send + Sync),
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The migrations that this run applied, in order; empty when the schema was up to date.
    pub applied: Vec<AppliedNow>,
    /// The newest applied version; `None` when there are no migrations at all.
    pub current: Option<String>,
}

/// One migration that a run applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppliedNow {
    /// As in its file name.
    pub version: String,
    /// As in its file name.
    pub name: String,
    /// How long its statements took, in milliseconds.
    pub duration_ms: i64,
}

/// The name of a run in the ledger and in the server's list of sessions: 16 hexadecimal digits.
pub(super) struct RunId(String);

impl RunId {
    fn random() -> Result<Self, StoreError> {
        let number = getrandom::u64()
            .map_err(|error| StoreError::Local(format!("the system gives no random numbers: {error}")))?;
        Ok(Self(format!("{number:016x}")))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Apply what is pending of the migrations that travel in the binary.
///
/// # Errors
/// As [`apply`].
pub async fn apply_embedded(target: &Target, run: &Run<'_>) -> Result<Applied, StoreError> {
    apply(target, &embedded(), run).await
}

/// Apply what is pending of `migrations` (oldest first), all or nothing.
///
/// # Errors
/// [`StoreError::Conflict`] when another run does not end in time, an applied migration's text has changed, or the database
/// holds migrations that are not in the list; [`StoreError::Refused`] for SQL that the server or the engine refuses, with
/// everything rolled back; [`StoreError::OutcomeUnknown`] when the commit's fate cannot be learned.
pub async fn apply(target: &Target, migrations: &[Migration], run: &Run<'_>) -> Result<Applied, StoreError> {
    let steps = migrations.iter().map(Step::new).collect::<Result<Vec<_>, _>>()?;
    let before = ledger::applied(target).await?;
    if pending(&steps, &before)?.is_empty() {
        return Ok(outcome(Vec::new(), &before));
    }
    let id = RunId::random()?;
    let mut lock = RunLock::take(target, &id, run).await?;
    let done = apply_locked(target, &steps, run, &id, &mut lock).await;
    lock.release().await;
    done
}

async fn apply_locked(
    target: &Target,
    steps: &[Step<'_>],
    run: &Run<'_>,
    id: &RunId,
    lock: &mut RunLock,
) -> Result<Applied, StoreError> {
    let mut worker = Session::open_as(target, &format!("llmhub-db worker {}", id.as_str())).await?;
    let transaction = worker.begin_write(Pace::Long).await?;
    wait_for(&mut worker, Purpose::Worker, run).await?;
    let before = ledger::read(&mut worker).await?;
    let pending = pending(steps, &before)?;
    if pending.is_empty() {
        worker.abandon().await;
        return Ok(outcome(Vec::new(), &before));
    }
    ledger::ensure(&mut worker).await?;
    let mut applied = Vec::with_capacity(pending.len());
    for step in pending {
        lock.check().await?;
        let started = Instant::now();
        execute(&mut worker, step, &transaction).await?;
        let duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let record = Record {
            migration: step.migration,
            up_checksum: &step.up_checksum,
            down_checksum: step.down_checksum.as_ref(),
            duration_ms,
            run_id: id,
            transaction: &transaction,
            operator: &run.operator,
        };
        ledger::record(&mut worker, &record).await?;
        let (version, name) = (step.migration.version.to_string(), step.migration.name.clone());
        applied.push(AppliedNow { version, name, duration_ms });
    }
    let mut reader = settle(worker, target, &transaction, "the migrations").await?;
    let after = ledger::read(&mut reader).await.map_err(|error| {
        StoreError::OutcomeUnknown(format!("the migrations were committed but could not be read back: {error}"))
    })?;
    reader.abandon().await;
    let recorded =
        applied.iter().all(|now| after.iter().any(|entry| entry.version == now.version && entry.run_id == id.as_str()));
    if !recorded {
        return Err(StoreError::OutcomeUnknown(
            "the migrations were committed, but the ledger reads back without them: look before you run it again"
                .to_owned(),
        ));
    }
    Ok(outcome(applied, &after))
}

fn outcome(applied: Vec<AppliedNow>, ledger: &[LedgerEntry]) -> Applied {
    Applied { applied, current: ledger.last().map(|entry| entry.version.clone()) }
}

/// A migration that can be run: split, and fit for one transaction.
struct Step<'a> {
    migration: &'a Migration,
    statements: Vec<Statement<'a>>,
    up_checksum: Checksum,
    down_checksum: Option<Checksum>,
}

impl<'a> Step<'a> {
    fn new(migration: &'a Migration) -> Result<Self, StoreError> {
        let refused = |way: &str, what: &str| {
            let (version, name) = (&migration.version, &migration.name);
            StoreError::Refused(format!("{version}_{name}.{way}.sql, {what}; nothing was applied"))
        };
        let statements = migration.up.statements().map_err(|error| refused("up", &error.to_string()))?;
        if migration.up.wrapping() == Wrapping::None {
            return Err(refused("up", "line 1: it asks to be run outside a transaction, which this llmhub cannot do"));
        }
        if let Some(control) = statements.iter().find(|statement| statement.controls_transaction()) {
            let what = format!(
                "line {}: a migration runs in llmhub's transaction; take the transaction control out",
                control.position()
            );
            return Err(refused("up", &what));
        }
        let up_checksum = migration.up.checksum().map_err(|error| refused("up", &error.to_string()))?;
        let down_checksum = migration.down.as_ref().map(|down| down.checksum()).transpose();
        let down_checksum = down_checksum.map_err(|error| refused("down", &error.to_string()))?;
        Ok(Self { migration, statements, up_checksum, down_checksum })
    }
}

/// The steps that are not on the ledger. What is on it must be the beginning of the list, text for text.
fn pending<'s, 'a>(steps: &'s [Step<'a>], ledger: &[LedgerEntry]) -> Result<Vec<&'s Step<'a>>, StoreError> {
    let conflict = |text: String| Err(StoreError::Conflict(format!("{text}; nothing was applied")));
    for entry in ledger {
        let place = steps.iter().position(|step| step.migration.version.as_str() == entry.version);
        let Some((earlier, step)) = place.and_then(|place| Some((steps.get(..place)?, steps.get(place)?))) else {
            return conflict(format!(
                "the database has the migration {}_{}, which is not among the files: use the llmhub or the folder that has it",
                entry.version, entry.name
            ));
        };
        if step.up_checksum.as_str() != entry.up_checksum {
            return conflict(format!(
                "{}_{}.up.sql is not what was applied on {}: put the old text back and write a new migration",
                entry.version, entry.name, entry.applied_at
            ));
        }
        if let Some(skipped) = earlier.iter().find(|step| !is_on(ledger, step)) {
            return conflict(format!(
                "{}_{} was never applied, but the later {}_{} was",
                skipped.migration.version, skipped.migration.name, entry.version, entry.name
            ));
        }
    }
    Ok(steps.iter().filter(|step| !is_on(ledger, step)).collect())
}

fn is_on(ledger: &[LedgerEntry], step: &Step<'_>) -> bool {
    ledger.iter().any(|entry| entry.version == step.migration.version.as_str())
}

async fn execute(worker: &mut Session, step: &Step<'_>, transaction: &Transaction) -> Result<(), StoreError> {
    for statement in &step.statements {
        let done = worker.foreign(statement.text(), statement.copy_data()).await;
        done.map_err(|failure| sql_error(worker, step, statement, failure))?;
    }
    worker.pin_again().await?;
    // A statement that ended our transaction all the same, hidden in a way that no lexer sees, has committed what came before.
    let row = worker.row(sqlx::query("SELECT pg_current_xact_id_if_assigned()::text")).await?;
    let now: Option<String> = row.and_then(|row| row.try_get(0).ok()).flatten();
    if now.as_deref() == Some(transaction.as_str()) {
        return Ok(());
    }
    Err(StoreError::OutcomeUnknown(format!(
        "{}_{} ended the transaction it was run in: part of it stands without a ledger row; look at the schema before going on",
        step.migration.version, step.migration.name
    )))
}

/// The server's complaint with file, line and column, where the server knows them.
fn sql_error(worker: &Session, step: &Step<'_>, statement: &Statement<'_>, failure: Failure) -> StoreError {
    let Failure::Server { sqlstate, message, position, .. } = &failure else {
        return failure.into_store_error(worker.place());
    };
    let at = position.map_or_else(|| statement.position(), |character| statement.locate(character));
    let (version, name) = (&step.migration.version, &step.migration.name);
    let text = format!("{version}_{name}.up.sql:{at}: {message} ({sqlstate}); everything was rolled back");
    match sqlstate.as_str() {
        "42501" => StoreError::Denied(text),
        "55P03" | "40P01" | "40001" => StoreError::Conflict(text),
        "57014" => StoreError::Unreachable(text),
        "25001" => StoreError::Refused(format!("{text}; it cannot run in a transaction")),
        "42P07" | "42710" => StoreError::Refused(format!(
            "{text}; if that is the hub's own schema from before llmhub, record it with `llmhub db baseline`"
        )),
        _ => StoreError::Refused(text),
    }
}
