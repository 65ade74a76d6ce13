//! What one metric calls for, by what was counted of it on the present rung (rollout.md 5).
//!
//! The table of [`super::decide`] tests it as a part of whole incidents.

use super::counters::Trip;
use super::decide::{Action, Cause, Evidence, Gate, Reason, Tick, reason};
use super::plan::{OnTrouble, Role};
use super::verdict::{Reach, Verdict};
use crate::domain::flags::Percent;

/// What was measured of a metric last.
pub(super) fn evidence(gate: &Gate<'_>) -> Option<Evidence> {
    let last = gate.counters.last.as_ref()?;
    Some(Evidence {
        metric: gate.metric.name.clone(),
        source: gate.metric.query.source().word().to_owned(),
        query: gate.metric.query.to_string(),
        verdict: last.judgement.verdict,
        value: last.judgement.value,
        samples: last.judgement.samples,
        at: last.window.to,
        reason: last.judgement.reason.clone(),
    })
}

/// What one metric calls for.
pub(super) fn gate_reasons(tick: &Tick<'_>, gate: &Gate<'_>) -> Vec<Reason> {
    let mut found = Vec::new();
    match gate.metric.role {
        Role::Shadow => {}
        Role::Signal => found.extend(signal(gate)),
        Role::Guardrail => {
            found.extend(failures(gate));
            // At rung 0 a handful of users make no statistics: there only a failure counts, and a person promotes.
            if tick.rung != Percent::ZERO {
                found.extend(trouble(gate));
                found.extend(missing_passes(tick, gate));
            }
        }
    }
    for reason in &mut found {
        reason.metric = Some(gate.metric.name.clone());
    }
    found
}

fn signal(gate: &Gate<'_>) -> Option<Reason> {
    let last = &gate.counters.last.as_ref()?.judgement;
    matches!(last.verdict, Verdict::Fail | Verdict::Inconclusive)
        .then(|| reason(Action::Hold, Cause::Signal, format!("{} (a signal only holds)", last.reason)))
}

/// Failures, counted or open.
fn failures(gate: &Gate<'_>) -> Vec<Reason> {
    let (metric, counters) = (gate.metric, gate.counters);
    let last = counters.last.as_ref().map(|last| &last.judgement);
    let mut found = Vec::new();
    if let Some(trip) = counters.tripped {
        let text = match trip {
            Trip::Critical => "failed, and is critical".to_owned(),
            Trip::Consecutive => {
                format!("failed {} times in a row", metric.rollback_at_consecutive_failures)
            }
            Trip::Total => format!("failed {0} of {0} times on this rung", metric.rollback_at_total_failures),
        };
        found.push(reason(Action::Rollback, Cause::Failures, text));
    } else if counters.consecutive_failures > 0 {
        let text = format!(
            "failed {} of {} times in a row, {} of {} on this rung; it is measured again",
            counters.consecutive_failures,
            metric.rollback_at_consecutive_failures,
            counters.failures,
            metric.rollback_at_total_failures
        );
        found.push(reason(Action::Hold, Cause::OpenFailure, text));
    }
    if let Some(last) = last.filter(|last| last.verdict == Verdict::Fail && last.reach == Reach::Everyone) {
        found.push(reason(Action::Hold, Cause::CommonOutage, last.reason.clone()));
    }
    found
}

fn called_for(trouble: OnTrouble) -> Action {
    match trouble {
        OnTrouble::Hold => Action::Hold,
        OnTrouble::Pause => Action::Pause,
        OnTrouble::Rollback => Action::Rollback,
    }
}

/// Measurements that say nothing.
fn trouble(gate: &Gate<'_>) -> Vec<Reason> {
    let (metric, counters) = (gate.metric, gate.counters);
    let mut found = Vec::new();
    if counters.open_inconclusive >= metric.max_inconclusive {
        let text = format!("inconclusive {} of {} times", counters.open_inconclusive, metric.max_inconclusive);
        found.push(reason(Action::Pause, Cause::Inconclusive, text));
    }
    let Some(last) = counters.last.as_ref().map(|last| &last.judgement) else { return found };
    let said = |word: &str| format!("{word}: {}", last.reason);
    match last.verdict {
        Verdict::NoData => found.push(reason(called_for(metric.on_nodata), Cause::NoData, said("no data"))),
        Verdict::Invalid => found.push(reason(called_for(metric.on_invalid), Cause::Invalid, said("no measurement"))),
        // One error is measured again; a gauge that stays silent is dead.
        Verdict::Error if counters.consecutive_errors < metric.max_consecutive_errors => {
            found.push(reason(Action::Hold, Cause::SourceFails, said("the source fails")));
        }
        Verdict::Error => {
            let text = format!("the source failed {} times in a row: {}", counters.consecutive_errors, last.reason);
            found.push(reason(called_for(metric.on_error), Cause::SourceFails, text));
        }
        Verdict::Inconclusive => found.push(reason(Action::Hold, Cause::Inconclusive, last.reason.clone())),
        Verdict::Fail | Verdict::Pass => {}
    }
    found
}

/// What is missing before this metric lets the rung go.
fn missing_passes(tick: &Tick<'_>, gate: &Gate<'_>) -> Option<Reason> {
    let (metric, counters) = (gate.metric, gate.counters);
    // Zero passes never promote, whatever a plan asks for.
    let needed = metric.required_passes.max(1);
    if counters.consecutive_passes < needed {
        let text = format!("{} of {needed} passes", counters.consecutive_passes);
        return Some(reason(Action::Hold, Cause::PassesMissing, text));
    }
    let last = counters.last.as_ref().filter(|last| last.judgement.verdict == Verdict::Pass)?;
    if last.window.from < tick.measured_since {
        let text = "no full window since the run was taken up again";
        return Some(reason(Action::Hold, Cause::PassesMissing, text));
    }
    let age = tick.now.duration_since(last.at);
    let fresh = jiff::SignedDuration::try_from(metric.window + metric.interval + metric.interval).ok();
    if age.is_negative() || fresh.is_some_and(|fresh| age > fresh) {
        return Some(reason(Action::Hold, Cause::Stale, "the latest pass is too old, or the clock jumped"));
    }
    None
}
