//! `llmhub`: one command line for the operators of an LLM hub.
//!
//! ```text
//! main → lib::run → commands → { app, domain, ui, error }
//!                        app → { store, ui, config, error }
//!                      store → { domain, config }
//!                      error → the error types of { store, domain, config, ui }
//!         domain, ui, config → nothing in this crate
//! ```
//!
//! `tests/architecture.rs` holds these arrows. Only `ui` prints, only `main` exits, only `store` does I/O.

#![forbid(unsafe_code)]

pub mod domain;
pub mod store;
pub mod ui;
