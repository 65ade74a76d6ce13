//! What is known of the way back of a migration: the verdict on it, and the proof that is kept of a good one.
//!
//! A proof holds for exactly these two texts on exactly this schema and nothing else. What depends on the clock is named, not
//! hidden.

mod back;
mod prerequisite;
mod volatile;

use serde::Serialize;

pub use back::{GivenBack, given_back, harmed_unapplied};
pub use prerequisite::prerequisites;
pub use volatile::{Settled, settle};

/// What became of a migration that was applied, undone and applied again. Declared from bad to good: the first that applies is
/// the verdict (DESIGN 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Its up does not run.
    UpFailed,
    /// It has no down.
    Irreversible,
    /// Its down has no statement.
    DownEmpty,
    /// Its down does not run.
    DownFailed,
    /// Its down leaves something, or takes what was there before.
    Residue,
    /// The schema is what it was, and rows that the up had left alone are not.
    DataLoss,
    /// Only the order of columns is another one.
    ReversibleExceptColumnOrder,
    /// The schema is what it was.
    Reversible,
}

impl Verdict {
    /// Whether it counts as a proof.
    pub fn is_proven(self) -> bool {
        matches!(self, Self::Reversible | Self::ReversibleExceptColumnOrder)
    }

    /// Make it this one, if that is worse.
    pub fn worsen(&mut self, verdict: Self) {
        *self = (*self).min(verdict);
    }

    /// The word of the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::UpFailed => "up_failed",
            Self::Irreversible => "irreversible",
            Self::DownEmpty => "down_empty",
            Self::DownFailed => "down_failed",
            Self::Residue => "residue",
            Self::DataLoss => "data_loss",
            Self::ReversibleExceptColumnOrder => "reversible_except_column_order",
            Self::Reversible => "reversible",
        }
    }
}

/// What is kept of a verdict, to be held against a rollback later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// As in its file name.
    pub version: String,
    /// The checksum of the up that was tried.
    pub up_checksum: String,
    /// The checksum of the down that was tried.
    pub down_checksum: String,
    /// What was found.
    pub verdict: Verdict,
    /// The hash of the schema before the up, as a copy can be compared, without owners.
    pub before: String,
    /// The hash of the schema with the up applied.
    pub with: String,
    /// The server's `server_version_num`.
    pub server: u32,
    /// The format of the fingerprints.
    pub format: u32,
}

impl Proof {
    /// Whether it speaks of these texts, on this schema, as this server prints it.
    pub fn holds(&self, up_checksum: &str, down_checksum: &str, with: &str, server: u32, format: u32) -> bool {
        self.verdict.is_proven()
            && self.up_checksum == up_checksum
            && self.down_checksum == down_checksum
            && self.with == with
            && self.server / 10_000 == server / 10_000
            && self.format == format
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Verdict; 8] = [
        Verdict::UpFailed,
        Verdict::Irreversible,
        Verdict::DownEmpty,
        Verdict::DownFailed,
        Verdict::Residue,
        Verdict::DataLoss,
        Verdict::ReversibleExceptColumnOrder,
        Verdict::Reversible,
    ];

    #[test]
    fn the_worst_wins_and_only_the_last_two_are_a_proof() {
        for (number, verdict) in ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.word());
            assert_eq!(verdict.is_proven(), number >= 6, "{verdict:?}");
            let mut worst = Verdict::Reversible;
            worst.worsen(verdict);
            worst.worsen(Verdict::ReversibleExceptColumnOrder);
            assert_eq!(worst, verdict.min(Verdict::ReversibleExceptColumnOrder));
        }
    }

    #[test]
    fn a_proof_holds_for_its_texts_its_schema_and_its_major_only() {
        let text = str::to_owned;
        let proof = |verdict| Proof {
            version: text("1"),
            up_checksum: text("u"),
            down_checksum: text("d"),
            verdict,
            before: text("f0"),
            with: text("f1"),
            server: 150_004,
            format: 1,
        };
        let good = proof(Verdict::Reversible);
        assert!(good.holds("u", "d", "f1", 150_018, 1));
        assert!(!good.holds("U", "d", "f1", 150_004, 1));
        assert!(!good.holds("u", "D", "f1", 150_004, 1));
        assert!(!good.holds("u", "d", "f2", 150_004, 1));
        assert!(!good.holds("u", "d", "f1", 160_004, 1));
        assert!(!good.holds("u", "d", "f1", 150_004, 2));
        assert!(!proof(Verdict::DataLoss).holds("u", "d", "f1", 150_004, 1));
    }
}
