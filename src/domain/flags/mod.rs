//! What a feature flag is, who it is on for, and which edits of it are allowed.

pub mod bucket;
pub mod change;
pub mod cohort;
pub mod convergence;
pub mod dates;
pub mod digest;
pub mod env_names;
pub mod evaluate;
pub mod flag;
pub mod ladder;
pub mod md5_lanes;
pub mod merge;
pub mod python;

pub use change::{Change, ListName, Member, MemberDiff, differences};
pub use flag::{Flag, FlagKey, FlagKeyError, Percent, PercentError, StoredPercent};
