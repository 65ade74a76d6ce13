//! The steps of a rotation, done: each may be run again, and a run that died is taken up where the journal says.

use secrecy::ExposeSecret;

use super::{HubWord, RotationPlan, RotationState};
use crate::app::App;
use crate::domain::fernet::MasterKey;
use crate::domain::keys::rotation::{Renewal, Rotor, Step, Treatment, Wish};
use crate::error::{Error, Stage};
use crate::store::StoreError;
use crate::store::postgres::rotation::{Fingerprints, Outset, TokenPlace};

/// What a run has done.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The journal's number.
    pub rotation: Option<i64>,
    /// How far it is.
    pub state: RotationState,
    /// Rows that were written.
    pub rows: u64,
    /// What the hub's processes showed; `None` where the run did not come so far.
    pub hub: Option<HubWord>,
}

impl App {
    /// Do the steps of a plan.
    ///
    /// # Errors
    /// [`Error::Refused`] for an obstacle, [`Error::Store`]: a conflict where the journal has moved since.
    pub async fn rotate(&self, plan: &RotationPlan, reason: Option<&str>) -> Result<Rotated, Error> {
        if let Some((message, hint)) = plan.obstacle() {
            return Err(Error::Refused { message, hint });
        }
        let lock = plan.rotations.lock().await?;
        let now = plan.rotations.journal().await?.open.map(|open| (open.id, open.phase));
        if now != plan.open.as_ref().map(|open| (open.id, open.phase)) {
            return Err(Error::Store(StoreError::Conflict(
                "somebody else has gone on with the rotation meanwhile; nothing was written, run it again".to_owned(),
            )));
        }
        self.stage(Stage::Writing("db".to_owned()));
        let confirmed: Vec<String> = plan.columns.iter().map(|column| column.column.clone()).collect();
        let rotation = plan.open.as_ref().map(|open| open.id);
        let mut done = Rotated { rotation, state: RotationState::Unchanged, rows: 0, hub: None };
        for step in plan.steps {
            done.state = self.rotation_step(plan, *step, &confirmed, reason, &mut done).await?;
            if done.hub.as_ref().is_some_and(|word| !word.allows_finish()) {
                break;
            }
        }
        self.stage(Stage::Written);
        lock.release().await;
        Ok(done)
    }

    async fn rotation_step(
        &self,
        plan: &RotationPlan,
        step: Step,
        confirmed: &[String],
        reason: Option<&str>,
        done: &mut Rotated,
    ) -> Result<RotationState, Error> {
        let rotations = &plan.rotations;
        let rotation = done.rotation.unwrap_or_default();
        let mut renew = |token: &str| random().map_or(Renewal::Unopened, |iv| plan.rotor.renew(token, iv));
        match step {
            Step::Apply => {
                let keys = Fingerprints { old: plan.old_key.clone(), new: plan.new_key.clone() };
                let outset = Outset { keys: &keys, reason, confirmed };
                let made = rotations.apply(&outset, &plan.places(Treatment::Rotate), &mut renew).await?;
                (done.rotation, done.rows) = (Some(made.rotation), made.rows);
                Ok(RotationState::Swapped)
            }
            Step::Swap => {
                rotations.intend_swap(rotation, plan.env_before).await?;
                if let Some(env) = &plan.env {
                    let wanted = plan.rotor.new_key().expose();
                    let expected = |there: Option<&str>| there.is_none_or(|text| known_text(&plan.rotor, text));
                    env.replace(&expected, Some(&wanted))?;
                }
                rotations.swapped(rotation).await?;
                Ok(RotationState::Swapped)
            }
            Step::Verify => {
                let made = rotations.sweep(rotation, confirmed, &plan.places(Treatment::Rotate), &mut renew).await?;
                done.rows += made.rows;
                Ok(RotationState::Swapped)
            }
            Step::Ask => {
                done.hub = Some(self.ask_processes(plan).await?);
                Ok(RotationState::Swapped)
            }
            Step::Finish => {
                rotations.close(rotation, Wish::Forward).await?;
                Ok(RotationState::Finished)
            }
            Step::Restore => {
                let old = old_key(plan)?;
                let mut revert = |token: &str| match (old, random()) {
                    (Some(old), Some(iv)) => plan.rotor.revert(old, token, iv),
                    (None, _) => Renewal::Keep,
                    (_, None) => Renewal::Unopened,
                };
                let places: Vec<TokenPlace> = plan.columns.iter().map(|column| column.place.clone()).collect();
                done.rows = rotations.restore(rotation, &places, &mut revert).await?.rows;
                Ok(RotationState::Aborted)
            }
            Step::SwapBack => {
                self.swap_back(plan)?;
                Ok(RotationState::Aborted)
            }
            Step::Close => {
                rotations.close(rotation, Wish::Back).await?;
                Ok(RotationState::Aborted)
            }
        }
    }

    /// Give the env file what it held before, if it was edited.
    fn swap_back(&self, plan: &RotationPlan) -> Result<(), Error> {
        let before = plan.open.as_ref().and_then(|open| open.env_before.as_deref());
        let (Some(env), Some(before)) = (&plan.env, before) else { return Ok(()) };
        let old = old_key(plan)?.filter(|_| before == "old").map(MasterKey::expose);
        let expected = |there: Option<&str>| there.is_none_or(|text| known_text(&plan.rotor, text));
        // The file may still hold the old key in another spelling than ours: then it was never edited.
        let there = env.read()?;
        let same = |text: &str| MasterKey::parse(text).ok().map(|key| key.expose()) == old;
        if there.as_ref().map_or(old.is_none(), |there| same(there.expose_secret())) {
            return Ok(());
        }
        Ok(env.replace(&expected, old.as_deref().map(String::as_str))?)
    }
}

/// The key before this rotation, from the ring.
fn old_key(plan: &RotationPlan) -> Result<Option<&MasterKey>, Error> {
    let Some(wanted) = plan.open.as_ref().and_then(|open| open.keys.old.as_deref()) else { return Ok(None) };
    plan.rotor.key(wanted).map(Some).ok_or_else(|| Error::Refused {
        message: format!(
            "the way back needs the old master key fp:{wanted}, which is not configured; nothing was written"
        ),
        hint: "give it in BYOK_ENCRYPTION_KEYS_OLD: llmhub profile show".to_owned(),
    })
}

/// Whether a text of the env file is a key of this rotation.
fn known_text(rotor: &Rotor, text: &str) -> bool {
    MasterKey::parse(text).is_ok_and(|key| key == *rotor.new_key() || rotor.key(&key.fingerprint()).is_some())
}

/// A fresh initialisation vector; without randomness nothing may be sealed.
fn random() -> Option<[u8; 16]> {
    let mut iv = [0; 16];
    getrandom::fill(&mut iv).ok().map(|()| iv)
}
