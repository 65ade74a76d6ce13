//! A gated rollout: what a plan says, what a measurement means, and what to do next (rollout.md 5).
//!
//! Pure rules over samples and states. What time it is, what was measured and what the processes hold come in as arguments.

pub mod bake;
pub mod condition;
pub mod counters;
pub mod decide;
mod gates;
pub mod narrow;
pub mod next_event;
pub mod plan;
pub mod query;
pub mod reach;
pub mod reading;
pub mod state;
pub mod verdict;
