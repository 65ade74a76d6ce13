//! A folder of legacy scripts turned into an ordered set: which file undoes which, what each makes and needs, in which order to
//! try them, and the manifest that says so.
//!
//! Pure: the files are given, and what a scratch database said comes in as [`Verdict`]s. Nothing is moved or rewritten; every
//! file becomes an entry or is ignored with a reason, and every guess is told.

mod comments;
mod facts;
mod folder;
mod habits;
mod manifest;
mod order;
mod outside;
mod pairs;
mod problem;
mod proposal;
mod rivals;

pub use comments::Offer;
pub use facts::{Facts, Kind, Made, Object, Taken, facts, name_at};
pub use folder::{Candidate, Legacy, Role};
pub use order::{Order, order};
pub use problem::{Problem, Trouble};
pub use proposal::{Basis, Entry, Proposal, Stumble, Verdict, propose};
