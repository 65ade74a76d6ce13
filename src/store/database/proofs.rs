//! Proofs that are kept: which migration was seen to be reversible, with which texts, on which schema.
//!
//! They stand in the ledger's schema and speak of migrations that are applied and of such as will be. A new one takes the place
//! of an older one about the same thing.

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::domain::proof::{Proof, Verdict};
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

use super::engine::Engine;
use super::ledger::{Existence, existence};
use super::literal::literal;
use super::record::{STAMP, Stamp};
use super::run::Run;

/// Keep these proofs; a database without a ledger gets one. They are read back by another connection.
///
/// # Errors
/// [`StoreError::Conflict`] when another run does not end in time; [`StoreError::OutcomeUnknown`] when they are not there
/// afterwards.
pub async fn keep_proofs(target: &Target, proofs: &[Proof], run: &Run<'_>) -> Result<(), StoreError> {
    if proofs.is_empty() {
        return Ok(());
    }
    let mut engine = Engine::start(target, run).await?;
    let done = engine.keep(proofs).await;
    engine.end().await;
    done?;
    let kept = read_proofs(target).await?;
    match proofs.iter().find(|proof| !kept.contains(proof)) {
        None => Ok(()),
        Some(proof) => Err(StoreError::OutcomeUnknown(format!(
            "the proofs were committed, but that of {} is not there: somebody else changes the ledger",
            proof.version
        ))),
    }
}

/// The SQL that keeps proofs.
pub(super) fn keep(proofs: &[Proof], stamp: Stamp<'_>) -> String {
    let row = |proof: &Proof| {
        let texts = [
            &proof.version,
            &proof.up_checksum,
            &proof.down_checksum,
            &proof.before,
            &proof.with,
            proof.verdict.word(),
        ];
        let texts = texts.map(|text: &str| literal(text)).join(", ");
        format!("({texts}, {}, {}, {})", proof.format, proof.server, stamp.values())
    };
    format!(
        "INSERT INTO llmhub.migration_proof (version, up_checksum, down_checksum, schema_before, schema_with, verdict, \
         fingerprint_format, server_version, {STAMP}) VALUES {} \
         ON CONFLICT (version, up_checksum, down_checksum, schema_before, schema_with, server_version) DO UPDATE SET \
         verdict = excluded.verdict, fingerprint_format = excluded.fingerprint_format, proven_at = excluded.proven_at, \
         run_id = excluded.run_id, xid = excluded.xid, database_role = excluded.database_role, os_user = excluded.os_user, \
         host = excluded.host, tool_version = excluded.tool_version, reason = excluded.reason",
        proofs.iter().map(row).collect::<Vec<_>>().join(", ")
    )
}

/// All proofs that are kept, the newest first; none where there is no ledger, or one of a format that keeps none.
///
/// # Errors
/// As [`super::ledger()`].
pub async fn read_proofs(target: &Target) -> Result<Vec<Proof>, StoreError> {
    let mut session = Session::open(target).await?;
    session.begin_read(Pace::Quick).await?;
    if existence(&mut session).await? != Existence::Current {
        session.abandon().await;
        return Ok(Vec::new());
    }
    let query = sqlx::query(
        "SELECT version, up_checksum, down_checksum, schema_before, schema_with, verdict, fingerprint_format, server_version \
         FROM llmhub.migration_proof ORDER BY proven_at DESC, version",
    );
    let rows = session.rows(query).await?;
    session.abandon().await;
    // A verdict that this llmhub does not know proves nothing.
    Ok(rows.iter().filter_map(proof).collect())
}

fn proof(row: &PgRow) -> Option<Proof> {
    let text = |column: &str| row.try_get::<String, _>(column).ok();
    let number = |column: &str| u32::try_from(row.try_get::<i32, _>(column).ok()?).ok();
    let word = text("verdict")?;
    let verdict = [Verdict::Reversible, Verdict::ReversibleExceptColumnOrder].into_iter().find(|v| v.word() == word)?;
    Some(Proof {
        version: text("version")?,
        up_checksum: text("up_checksum")?,
        down_checksum: text("down_checksum")?,
        verdict,
        before: text("schema_before")?,
        with: text("schema_with")?,
        server: number("server_version")?,
        format: number("fingerprint_format")?,
    })
}
