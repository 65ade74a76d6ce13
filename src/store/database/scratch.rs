//! A database of llmhub's own beside the live one, made empty: to rehearse migrations in, to verify a backup, to restore into.
//!
//! It has the encoding and the locale of the live one, and its comment says what it is and when it was made. It is dropped when
//! its owner is done, fails or is interrupted, unless it was put to use. What a run that died has left is dropped by a later
//! one, after an hour and only while nobody is connected to it.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::store::StoreError;
use crate::store::postgres::{Connections, Failure, Pace, Session, Target};

use super::literal::{literal, quote};

/// How a scratch database is called: this, eight hexadecimal digits of the server's clock in seconds, eight at random.
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

/// An empty database like the live one; dropping the value drops it on the server.
#[derive(Debug)]
pub struct Scratch {
    /// From where it is made and dropped: not from inside it.
    base: Target,
    target: Target,
    name: String,
    fate: Fate,
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
        let mut scratch =
            Self { base: base.clone(), target: base.beside(&plan.name)?, name: plan.name.clone(), fate: Fate::Unborn };
        let made = make(&mut session, &plan).await;
        scratch.fate = Fate::Ours;
        session.close().await;
        made?;
        match scratch.greet().await {
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

    /// Drop it, whoever is connected.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when that fails; the copy is then dropped by a later run, or by hand.
    pub async fn close(mut self) -> Result<(), StoreError> {
        self.fate = Fate::Kept;
        remove(&self.base, &self.name).await.map_err(|error| {
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
    async fn greet(&self) -> Result<(), StoreError> {
        let mut session = Session::open(&self.target).await?;
        session.begin_read(Pace::Quick).await?;
        let row = session.row(sqlx::query("SELECT current_database()::text")).await?;
        let name: Option<String> = row.and_then(|row| row.try_get(0).ok());
        session.abandon().await;
        if name.as_deref() == Some(self.name.as_str()) {
            return Ok(());
        }
        Err(StoreError::Invalid(format!("{} answered in its place", name.unwrap_or_default())))
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
        let (base, name) = (self.base.clone(), std::mem::take(&mut self.name));
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                let drop = async {
                    tokio::time::sleep(wait).await;
                    remove(&base, &name).await
                };
                // What cannot be dropped now is told by its comment.
                let _ = runtime.block_on(async { tokio::time::timeout(PATIENCE, drop).await });
            }
        };
        let _ = std::thread::spawn(work).join();
    }
}

async fn remove(base: &Target, name: &str) -> Result<(), StoreError> {
    let mut session = Session::open(base).await?;
    let dropped = session.administer(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quote(name))).await;
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
}

impl Plan {
    async fn read(session: &mut Session, like: &str, prefix: &str) -> Result<Self, StoreError> {
        // The options are quoted by the server. Names of columns that only some majors have are read from the row as JSON.
        let query = sqlx::query(
            "SELECT lpad(to_hex(extract(epoch FROM now())::bigint), 8, '0') AS clock, \
             to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at, \
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
        let clock: String = text(&row, "clock")?;
        if !row.try_get::<bool, _>("allowed").unwrap_or_default() {
            return Err(StoreError::Denied(format!(
                "the role {role} may not create databases at {place}, and a scratch copy is one; let a superuser run ALTER ROLE {role} \
                 CREATEDB, or use a role that may",
                role = text(&row, "role")?,
                place = session.place(),
            )));
        }
        let random = getrandom::u32()
            .map_err(|error| StoreError::Local(format!("the system gives no random numbers: {error}")))?;
        let name = format!("{prefix}{clock}{random:08x}");
        let create = format!("CREATE DATABASE {} TEMPLATE template0 {}", quote(&name), text(&row, "options")?);
        let comment = format!(
            "COMMENT ON DATABASE {} IS {}",
            quote(&name),
            literal(&format!(
                "{MARK}{} of the database {like}; it is dropped at the end of the run, and may be dropped by hand if no llmhub runs",
                text(&row, "at")?
            )),
        );
        let query = sqlx::query(
            "SELECT d.datname::text AS name FROM pg_catalog.pg_database d \
             WHERE d.datname ~ ('^' || $1 || '[0-9a-f]{16}$') AND pg_catalog.pg_has_role(d.datdba, 'MEMBER') \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid) ORDER BY 1",
        );
        let rows = session.rows(query.bind(PREFIX)).await?;
        let names = rows.iter().map(|row| text(row, "name")).collect::<Result<Vec<_>, _>>()?;
        let leftovers = names.into_iter().filter(|name| is_old(name, &clock)).collect();
        Ok(Self { name, create, comment, leftovers })
    }
}

fn text(row: &PgRow, column: &str) -> Result<String, StoreError> {
    row.try_get(column).map_err(|_| wrong())
}

fn wrong() -> StoreError {
    StoreError::Invalid("the list of databases has columns of another type than asked for".to_owned())
}

/// Whether a scratch database was made an hour before the server's clock, both in hexadecimal seconds.
fn is_old(name: &str, clock: &str) -> bool {
    let seconds = |hex: &str| i64::from_str_radix(hex, 16).ok();
    let made = name.strip_prefix(PREFIX).and_then(|rest| rest.get(..8)).and_then(seconds);
    made.zip(seconds(clock)).is_some_and(|(made, now)| now - made > 3600)
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
    if session.server_version().is_some_and(|version| version >= 140_000) {
        // An interrupted creation must end with us, or it would outlive the drop. Not every system can do it.
        session.administer("SET client_connection_check_interval = '500ms'").await.ok();
    }
    session.administer(&plan.create).await.map_err(fail)?;
    session.administer(&plan.comment).await.map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_as_ours_and_older_than_an_hour_is_old() {
        #[track_caller]
        fn case(name: &str, clock: &str, expected: bool) {
            assert_eq!(is_old(name, clock), expected, "{name}");
        }
        case("llmhub_scratch_00000000deadbeef", "00000e11", true);
        case("llmhub_scratch_00000000deadbeef", "00000e10", false);
        case("llmhub_scratch_00002000deadbeef", "00000e11", false);
        case("llmhub_scratch_x", "00000e11", false);
        case("hub", "00000e11", false);
    }
}
