//! What the tests stand on: servers that they start themselves on loopback and end themselves, the real binary, and clients
//! that can be precise to the byte.

pub mod cli;
pub mod cut;
pub mod hub;
pub mod pgbouncer;
pub mod places;
pub mod postgres;
pub mod prometheus;
pub mod provider;
pub mod raw_http;
pub mod shapes;
pub mod strike;
