//! Rotating the master key: what it protects, what would become of it, and the steps, each of which may be run again.
//!
//! The plan writes nothing. A run goes on where the journal says that the last one ended, after a second look under the lock.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde::Serialize;

use super::App;
use crate::domain::fernet::MasterKey;
use crate::domain::keys::rotation::{Phase, Renewal, Rotor, Standing, Step, Tally, Treatment, Window, Wish, steps};
use crate::error::{Error, Stage};
use crate::store::env_file::EnvVariable;
use crate::store::postgres::rotation::{
    Fingerprints, Journal, JsonHit, Open, Outset, Rotations, TokenColumn, TokenPlace,
};
use crate::store::{Source, StoreError};

/// The hub's own variable for its master key.
const VARIABLE: &str = "BYOK_ENCRYPTION_KEY";

/// What shall be done.
#[derive(Clone, Debug)]
pub struct RotationWish {
    /// The variable that holds the new key.
    pub new_key_env: String,
    /// Which way.
    pub wish: Wish,
    /// Whether columns that were not there when the list was confirmed are taken too.
    pub new_columns: NewColumns,
}

/// What to do about columns that hold tokens and were never confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewColumns {
    /// They stop the rotation.
    Stop,
    /// They are confirmed with the others.
    Take,
}

/// A column as the plan sees it.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedColumn {
    /// `schema.table.column`.
    pub column: String,
    /// Rows that hold a token.
    pub rows: u64,
    /// The rows by the key that opens them.
    pub opened_by: BTreeMap<String, u64>,
    /// What becomes of it.
    pub treatment: Treatment,
    /// Whether nobody has confirmed it yet, although others were.
    pub unconfirmed: bool,
    #[serde(skip)]
    place: TokenPlace,
    #[serde(skip)]
    due: u64,
}

/// What a run would do.
pub struct RotationPlan {
    /// Every column with tokens.
    pub columns: Vec<PlannedColumn>,
    /// Tokens inside JSON, which are listed only.
    pub json: Vec<JsonHit>,
    /// The steps of this run, in order.
    pub steps: &'static [Step],
    /// How far the rotation is.
    pub phase: Phase,
    /// The new key's fingerprint.
    pub new_key: String,
    /// The fingerprint of the key before, if the hub has another.
    pub old_key: Option<String>,
    /// What the operator should know of the ring.
    pub notes: Vec<String>,
    wish: Wish,
    rotor: Rotor,
    open: Option<Open>,
    env: Option<EnvVariable>,
    env_before: Option<&'static str>,
    rotations: Rotations,
}

/// How far it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationState {
    /// There was nothing to do.
    Unchanged,
    /// Nothing was written.
    Planned,
    /// The rows are under the new key, and the hub has to be recreated.
    Swapped,
    /// It is over.
    Finished,
    /// Everything is as before.
    Aborted,
}

/// What a run has done.
#[derive(Clone, Copy, Debug)]
pub struct Rotated {
    /// The journal's number.
    pub rotation: Option<i64>,
    /// How far it is.
    pub state: RotationState,
    /// Rows that were written.
    pub rows: u64,
}

impl RotationPlan {
    /// Rows that no key opens, in columns of which others open.
    pub fn blocked(&self) -> Vec<&PlannedColumn> {
        self.columns.iter().filter(|column| column.treatment == Treatment::Blocked).collect()
    }

    /// Rows that come under the new key.
    pub fn due(&self) -> u64 {
        self.columns.iter().map(|column| column.due).sum()
    }

    /// Why the run must not begin, if it must not.
    pub fn obstacle(&self) -> Option<(String, String)> {
        if self.wish == Wish::Back {
            return None;
        }
        if let Some(column) = self.blocked().first() {
            let none = column.opened_by.get("none").copied().unwrap_or_default();
            return Some((
                format!(
                    "{} of {} rows of {} open with no known master key: the rotation takes all rows or none; nothing was written",
                    none, column.rows, column.column
                ),
                "give the key that sealed them in BYOK_ENCRYPTION_KEYS_OLD, or clear them: llmhub keys remove"
                    .to_owned(),
            ));
        }
        if let Some(column) = self.columns.iter().find(|column| column.unconfirmed) {
            return Some((
                format!(
                    "{} holds tokens and was not there when the list of columns was confirmed; nothing was written",
                    column.column
                ),
                "look at it, then add --new-columns".to_owned(),
            ));
        }
        let any = |wanted: Treatment| self.columns.iter().any(|column| column.treatment == wanted);
        (any(Treatment::Untouched) && !any(Treatment::Rotate)).then(|| {
            (
                "no stored token opens with any known master key: this is not the hub's key; nothing was written"
                    .to_owned(),
                "give the hub's own key in BYOK_ENCRYPTION_KEY: llmhub profile show".to_owned(),
            )
        })
    }

    /// Whether there is nothing to do.
    pub fn is_done(&self) -> bool {
        let sealed = self.columns.iter().any(|column| column.treatment == Treatment::Rotate);
        match self.wish {
            Wish::Back => self.steps.is_empty(),
            Wish::Forward => self.phase == Phase::Fresh && self.due() == 0 && (self.old_key.is_none() || sealed),
        }
    }

    /// The env file that is edited, if one is.
    pub fn env_file(&self) -> Option<String> {
        self.env.as_ref().map(|env| env.path().display().to_string())
    }

    fn places(&self, wanted: Treatment) -> Vec<TokenPlace> {
        let chosen = self.columns.iter().filter(|column| column.treatment == wanted);
        chosen.map(|column| column.place.clone()).collect()
    }
}

impl App {
    /// See that a database is meant.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where none is configured or another source was named.
    pub fn database_only(&self, via: &[Source], operation: &str) -> Result<(), Error> {
        self.only_database(via, operation)
    }

    /// The profile's command that recreates the hub, for messages: it is never run here.
    pub fn recreate_hook(&self) -> Option<&[String]> {
        self.config().hooks.recreate.as_ref().map(|words| words.value.as_slice())
    }

    /// Look at everything, and write nothing.
    ///
    /// # Errors
    /// [`Error::Usage`] for the new key, [`Error::Refused`] for another rotation that is under way, [`Error::Store`].
    pub async fn plan_rotation(&self, wish: &RotationWish) -> Result<RotationPlan, Error> {
        let rotor = self.rotor(&wish.new_key_env)?;
        let (user, host) = self.who();
        let rotations = Rotations::new(self.target().await?, format!("{user}@{host}"));
        rotations.require_direct().await?;
        let Journal { open, confirmed } = rotations.journal().await?;
        if let Some(open) = &open {
            same_keys(open, &rotor)?;
        }
        let env = self.config().env_file.as_ref().map(|path| EnvVariable::new(path.value.clone(), VARIABLE));
        let (hub_key, env_before) = self.hub_key(env.as_ref(), &rotor)?;
        let (phase, old_key) = match &open {
            Some(open) => (open.phase, open.keys.old.clone()),
            None => (Phase::Fresh, hub_key),
        };
        let window = if old_key.is_some() { Window::Recreate } else { Window::None };
        let Some(steps) = steps(phase, wish.wish, window) else {
            return Err(Error::Refused {
                message: "the rotation is being aborted, and there is no way forward from there; nothing was written"
                    .to_owned(),
                hint: format!("finish that first: llmhub keys rotate --new-key-env {} --abort", wish.new_key_env),
            });
        };
        let found = rotations.discover().await?;
        let known =
            |name: &String| confirmed.is_empty() || wish.new_columns == NewColumns::Take || confirmed.contains(name);
        let columns: Vec<PlannedColumn> = found
            .columns
            .into_iter()
            .map(|column| planned(&rotor, column))
            .map(|column| PlannedColumn { unconfirmed: !known(&column.column), ..column })
            .collect();
        Ok(RotationPlan {
            columns,
            json: found.json,
            steps,
            phase,
            new_key: rotor.new_key().fingerprint(),
            old_key,
            notes: self.key_ring().notes().map(str::to_owned).collect(),
            wish: wish.wish,
            rotor,
            open,
            env,
            env_before,
            rotations,
        })
    }

    /// Do the steps of a plan.
    ///
    /// # Errors
    /// [`Error::Refused`] for an obstacle, [`Error::Store`]: a conflict where the journal has moved since.
    pub async fn rotate(&self, plan: &RotationPlan, reason: Option<&str>) -> Result<Rotated, Error> {
        if let Some((message, hint)) = plan.obstacle() {
            return Err(Error::Refused { message, hint });
        }
        let _lock = plan.rotations.lock().await?;
        let now = plan.rotations.journal().await?.open.map(|open| (open.id, open.phase));
        if now != plan.open.as_ref().map(|open| (open.id, open.phase)) {
            return Err(Error::Store(StoreError::Conflict(
                "somebody else has gone on with the rotation meanwhile; nothing was written, run it again".to_owned(),
            )));
        }
        self.stage(Stage::Writing("db".to_owned()));
        let confirmed: Vec<String> = plan.columns.iter().map(|column| column.column.clone()).collect();
        let mut done =
            Rotated { rotation: plan.open.as_ref().map(|open| open.id), state: RotationState::Unchanged, rows: 0 };
        for step in plan.steps {
            done.state = self.rotation_step(plan, *step, &confirmed, reason, &mut done).await?;
        }
        self.stage(Stage::Written);
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

    /// The ring and the new key.
    fn rotor(&self, variable: &str) -> Result<Rotor, Error> {
        let Some(text) = self.environment().variable(variable)? else {
            return Err(Error::Usage {
                message: format!("the environment variable {variable} is not set, or is empty"),
                hint: format!("{variable}=\"$(openssl rand -base64 32 | tr +/ -_)\", exported in this shell"),
            });
        };
        self.ui.redact([text.trim()]);
        let new = MasterKey::parse(text).map_err(|fault| {
            Error::Store(StoreError::Credentials(format!("the new master key in {variable} cannot be used: {fault}")))
        })?;
        self.ui.redact([new.expose().as_str()]);
        let ring = self.key_ring().sealing()?;
        ring.keys().for_each(|(_, key)| self.ui.redact([key.expose().as_str()]));
        Ok(Rotor::new(ring, new))
    }

    /// The fingerprint of the hub's key, if it is another than the new one; and what the env file holds.
    fn hub_key(
        &self,
        env: Option<&EnvVariable>,
        rotor: &Rotor,
    ) -> Result<(Option<String>, Option<&'static str>), Error> {
        let by_ring = if rotor.is_current() { None } else { rotor.old_key().map(MasterKey::fingerprint) };
        let Some(env) = env else { return Ok((by_ring, None)) };
        let Some(text) = env.read()? else { return Ok((by_ring, Some("absent"))) };
        self.ui.redact([text.expose_secret().trim()]);
        let there = MasterKey::parse(text.expose_secret()).ok();
        match there {
            Some(key) if key == *rotor.new_key() => Ok((None, Some("old"))),
            Some(key) if rotor.key(&key.fingerprint()).is_some() => Ok((Some(key.fingerprint()), Some("old"))),
            _ => Err(Error::Refused {
                message: format!(
                    "{VARIABLE} in {} is neither the new master key nor one that is configured here; nothing was written",
                    env.path().display()
                ),
                hint: "give the hub's key in BYOK_ENCRYPTION_KEY, or the right file with --env-file".to_owned(),
            }),
        }
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

/// A rotation that is under way goes on with its own key.
fn same_keys(open: &Open, rotor: &Rotor) -> Result<(), Error> {
    let given = rotor.new_key().fingerprint();
    if open.keys.new == given {
        return Ok(());
    }
    Err(Error::Store(StoreError::Conflict(format!(
        "{} has begun a rotation to the master key fp:{}, and the one given is fp:{given}; nothing was written",
        open.actor, open.keys.new
    ))))
}

/// Whether a text of the env file is a key of this rotation.
fn known_text(rotor: &Rotor, text: &str) -> bool {
    MasterKey::parse(text).is_ok_and(|key| key == *rotor.new_key() || rotor.key(&key.fingerprint()).is_some())
}

fn planned(rotor: &Rotor, column: TokenColumn) -> PlannedColumn {
    let mut tally = Tally::default();
    for (token, rows) in &column.tokens {
        let standing: Standing = rotor.standing(token);
        tally.add(&standing, *rows);
    }
    PlannedColumn {
        column: column.place.name.clone(),
        rows: column.tokens.iter().map(|(_, rows)| rows).sum(),
        opened_by: tally.counts().clone(),
        treatment: tally.treatment(),
        unconfirmed: false,
        due: tally.due(),
        place: column.place,
    }
}

/// A fresh initialisation vector; without randomness nothing may be sealed.
fn random() -> Option<[u8; 16]> {
    let mut iv = [0; 16];
    getrandom::fill(&mut iv).ok().map(|()| iv)
}
