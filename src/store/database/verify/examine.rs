//! One migration: down where it was never applied, up, down, up again, and what each of them made of the schema.

use super::bench::{Bench, State, outside};
use super::{Deviation, Examined, Seen};
use crate::domain::migrations::{Checksum, Migration, Script};
use crate::domain::proof::{Proof, Verdict, given_back, harmed_unapplied, settle};
use crate::domain::schema::{Difference, Fingerprint, Level, diff};
use crate::store::StoreError;
use crate::store::database::stage::{Broken, Left};

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
                Some(differences) => {
                    found.deviates(Seen::NeverApplied, Verdict::Residue, harmed_unapplied(&differences));
                }
                None => found.unchecked.push(
                    "the down was not tried where the migration was never applied: it cannot be rolled back".to_owned(),
                ),
            }
        }
        if let Err(broken) = self.stage.play(&migration.up).await? {
            let state = if broken.left == Left::Nothing { State::Clean } else { State::Spoilt };
            found.fail(Verdict::UpFailed, broken.text);
            return Ok((found, state));
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
        let state = self.back_and_again(migration, down, (&past, with), &mut found).await?;
        Ok((found, state))
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
        found: &mut Examined,
    ) -> Result<State, StoreError> {
        if let Err(broken) = self.stage.play(down).await? {
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
        if let Err(broken) = self.stage.play(&migration.up).await? {
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

/// A down that failed leaves the schema with its up, unless parts of it stand.
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
