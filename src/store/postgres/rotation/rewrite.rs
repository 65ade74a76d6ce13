//! The rows: all tokens of all columns come under another key in one transaction, or none does.
//!
//! Rows are locked, their tokens handed out and written back where the old one still stands, the pair is kept as the way back,
//! and everything is read again before the commit. A row that no key opens ends it without effect.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Row};

use super::discover::{TokenPlace, wrong};
use super::journal::{Fingerprints, SCHEMA, StepEnd, step};
use super::{Renew, Rotations, SEE_ALL};
use crate::domain::keys::rotation::Renewal;
use crate::store::StoreError;
use crate::store::postgres::{Session, settle};

/// What a rotation begins with.
pub struct Outset<'a> {
    /// Its keys.
    pub keys: &'a Fingerprints,
    /// Why.
    pub reason: Option<&'a str>,
    /// The columns that the operator has confirmed, those that are left alone included.
    pub confirmed: &'a [String],
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The rotation's number.
    pub rotation: i64,
    /// Rows with another token than before.
    pub rows: u64,
}

/// Whether the pair of tokens is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Pair,
    Nothing,
}

impl Rotations {
    /// Begin a rotation and rewrite all rows.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a row that no key opens, [`StoreError::Conflict`] for a rotation that is open already.
    pub async fn apply(
        &self,
        outset: &Outset<'_>,
        places: &[TokenPlace],
        renew: &mut Renew<'_>,
    ) -> Result<Rewritten, StoreError> {
        let (mut session, transaction) = self.writer().await?;
        session.send(SCHEMA).await?;
        let query = sqlx::query(
            "INSERT INTO llmhub.rotation (format, state, old_key, new_key, actor, reason) \
             VALUES (1, 'applied', $1, $2, $3, $4) RETURNING id",
        )
        .bind(outset.keys.old.as_deref())
        .bind(outset.keys.new.as_str())
        .bind(self.actor.as_str())
        .bind(outset.reason);
        let rotation: i64 = session
            .row(query)
            .await?
            .and_then(|row| row.try_get(0).ok())
            .ok_or_else(|| StoreError::Invalid("the journal gave the rotation no number".to_owned()))?;
        self.confirm(&mut session, outset.confirmed).await?;
        let swept = sweep(&mut session, rotation, places, renew, Keep::Pair).await?;
        step(&mut session, rotation, "apply", StepEnd::Done, &self.actor).await?;
        let reader = settle(session, &self.target, &transaction, "the rotation").await?;
        swept.read_back(reader, "the rotation").await?;
        Ok(Rewritten { rotation, rows: swept.rows })
    }

    /// Rewrite what the hub saved with the old key since.
    ///
    /// # Errors
    /// As [`Rotations::apply`].
    pub async fn sweep(
        &self,
        rotation: i64,
        confirmed: &[String],
        places: &[TokenPlace],
        renew: &mut Renew<'_>,
    ) -> Result<Rewritten, StoreError> {
        let (mut session, transaction) = self.writer().await?;
        self.confirm(&mut session, confirmed).await?;
        let swept = sweep(&mut session, rotation, places, renew, Keep::Pair).await?;
        step(&mut session, rotation, "verify", StepEnd::Done, &self.actor).await?;
        let reader = settle(session, &self.target, &transaction, "the verification").await?;
        swept.read_back(reader, "the verification").await?;
        Ok(Rewritten { rotation, rows: swept.rows })
    }

    /// Put every old token back where its new one still stands, and what was saved meanwhile under the old key.
    ///
    /// # Errors
    /// As [`Rotations::apply`].
    pub async fn restore(
        &self,
        rotation: i64,
        places: &[TokenPlace],
        revert: &mut Renew<'_>,
    ) -> Result<Rewritten, StoreError> {
        let (mut session, transaction) = self.writer().await?;
        let mut rows = 0;
        for place in places {
            let (text, value) = (place.text("t"), place.value("b.old_token"));
            let sql = format!(
                "WITH put AS (UPDATE {} t SET {} = {value} FROM (SELECT DISTINCT old_token, new_token \
                 FROM llmhub.rotation_backup WHERE rotation = $1 AND name = $2) b WHERE {text} = b.new_token RETURNING 1) \
                 SELECT count(*) FROM put",
                place.table, place.column
            );
            rows +=
                count(&mut session, sqlx::query(AssertSqlSafe(sql)).bind(rotation).bind(place.name.as_str())).await?;
        }
        let swept = sweep(&mut session, rotation, places, revert, Keep::Nothing).await?;
        rows += swept.rows;
        let query = sqlx::query("UPDATE llmhub.rotation SET state = 'aborting' WHERE id = $1 AND ended_at IS NULL");
        session.run(query.bind(rotation)).await?;
        step(&mut session, rotation, "restore", StepEnd::Done, &self.actor).await?;
        let reader = settle(session, &self.target, &transaction, "the way back").await?;
        swept.read_back(reader, "the way back").await?;
        Ok(Rewritten { rotation, rows })
    }

    /// Remember the columns that the operator has confirmed, in the transaction that is open.
    async fn confirm(&self, session: &mut Session, columns: &[String]) -> Result<(), StoreError> {
        let query = sqlx::query(
            "INSERT INTO llmhub.rotation_column (name, confirmed_by) SELECT name, $2 FROM unnest($1::text[]) AS name \
             ON CONFLICT (name) DO NOTHING",
        );
        session.run(query.bind(columns).bind(self.actor.as_str())).await
    }
}

/// What was rewritten, before the commit.
#[derive(Default)]
struct Swept<'a> {
    rows: u64,
    /// The tokens that were replaced, by column.
    replaced: Vec<(&'a TokenPlace, Vec<String>)>,
}

impl Swept<'_> {
    /// See over another connection that no old token stands any more: what a deferred trigger makes of the rows is seen only
    /// after the commit. What others have saved since is theirs.
    async fn read_back(&self, mut reader: Session, what: &str) -> Result<(), StoreError> {
        let unknown = |why: String| StoreError::OutcomeUnknown(format!("{what} was committed, but {why}"));
        reader.send(SEE_ALL).await.map_err(|error| unknown(format!("it could not be read back: {error}")))?;
        for (place, old) in &self.replaced {
            let sql = format!(
                "SELECT count(*) FROM {} t WHERE {} IN (SELECT unnest($1::text[]))",
                place.table,
                place.text("t")
            );
            let left = count(&mut reader, sqlx::query(AssertSqlSafe(sql)).bind(old)).await;
            match left.map_err(|error| unknown(format!("{} could not be read back: {error}", place.name)))? {
                0 => {}
                left => {
                    return Err(unknown(format!(
                        "{left} rows of {} hold their old tokens again: look for a deferred trigger of the table",
                        place.name
                    )));
                }
            }
        }
        reader.abandon().await;
        Ok(())
    }
}

/// Rewrite the tokens of all columns.
async fn sweep<'a>(
    session: &mut Session,
    rotation: i64,
    places: &'a [TokenPlace],
    renew: &mut Renew<'_>,
    keep: Keep,
) -> Result<Swept<'a>, StoreError> {
    let mut swept = Swept::default();
    for place in places {
        let (rows, old) = rewrite(session, rotation, place, renew, keep).await?;
        swept.rows += rows;
        swept.replaced.push((place, old));
    }
    Ok(swept)
}

/// The number of rows, and the tokens that were replaced.
async fn rewrite(
    session: &mut Session,
    rotation: i64,
    place: &TokenPlace,
    renew: &mut Renew<'_>,
    keep: Keep,
) -> Result<(u64, Vec<String>), StoreError> {
    let held = tokens(session, place, " FOR UPDATE").await?;
    let mut pairs: BTreeMap<String, String> = BTreeMap::new();
    let mut expected: BTreeSet<String> = BTreeSet::new();
    let (mut due, mut unopened) = (0_u64, 0_u64);
    for token in held {
        if let Some(new) = pairs.get(&token) {
            expected.insert(new.clone());
            due += 1;
            continue;
        }
        match renew(&token) {
            Renewal::Keep => drop(expected.insert(token)),
            Renewal::Replace(new) => {
                expected.insert(new.clone());
                pairs.insert(token, new);
                due += 1;
            }
            Renewal::Unopened => unopened += 1,
        }
    }
    if unopened > 0 {
        return Err(StoreError::Refused(format!(
            "{}: {unopened} rows open with no known key; nothing was written",
            place.name
        )));
    }
    if pairs.is_empty() {
        return Ok((0, Vec::new()));
    }
    let (old, new): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
    let (text, value) = (place.text("t"), place.value("m.new"));
    let sql = format!(
        "WITH put AS (UPDATE {} t SET {} = {value} FROM unnest($1::text[], $2::text[]) AS m(old, new) \
         WHERE {text} = m.old RETURNING 1) SELECT count(*) FROM put",
        place.table, place.column
    );
    let written = count(session, sqlx::query(AssertSqlSafe(sql)).bind(&old).bind(&new)).await?;
    if keep == Keep::Pair {
        let query = sqlx::query(
            "INSERT INTO llmhub.rotation_backup (rotation, name, old_token, new_token) \
             SELECT $1, $2, m.old, m.new FROM unnest($3::text[], $4::text[]) AS m(old, new)",
        );
        session.run(query.bind(rotation).bind(place.name.as_str()).bind(&old).bind(&new)).await?;
    }
    // A trigger, a policy or a type may have made something else of what was written. What others add meanwhile is theirs.
    let stored: BTreeSet<String> = tokens(session, place, "").await?.into_iter().collect();
    if written != due || !expected.is_subset(&stored) || old.iter().any(|token| stored.contains(token)) {
        return Err(StoreError::Refused(format!(
            "{}: the rows do not read back as written: a trigger or a policy of the table is in the way; nothing was written",
            place.name
        )));
    }
    Ok((written, old))
}

async fn tokens(session: &mut Session, place: &TokenPlace, lock: &str) -> Result<Vec<String>, StoreError> {
    let (text, condition) = (place.text("t"), place.looks_sealed("t"));
    let sql = format!("SELECT {text} AS token FROM {} t WHERE {condition}{lock}", place.table);
    let rows = session.rows(sqlx::query(AssertSqlSafe(sql))).await?;
    rows.iter().map(|row| row.try_get("token").map_err(wrong)).collect()
}

async fn count(
    session: &mut Session,
    query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
) -> Result<u64, StoreError> {
    let rows: i64 = session
        .row(query)
        .await?
        .and_then(|row| row.try_get(0).ok())
        .ok_or_else(|| StoreError::Invalid("the database did not say how many rows it wrote".to_owned()))?;
    Ok(u64::try_from(rows).unwrap_or_default())
}
