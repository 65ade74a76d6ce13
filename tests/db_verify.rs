//! `db verify` through the real binary, and how much of what can be wrong with a down it sees.

mod containment;
mod kept;
mod mutants;
mod verdicts;
