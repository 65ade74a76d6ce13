//! All integration tests, as one binary: it links once, and tests share their support code.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a broken assumption shall fail the test")]

mod hub_double;
mod support;
