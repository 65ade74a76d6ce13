//! `db adopt`: what was there before llmhub.

mod folder;

pub use folder::Adopt;
