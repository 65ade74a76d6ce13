//! A test database: dropped, cloned from a template of the same migrations and seeds, and verified through a new connection.
//!
//! Two runs on one name take turns, and so do those that build templates; both wait for advisory locks. What a killed run
//! left half-made is under a name that nobody uses, and the next run drops it.

use crate::config::database_url::DatabaseUrl;
use crate::domain::migrations::{Recorded, Set};
use crate::domain::seeds::{Body, SeedSet};
use crate::domain::test_database::{TEMPLATE, TemplateKey, TestName, UNFINISHED};
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

use super::ledger;
use super::literal::{literal, quote};
use super::maintenance::{Grip, Listed, Maintenance, unfinished};
use super::run::Run;
use super::seed::present;
use super::template;

/// What a test database is made of.
pub struct Recipe<'a> {
    /// Its schema, oldest first.
    pub set: &'a Set,
    /// Its rows, in the order of their sets.
    pub seeds: &'a [SeedSet],
    /// Who makes it, and how long to wait for others.
    pub run: Run<'a>,
    /// Whether a template that fits is used.
    pub reuse: Reuse,
    /// Told what is done, step by step.
    pub on_step: &'a (dyn Fn(&str) + Send + Sync),
}

/// Whether a template that fits is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Yes.
    Template,
    /// No: it is made again.
    Nothing,
}

/// Where the content came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Migrated and seeded now.
    Built,
    /// Cloned from what an earlier run built.
    Template,
}

/// The database of the wanted name, before anything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It, if it is there.
    pub existing: Option<Existing>,
    /// Whether a template fits.
    pub origin: Origin,
}

/// A database that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The comment on it.
    pub comment: Option<String>,
}

/// A test database that is ready.
#[derive(Clone, Debug)]
pub struct Made {
    /// Where its content came from.
    pub origin: Origin,
    /// Its ledger.
    pub applied: Vec<Recorded>,
    /// The rows of each set that are in it; `None` for SQL, which cannot be counted.
    pub seeded: Vec<(String, Option<u64>)>,
}

/// How making one ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is ready.
    Made(Made),
    /// Another database than the agreed one stands there by now; nothing was done.
    Moved(Standing),
}

/// A server on which test databases are made.
pub struct TestServer {
    pub(super) maintenance: Maintenance,
    pub(super) url: DatabaseUrl,
}

impl TestServer {
    /// Connect to the server of `url`; the database that it names need not exist.
    ///
    /// # Errors
    /// As a connection; [`StoreError::Denied`] for a role that may not create databases.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        Ok(Self { maintenance: Maintenance::open(url).await?, url: url.clone() })
    }

    /// What stands under `name`. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Denied`] for a database of somebody else.
    pub async fn look(&mut self, name: &TestName, recipe: &Recipe<'_>) -> Result<Standing, StoreError> {
        Ok(self.survey(name, recipe).await?.0)
    }

    /// The same, and what runs that ended early left.
    async fn survey(&mut self, name: &TestName, recipe: &Recipe<'_>) -> Result<(Standing, Vec<String>), StoreError> {
        let key = self.key(recipe)?;
        let listed = self.maintenance.listed(Some(name.as_str())).await?;
        let unfinished = listed.iter().map(|listed| listed.name.clone()).filter(|name| name.starts_with(UNFINISHED));
        let unfinished: Vec<String> = unfinished.collect();
        let origin = match recipe.reuse {
            Reuse::Template if is_ready(&listed, &key) => Origin::Template,
            _ => Origin::Built,
        };
        let existing = listed.into_iter().find(|listed| listed.name == name.as_str());
        if existing.as_ref().is_some_and(|existing| !existing.owned) {
            return Err(StoreError::Denied(format!(
                "the database `{name}` belongs to another role, so `{}` cannot drop it; nothing was done",
                self.maintenance.role()
            )));
        }
        Ok((Standing { existing: existing.map(|listed| Existing { comment: listed.comment }), origin }, unfinished))
    }

    /// Make the database, over the one that `agreed` speaks of and over nothing else.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another run does not end in time; what `apply` and `seed` say of the recipe, with the
    /// old database untouched; [`StoreError::OutcomeUnknown`] when the server went away in the middle, where running it again
    /// is the cure.
    pub async fn make(
        &mut self,
        name: &TestName,
        recipe: &Recipe<'_>,
        agreed: &Standing,
    ) -> Result<Outcome, StoreError> {
        let key = self.key(recipe)?;
        self.lock(name.as_str(), Grip::Exclusive, recipe).await?;
        let (standing, left) = self.survey(name, recipe).await?;
        if standing.existing.is_some() && standing.existing != agreed.existing {
            // Somebody is asked about it now, and others must not wait for the answer.
            self.maintenance.unlock(name.as_str(), Grip::Exclusive).await?;
            return Ok(Outcome::Moved(standing));
        }
        for left in left {
            // One that is still at work holds the lock of its name.
            if self.maintenance.try_lock(&left, Grip::Exclusive).await? {
                self.maintenance.run(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(&left))).await?;
            }
        }
        let origin = self.obtain_template(&key, recipe).await?;
        if standing.existing.is_some() {
            self.maintenance.run(format!("DROP DATABASE {} WITH (FORCE)", quote(name.as_str()))).await?;
            (recipe.on_step)("dropped the old database");
        }
        self.clone_template(name, &key, recipe).await?;
        (recipe.on_step)(&format!("cloned the template to {name}"));
        let (applied, seeded) = verify(&self.url.with_database(name.as_str()), recipe).await?;
        (recipe.on_step)("verified through a new connection");
        Ok(Outcome::Made(Made { origin, applied, seeded }))
    }

    /// Say goodbye, which frees the locks.
    pub async fn close(self) {
        self.maintenance.close().await;
    }

    /// See to it that the template is there, and hold the lock that keeps it there.
    async fn obtain_template(&mut self, key: &TemplateKey, recipe: &Recipe<'_>) -> Result<Origin, StoreError> {
        if recipe.reuse == Reuse::Template {
            self.lock(TEMPLATE, Grip::Shared, recipe).await?;
            if self.has_template(key).await? {
                return Ok(Origin::Template);
            }
            self.maintenance.unlock(TEMPLATE, Grip::Shared).await?;
        }
        self.lock(TEMPLATE, Grip::Exclusive, recipe).await?;
        // Whoever had the lock before us may have built what we want.
        if recipe.reuse == Reuse::Template && self.has_template(key).await? {
            return Ok(Origin::Template);
        }
        template::build(self, key, recipe).await?;
        Ok(Origin::Built)
    }

    /// Clone under an unused name, mark it, then give it its name: a database of ours is never seen without its mark.
    async fn clone_template(
        &mut self,
        name: &TestName,
        key: &TemplateKey,
        recipe: &Recipe<'_>,
    ) -> Result<(), StoreError> {
        let unfinished = unfinished()?;
        self.lock(&unfinished, Grip::Exclusive, recipe).await?;
        let (new, template) = (quote(&unfinished), quote(&key.database()));
        self.maintenance
            .run(format!("CREATE DATABASE {new} TEMPLATE {template}{}", self.maintenance.strategy()))
            .await?;
        self.maintenance.run(format!("COMMENT ON DATABASE {new} IS {}", literal(&name.mark()))).await?;
        self.maintenance.run(format!("ALTER DATABASE {new} RENAME TO {}", quote(name.as_str()))).await
    }

    /// Wait for a lock as long as the recipe allows.
    pub(super) async fn lock(&mut self, what: &str, grip: Grip, recipe: &Recipe<'_>) -> Result<(), StoreError> {
        self.maintenance.lock(what, grip, recipe.run.patience, recipe.on_step).await
    }

    fn key(&self, recipe: &Recipe<'_>) -> Result<TemplateKey, StoreError> {
        TemplateKey::of(recipe.set.migrations(), recipe.seeds, self.maintenance.version(), self.maintenance.role())
            .map_err(StoreError::Refused)
    }

    async fn has_template(&mut self, key: &TemplateKey) -> Result<bool, StoreError> {
        Ok(is_ready(&self.maintenance.list_own().await?, key))
    }
}

fn is_ready(listed: &[Listed], key: &TemplateKey) -> bool {
    listed.iter().any(|listed| {
        listed.name == key.database() && !listed.connections && listed.comment.as_deref() == Some(key.mark().as_str())
    })
}

/// Look at the finished database through a connection of its own: its whole ledger, and every row of every set.
pub(super) async fn verify(
    url: &DatabaseUrl,
    recipe: &Recipe<'_>,
) -> Result<(Vec<Recorded>, Vec<(String, Option<u64>)>), StoreError> {
    let mut session = Session::open(&Target::Url(url.clone())).await?;
    session.begin_read(Pace::Quick).await?;
    let ledger = ledger::read(&mut session).await?.recorded;
    let same = ledger.len() == recipe.set.migrations().len()
        && ledger.iter().zip(recipe.set.migrations()).all(|(entry, migration)| entry.version == migration.version);
    if !same {
        return Err(StoreError::Invalid(format!("{url} does not have the migrations that it was made of")));
    }
    let mut seeded = Vec::with_capacity(recipe.seeds.len());
    for set in recipe.seeds {
        let rows = match set.body() {
            Body::Sql(_) => None,
            Body::Rows(rows) => {
                let found = present(&mut session, rows).await?;
                if found != rows.len() as u64 {
                    return Err(StoreError::Refused(format!(
                        "the seed set `{}` has {} rows and {found} of them are in the new database: a migration, another set \
                         or a trigger stands against the rest",
                        set.name(),
                        rows.len()
                    )));
                }
                Some(found)
            }
        };
        seeded.push((set.name().to_owned(), rows));
    }
    session.abandon().await;
    Ok((ledger, seeded))
}
