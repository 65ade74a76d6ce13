//! A rollback that was proven before: the kept proofs, held against the texts and the schema that are there now.
//!
//! Pure but for its imports: nothing is asked of a server. It needs a proof for every step, for exactly its texts, and live must
//! be exactly the schema that the proof was made on; then nothing has to be rehearsed, and no scratch database to be made.

use crate::domain::migrations::Recorded;
use crate::domain::proof::Proof;
use crate::domain::schema::{Doomed, Fingerprint, Level, all_doomed, diff};
use crate::store::database::{Change, Texts, Undo};

/// How exactly a kept proof looks: it was made by another role, so owners and grants are not its matter.
const LEVEL: Level = Level::LogicalWithoutOwners;

/// What a kept proof says of one step.
pub(super) struct Kept {
    /// What its down must change.
    pub(super) change: Change,
    /// What it destroys if it holds anything.
    pub(super) doomed: Vec<Doomed>,
    /// For the history, as JSON.
    pub(super) proof: String,
}

/// What the kept proofs say of `steps`, newest first; `None` unless they speak of all of them.
pub(super) fn kept(
    proofs: &[Proof],
    live: &Fingerprint,
    chosen: &[Recorded],
    steps: &[Undo],
    texts: &[Texts],
) -> Option<Vec<Kept>> {
    let mut now = live.portable();
    let mut found = Vec::with_capacity(steps.len());
    for ((entry, step), texts) in chosen.iter().zip(steps).zip(texts) {
        let (down_checksum, with) = (step.down.checksum().ok()?, now.hash(LEVEL));
        let proof = proofs.iter().find(|proof| {
            proof.version == entry.version.as_str()
                && proof.holds(&entry.up_checksum, down_checksum.as_str(), &with, now.server, now.format)
        })?;
        // The ledger has the schema itself, of which the proof has the hash.
        let before = texts.before.as_ref()?.portable();
        if before.hash(LEVEL) != proof.before {
            return None;
        }
        let change = Change { differences: diff(&now, &before, LEVEL).ok()?, level: LEVEL };
        let doomed = all_doomed(&now, &before, &step.down);
        let proof = serde_json::json!({
            "verdict": proof.verdict,
            "on": "record",
            "before": proof.with,
            "after": proof.before,
            "server": proof.server,
            "format": proof.format,
        });
        found.push(Kept { change, doomed, proof: proof.to_string() });
        now = before;
    }
    Some(found)
}
