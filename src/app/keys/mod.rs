//! Provider keys: opening their stores, the ring of master keys, the ways in, and what is known of each row.

mod audit;
mod by_hub;
mod entry;
mod known;
mod ring;
mod stores;
mod test;
mod verify;

pub use self::entry::WayIn;
pub use self::known::{Effective, Known};
pub use self::ring::KeyRing;
pub use self::test::{KeyTest, is_in_clear};
pub use self::verify::{Endpoint, provider_address};
pub use crate::store::keys::{KeyStore, Material, NewKey, RowFault, StoredKey};
pub use crate::store::postgres::Switch;
