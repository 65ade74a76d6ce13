//! A restore beside the live database, and a swap by name once everything is proven.
//!
//! The archive goes into a new database; only when its tables and rows are those of the metadata do the two change names, in
//! one transaction. Nothing is dropped but what this restore created itself. Until the swap every failure leaves the live
//! database as it was.

mod properties;
mod swap;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::Row;

use crate::config::database_url::DatabaseUrl;
use crate::store::StoreError;
use crate::store::pg_tools::{Archive, Ownership, PgTools};
use crate::store::postgres::{Pace, Session, Target};

use super::backup::{Checked, Table, differences, refuse_pooler, tally};
use super::literal::quote;
use super::scratch::{MARK, Scratch};

/// A restore that may begin: the archive is whole and the role has the rights.
#[derive(Debug)]
pub struct Restoration {
    checked: Checked,
    url: DatabaseUrl,
    /// A database to work from: one cannot be renamed from inside.
    base: Target,
    live: Live,
    /// The database whose encoding and collation the new one gets, if there is no live one.
    like: String,
    leftovers: Vec<String>,
}

/// The database that the restored one takes the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// There is none yet.
    Absent,
    /// It is there, with this many sessions that the swap ends.
    Present {
        /// As counted before the question.
        sessions: i64,
    },
}

/// A restored and verified database that nobody uses yet; dropping it drops the database.
pub struct Filled {
    restoration: Restoration,
    scratch: Scratch,
    tables: Vec<Table>,
}

/// What a restore did.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// The database's name.
    pub restored: String,
    /// The archive.
    pub from: std::path::PathBuf,
    /// The backup of the database that was replaced.
    pub safety_backup: Option<std::path::PathBuf>,
    /// The name that the replaced database has now.
    pub previous: Option<String>,
    /// How many tables it holds.
    pub tables: usize,
    /// How many rows they hold together.
    pub rows: u64,
    /// The statements that take it back, to be run from another database of the server.
    #[serde(skip)]
    pub way_back: Option<String>,
}

/// See whether `checked` can be restored as the database of `target`, or as `into` on the same server. Changes nothing.
///
/// # Errors
/// [`StoreError::Unsupported`] for the sandbox and behind a pooler; [`StoreError::Denied`] for a role without the rights;
/// [`StoreError::Refused`] where the live database cannot be renamed.
pub async fn prepare(target: &Target, into: Option<&str>, checked: Checked) -> Result<Restoration, StoreError> {
    let configured = server(target)?;
    let url = into.map_or_else(|| configured.clone(), |name| configured.with_database(name));
    if url.database().starts_with("template") {
        return Err(StoreError::Refused(format!(
            "{} is a template of the server and is not restored over",
            url.database()
        )));
    }
    let (base, mut session) = open_base(&url).await?;
    refuse_pooler(&base).await?;
    session.begin_read(Pace::Quick).await?;
    let live = examine(&mut session, url.database()).await?;
    let leftovers = leftovers(&mut session).await?;
    session.abandon().await;
    let like = configured.database().to_owned();
    Ok(Restoration { checked, url, base, live, like, leftovers })
}

/// A database of the same server that the restore works from. The live one may be lost.
///
/// # Errors
/// [`StoreError::Unsupported`] for the sandbox; what opening a connection says.
pub async fn workplace(target: &Target) -> Result<Target, StoreError> {
    let (base, session) = open_base(server(target)?).await?;
    session.close().await;
    Ok(base)
}

fn server(target: &Target) -> Result<&DatabaseUrl, StoreError> {
    target.url().ok_or_else(|| StoreError::Unsupported {
        message: "the sandbox has one connection and one database: there is nothing to restore into and swap"
            .to_owned(),
        hint: "name a PostgreSQL server with --database-url".to_owned(),
    })
}

/// A session outside of the database that is to be renamed.
async fn open_base(url: &DatabaseUrl) -> Result<(Target, Session), StoreError> {
    let mut failure = None;
    for name in ["postgres", "template1"].into_iter().filter(|name| *name != url.database()) {
        let base = Target::Url(url.with_database(name));
        match Session::open_as(&base, "llmhub-db restore").await {
            Ok(session) => return Ok((base, session)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| StoreError::Invalid("there is no database to work from".to_owned())))
}

async fn examine(session: &mut Session, name: &str) -> Result<Live, StoreError> {
    let wrong = |_| StoreError::Invalid("the catalog has columns of another type".to_owned());
    let role = sqlx::query(
        "SELECT rolname::text, rolsuper OR rolcreatedb, pg_is_in_recovery() FROM pg_catalog.pg_roles \
         WHERE rolname = current_user",
    );
    let row = session.row(role).await?;
    let row = row.ok_or_else(|| StoreError::Invalid("the server does not know the role".to_owned()))?;
    let (role, creates): (String, bool) = (row.try_get(0).map_err(wrong)?, row.try_get(1).map_err(wrong)?);
    if row.try_get(2).map_err(wrong)? {
        return Err(StoreError::Denied(format!("{} is a standby and takes no writes", session.place())));
    }
    if !creates {
        return Err(StoreError::Denied(format!(
            "the role {role} may not create databases, which a restore needs: ALTER ROLE … CREATEDB, or use another role; \
             nothing was done"
        )));
    }
    let query = sqlx::query(
        "SELECT pg_has_role(d.datdba, 'USAGE'), \
         (SELECT count(*) FROM pg_catalog.pg_prepared_xacts x WHERE x.database = d.datname), \
         count(a.pid), count(a.pid) FILTER (WHERE NOT coalesce(me.rolsuper OR pg_has_role(a.usesysid, 'USAGE') \
           OR (pg_has_role('pg_signal_backend', 'USAGE') AND NOT other.rolsuper), false)) \
         FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles me ON me.rolname = current_user \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.datid = d.oid \
           AND a.backend_type IS DISTINCT FROM 'autovacuum worker' \
         LEFT JOIN pg_catalog.pg_roles other ON other.oid = a.usesysid \
         WHERE d.datname = $1 GROUP BY d.oid, d.datdba, d.datname",
    )
    .bind(name);
    let Some(row) = session.row(query).await? else { return Ok(Live::Absent) };
    let owns: bool = row.try_get(0).map_err(wrong)?;
    let (prepared, sessions): (i64, i64) = (row.try_get(1).map_err(wrong)?, row.try_get(2).map_err(wrong)?);
    let stubborn: i64 = row.try_get(3).map_err(wrong)?;
    if !owns {
        return Err(StoreError::Denied(format!(
            "the role {role} does not own the database {name} and may not rename it; nothing was done"
        )));
    }
    if stubborn > 0 {
        return Err(StoreError::Denied(format!(
            "{stubborn} sessions in {name} belong to roles that {role} may not end: grant pg_signal_backend or use another \
             role; nothing was done"
        )));
    }
    if prepared > 0 {
        return Err(StoreError::Refused(format!(
            "{name} has {prepared} prepared transactions and cannot be renamed: commit them or roll them back; nothing was done"
        )));
    }
    Ok(Live::Present { sessions })
}

async fn leftovers(session: &mut Session) -> Result<Vec<String>, StoreError> {
    let query = sqlx::query(
        "SELECT format('DROP DATABASE %I', datname) FROM pg_catalog.pg_database \
         WHERE starts_with(shobj_description(oid, 'pg_database'), $1) ORDER BY datname",
    );
    let wrong = |_| StoreError::Invalid("the catalog has columns of another type".to_owned());
    session.rows(query.bind(MARK)).await?.iter().map(|row| row.try_get(0).map_err(wrong)).collect()
}

impl Restoration {
    /// The name that the restored database gets.
    pub fn database(&self) -> &str {
        self.url.database()
    }

    /// The database of that name, if there is one.
    pub fn live(&self) -> Live {
        self.live
    }

    /// Statements that drop what killed commands left on this server; the commands may also be under way.
    pub fn leftovers(&self) -> &[String] {
        &self.leftovers
    }

    /// How to open it, for a backup before it is replaced.
    pub fn target(&self) -> Target {
        Target::Url(self.url.clone())
    }

    /// The archive.
    pub fn archive(&self) -> &Checked {
        &self.checked
    }

    /// Restore into a new database and compare it with what the metadata counted.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when `pg_restore` fails or the counts differ. The new database is gone then.
    pub async fn fill(self, tools: &PgTools) -> Result<Filled, StoreError> {
        let name = self.url.database();
        let like = if self.live == Live::Absent { self.like.as_str() } else { name };
        let prefix = format!("{}_restore_", head(name, 63 - "_restore_0123456789abcdef".len()));
        let scratch = Scratch::create_from(&self.base, like, &prefix).await?;
        match self.fill_scratch(&scratch, tools).await {
            Ok(tables) => Ok(Filled { restoration: self, scratch, tables }),
            Err(StoreError::Refused(said)) => {
                Err(scratch.close_after(StoreError::Refused(format!("{said}; {name} is as it was"))).await)
            }
            Err(error) => Err(scratch.close_after(error).await),
        }
    }

    async fn fill_scratch(&self, scratch: &Scratch, tools: &PgTools) -> Result<Vec<Table>, StoreError> {
        let path = self.checked.path.display();
        tools.restore(Archive::File(&self.checked.file), scratch.target(), Ownership::Kept).await?;
        let tables = tally(scratch.target()).await?;
        let expected = self.checked.metadata.as_ref().map(|metadata| metadata.tables.as_slice());
        if let Some(what) = expected.and_then(|expected| differences(expected, &tables)) {
            return Err(StoreError::Refused(format!("{path} restores to something else than was backed up: {what}")));
        }
        let mut session = Session::open(&self.base).await?;
        session.begin_read(Pace::Quick).await?;
        let mut statements = properties::carried(&mut session, self.url.database(), scratch.name()).await?;
        session.abandon().await;
        let mut session = Session::open(&self.base).await?;
        if statements.is_empty() {
            // A new database keeps nothing of its making.
            statements.push(format!("COMMENT ON DATABASE {} IS NULL", quote(scratch.name())));
        }
        for statement in statements {
            let done = session.administer(&statement).await;
            done.map_err(|failure| failure.into_store_error(session.place()))?;
        }
        session.close().await;
        Ok(tables)
    }
}

impl Filled {
    /// Give the restored database its name, and the live one the name `DATABASE_before_<time>`. Ends the live one's sessions.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when they do not end: both databases are as they were, the new one is dropped;
    /// [`StoreError::OutcomeUnknown`] with the statements to look and to finish.
    pub async fn swap(self, now: Timestamp) -> Result<Restored, StoreError> {
        let Self { restoration, scratch, tables } = self;
        let name = restoration.url.database();
        let previous = match restoration.live {
            Live::Absent => None,
            Live::Present { .. } => {
                let suffix = now.strftime("_before_%Y%m%dT%H%M%SZ").to_string();
                Some(format!("{}{suffix}", head(name, 63 - suffix.len())))
            }
        };
        let way_back = swap::names(&restoration.base, name, scratch, previous.as_deref()).await?;
        Ok(Restored {
            restored: name.to_owned(),
            from: restoration.checked.path.clone(),
            safety_backup: None,
            previous,
            tables: tables.len(),
            rows: tables.iter().map(|table| table.rows).sum(),
            way_back,
        })
    }
}

/// The beginning of a name, so that it fits the 63 bytes of an identifier with what is put after it.
fn head(name: &str, bytes: usize) -> &str {
    let fits = name.char_indices().map(|(start, c)| start + c.len_utf8()).take_while(|end| *end <= bytes).last();
    name.get(..fits.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_between_characters() {
        #[track_caller]
        fn case(name: &str, bytes: usize, expected: &str) {
            assert_eq!(head(name, bytes), expected);
        }
        case("hub", 10, "hub");
        case("hub", 2, "hu");
        case("höb", 2, "h");
        case("", 5, "");
    }
}
