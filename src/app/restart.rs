//! What the hub would hold after its next start: what its env file says, by the hub's own rules.

use super::App;
use crate::domain::flags::{Flag, Member, differences};
use crate::store::env_file::PredictError;

/// Whether a restart keeps what was written.
#[derive(Clone, Debug)]
pub struct AfterRestart {
    /// Whether the env file holds the same; `None` when that cannot be told.
    pub keeps: Option<bool>,
    /// What a restart returns to, in words, where it differs.
    pub words: String,
}

impl App {
    /// Compare the flag with what the env file would load; `None` when no env file is configured.
    pub fn after_restart(&self, wanted: &Flag) -> Option<AfterRestart> {
        let file = self.env_file().ok()?;
        let loaded = match file.predict(&wanted.key) {
            Ok(loaded) => loaded,
            // The hub would not come back at all: that is a certain no.
            Err(error @ PredictError::ImportFails { .. }) => {
                return Some(AfterRestart { keeps: Some(false), words: format!("the hub would not start: {error}") });
            }
            Err(error) => return Some(AfterRestart { keeps: None, words: error.to_string() }),
        };
        let differing: Vec<Member> =
            Member::DECIDING.into_iter().filter(|member| !member.same(&loaded, wanted)).collect();
        let words = match differing.first() {
            None => String::new(),
            Some(Member::Percentage) => format!("the env file says {}", loaded.percentage),
            Some(Member::Enabled) => {
                format!("the env file says {}", if loaded.is_enabled() { "enabled" } else { "disabled" })
            }
            Some(_) => {
                let names: Vec<&str> = differences(&loaded, wanted).iter().map(|diff| diff.member).collect();
                format!("the env file has another {}", names.join(", "))
            }
        };
        Some(AfterRestart { keeps: Some(differing.is_empty()), words })
    }
}
