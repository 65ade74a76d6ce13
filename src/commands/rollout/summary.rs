//! The same standing for a pull request or the summary of a CI job: facts and a table of gates instead of a picture in columns.

use super::view::{ladder, next, number, reached, step};
use crate::app::{GateView, Standing};
use crate::ui::{Page, Tone};

/// Write it down.
pub fn summary(standing: &Standing, page: &mut Page) {
    let why = standing.going_back.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let state = format!("{}{why}", standing.state.word());
    page.spans(&[(Tone::Plain, "Rollout of "), (Tone::Strong, &standing.flag), (Tone::Plain, &format!(": {state}"))]);
    if let Some(profile) = &standing.profile {
        page.fact("profile", profile);
    }
    page.fact(
        "run",
        format!("{}, begun {} by {}", standing.run, standing.started_at.strftime("%F %T UTC"), standing.started_by),
    );
    page.fact("steps", ladder(&standing.steps, standing.wanted));
    page.fact("step", step(standing));
    if let Some(cohort) = &standing.cohort {
        page.fact("users", reached(cohort));
    }
    let next = next(standing);
    if !next.is_empty() {
        page.fact("then", next.trim_start_matches("next: "));
    }
    page.table(
        &[
            "gate",
            "verdict",
            "last",
            "passes if",
            "samples",
            "pass",
            "fail",
            "inconclusive",
            "no data",
            "invalid",
            "error",
        ],
        standing.gates.iter().map(gate),
    );
    for reason in standing.reasons.iter().filter(|_| !standing.state.is_terminal()) {
        page.line(format!("- {reason}"));
    }
    for gap in &standing.unproven {
        page.toned(Tone::Bad, format!("not proven: {gap}"));
    }
    if let Some(broken) = standing.history_broken_at {
        page.toned(Tone::Bad, format!("its history was changed from event {broken} on"));
    }
}

fn gate(gate: &GateView) -> Vec<(Tone, String)> {
    let none = || "none".to_owned();
    let cells = [
        gate.metric.clone(),
        gate.verdict.unwrap_or("none yet").to_owned(),
        gate.value.map_or_else(none, |value| number(value, gate.ratio)),
        gate.pass_if.clone().unwrap_or_default(),
        gate.samples.map_or_else(String::new, |samples| samples.to_string()),
        format!("{} of {}", gate.passes, gate.passes_wanted),
        format!("{} of {}", gate.failures, gate.failures_allowed),
        gate.inconclusive.to_string(),
        gate.nodata.to_string(),
        gate.invalid.to_string(),
        gate.errors.to_string(),
    ];
    cells.into_iter().map(|cell| (Tone::Plain, cell)).collect()
}
