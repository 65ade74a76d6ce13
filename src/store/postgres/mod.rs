//! Flags in Postgres: persistent, guarded by revision, with an append-only history.
//!
//! Every operation opens its own connection, works in one explicit transaction and pins its settings inside it, so that it
//! behaves the same behind a transaction pooler. A write counts as done after another connection has read it back.

mod answer;
mod catalog;
mod examine;
mod failure;
mod flags;
mod history;
mod pace;
mod provider_keys;
pub mod rotation;
mod row;
mod session;
mod settle;
mod target;
mod users;

pub use examine::DatabaseFacts;
pub use flags::PostgresFlags;
pub use provider_keys::{PostgresKeys, Switch, Switched, Tested};
pub use target::Target;
pub use users::{Identity, UserCount};

pub(in crate::store) use failure::{Failure, Place};
pub(in crate::store) use pace::{Backend, Mark, Pace, Transaction, Work};
pub(in crate::store) use session::Session;
pub(in crate::store) use settle::{After, Durability, close, settle};
pub(in crate::store) use target::Connections;
