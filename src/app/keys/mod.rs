//! Provider keys: the ring of master keys.

mod ring;

pub use self::ring::KeyRing;
