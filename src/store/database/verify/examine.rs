//! One migration: down where it was never applied, up, down, up again, and what each of them made of the schema.

use super::bench::{Bench, State, outside};
use super::watched::Watched;
use super::{Deviation, Examined, Seen};
use crate::domain::migrations::{Checksum, Migration, Script};
use crate::domain::proof::{Proof, Verdict, given_back, harmed_unapplied, settle};
use crate::domain::schema::{Difference, Fingerprint, Kind, Level, diff};
use crate::store::StoreError;
use crate::store::database::stage::{Broken, Left, Tried};

impl Examined {
    fn new(migration: &Migration) -> Self {
        Self {
            version: migration.version.to_string(),
            name: migration.name.clone(),
            verdict: Verdict::Reversible,
            differences: Vec::new(),
            failure: None,
            notes: Vec::new(),
            unchecked: Vec::new(),
            lacks: false,
            proof: None,
        }
    }

    fn fail(&mut self, verdict: Verdict, why: String) {
        self.verdict.worsen(verdict);
        self.failure.get_or_insert(why);
    }

    fn deviates<'d>(&mut self, at: Seen, verdict: Verdict, differences: impl IntoIterator<Item = &'d Difference>) {
        for difference in differences {
            self.verdict.worsen(verdict);
            let (kind, name) = difference.object();
            let (object, text) = (format!("{kind} {name}"), difference.to_string());
            self.differences.push(Deviation { at, object, text });
        }
    }
}

/// What can be undone at all.
enum Down<'m> {
    Script(&'m Script),
    None(Verdict, String),
}

impl<'m> Down<'m> {
    fn of(migration: &'m Migration) -> Self {
        let Some(down) = &migration.down else {
            return Self::None(Verdict::Irreversible, "it has no down".to_owned());
        };
        match down.phases() {
            Err(error) => Self::None(Verdict::DownFailed, error.to_string()),
            Ok(phases) if phases.statements().next().is_none() => {
                Self::None(Verdict::DownEmpty, format!("{} has no statement", down.file()))
            }
            Ok(_) => match outside(down) {
                Some(why) => Self::None(Verdict::DownFailed, why),
                None => Self::Script(down),
            },
        }
    }
}

impl Bench<'_> {
    /// Examine the next migration. What it leaves is the state for the one after it.
    pub(super) async fn examine(&mut self, migration: &Migration) -> Result<(Examined, State), StoreError> {
        let mut found = Examined::new(migration);
        if let Some(why) = outside(&migration.up) {
            found.fail(Verdict::UpFailed, why);
            return Ok((found, State::Clean));
        }
        let down = Down::of(migration);
        let past = self.schema.clone();
        if let Down::Script(down) = down {
            match self.stage.try_down(down, &past).await? {
                Tried::Changed(differences) => {
                    found.deviates(Seen::NeverApplied, Verdict::Residue, harmed_unapplied(&differences));
                }
                Tried::NotInATransaction => found.unchecked.push(
                    "the down was not tried where the migration was never applied: it cannot be rolled back".to_owned(),
                ),
                Tried::Died(broken) => {
                    found.fail(Verdict::DownFailed, broken.text);
                    return Ok((found, State::Spoilt));
                }
            }
        }
        let mut watched = match &down {
            Down::Script(down) if !(down.leaves_rows_alone() && has_no_event_trigger(&past)) => {
                self.watch(&mut found).await?
            }
            _ => None,
        };
        let (played, in_the_way) = self.play_up(migration).await?;
        if let Err(broken) = played {
            let state = state_after(&broken);
            found.lacks = broken.is_about_something_missing();
            found.fail(Verdict::UpFailed, broken.text);
            return Ok((found, state));
        }
        if let Some(text) = in_the_way {
            found.notes.push(format!("its up runs only where no rows are in the way: {text}"));
            watched = None;
        }
        let with = self.look_after(&mut found, &past).await?;
        let down = match down {
            Down::Script(down) => down,
            Down::None(verdict, why) => {
                found.fail(verdict, why);
                self.schema = with;
                return Ok((found, State::Clean));
            }
        };
        let state = self.back_and_again(migration, down, (&past, with), (watched, &mut found)).await?;
        Ok((found, state))
    }

    /// Play the up; where rows are in its way, again without those of ours. Also what was in the way then.
    async fn play_up(&mut self, migration: &Migration) -> Result<(Result<(), Broken>, Option<String>), StoreError> {
        match self.stage.play(&migration.up).await? {
            Err(broken) if broken.is_about_rows() && broken.left == Left::Nothing => {
                self.forget_rows().await?;
                let again = self.stage.play(&migration.up).await?;
                Ok((again, Some(broken.text)))
            }
            played => Ok((played, None)),
        }
    }

    /// Play the down on a schema where others have written; where their rows are in its way, again without them.
    async fn play_down(
        &mut self,
        down: &Script,
        mut watched: Option<Watched>,
        found: &mut Examined,
    ) -> Result<(Result<(), Broken>, Option<Watched>), StoreError> {
        watched = self.write_since(watched, found).await?;
        match self.stage.play(down).await? {
            Err(broken) if broken.is_about_rows() && broken.left == Left::Nothing && watched.is_some() => {
                watched = self.unwrite(watched, found).await?;
                let again = self.stage.play(down).await?;
                if again.is_ok() {
                    found.notes.push(format!(
                        "rows that are written after the up can be in the way of its down: {}",
                        broken.text
                    ));
                }
                Ok((again, watched))
            }
            played => Ok((played, watched)),
        }
    }

    async fn look_after(&mut self, found: &mut Examined, past: &Fingerprint) -> Result<Fingerprint, StoreError> {
        let with = self.stage.look().await?;
        if compare(past, &with, Level::Exact)?.is_empty() {
            found.notes.push("its up changes nothing in the schema".to_owned());
        }
        Ok(with)
    }

    /// From the schema with the migration to the one without it, and forth again.
    async fn back_and_again(
        &mut self,
        migration: &Migration,
        down: &Script,
        (past, with): (&Fingerprint, Fingerprint),
        (watched, found): (Option<Watched>, &mut Examined),
    ) -> Result<State, StoreError> {
        let (played, watched) = self.play_down(down, watched, found).await?;
        if let Err(broken) = played {
            let state = state_after(&broken);
            found.fail(Verdict::DownFailed, broken.text);
            self.schema = with;
            return Ok(state);
        }
        let after = self.stage.look().await?;
        let back = given_back(past, &after, Level::Logical).map_err(|error| StoreError::Invalid(error.to_string()))?;
        found.deviates(Seen::AfterDown, Verdict::Residue, &back.residue);
        found.notes.extend(back.stays.iter().map(|stays| format!("{stays}, and stays after the down")));
        if back.reordered {
            found.verdict.worsen(Verdict::ReversibleExceptColumnOrder);
        }
        self.judge_rows(watched, found).await?;
        if let (Err(broken), _) = self.play_up(migration).await? {
            found.fail(Verdict::Residue, format!("after the down it cannot be applied again: {}", broken.text));
            return Ok(State::Spoilt);
        }
        let again = self.stage.look().await?;
        let settled = settle(compare(&with, &again, Level::Logical)?);
        found.deviates(Seen::Again, Verdict::Residue, &settled.real);
        for (kind, name) in &settled.volatile {
            found.notes.push(format!("{kind} {name} depends on the clock or on chance: it was not compared"));
        }
        let state = if settled.real.is_empty() { State::Clean } else { State::Spoilt };
        found.proof = proof(migration, down, found.verdict, (past, &with));
        self.schema = again;
        Ok(state)
    }
}

/// Without one, what a statement says is what it does.
fn has_no_event_trigger(schema: &Fingerprint) -> bool {
    schema.objects.iter().all(|object| object.kind != Kind::EventTrigger)
}

/// A script that failed leaves the schema as it was, unless parts of it stand.
fn state_after(broken: &Broken) -> State {
    if broken.left == Left::Nothing { State::Clean } else { State::Spoilt }
}

fn compare(before: &Fingerprint, after: &Fingerprint, level: Level) -> Result<Vec<Difference>, StoreError> {
    diff(before, after, level).map_err(|error| StoreError::Invalid(error.to_string()))
}

/// What is kept of a verdict.
fn proof(
    migration: &Migration,
    down: &Script,
    verdict: Verdict,
    schemas: (&Fingerprint, &Fingerprint),
) -> Option<Proof> {
    let hash = |schema: &Fingerprint| schema.portable().hash(Level::LogicalWithoutOwners);
    let sum = |script: &Script| script.checksum().ok().map(|sum: Checksum| sum.as_str().to_owned());
    let (before, with) = schemas;
    verdict.is_proven().then_some(())?;
    Some(Proof {
        version: migration.version.to_string(),
        up_checksum: sum(&migration.up)?,
        down_checksum: sum(down)?,
        verdict,
        before: hash(before),
        with: hash(with),
        server: with.server,
        format: with.format,
    })
}
