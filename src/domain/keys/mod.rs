//! Provider keys: what one is and how it is shown, which master key opens a stored one, what a provider is asked about it, and
//! what the answer means.
//!
//! Nothing here can print a secret: the types that hold one have neither `Debug` nor `Display`.

pub mod audit;
pub mod import;
pub mod leak;
pub mod provider;
pub mod question;
pub mod ring;
pub mod rotation;
pub mod secret;
pub mod verdict;
pub mod words;
