//! What a waiting run waits for, and until when (rollout.md 8: every waiting line names the next event and its time).

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::decide::{Action, Cause, Decision, Tick};
use super::plan::{OnDeadline, Role};

/// The next thing that will happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextEvent {
    /// In words.
    pub what: String,
    /// When; `None` when it depends on a person.
    pub at: Option<Timestamp>,
}

/// What a run waits for after this decision. `None` when it does not wait.
pub fn next_event(tick: &Tick<'_>, decision: &Decision) -> Option<NextEvent> {
    let after = |span: Duration| tick.now.checked_add(span).ok();
    let person = |what: &str| Some(NextEvent { what: what.to_owned(), at: None });
    match decision.action {
        Action::Complete | Action::Advance | Action::Rollback => return None,
        Action::Pause => {
            return person("a person resumes it, or ends it (llmhub rollout resume, llmhub rollout abort)");
        }
        Action::Conflict => {
            return person("a person settles the conflict (llmhub rollout resume, llmhub rollout abort)");
        }
        Action::Hold => {}
    }
    if decision.has(Cause::Baking) {
        return Some(NextEvent { what: "the bake ends".to_owned(), at: after(tick.bake.left(tick.plan)) });
    }
    if decision.reasons.iter().all(|reason| reason.cause == Cause::Approval) {
        return person("a person promotes it (llmhub rollout promote)");
    }
    if decision.reasons.iter().all(|reason| matches!(reason.cause, Cause::PassesMissing | Cause::Approval)) {
        return Some(NextEvent { what: "the next measurement".to_owned(), at: next_measurement(tick) });
    }
    let what = match tick.plan.on_deadline {
        OnDeadline::Pause => "it pauses, unless what holds it ends",
        OnDeadline::Rollback => "it rolls back, unless what holds it ends",
    };
    Some(NextEvent { what: what.to_owned(), at: after(tick.bake.deadline_left(tick.plan)) })
}

/// When the first of the guardrails is measured next.
fn next_measurement(tick: &Tick<'_>) -> Option<Timestamp> {
    let due = tick.gates.iter().filter(|gate| gate.metric.role == Role::Guardrail).filter_map(|gate| {
        let due = match &gate.counters.last {
            Some(last) => last.at.checked_add(gate.metric.interval),
            None => tick.bake.started_at.checked_add(gate.metric.initial_delay),
        };
        due.ok()
    });
    due.min().map(|due| due.max(tick.now))
}
