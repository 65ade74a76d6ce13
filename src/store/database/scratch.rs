//! A database beside the live one, for trying things on: made empty, dropped at the end.
//!
//! Its name and comment say what it is and when it was made. What a run that died has left is dropped by a later one, after an
//! hour and only while nobody is connected to it.

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::store::StoreError;
use crate::store::postgres::{Connections, Failure, Pace, Session, Target};

/// How a scratch database is called: this, eight hexadecimal digits of the server's clock in seconds, eight at random.
const PREFIX: &str = "llmhub_scratch_";

/// An empty database with the live one's encoding and collation. Call [`Scratch::close`]; one that is only forgotten stays until
/// the first run an hour later.
#[derive(Debug)]
pub struct Scratch {
    live: Target,
    target: Target,
    name: String,
}

impl Scratch {
    /// Make one on the server of `live`, and drop what dead runs have left there.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] for the sandbox and where a pooler keeps the new database out of reach;
    /// [`StoreError::Denied`] for a role that may not create databases.
    pub async fn create(live: &Target) -> Result<Self, StoreError> {
        if live.connections() == Connections::One {
            return Err(StoreError::Unsupported {
                message: "the sandbox serves one database and one connection: there is no room for a scratch copy"
                    .to_owned(),
                hint: "use a PostgreSQL server, on this machine for example".to_owned(),
            });
        }
        let mut session = Session::open(live).await?;
        session.begin_read(Pace::Quick).await?;
        let plan = Plan::read(&mut session).await?;
        let done = make(&mut session, &plan).await;
        session.close().await;
        done?;
        let scratch = Self { live: live.clone(), target: live.beside(&plan.name)?, name: plan.name };
        match scratch.greet().await {
            Ok(()) => Ok(scratch),
            Err(error) => {
                let (name, place) = (scratch.name.clone(), scratch.live.to_string());
                // It is dropped now if that works, else an hour later.
                scratch.close().await.ok();
                Err(StoreError::Unsupported {
                    message: format!("{name} was created at {place} but cannot be reached: {error}"),
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
    /// Those of the connection to the live database; the copy is then dropped by a later run.
    pub async fn close(self) -> Result<(), StoreError> {
        let mut session = Session::open(&self.live).await?;
        session.outside_transaction(Pace::Long);
        let dropped = session.foreign(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name), None).await;
        let dropped = dropped.map_err(|failure| failure.into_store_error(session.place()));
        session.close().await;
        dropped
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

/// What is to be sent, read in one look.
struct Plan {
    name: String,
    create: String,
    comment: String,
    leftovers: Vec<String>,
}

impl Plan {
    async fn read(session: &mut Session) -> Result<Self, StoreError> {
        // Every part is quoted by the server. Names of columns that only some majors have are read from the row as JSON.
        let query = sqlx::query(
            "SELECT lpad(to_hex(extract(epoch FROM now())::bigint), 8, '0') AS clock, \
             to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at, quote_ident(d.datname) AS live, \
             concat_ws(' ', 'ENCODING', quote_literal(pg_encoding_to_char(d.encoding)), 'LC_COLLATE', quote_literal(d.datcollate), \
             'LC_CTYPE', quote_literal(d.datctype), \
             CASE j.row->>'datlocprovider' WHEN 'c' THEN 'LOCALE_PROVIDER libc' \
             WHEN 'i' THEN 'LOCALE_PROVIDER icu ICU_LOCALE ' || \
             quote_literal(coalesce(j.row->>'datlocale', j.row->>'daticulocale')) \
             WHEN 'b' THEN 'LOCALE_PROVIDER builtin BUILTIN_LOCALE ' || quote_literal(j.row->>'datlocale') END, \
             'ICU_RULES ' || quote_literal(j.row->>'daticurules')) AS options, \
             coalesce((SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false) AS allowed, \
             quote_ident(current_user) AS role \
             FROM pg_catalog.pg_database d CROSS JOIN LATERAL (SELECT to_jsonb(d) AS row) j WHERE d.datname = current_database()",
        );
        let row = session.row(query).await?.ok_or_else(wrong)?;
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
        let name = format!("{PREFIX}{clock}{random:08x}");
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 {}", text(&row, "options")?);
        let comment = format!(
            "COMMENT ON DATABASE {name} IS $comment$scratch copy that llmhub made at {} to rehearse migrations of {}; it is dropped at \
             the end of the run and may be dropped by anybody$comment$",
            text(&row, "at")?,
            text(&row, "live")?.replace('$', "?"),
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
    session.foreign("ROLLBACK", None).await.map_err(fail)?;
    session.outside_transaction(Pace::Long);
    for name in &plan.leftovers {
        // Without FORCE: if somebody has just connected, it stays. The name is ours, letters and digits.
        session.foreign(&format!("DROP DATABASE IF EXISTS {name}"), None).await.ok();
    }
    session.foreign(&plan.create, None).await.map_err(fail)?;
    session.foreign(&plan.comment, None).await.map_err(fail)
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
