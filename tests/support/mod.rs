//! What the tests stand on: doubles of the servers llmhub talks to, and clients that can be precise to the byte.

pub mod hub;
pub mod raw_http;
