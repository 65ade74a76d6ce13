//! What a feature flag is, who it is on for, and which edits of it are allowed.

pub mod change;
pub mod convergence;
pub mod dates;
pub mod env_names;
pub mod evaluate;
pub mod flag;
pub mod ladder;
pub mod merge;
pub mod python;

pub use change::{Change, ListName, Member, MemberDiff, differences};
pub use flag::{Flag, FlagKey, FlagKeyError, Percent, PercentError, StoredPercent};
