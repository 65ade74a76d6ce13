//! One source, read and decided: what an edit starts from, and what it comes to.

use std::sync::Arc;

use super::intent::{Decision, Intent};
use crate::app::{App, Depth, Edit, FlagStore, Stance, pick};
use crate::domain::flags::merge::{Merged, merge};
use crate::domain::flags::{Flag, differences};
use crate::error::Error;

/// One source, read and decided.
pub struct Plan {
    /// The source.
    pub store: Arc<dyn FlagStore>,
    /// The states seen, most frequent first, at least one.
    pub states: Vec<Flag>,
    /// Addresses that did not answer.
    pub unreachable: Vec<String>,
    /// What the verb decided on them.
    pub decision: Decision,
    /// What that comes to.
    pub merged: Merged,
}

impl Plan {
    /// The flag before the edit.
    pub fn before(&self) -> &Flag {
        // `decide` keeps at least one state.
        self.states.first().unwrap_or(&self.merged.wanted)
    }

    /// Whether somebody may be on afterwards who was off.
    pub fn widens(&self) -> bool {
        !self.merged.narrows && !self.merged.already
    }

    /// The flag after the edit.
    pub fn after(&self) -> Flag {
        let mut after = self.before().clone();
        for member in self.decision.change.members() {
            member.copy(&self.merged.wanted, &mut after);
        }
        after
    }

    /// The edit for the store.
    pub fn edit(&self) -> Edit {
        let seen = self.before().clone();
        let narrows = self.merged.narrows && !self.merged.already;
        Edit {
            also_seen: self.states.iter().skip(1).cloned().collect(),
            wanted: self.after(),
            members: self.decision.change.members(),
            stance: if narrows { Stance::Determined } else { self.decision.stance },
            seen,
        }
    }
}

/// Read a source and decide. `known` are states seen by an attempt before this one.
pub async fn plan(store: &Arc<dyn FlagStore>, intent: &Intent<'_>, known: Vec<Flag>) -> Result<Plan, Error> {
    let survey = store.survey(Depth::Glance).await?;
    let mut states: Vec<Flag> = Vec::new();
    for variant in survey.variants {
        let flag = pick(store.source(), variant.flags, &intent.key)?;
        if !states.iter().any(|state| differences(state, &flag).is_empty()) {
            states.push(flag);
        }
    }
    for flag in known {
        if !states.iter().any(|state| differences(state, &flag).is_empty()) {
            states.push(flag);
        }
    }
    let decision = (intent.decide)(store.source(), &states)?;
    let (first, others) = states.split_first().ok_or_else(|| Error::Bug("a survey without a state".to_owned()))?;
    let merged = merge(first, others, &decision.change).map_err(|apart| {
        let members: Vec<&str> = apart.members.iter().map(|member| member.name()).collect();
        Error::Disagree {
            message: format!(
                "the hub's processes disagree in {} of `{}`; nothing was written",
                members.join(", "),
                intent.key
            ),
            hint: "bring them together first: llmhub flags sync --from db --to hub".to_owned(),
        }
    })?;
    Ok(Plan { store: Arc::clone(store), states, unreachable: survey.unreachable, decision, merged })
}

/// Say what the operator should know before the write.
pub fn say(app: &App, plan: &Plan) {
    for note in &plan.decision.notes {
        app.ui.note(note);
    }
    for warning in &plan.decision.warnings {
        app.ui.warn(warning);
    }
    say_apart(app, plan);
}

/// Say in what the processes of a hub stay apart.
pub fn say_apart(app: &App, plan: &Plan) {
    if !plan.merged.left_apart.is_empty() {
        let members: Vec<&str> = plan.merged.left_apart.iter().map(|member| member.name()).collect();
        app.ui.warn(&format!("the hub's processes disagree in {}; that is left as it is", members.join(", ")));
    }
}
