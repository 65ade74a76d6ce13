//! A database of llmhub's own beside the live one, made empty: to rehearse migrations in, to verify a backup, to restore into.
//!
//! It has the encoding and the locale of the live one, and its comment says what it is and when it was made. It is dropped when
//! its owner is done, fails or is interrupted, unless it was put to use. Its owner is connected to it as long as it lives: one
//! that nobody is connected to was left by a run that died, and the next run drops it.
//!
//! A contained one belongs to a role of its own name, which may do nothing outside of it; the role goes with it.

use std::fmt;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::store::StoreError;
use crate::store::postgres::{Connections, Failure, Pace, Session, Target};

use super::literal::{literal, quote};

/// How a scratch database is called: this and 16 hexadecimal digits.
const PREFIX: &str = "llmhub_scratch_";

/// How the comment of one begins.
pub(super) const MARK: &str = "scratch copy that llmhub made at ";

/// How long an interrupted command waits for the drop.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the server may take to notice that whoever asked for a database is gone; it looks every half second.
const NOTICE: Duration = Duration::from_millis(700);

/// What becomes of the database when its value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The server may still be making it.
    Unborn,
    /// It is dropped.
    Ours,
    /// It stays.
    Kept,
}

/// With whose rights scripts run in a scratch database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// With those of whoever runs llmhub.
    Own,
    /// With those of a role that is made for it, where the server lets us make one: it owns the scratch database and nothing else.
    Contained,
}

/// An empty database like the live one; dropping the value drops it on the server.
pub struct Scratch {
    /// From where it is made and dropped: not from inside it.
    base: Target,
    target: Target,
    name: String,
    role: Option<String>,
    fate: Fate,
    /// Connected for as long as it lives.
    keeper: Option<Session>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("name", &self.name).field("fate", &self.fate).finish_non_exhaustive()
    }
}

impl Scratch {
    /// Make one on the server of `live`, and drop what dead runs have left there.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] for the sandbox and where a pooler keeps the new database out of reach;
    /// [`StoreError::Denied`] for a role that may not create databases.
    pub async fn create(live: &Target) -> Result<Self, StoreError> {
        Self::create_from(live, live.database(), PREFIX).await
    }

    /// The same, with a role that can harm nothing else, where the server lets us make one.
    ///
    /// # Errors
    /// As [`Scratch::create`].
    pub(super) async fn create_for(live: &Target, rights: Rights) -> Result<Self, StoreError> {
        let mut scratch = Self::create(live).await?;
        if rights == Rights::Own {
            return Ok(scratch);
        }
        match scratch.contain().await {
            Ok(()) => Ok(scratch),
            Err(error) => Err(scratch.close_after(error).await),
        }
    }

    /// Make one like the database `like`, or like template1 if there is none, from another database of its server. Its name is
    /// `prefix` and 16 hexadecimal digits, which must fit the 63 bytes of a name.
    ///
    /// # Errors
    /// As [`Scratch::create`].
    pub(super) async fn create_from(base: &Target, like: &str, prefix: &str) -> Result<Self, StoreError> {
        if base.connections() == Connections::One {
            return Err(StoreError::Unsupported {
                message: "the sandbox serves one database and one connection: there is no room for a scratch copy"
                    .to_owned(),
                hint: "name a PostgreSQL server with --database-url, on this machine for example".to_owned(),
            });
        }
        let mut session = Session::open(base).await?;
        session.begin_read(Pace::Quick).await?;
        let plan = Plan::read(&mut session, like, prefix).await?;
        session.send("ROLLBACK").await?;
        // From here on the value's end drops what the server may have made.
        let (target, name) = (base.beside(&plan.name)?, plan.name.clone());
        let (base_of_it, fate) = (base.clone(), Fate::Unborn);
        let mut scratch = Self { base: base_of_it, target, name, role: None, fate, keeper: None };
        let made = make(&mut session, &plan).await;
        scratch.fate = Fate::Ours;
        made?;
        let greeted = scratch.greet().await;
        // Until the keeper was there, this session has shown that somebody needs it.
        session.close().await;
        match greeted {
            Ok(()) => Ok(scratch),
            Err(error) => {
                let message = format!("{} was created at {base} but cannot be reached: {error}", scratch.name);
                // It is dropped now if that works, else an hour later.
                scratch.close().await.ok();
                Err(StoreError::Unsupported {
                    message,
                    hint: "a connection pooler that knows only its own databases may stand between: give llmhub a URL that leads to \
                           the server itself"
                        .to_owned(),
                })
            }
        }
    }

    /// How to open it.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The role that scripts run as, if it was made for them.
    pub(super) fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// Nobody of ours is connected to it any more, as a rename needs it.
    pub(super) async fn leave(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.close().await;
        }
    }

    /// Drop it, whoever is connected.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when that fails; the copy is then dropped by a later run, or by hand.
    pub async fn close(mut self) -> Result<(), StoreError> {
        self.fate = Fate::Kept;
        remove(&self.base, &self.name, (self.role.as_deref(), self.keeper.take())).await.map_err(|error| {
            StoreError::Refused(format!("the database {} cannot be dropped, drop it by hand: {error}", self.name))
        })
    }

    /// Drop it because of `error`, and say so if it stays.
    pub(super) async fn close_after(self, error: StoreError) -> StoreError {
        match self.close().await {
            Ok(()) => error,
            Err(left) => StoreError::Refused(format!("{error}; and {left}")),
        }
    }

    /// It is somebody's database from now on.
    pub(super) fn keep(mut self) {
        self.fate = Fate::Kept;
    }

    /// See that what answers under its name is the new database.
    async fn greet(&mut self) -> Result<(), StoreError> {
        let mut session = Session::open(&self.target).await?;
        session.begin_read(Pace::Quick).await?;
        let row = session.row(sqlx::query("SELECT current_database()::text")).await?;
        let name: Option<String> = row.and_then(|row| row.try_get(0).ok());
        session.send("ROLLBACK").await?;
        if name.as_deref() == Some(self.name.as_str()) {
            if session.server_version().is_some_and(|version| version >= 140_000) {
                session.send("SET idle_session_timeout = 0").await?;
            }
            self.keeper = Some(session);
            return Ok(());
        }
        session.close().await;
        Err(StoreError::Invalid(format!("{} answered in its place", name.unwrap_or_default())))
    }

    /// Give it to a role of its own, if this role may make one. What is lost in a crash of the server is made again, so nothing
    /// waits for the disk.
    async fn contain(&mut self) -> Result<(), StoreError> {
        let mut session = Session::open(&self.target).await?;
        session.begin_read(Pace::Quick).await?;
        let query = sqlx::query(
            "SELECT rolsuper, rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user",
        );
        let row = session.row(query).await?;
        session.send("ROLLBACK").await?;
        let may = |column: usize| row.as_ref().is_some_and(|row| row.try_get(column).unwrap_or(false));
        let (superuser, allowed) = (may(0), may(1));
        let name = quote(&self.name);
        let mut steps = vec![format!("ALTER DATABASE {name} SET synchronous_commit = off")];
        if allowed {
            self.role = Some(self.name.clone());
            steps.push(format!("CREATE ROLE {name} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE"));
            if !superuser {
                steps.push(format!("GRANT {name} TO CURRENT_USER"));
            }
            // Before 15 the schema is not that of the database's owner.
            if superuser && session.server_version().is_some_and(|version| version < 150_000) {
                steps.push(format!("ALTER SCHEMA public OWNER TO {name}"));
            }
            steps.push(format!("ALTER DATABASE {name} OWNER TO {name}"));
        }
        for step in steps {
            session.send(&step).await?;
        }
        session.close().await;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let wait = match self.fate {
            Fate::Kept => return,
            Fate::Ours => Duration::ZERO,
            Fate::Unborn => NOTICE,
        };
        // Whoever waited for us was interrupted, and its runtime with it: this needs one of its own.
        let (base, name, role) = (self.base.clone(), std::mem::take(&mut self.name), self.role.take());
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                let drop = async {
                    tokio::time::sleep(wait).await;
                    remove(&base, &name, (role.as_deref(), None)).await
                };
                // What cannot be dropped now is told by its comment.
                let _ = runtime.block_on(async { tokio::time::timeout(PATIENCE, drop).await });
            }
        };
        let _ = std::thread::spawn(work).join();
    }
}

async fn remove(base: &Target, name: &str, (role, keeper): (Option<&str>, Option<Session>)) -> Result<(), StoreError> {
    // Under its name: whoever looks for leftovers now shall not drop it at the same time.
    let mut session = Session::open_as(base, name).await?;
    if let Some(keeper) = keeper {
        keeper.close().await;
    }
    let mut dropped = session.administer(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(name))).await;
    if let (Ok(()), Some(role)) = (&dropped, role) {
        dropped = session.administer(&format!("DROP ROLE IF EXISTS {}", quote(role))).await;
    }
    let dropped = dropped.map_err(|failure| failure.into_store_error(session.place()));
    session.close().await;
    dropped
}

/// What is to be sent, read in one look.
struct Plan {
    name: String,
    create: String,
    comment: String,
    leftovers: Vec<String>,
    /// Roles whose databases are gone.
    roles: Vec<String>,
}

impl Plan {
    async fn read(session: &mut Session, like: &str, prefix: &str) -> Result<Self, StoreError> {
        // The options are quoted by the server. Names of columns that only some majors have are read from the row as JSON.
        let query = sqlx::query(
            "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at, \
             concat_ws(' ', format('ENCODING %L', pg_encoding_to_char((j->>'encoding')::int)), \
             format('LC_COLLATE %L LC_CTYPE %L', j->>'datcollate', j->>'datctype'), \
             CASE j->>'datlocprovider' \
               WHEN 'i' THEN format('LOCALE_PROVIDER icu ICU_LOCALE %L', coalesce(j->>'datlocale', j->>'daticulocale')) \
               WHEN 'b' THEN format('LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', j->>'datlocale') \
               WHEN 'c' THEN 'LOCALE_PROVIDER libc' END, \
             CASE WHEN j->>'daticurules' IS NOT NULL THEN format('ICU_RULES %L', j->>'daticurules') END, \
             CASE WHEN spcname <> 'pg_default' THEN format('TABLESPACE %I', spcname) END) AS options, \
             coalesce((SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false) AS allowed, \
             quote_ident(current_user) AS role \
             FROM (SELECT to_jsonb(d) AS j, t.spcname FROM pg_catalog.pg_database d \
             JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace \
             WHERE d.datname IN ($1, 'template1') ORDER BY d.datname = $1 DESC LIMIT 1) known",
        );
        let row = session.row(query.bind(like)).await?.ok_or_else(wrong)?;
        if !row.try_get::<bool, _>("allowed").unwrap_or_default() {
            return Err(StoreError::Denied(format!(
                "the role {role} may not create databases at {place}, and a scratch copy is one; let a superuser run ALTER ROLE {role} \
                 CREATEDB, or use a role that may",
                role = text(&row, "role")?,
                place = session.place(),
            )));
        }
        let random = getrandom::u64()
            .map_err(|error| StoreError::Local(format!("the system gives no random numbers: {error}")))?;
        let name = format!("{prefix}{random:016x}");
        let create = format!("CREATE DATABASE {} TEMPLATE template0 {}", quote(&name), text(&row, "options")?);
        let comment = format!(
            "COMMENT ON DATABASE {} IS {}",
            quote(&name),
            literal(&format!(
                "{MARK}{} of the database {like}; it is dropped at the end of the run, and may be dropped by hand if no llmhub runs",
                text(&row, "at")?
            )),
        );
        // Whoever makes one is listed under its name until somebody is connected to it.
        let query = sqlx::query(
            "SELECT d.datname::text AS name FROM pg_catalog.pg_database d \
             WHERE d.datname ~ ('^' || $1 || '[0-9a-f]{16}$') AND pg_catalog.pg_has_role(d.datdba, 'MEMBER') AND NOT EXISTS \
             (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid OR a.application_name = d.datname) ORDER BY 1",
        );
        let rows = session.rows(query.bind(PREFIX)).await?;
        let leftovers = rows.iter().map(|row| text(row, "name")).collect::<Result<Vec<_>, _>>()?;
        let query = sqlx::query(
            "SELECT r.rolname::text AS name FROM pg_catalog.pg_roles r WHERE r.rolname ~ ('^' || $1 || '[0-9a-f]{16}$') \
             AND (r.rolname = ANY ($2) OR NOT EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datname = r.rolname)) \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.application_name = r.rolname) ORDER BY 1",
        );
        let rows = session.rows(query.bind(PREFIX).bind(&leftovers)).await?;
        let roles = rows.iter().map(|row| text(row, "name")).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { name, create, comment, leftovers, roles })
    }
}

fn text(row: &PgRow, column: &str) -> Result<String, StoreError> {
    row.try_get(column).map_err(|_| wrong())
}

fn wrong() -> StoreError {
    StoreError::Invalid("the list of databases has columns of another type than asked for".to_owned())
}

async fn make(session: &mut Session, plan: &Plan) -> Result<(), StoreError> {
    let place = session.place().clone();
    let fail = |failure: Failure| match failure.sqlstate() {
        Some("42501") => StoreError::Denied(format!(
            "the role may not create databases at {place}, and a scratch copy is one; let a superuser grant it CREATEDB"
        )),
        _ => failure.into_store_error(&place),
    };
    for name in &plan.leftovers {
        // Without FORCE: if somebody has just connected, it stays.
        session.administer(&format!("DROP DATABASE IF EXISTS {}", quote(name))).await.ok();
    }
    for role in &plan.roles {
        // One whose database stayed is needed.
        session.administer(&format!("DROP ROLE IF EXISTS {}", quote(role))).await.ok();
    }
    if session.server_version().is_some_and(|version| version >= 140_000) {
        // An interrupted creation must end with us, or it would outlive the drop. Not every system can do it.
        session.administer("SET client_connection_check_interval = '500ms'").await.ok();
    }
    let name = format!("SET application_name = {}", literal(&plan.name));
    session.administer(&name).await.map_err(fail)?;
    session.administer(&plan.create).await.map_err(fail)?;
    session.administer(&plan.comment).await.map_err(fail)
}
