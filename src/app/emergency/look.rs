//! What the sources of a flag hold before an emergency, each bounded in time; one that is down is noted and left.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::app::{App, Source};
use crate::domain::flags::{Flag, FlagKey};
use crate::domain::incident::Held;
use crate::domain::incident::document::Names;
use crate::error::{Error, nearest};
use crate::store::env_file::EnvFlags;
use crate::store::hub::HubFlags;
use crate::store::postgres::PostgresFlags;
use crate::store::rollout::RunStore;
use crate::store::{Depth, FlagStore, StoreError, Variant};

/// How long one source may take to be looked at (rollout.md 7, step 0), and a little for a hub of which one process hangs.
const PATIENCE: Duration = Duration::from_millis(3500);

/// The sources as they could be opened.
pub(super) struct Sources {
    pub(super) hub: Option<HubFlags>,
    pub(super) db: Option<Result<PostgresFlags, String>>,
    pub(super) env: Option<EnvFlags>,
    /// Where rollouts keep their lease.
    pub(super) runs: Result<Arc<dyn RunStore>, String>,
}

/// What one source holds.
pub(super) struct Look {
    pub(super) source: Source,
    pub(super) states: Result<Vec<Variant>, StoreError>,
    pub(super) unreachable: Vec<String>,
}

/// What all of them hold.
pub(super) struct Found(pub(super) Vec<Look>);

impl Sources {
    /// Open what is configured; a database that cannot even be opened is down.
    pub(super) async fn open(app: &App) -> Result<Self, Error> {
        let configured = app.configured();
        if configured.is_empty() {
            return Err(Error::NoSource);
        }
        // Opened once: a program that has to be asked for the password may be slow, or hang.
        let database = match configured.contains(&Source::Db) {
            true => Some(app.target_in_emergency().await.map_err(|error| error.to_string())),
            false => None,
        };
        let runs = database.clone().transpose();
        let runs = runs.and_then(|target| app.run_store_in(target).map_err(|error| error.to_string()));
        let db = database.map(|target| target.map(PostgresFlags::new));
        let hub = configured.contains(&Source::Hub).then(|| app.hub_in_emergency()).transpose()?;
        let env = configured.contains(&Source::Env).then(|| app.env_file()).transpose()?;
        Ok(Self { hub, db, env, runs })
    }

    /// Whether any of them survives a restart.
    pub(super) fn keeps(&self) -> bool {
        self.db.is_some() || self.env.is_some()
    }

    /// Look at all of them at once.
    pub(super) async fn look(&self) -> Found {
        let hub = async {
            match &self.hub {
                Some(hub) => Some(look(hub).await),
                None => None,
            }
        };
        let (hub, mut kept) = tokio::join!(hub, self.look_kept());
        kept.0.splice(0..0, hub);
        kept
    }

    /// Look at those that survive a restart.
    pub(super) async fn look_kept(&self) -> Found {
        let db = async {
            match &self.db {
                Some(Ok(db)) => Some(look(db).await),
                Some(Err(why)) => Some(Look {
                    source: Source::Db,
                    states: Err(StoreError::Unreachable(why.clone())),
                    unreachable: Vec::new(),
                }),
                None => None,
            }
        };
        let env = async {
            match &self.env {
                Some(env) => Some(look(env).await),
                None => None,
            }
        };
        let (db, env) = tokio::join!(db, env);
        Found([db, env].into_iter().flatten().collect())
    }
}

async fn look(store: &dyn FlagStore) -> Look {
    let source = store.source();
    match timeout(PATIENCE, store.survey(Depth::Glance)).await {
        Ok(Ok(survey)) => Look { source, states: Ok(survey.variants), unreachable: survey.unreachable },
        Ok(Err(error)) => Look { source, states: Err(error), unreachable: Vec::new() },
        Err(_) => {
            let error = StoreError::Unreachable(format!("no answer within {PATIENCE:?}"));
            Look { source, states: Err(error), unreachable: Vec::new() }
        }
    }
}

impl Found {
    /// Refuse a name that nobody knows, before anything is written anywhere.
    pub(super) fn must_know(&self, key: &FlagKey) -> Result<(), Error> {
        if self.flags(key).next().is_some() {
            return Ok(());
        }
        let failures: Vec<&StoreError> = self.0.iter().filter_map(|look| look.states.as_ref().err()).collect();
        let silent = self.silent();
        if silent.is_empty() {
            let known: Vec<String> = self.names();
            let source_word = self.0.first().map_or(Source::Hub, |look| look.source);
            return Err(Error::FlagNotFound { source_word, key: key.clone(), nearest: nearest(key.as_str(), &known) });
        }
        let unreachable = failures.is_empty()
            || failures.iter().any(|error| matches!(error, StoreError::Unreachable(_) | StoreError::RateLimited(_)));
        if !unreachable
            && failures.len() == self.0.len()
            && let Some(look) = self.0.iter().find(|look| look.states.is_err())
            && let Err(error) = &look.states
        {
            return Err(Error::Refused { message: error.to_string(), hint: "llmhub doctor".to_owned() });
        }
        let known = if failures.len() == self.0.len() { "" } else { "no source that answers knows the flag; " };
        Err(StoreError::Unreachable(format!("{known}{}; nothing was written", silent.join("; "))).into())
    }

    /// Whether the hub answers and only its list is kept from us.
    pub(super) fn hub_is_limited(&self) -> bool {
        let limited = |look: &Look| matches!(look.states, Err(StoreError::RateLimited(_)));
        self.0.iter().any(|look| look.source == Source::Hub && limited(look))
    }

    fn flags<'f>(&'f self, key: &'f FlagKey) -> impl Iterator<Item = &'f Flag> {
        let states = self.0.iter().filter_map(|look| look.states.as_ref().ok()).flatten();
        states.flat_map(|state| &state.flags).filter(move |flag| flag.key == *key)
    }

    fn names(&self) -> Vec<String> {
        let states = self.0.iter().filter_map(|look| look.states.as_ref().ok()).flatten();
        let mut names: Vec<String> =
            states.flat_map(|state| &state.flags).map(|flag| flag.key.as_str().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// A white-listed user whom the hub can be asked about: a slash cannot stand in the path.
    pub(super) fn listed_user(&self, key: &FlagKey) -> Option<String> {
        let plain = |user: &&String| !user.is_empty() && !user.contains('/');
        self.flags(key).flat_map(|flag| flag.white()).find(plain).cloned()
    }

    /// The states, for the report.
    pub(super) fn held(&self, key: &FlagKey, names: Names) -> Vec<Held> {
        let looks = self.0.iter().filter_map(|look| Some((look.source, look.states.as_ref().ok()?)));
        looks.flat_map(|(source, states)| held(source, states, key, names)).collect()
    }

    /// What does not answer, with the reason.
    pub(super) fn silent(&self) -> Vec<String> {
        let failed = |look: &Look| look.states.as_ref().err().map(|error| format!("{}: {error}", look.source));
        self.0.iter().flat_map(|look| failed(look).into_iter().chain(look.unreachable.iter().cloned())).collect()
    }
}

/// The distinct states of one flag; those that differ only in other flags are one.
pub(super) fn held(source: Source, states: &[Variant], key: &FlagKey, names: Names) -> Vec<Held> {
    let mut distinct: Vec<(&Flag, Vec<String>, u32)> = Vec::new();
    for state in states {
        let Some(flag) = state.flags.iter().find(|flag| flag.key == *key) else { continue };
        match distinct.iter_mut().find(|(known, ..)| *known == flag) {
            Some((_, places, reads)) => {
                places.extend(
                    state.addresses.iter().filter(|place| !places.contains(place)).cloned().collect::<Vec<_>>(),
                );
                *reads += state.reads;
            }
            None => distinct.push((flag, state.addresses.clone(), state.reads)),
        }
    }
    distinct.into_iter().map(|(flag, places, reads)| Held::new(source.word(), places, reads, flag, names)).collect()
}
