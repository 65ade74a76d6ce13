//! The fingerprint of a database, read from its catalog inside the transaction that is open.
//!
//! Our own queries, not `pg_dump`: they see what a dump leaves out, differ only where the schema does, and need no right that
//! an ordinary role lacks. Every setting that the printed form depends on is pinned first and taken back afterwards.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use crate::domain::schema::{FORMAT, Fingerprint, Kind, Object};
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

/// Each gives rows of one shape; in parts, since the planner's time grows faster than a query.
const QUERIES: [&str; 4] = [
    include_str!("fingerprint/relations.sql"),
    include_str!("fingerprint/behaviour.sql"),
    include_str!("fingerprint/types.sql"),
    include_str!("fingerprint/database.sql"),
];

/// What decides how the catalog prints itself (migrations.md 2.5), and planning that pays for queries of milliseconds.
const PIN: [&str; 10] = [
    "SET LOCAL search_path = pg_catalog, pg_temp",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO, YMD'",
    "SET LOCAL IntervalStyle = 'postgres'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL xmloption = 'content'",
    "SET LOCAL quote_all_identifiers = off",
    "SET LOCAL jit = off",
    "SET LOCAL max_parallel_workers_per_gather = 0",
];

/// The fingerprint of `target` as it is now. Creates nothing.
///
/// # Errors
/// Those of connecting and of reading the catalog.
pub async fn fingerprint(target: &Target) -> Result<Fingerprint, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Quick).await?;
    let fingerprint = read(&mut session).await?;
    session.abandon().await;
    Ok(fingerprint)
}

/// The fingerprint that the open transaction sees, its own changes included. A savepoint takes the pinned settings back, those
/// of a migration as well as ours.
pub(in crate::store) async fn read(session: &mut Session) -> Result<Fingerprint, StoreError> {
    let mut pin = "SAVEPOINT llmhub_fingerprint".to_owned();
    for setting in PIN {
        pin.push_str("; ");
        pin.push_str(setting);
    }
    session.send(&pin).await?;
    let fingerprint = objects(session).await?;
    session.send("ROLLBACK TO SAVEPOINT llmhub_fingerprint; RELEASE SAVEPOINT llmhub_fingerprint").await?;
    Ok(fingerprint)
}

async fn objects(session: &mut Session) -> Result<Fingerprint, StoreError> {
    let row = session.row(sqlx::query("SELECT current_setting('server_version_num')::int")).await?;
    let number: Option<i32> = row.and_then(|row| row.try_get(0).ok());
    let server = number.and_then(|number| u32::try_from(number).ok()).ok_or_else(wrong)?;
    let mut objects = Vec::new();
    for query in QUERIES {
        let sql = for_major(query, server / 10_000);
        for row in session.rows(sqlx::query(AssertSqlSafe(sql))).await? {
            objects.push(object(&row).ok_or_else(wrong)?);
        }
    }
    Ok(Fingerprint::new(FORMAT, server, objects))
}

fn wrong() -> StoreError {
    StoreError::Invalid("the catalog answered with columns of another type than asked for".to_owned())
}

/// The query without the lines that this major does not know.
fn for_major(query: &str, major: u32) -> String {
    let bound = |mark: &str, word: &str| -> Option<u32> {
        let (_, rest) = mark.split_once(word)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    let known = |line: &&str| {
        let Some((_, mark)) = line.rsplit_once("-- ").filter(|(sql, _)| !sql.trim().is_empty()) else { return true };
        bound(mark, "from ").is_none_or(|from| major >= from) && bound(mark, "before ").is_none_or(|end| major < end)
    };
    query.lines().filter(known).collect::<Vec<_>>().join("\n")
}

fn object(row: &PgRow) -> Option<Object> {
    let kind = Kind::parse(row.try_get("kind").ok()?)?;
    let facts: Vec<Option<String>> = row.try_get("facts").ok()?;
    let mut object = Object::new(kind, row.try_get::<String, _>("name").ok()?);
    let mut facts = facts.into_iter();
    while let (Some(Some(key)), Some(value)) = (facts.next(), facts.next()) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            object.facts.insert(key, value);
        }
    }
    object.of = row.try_get("of").ok()?;
    object.owner = row.try_get("owner").ok()?;
    object.acl = row.try_get("acl").ok()?;
    object.place = row.try_get("place").ok()?;
    object.oid = u32::try_from(row.try_get::<i64, _>("oid").ok()?).ok()?;
    Some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_sent_only_to_the_majors_that_it_is_for() {
        let query = "a\nb -- from 15\nc -- from 15 before 17\n-- a note\nd";
        #[track_caller]
        fn case(query: &str, major: u32, sent: &str) {
            assert_eq!(for_major(query, major), sent, "{major}");
        }
        case(query, 14, "a\n-- a note\nd");
        case(query, 15, "a\nb -- from 15\nc -- from 15 before 17\n-- a note\nd");
        case(query, 17, "a\nb -- from 15\n-- a note\nd");
    }
}
