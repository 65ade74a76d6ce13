//! A rehearsal: the steps that shall be undone, undone and made again on a scratch database, with a fingerprint at every stop.
//!
//! Nothing of it touches the live database, which is only read. A statement that would act beyond its own database is refused
//! before anything runs; what a `DO` block hides is not seen. What was not checked is said.
//!
//! A replay is compared to the letter: both sides are made by the same statements. On a copy one side went through a dump, which
//! changes how definitions are printed ([`Level::Restored`]): the copy and live, what a down gives back and what the ledger
//! remembers, the copy before and after the step was made again. Trying a down where its up was never applied has both sides
//! on the copy and no dump between them, so that is compared to the letter again.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::domain::migrations::Script;
use crate::domain::proof::{Verdict, given_back, harmed_unapplied};
use crate::domain::schema::{Difference, Doomed, Fingerprint, Level, all_doomed, diff, reaches_outside};
use crate::store::StoreError;
use crate::store::pg_tools::{Archive, Ownership, PgTools};
use crate::store::postgres::Target;

use super::fingerprint::fingerprint;
use super::scratch::Scratch;
use super::stage::{Stage, Tried};

/// How long one statement may take in a rehearsal.
const PATIENCE: Duration = Duration::from_secs(600);

/// A migration that shall be undone.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// As in its file name.
    pub version: &'a str,
    /// The SQL that made it.
    pub up: &'a Script,
    /// The SQL that undoes it, if there is any.
    pub down: Option<&'a Script>,
    /// The schema before it was applied, as the ledger has it; for a copy of live, whose past nobody has seen.
    pub before: Option<&'a Fingerprint>,
}

/// Where the scratch database gets its schema from.
#[derive(Clone, Copy)]
pub enum Schema<'a> {
    /// From the ups before the steps, in the order in which they were applied.
    Replay(&'a [&'a Script]),
    /// From a dump of live with all steps applied.
    Dump {
        /// What `pg_dump -Fc -s` wrote.
        archive: &'a [u8],
        /// Who reads it.
        restore: &'a dyn Restore,
    },
}

/// Brings a dump into an empty database.
#[async_trait]
pub trait Restore: Send + Sync {
    /// Restore the whole of `archive` or fail.
    async fn restore(&self, archive: &[u8], into: &Target) -> Result<(), StoreError>;
}

#[async_trait]
impl Restore for PgTools {
    async fn restore(&self, archive: &[u8], into: &Target) -> Result<(), StoreError> {
        PgTools::restore(self, Archive::Bytes(archive), into, Ownership::Dropped).await
    }
}

/// What a rehearsal found.
#[derive(Clone, Debug, Serialize)]
pub struct Rehearsal {
    /// The live schema.
    pub live: Fingerprint,
    /// The scratch schema with every step applied; `None` when it could not be built.
    pub built: Option<Fingerprint>,
    /// How live differs from it: drift, or objects that no migration made. Settings of the database are left out, no copy has
    /// them, and so are owners and grants after a dump. The caller decides.
    pub drift: Vec<Difference>,
    /// The steps as far as they were tried, newest first.
    pub steps: Vec<Rehearsed>,
}

/// What a rehearsal found of one step.
#[derive(Clone, Debug, Serialize)]
pub struct Rehearsed {
    /// As in its file name.
    pub version: String,
    /// The word for it.
    pub verdict: Verdict,
    /// The schema with the step applied.
    pub before: Option<Fingerprint>,
    /// The schema after its down.
    pub after: Option<Fingerprint>,
    /// What the down leaves or takes too much, against the schema before the step was applied.
    pub residue: Vec<Difference>,
    /// What is different when the step is applied again.
    pub again: Vec<Difference>,
    /// What the down changes where the step was never applied: it should fail there or change nothing.
    pub never_applied: Vec<Difference>,
    /// Why it failed, with file, line and column.
    pub failure: Option<String>,
    /// What is no reason to refuse, one sentence each: an extension that stays behind.
    pub notes: Vec<String>,
    /// What was not checked, one sentence each.
    pub unchecked: Vec<String>,
    /// What the down destroys if it holds anything.
    pub doomed: Vec<Doomed>,
}

/// Undo `steps` (newest first) on a scratch database beside `live`, each twice, and say what became of them. It ends at the first
/// step that is not proven: those below it cannot be reached.
///
/// # Errors
/// Those of [`Scratch::create`] and of connecting; [`StoreError::Refused`] when a script acts beyond its database or the schema
/// before the steps cannot be built.
pub async fn rehearse(live: &Target, schema: Schema<'_>, steps: &[Step<'_>]) -> Result<Rehearsal, StoreError> {
    let earlier = if let Schema::Replay(scripts) = schema { scripts } else { &[] };
    let own = steps.iter().flat_map(|step| [Some(step.up), step.down]).flatten();
    for script in earlier.iter().copied().chain(own) {
        refuse_outside(script)?;
    }
    let now = fingerprint(live).await?;
    let scratch = Scratch::create(live).await?;
    let done = on_scratch(&scratch, schema, steps, now).await;
    let closed = scratch.close().await;
    let rehearsal = done?;
    closed?;
    Ok(rehearsal)
}

fn refuse_outside(script: &Script) -> Result<(), StoreError> {
    // What cannot be split cannot be run and is a verdict later on.
    for statement in script.statements().unwrap_or_default() {
        if let Some(why) = reaches_outside(&statement) {
            let (file, at) = (script.file(), statement.position());
            return Err(StoreError::Refused(format!(
                "{file}:{at}: {why}, so it cannot be rehearsed beside a live one: it would act on the live server"
            )));
        }
    }
    Ok(())
}

async fn on_scratch(
    scratch: &Scratch,
    schema: Schema<'_>,
    steps: &[Step<'_>],
    live: Fingerprint,
) -> Result<Rehearsal, StoreError> {
    let mut stage = Stage::open(scratch, PATIENCE).await?;
    let mut pasts: Vec<Option<Fingerprint>> = Vec::with_capacity(steps.len());
    let mut rehearsal = Rehearsal { live, built: None, drift: Vec::new(), steps: Vec::new() };
    let mut level = Level::Logical;
    match schema {
        Schema::Replay(earlier) => {
            for script in earlier {
                stage.play(script).await?.map_err(|error| {
                    StoreError::Refused(format!("the schema cannot be built from the migrations: {}", error.text))
                })?;
            }
            for step in steps.iter().rev() {
                pasts.push(Some(stage.look().await?));
                if let Err(error) = stage.play(step.up).await? {
                    rehearsal.steps.push(Rehearsed::failed(step, Verdict::UpFailed, error.text));
                    stage.close().await;
                    return Ok(rehearsal);
                }
            }
        }
        Schema::Dump { archive, restore } => {
            restore.restore(archive, scratch.target()).await?;
            // Read by another role it gives its objects to that role; and its definitions are printed in another way.
            level = Level::Restored;
            pasts.extend(steps.iter().rev().map(|step| step.before.cloned()));
        }
    }
    let built = stage.look().await?;
    rehearsal.drift = compare(&built.portable(), &rehearsal.live.portable(), level)?;
    rehearsal.built = Some(built);
    for step in steps {
        let rehearsed = undo(&mut stage, step, pasts.pop().flatten(), level).await?;
        let proven = rehearsed.verdict.is_proven();
        rehearsal.steps.push(rehearsed);
        if !proven {
            break;
        }
    }
    stage.close().await;
    Ok(rehearsal)
}

fn compare(before: &Fingerprint, after: &Fingerprint, level: Level) -> Result<Vec<Difference>, StoreError> {
    diff(before, after, level).map_err(|error| StoreError::Invalid(error.to_string()))
}

impl Rehearsed {
    fn new(step: &Step<'_>) -> Self {
        Self {
            version: step.version.to_owned(),
            verdict: Verdict::Reversible,
            before: None,
            after: None,
            residue: Vec::new(),
            again: Vec::new(),
            never_applied: Vec::new(),
            failure: None,
            notes: Vec::new(),
            unchecked: Vec::new(),
            doomed: Vec::new(),
        }
    }

    fn failed(step: &Step<'_>, verdict: Verdict, failure: String) -> Self {
        Self { verdict, failure: Some(failure), ..Self::new(step) }
    }

    fn worse(&mut self, verdict: Verdict) {
        self.verdict.worsen(verdict);
    }
}

/// Undo a step, make it again and undo it for good.
async fn undo(
    stage: &mut Stage,
    step: &Step<'_>,
    past: Option<Fingerprint>,
    level: Level,
) -> Result<Rehearsed, StoreError> {
    let Some(down) = step.down else {
        return Ok(Rehearsed::failed(step, Verdict::Irreversible, "it has no down".to_owned()));
    };
    if down.statements().is_ok_and(|statements| statements.is_empty()) {
        return Ok(Rehearsed::failed(step, Verdict::DownEmpty, format!("{} has no statement", down.file())));
    }
    let mut found = Rehearsed::new(step);
    let before = stage.look().await?;
    if let Err(failure) = stage.play(down).await? {
        let failed = Rehearsed::failed(step, Verdict::DownFailed, failure.text);
        return Ok(Rehearsed { before: Some(before), ..failed });
    }
    let after = stage.look().await?;
    found.doomed = all_doomed(&before, &after, down);
    match &past {
        Some(past) => {
            let back = given_back(past, &after, level).map_err(|error| StoreError::Invalid(error.to_string()))?;
            found.residue = back.residue;
            found.notes = back.stays.iter().map(ToString::to_string).collect();
            if back.reordered {
                found.worse(Verdict::ReversibleExceptColumnOrder);
            }
        }
        None => found.unchecked.push("the ledger does not know the schema before this migration".to_owned()),
    }
    match stage.try_down(down, &after).await? {
        Tried::Changed(differences) => found.never_applied = differences,
        Tried::NotInATransaction => found
            .unchecked
            .push("the down was not tried where the migration was never applied: it cannot be rolled back".to_owned()),
        Tried::Died(broken) => return Err(StoreError::Unreachable(broken.text)),
    }
    match stage.play(step.up).await? {
        Ok(()) => found.again = compare(&before, &stage.look().await?, level)?,
        Err(failure) => {
            found.worse(Verdict::Residue);
            found.failure = Some(format!("after the down it cannot be applied again: {}", failure.text));
        }
    }
    let harm = harmed_unapplied(&found.never_applied).next().is_some();
    if harm || !found.residue.is_empty() || !found.again.is_empty() {
        found.worse(Verdict::Residue);
    }
    if found.verdict.is_proven()
        && let Err(failure) = stage.play(down).await?
    {
        found.worse(Verdict::DownFailed);
        found.failure = Some(format!("the second time: {}", failure.text));
    }
    (found.before, found.after) = (Some(before), Some(after));
    Ok(found)
}
