//! Rotating the master key: what it protects, and what would become of it. Nothing is written here.
//!
//! A plan goes on where the journal says that the last run ended; [`steps`] does it.

mod processes;
mod steps;

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use serde::Serialize;

use self::processes::HubAccess;
pub use self::processes::HubWord;
pub use self::steps::Rotated;
use super::App;
use crate::domain::fernet::MasterKey;
use crate::domain::keys::rotation::{Phase, Rotor, Step, Tally, Treatment, Window, Wish, steps};
use crate::error::Error;
use crate::store::env_file::EnvVariable;
use crate::store::postgres::rotation::{Journal, JsonHit, Open, Rotations, TokenColumn, TokenPlace};
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
    /// The sources that were named; the database alone leaves the hub unasked.
    pub via: Vec<Source>,
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
    hub: HubAccess,
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

    /// Whether this run asks the hub before it finishes.
    pub fn asks_hub(&self) -> bool {
        self.steps.contains(&Step::Ask) && matches!(self.hub, HubAccess::Ask(_))
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
            hub: self.hub_access(&wish.via),
        })
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

fn planned(rotor: &Rotor, column: TokenColumn) -> PlannedColumn {
    let mut tally = Tally::default();
    for (token, rows) in &column.tokens {
        tally.add(&rotor.standing(token), *rows);
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
