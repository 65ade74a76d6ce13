//! What a plan may say but seldom means.

use std::time::Duration;

use super::reader::Finding;
use super::{Plan, Relative, Role, Scope};
use crate::domain::flags::Percent;

/// Warnings, by the lines of their metrics; `bake` is the line of that key.
pub(super) fn warnings(plan: &Plan, bake: usize, lines: &[usize]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (metric, line) in plan.metrics.iter().zip(lines) {
        let mut warn =
            |message: String| found.push(Finding { line: *line, message: format!("`{}`: {message}", metric.name) });
        let smallest = plan.steps.rungs().iter().find(|rung| **rung > Percent::ZERO);
        if metric.role != Role::Shadow
            && metric.scope == Scope::All
            && let Some(rung) = smallest.filter(|rung| rung.get() < 50)
        {
            let diluted = f64::from(rung.get()) * 0.3;
            warn(format!(
                "it is about all users: at {rung} % a cohort failing 30 % of the time shows as about {diluted:.1} %"
            ));
        }
        if metric.window > plan.bake {
            warn("its window is longer than the bake: no full window fits into it".to_owned());
        }
        if metric.relative == Relative::Control && metric.role == Role::Guardrail {
            warn(
                "at 100 % nobody is without the feature: there is nothing to compare with, and the run will hold"
                    .to_owned(),
            );
        }
        if metric.interval > metric.window {
            warn("its interval is longer than its window: what happens between two windows is never seen".to_owned());
        }
        let passes = metric.window.saturating_mul(metric.required_passes);
        if metric.role == Role::Guardrail
            && metric.window <= plan.bake
            && passes > plan.bake.saturating_add(plan.max_hold)
        {
            let minutes = passes.as_secs().div_ceil(60);
            warn(format!("its passes take at least {minutes} min, longer than `bake` and `max_hold` together"));
        }
        let odd: Vec<String> = metric
            .thresholds
            .keys()
            .filter(|rung| !plan.steps.rungs().contains(rung) && rung.get() != 50)
            .map(ToString::to_string)
            .collect();
        if !odd.is_empty() {
            warn(format!("`at` names {} %, which is no step", odd.join(", ")));
        }
    }
    if plan.bake < Duration::from_secs(60) {
        let message = "the bake is shorter than a minute: few faults show so soon".to_owned();
        found.push(Finding { line: bake, message });
    }
    found.sort();
    found
}
