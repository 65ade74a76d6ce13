//! Keys of providers: what they are, what is asked about them, and what the answers mean.
//!
//! No key is shown here, and none is told from another except by its fingerprint.

pub mod provider;
pub mod question;
pub mod verdict;
