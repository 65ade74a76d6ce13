//! A test database: dropped, cloned from a template of the same migrations and seeds, and verified through a new connection.
//!
//! All of it runs on one connection to the server's maintenance database, which holds advisory locks for as long as it is
//! open: one per name, so that two runs take turns, and one for the templates. A killed run frees them, and what it left
//! half-made is under a name that nobody uses and the next run drops.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::Row;
use tokio::time::{Instant, sleep};

use crate::config::database_url::DatabaseUrl;
use crate::domain::migrations::Migration;
use crate::domain::seeds::{Body, SeedSet};
use crate::domain::test_database::{TEMPLATE, TemplateKey, TestName, UNFINISHED};
use crate::store::StoreError;
use crate::store::postgres::{Failure, Pace, Session, Target};

use super::ledger::{self, LedgerEntry};
use super::run::Run;
use super::seed::{present, quote};
use super::template;

/// What a test database is made of.
pub struct Recipe<'a> {
    /// Its schema, oldest first.
    pub migrations: &'a [Migration],
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
    pub applied: Vec<LedgerEntry>,
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

/// A connection to the maintenance database of a server.
pub struct TestServer {
    pub(super) session: Session,
    pub(super) url: DatabaseUrl,
    role: String,
    version: i32,
}

/// A database as the server lists it.
pub(super) struct Listed {
    pub(super) name: String,
    connections: bool,
    owned: bool,
    pub(super) comment: Option<String>,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grip {
    /// Nobody else has it.
    Exclusive,
    /// Others may have it in this way too.
    Shared,
}

impl TestServer {
    /// Connect to `postgres`, or to `template1` where that is not there or closed to this role.
    ///
    /// # Errors
    /// As a connection; [`StoreError::Denied`] for a role that may not create databases.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let connect = async |database: &str| {
            Session::open_as(&Target::Url(url.with_database(database)), "llmhub-db setup-test").await
        };
        let mut session = match connect("postgres").await {
            Err(StoreError::Denied(_)) => connect("template1").await?,
            Err(StoreError::Credentials(text)) if text.contains("(3D000)") => connect("template1").await?,
            other => other?,
        };
        let query = sqlx::query(
            "SELECT rolname::text AS role, current_setting('server_version_num')::int AS version, \
             rolsuper OR rolcreatedb AS creates FROM pg_catalog.pg_roles WHERE rolname = current_user",
        );
        let row = session.row(query).await?;
        let wrong = || StoreError::Invalid("the server does not know the role that is logged in".to_owned());
        let row = row.ok_or_else(wrong)?;
        let read = |row: &sqlx::postgres::PgRow| -> Result<(String, i32, bool), sqlx::Error> {
            Ok((row.try_get("role")?, row.try_get("version")?, row.try_get("creates")?))
        };
        let (role, version, creates) = read(&row).map_err(|_| wrong())?;
        if !creates {
            let place = session.place();
            return Err(StoreError::Denied(format!(
                "the role `{role}` may not create databases at {place}; nothing was done. A superuser allows it with \
                 ALTER ROLE … CREATEDB"
            )));
        }
        Ok(Self { session, url: url.clone(), role, version })
    }

    /// What stands under `name`. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Denied`] for a database of somebody else.
    pub async fn look(&mut self, name: &TestName, recipe: &Recipe<'_>) -> Result<Standing, StoreError> {
        let key = self.key(recipe)?;
        let listed = self.list(name).await?;
        let origin = match recipe.reuse {
            Reuse::Template if is_ready(&listed, &key) => Origin::Template,
            _ => Origin::Built,
        };
        let existing = listed.into_iter().find(|listed| listed.name == name.as_str());
        if existing.as_ref().is_some_and(|existing| !existing.owned) {
            return Err(StoreError::Denied(format!(
                "the database `{name}` belongs to another role, so `{}` cannot drop it; nothing was done",
                self.role
            )));
        }
        Ok(Standing { existing: existing.map(|listed| Existing { comment: listed.comment }), origin })
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
        let standing = self.look(name, recipe).await?;
        if standing.existing.is_some() && standing.existing != agreed.existing {
            // Somebody is asked about it now, and others must not wait for the answer.
            self.unlock(name.as_str(), Grip::Exclusive).await?;
            return Ok(Outcome::Moved(standing));
        }
        let origin = self.obtain_template(&key, recipe).await?;
        if standing.existing.is_some() {
            self.run(format!("DROP DATABASE {} WITH (FORCE)", quote(name.as_str()))).await?;
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
        self.session.close().await;
    }

    /// See to it that the template is there, and hold the lock that keeps it there.
    async fn obtain_template(&mut self, key: &TemplateKey, recipe: &Recipe<'_>) -> Result<Origin, StoreError> {
        if recipe.reuse == Reuse::Template {
            self.lock(TEMPLATE, Grip::Shared, recipe).await?;
            if self.has_template(key).await? {
                return Ok(Origin::Template);
            }
            self.unlock(TEMPLATE, Grip::Shared).await?;
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
        self.run(format!("CREATE DATABASE {new} TEMPLATE {template}{}", self.strategy())).await?;
        self.run(format!("COMMENT ON DATABASE {new} IS {}", literal(&name.mark()))).await?;
        self.run(format!("ALTER DATABASE {new} RENAME TO {}", quote(name.as_str()))).await
    }

    /// From 15 the server can clone in two ways; for a database this small the one without checkpoints is the faster.
    pub(super) fn strategy(&self) -> &'static str {
        if self.version >= 150_000 { " STRATEGY WAL_LOG" } else { "" }
    }

    fn key(&self, recipe: &Recipe<'_>) -> Result<TemplateKey, StoreError> {
        TemplateKey::of(recipe.migrations, recipe.seeds, self.version, &self.role).map_err(StoreError::Refused)
    }

    async fn has_template(&mut self, key: &TemplateKey) -> Result<bool, StoreError> {
        Ok(is_ready(&self.list_own().await?, key))
    }

    /// The database of this name, and all of ours.
    async fn list(&mut self, name: &TestName) -> Result<Vec<Listed>, StoreError> {
        self.listed(Some(name.as_str())).await
    }

    /// The templates and unfinished databases of this role.
    pub(super) async fn list_own(&mut self) -> Result<Vec<Listed>, StoreError> {
        self.listed(None).await
    }

    async fn listed(&mut self, name: Option<&str>) -> Result<Vec<Listed>, StoreError> {
        let query = sqlx::query(
            "SELECT d.datname::text AS name, d.datallowconn AS connections, pg_has_role(d.datdba, 'USAGE') AS owned, \
             shobj_description(d.oid, 'pg_database') AS comment FROM pg_catalog.pg_database d \
             JOIN pg_catalog.pg_roles r ON r.oid = d.datdba \
             WHERE d.datname = $1 OR (r.rolname = current_user AND (starts_with(d.datname, $2) OR starts_with(d.datname, $3)))",
        );
        let rows = self.session.rows(query.bind(name).bind(TEMPLATE).bind(UNFINISHED)).await?;
        let read = |row: &sqlx::postgres::PgRow| -> Result<Listed, sqlx::Error> {
            Ok(Listed {
                name: row.try_get("name")?,
                connections: row.try_get("connections")?,
                owned: row.try_get("owned")?,
                comment: row.try_get("comment")?,
            })
        };
        let listed = rows.iter().map(read).collect::<Result<_, _>>();
        listed.map_err(|_| StoreError::Invalid("the server lists its databases in another form".to_owned()))
    }

    /// Wait for a lock of this connection.
    pub(super) async fn lock(&mut self, what: &str, grip: Grip, recipe: &Recipe<'_>) -> Result<(), StoreError> {
        let deadline = Instant::now() + recipe.run.patience;
        let mut pause = Duration::from_millis(10);
        while !self.try_lock(what, grip).await? {
            if Instant::now() >= deadline {
                return Err(StoreError::Conflict(format!(
                    "another llmhub db setup-test is at work on this server and was not done after {} s; run it again",
                    recipe.run.patience.as_secs()
                )));
            }
            if pause == Duration::from_millis(10) {
                (recipe.on_step)("waiting for another llmhub db setup-test");
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
        Ok(())
    }

    pub(super) async fn try_lock(&mut self, what: &str, grip: Grip) -> Result<bool, StoreError> {
        let query = match grip {
            Grip::Exclusive => sqlx::query("SELECT pg_try_advisory_lock($1)"),
            Grip::Shared => sqlx::query("SELECT pg_try_advisory_lock_shared($1)"),
        };
        let row = self.session.row(query.bind(lock_key(what))).await?;
        Ok(row.and_then(|row| row.try_get(0).ok()) == Some(true))
    }

    async fn unlock(&mut self, what: &str, grip: Grip) -> Result<(), StoreError> {
        let query = match grip {
            Grip::Exclusive => sqlx::query("SELECT pg_advisory_unlock($1)"),
            Grip::Shared => sqlx::query("SELECT pg_advisory_unlock_shared($1)"),
        };
        self.session.run(query.bind(lock_key(what))).await
    }

    /// Run a statement that makes, marks or drops a database.
    pub(super) async fn run(&mut self, sql: String) -> Result<(), StoreError> {
        self.session.alone(sql).await.map_err(|failure| match &failure {
            Failure::Server { sqlstate, message, .. } if ["55006", "42P04", "3D000"].contains(&sqlstate.as_str()) => {
                StoreError::Conflict(format!("somebody else is at work on this database: {message} ({sqlstate})"))
            }
            Failure::Gone { reason, .. } => StoreError::OutcomeUnknown(format!(
                "the server went away in the middle ({reason}); run it again, it starts over"
            )),
            _ => failure.into_store_error(self.session.place()),
        })
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
) -> Result<(Vec<LedgerEntry>, Vec<(String, Option<u64>)>), StoreError> {
    let mut session = Session::open(&Target::Url(url.clone())).await?;
    session.begin_read(Pace::Quick).await?;
    let ledger = ledger::read(&mut session).await?;
    let same = ledger.len() == recipe.migrations.len()
        && ledger.iter().zip(recipe.migrations).all(|(entry, migration)| entry.version == migration.version.as_str());
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

/// A name for a database that is being made. Whoever makes it holds the lock of that name.
pub(super) fn unfinished() -> Result<String, StoreError> {
    let number =
        getrandom::u64().map_err(|error| StoreError::Local(format!("the system gives no random numbers: {error}")))?;
    Ok(format!("{UNFINISHED}{number:016x}"))
}

fn lock_key(what: &str) -> i64 {
    let name = format!("llmhub: test database: {what}");
    Sha256::digest(name.as_bytes()).iter().take(8).fold(0, |key, byte| key << 8 | i64::from(*byte))
}

/// A text as a literal, in the form that does not depend on the server's settings.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
