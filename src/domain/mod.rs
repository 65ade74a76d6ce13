//! Decisions, and nothing but decisions.
//!
//! Pure code: no I/O, no clock, no randomness, no async, no import from outside `domain`. What time it is, what a server
//! said and what a file holds come in as arguments, so every rule here is tested as a table.

pub mod adopt;
pub mod assess;
pub mod dotenv;
pub mod fernet;
pub mod flags;
pub mod foreign_ledger;
pub mod incident;
pub mod keys;
pub mod lint;
pub mod migrations;
pub mod proof;
pub mod rollout;
pub mod rows;
pub mod schema;
pub mod seeds;
pub mod test_database;
