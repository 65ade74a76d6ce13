//! Provider keys: what one is and how it is shown, and which master key opens a stored one.
//!
//! Nothing here can print a secret: the types that hold one have neither `Debug` nor `Display`.

pub mod audit;
pub mod import;
pub mod leak;
pub mod provider;
pub mod ring;
pub mod rotation;
pub mod secret;
pub mod words;
