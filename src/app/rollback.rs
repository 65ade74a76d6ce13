//! Rolling back: what would be undone, what that destroys, whether it is known to give the schema back; and doing it.
//!
//! All of it is found out before anybody is asked, by a proof that was kept or on a scratch database beside the live one. The down itself never runs on the
//! live database for a look.
//!
//! Where live holds more than the migrations made, the rehearsal on a copy is held against two that never were a dump: the one on
//! a replay, and the run itself, since live prints what was written. Both are compared at [`Level::Restored`], or parentheses
//! would stop a rollback. What the migrations make is still proven to the letter, on the replay.

use std::path::PathBuf;
use std::time::Duration;

use super::App;
use super::kept_proof::kept;
use super::migrate::Tuning;
use super::progress::Progress;
use crate::domain::migrations::{
    Back, Direction, DownSource, Migration, NoDown, Recorded, Script, Set, choose_down, text_diff,
};
use crate::domain::schema::{Doomed, Fingerprint, Level, all_doomed, diff};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::database::{
    self, Change, Ledger, Loss, Rehearsal, Rehearsed, RolledBack, Schema, Step, Texts, Undo, count_losses,
};
use crate::store::postgres::Target;

/// How long the rows of one doomed object are counted.
const COUNTING: Duration = Duration::from_secs(10);

/// What shall be undone.
#[derive(Clone, Debug)]
pub struct RollbackWish {
    /// How far back.
    pub back: Back,
    /// Which down, where the folder and the ledger say different things.
    pub down: Option<DownSource>,
    /// `--dir`.
    pub dir: Option<PathBuf>,
}

/// Whether it is known that a rollback gives the schema back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A rehearsal has just shown it.
    Proven,
    /// `db verify --record` has shown it before, for these texts on exactly this schema.
    Kept,
    /// It is not, and this is what is missing.
    Missing(String),
    /// A run that was allowed to begin has left it half done: it can only go on, and nothing of that can be rehearsed.
    GoesOn,
}

/// What a rollback would do.
#[derive(Debug)]
pub struct Prospect {
    /// The steps, newest first.
    pub steps: Vec<Undo>,
    /// What is destroyed, counted on the live database; what is known to be empty is left out.
    pub losses: Vec<Loss>,
    /// Whether it is known that the schema comes back.
    pub proof: Proof,
    /// What else was found, one sentence each.
    pub notes: Vec<String>,
}

impl Proof {
    /// Whether it is known.
    pub fn is_there(&self) -> bool {
        matches!(self, Self::Proven | Self::Kept)
    }
}

impl App {
    /// Find out what a rollback would do. Writes nothing to the live database.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a version that is not applied, [`Error::NoDown`], [`Error::DownDiffers`], [`Error::Store`].
    pub async fn foresee(&self, wish: &RollbackWish) -> Result<Prospect, Error> {
        let target = self.target().await?;
        let set = self.migrations(wish.dir.as_deref())?;
        let ledger = database::ledger(&target).await?;
        let chosen = wish
            .back
            .of(&ledger.recorded, set.numbering())
            .map_err(|error| Error::NotFound { message: error.to_string(), hint: "llmhub db status".to_owned() })?;
        let chosen: Vec<Recorded> = chosen.into_iter().cloned().collect();
        let texts = database::texts(&target, &chosen).await?;
        let mut prospect = Prospect { steps: Vec::new(), losses: Vec::new(), proof: Proof::Proven, notes: Vec::new() };
        for (entry, texts) in chosen.iter().zip(&texts) {
            let (undo, note) = undo(&set, entry, texts, wish.down)?;
            prospect.steps.push(undo);
            prospect.notes.extend(note);
        }
        if prospect.steps.is_empty() {
            return Ok(prospect);
        }
        if let Some(half) = ledger.unfinished.iter().find(|one| one.direction == Direction::Down) {
            if prospect.steps.len() > 1 {
                return Err(Error::Refused {
                    message: format!("{}_{} is half rolled back; nothing was written", half.version, half.name),
                    hint: "llmhub db rollback finishes that one first".to_owned(),
                });
            }
            prospect.proof = Proof::GoesOn;
            prospect.losses = named_losses(&target, &prospect.steps).await?;
            return Ok(prospect);
        }
        let live = database::fingerprint(&target).await?;
        let proofs = database::read_proofs(&target).await?;
        if let Some(kept) = kept(&proofs, &live, &chosen, &prospect.steps, &texts) {
            let mut doomed = Vec::new();
            for (step, kept) in prospect.steps.iter_mut().zip(kept) {
                (step.expected, step.proof) = (Some(kept.change), Some(kept.proof));
                doomed.extend(kept.doomed);
            }
            prospect.proof = Proof::Kept;
            prospect.losses = counted(&target, &doomed).await?;
            return Ok(prospect);
        }
        self.ui.progress("rehearsing on a scratch database");
        let found = self.rehearse_rollback(&target, &ledger, &prospect.steps, &texts).await;
        self.ui.progress_end();
        let doomed = match found {
            Ok(Found { rehearsal, level, unproven, notes }) => {
                prospect.proof = unproven.map_or(Proof::Proven, Proof::Missing);
                prospect.notes.extend(notes);
                let mut doomed = Vec::new();
                for (step, seen) in prospect.steps.iter_mut().zip(&rehearsal.steps) {
                    doomed.extend(seen.doomed.iter().cloned());
                    step.expected = change(seen, level);
                    step.proof = Some(proof(seen, level));
                }
                // What could not be reached is guessed from its words.
                doomed.extend(named(&live, prospect.steps.get(rehearsal.steps.len()..).unwrap_or_default()));
                doomed
            }
            Err(why) if why.status() != 7 => return Err(why),
            Err(why) => {
                prospect.proof = Proof::Missing(why.to_string());
                prospect
                    .notes
                    .push("without a rehearsal only what the statements themselves name is counted".to_owned());
                named(&live, &prospect.steps)
            }
        };
        if prospect.proof != Proof::Proven {
            // What was not proven is not held against it either.
            prospect.steps.iter_mut().for_each(|step| (step.expected, step.proof) = (None, None));
        }
        prospect.losses = counted(&target, &doomed).await?;
        Ok(prospect)
    }

    /// Rehearse on what the ledger's own texts make; where live is not just that, on a copy of live as well.
    async fn rehearse_rollback(
        &self,
        target: &Target,
        ledger: &Ledger,
        steps: &[Undo],
        texts: &[Texts],
    ) -> Result<Found, Error> {
        let earlier = ledger.recorded.get(..ledger.recorded.len() - steps.len()).unwrap_or_default();
        let earlier = database::texts(target, earlier).await?;
        let earlier: Vec<&Script> = earlier.iter().map(|texts| &texts.up).collect();
        let mut rehearsed: Vec<Step<'_>> = steps
            .iter()
            .map(|step| Step {
                version: step.migration.version.as_str(),
                up: &step.migration.up,
                down: Some(&step.down),
                before: None,
            })
            .collect();
        let replayed = database::rehearse(target, Schema::Replay(&earlier), &rehearsed).await;
        if let Ok(replayed) = &replayed
            && replayed.drift.is_empty()
            && replayed.built.is_some()
        {
            return Ok(Found::new(replayed.clone(), Level::Logical, None));
        }
        // Without room for a scratch database there is none for a copy either.
        let replayed = match replayed {
            Err(error) if !matches!(error, StoreError::Refused(_)) => return Err(error.into()),
            replayed => replayed,
        };
        // The hub has tables of its own, or somebody has changed something by hand: that is what a down might hit.
        let tools = self.pg_tools(target).await?;
        let archive = tools.schema(target).await?;
        if replayed.is_err() {
            // Then the schema before each step is known from the ledger or not at all.
            for (step, texts) in rehearsed.iter_mut().zip(texts) {
                step.before = texts.before.as_ref();
            }
        }
        let schema = Schema::Dump { archive: &archive, restore: &tools };
        let copied = database::rehearse(target, schema, &rehearsed).await?;
        Ok(Found::new(copied, Level::Restored, replayed.ok()))
    }

    /// Undo what was foreseen.
    ///
    /// # Errors
    /// As [`database::rollback`].
    pub async fn roll_back(
        &self,
        prospect: &Prospect,
        tuning: &Tuning,
        reason: Option<&str>,
    ) -> Result<RolledBack, Error> {
        let target = self.target().await?;
        let progress = Progress::new(&self.ui);
        let stopper = self.listen();
        let run = self.run(tuning, reason, &progress, &stopper);
        Ok(database::rollback(&target, &prospect.steps, &run).await?)
    }
}

/// What the downs name as dropped, deleted or changed; what follows from it is not seen.
fn named(live: &Fingerprint, steps: &[Undo]) -> Vec<Doomed> {
    steps.iter().flat_map(|step| all_doomed(live, &live.without(&step.down), &step.down)).collect()
}

async fn named_losses(target: &Target, steps: &[Undo]) -> Result<Vec<Loss>, Error> {
    let live = database::fingerprint(target).await?;
    counted(target, &named(&live, steps)).await
}

/// What is destroyed of these, without what is known to be empty.
async fn counted(target: &Target, doomed: &[Doomed]) -> Result<Vec<Loss>, Error> {
    let losses = count_losses(target, doomed, COUNTING).await?;
    Ok(losses.into_iter().filter(|loss| !loss.is_nothing()).collect())
}

/// What a rehearsal is worth.
struct Found {
    rehearsal: Rehearsal,
    level: Level,
    unproven: Option<String>,
    notes: Vec<String>,
}

impl Found {
    /// `replayed` is the rehearsal on what the ledger makes, where another one was needed. It knows the schema before each
    /// migration: a down that is proven there, and changes the same on a copy of live, gives back what was there and leaves what
    /// others have changed since.
    fn new(rehearsal: Rehearsal, level: Level, replayed: Option<Rehearsal>) -> Self {
        let (mut notes, mut reasons) = (Vec::new(), Vec::new());
        for (number, step) in rehearsal.steps.iter().enumerate() {
            notes.extend(step.notes.iter().map(|note| format!("{}: {note}", step.version)));
            let other = replayed.as_ref().map(|replayed| replayed.steps.get(number));
            let why = match other {
                _ if !step.verdict.is_proven() => Some(story(step)),
                None if level == Level::Logical || step.unchecked.is_empty() => None,
                None => Some(step.unchecked.join("; ")),
                Some(None) => Some("it could not be rehearsed on what the ledger makes".to_owned()),
                Some(Some(other)) if !other.verdict.is_proven() => {
                    Some(format!("on what the ledger makes, {}", story(other)))
                }
                Some(Some(other)) => unlike(step, other, level),
            };
            reasons.extend(why.map(|why| format!("{}: {why}", step.version)));
        }
        if let (Some(replayed), false) = (&replayed, rehearsal.steps.is_empty()) {
            let count = replayed.drift.len();
            notes.push(format!(
                "the live schema holds {count} things that no migration made or that were changed since; it was rehearsed on a copy"
            ));
        }
        if rehearsal.steps.is_empty() {
            reasons.push("nothing could be rehearsed".to_owned());
        }
        let unproven = (!reasons.is_empty()).then(|| reasons.join("; "));
        Self { rehearsal, level, unproven, notes }
    }
}

/// Where two rehearsals of one step have changed different things.
fn unlike(copied: &Rehearsed, replayed: &Rehearsed, level: Level) -> Option<String> {
    let (Some(copied), Some(replayed)) = (change(copied, level), change(replayed, level)) else {
        return Some("the two rehearsals cannot be compared".to_owned());
    };
    let more = copied.differences.iter().filter(|one| !replayed.differences.contains(one));
    let texts: Vec<String> = more.take(5).map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| format!("on a copy of the live schema it also changes: {}", texts.join("; ")))
}

/// Why a step is not proven.
fn story(step: &Rehearsed) -> String {
    let word = serde_json::to_value(step.verdict).ok();
    let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or("unproven").to_owned();
    let differences =
        step.residue.iter().chain(&step.again).chain(&step.never_applied).take(5).map(ToString::to_string);
    let what: Vec<String> = step.failure.iter().cloned().chain(differences).collect();
    if what.is_empty() { word } else { format!("{word} ({})", what.join("; ")) }
}

fn change(step: &Rehearsed, level: Level) -> Option<Change> {
    let (before, after) = (step.before.as_ref()?.portable(), step.after.as_ref()?.portable());
    Some(Change { differences: diff(&before, &after, level).ok()?, level })
}

fn proof(step: &Rehearsed, level: Level) -> String {
    let hash = |fingerprint: &Option<Fingerprint>| fingerprint.as_ref().map(|schema| schema.portable().hash(level));
    serde_json::json!({
        "verdict": step.verdict,
        "on": if level == Level::Logical { "replay" } else { "copy" },
        "before": hash(&step.before),
        "after": hash(&step.after),
        "server": step.after.as_ref().map(|schema| schema.server),
        "format": step.after.as_ref().map(|schema| schema.format),
    })
    .to_string()
}

/// The step for one migration, and what the operator should know of where its down comes from.
fn undo(
    set: &Set,
    entry: &Recorded,
    texts: &Texts,
    wanted: Option<DownSource>,
) -> Result<(Undo, Option<String>), Error> {
    let label = format!("{}_{}", entry.version, entry.name);
    let file = set.find(&entry.version);
    let in_folder = file.and_then(|migration| migration.down.as_ref());
    let down = choose_down(in_folder, texts.down.as_ref(), wanted).map_err(|error| match error {
        NoDown::Differ => Error::DownDiffers {
            migration: label.clone(),
            diff: text_diff(texts.down.as_ref().map_or("", Script::text), in_folder.map_or("", Script::text)),
        },
        NoDown::Missing => no_down(&label, "it has none, neither in the folder nor on the ledger"),
        NoDown::Empty => no_down(&label, "its down holds no statement"),
        NoDown::Broken(error) => no_down(&label, &format!("its down cannot be run: {error}")),
        NoDown::NotThere(DownSource::File) => no_down(&label, "the folder has no down for it"),
        NoDown::NotThere(DownSource::Ledger) => no_down(&label, "the ledger has no down for it"),
    })?;
    let note = file.is_none().then(|| format!("{label} is not among the files: its down is the ledger's"));
    let migration = Migration {
        version: entry.version.clone(),
        name: entry.name.clone(),
        up: texts.up.clone(),
        down: Some(down.clone()),
    };
    let undo = Undo { migration, run_id: entry.run_id.clone(), down: down.clone(), expected: None, proof: None };
    Ok((undo, note))
}

fn no_down(label: &str, why: &str) -> Error {
    Error::NoDown { migration: label.to_owned(), why: why.to_owned() }
}
