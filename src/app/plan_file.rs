//! A plan file: read, judged as a whole, and refused before anything is changed.

use std::path::Path;

use super::App;
use crate::domain::flags::FlagKey;
use crate::domain::rollout::plan::{Parsed, Plan, parse};
use crate::error::Error;

/// A sound plan with the text that it was read from.
pub struct PlanFile {
    /// The plan.
    pub plan: Plan,
    /// The text, whose digest a run keeps.
    pub text: String,
}

impl App {
    /// Read a plan (`-` is stdin) for this flag; says what is allowed but seldom meant.
    ///
    /// # Errors
    /// [`Error::Store`] for what cannot be read, [`Error::Input`] with `FILE:LINE: …` for each fault, [`Error::Refused`] for a
    /// plan of another flag.
    pub fn read_plan(&self, path: &Path, flag: &FlagKey) -> Result<PlanFile, Error> {
        let text = self.read_text(path)?;
        let name = path.display().to_string();
        let Parsed { plan, warnings } = parse(&text, &self.ladder()).map_err(|faults| Error::Input {
            message: faults.iter().map(|fault| fault.at(&name)).collect::<Vec<_>>().join("\n"),
            hint: "correct these lines; nothing was written".to_owned(),
        })?;
        for warning in &warnings {
            self.ui.warn(&warning.at(&name));
        }
        if plan.flag != *flag {
            return Err(Error::Refused {
                message: format!("{name} is a plan for `{}`, not for `{flag}`; nothing was written", plan.flag),
                hint: "name the flag of the plan, or write a plan for this one: llmhub rollout plan".to_owned(),
            });
        }
        Ok(PlanFile { plan, text })
    }
}
