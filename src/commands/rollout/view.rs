//! The one picture of a rollout: ladder, wanted and actual percentage, processes that agree, gates, why it waits and until when.
//!
//! `rollout run`, `rollout status` and `flags watch` draw from here. It fits 80 columns, and no word depends on colour.

use serde::Serialize;

use super::summary::summary;
use crate::app::{GateView, Standing};
use crate::domain::rollout::decide::minutes;
use crate::domain::rollout::reach::Reach;
use crate::domain::rollout::state::State;
use crate::domain::rollout::verdict::shown;
use crate::ui::{Page, Tone, View};

/// Columns that a line may have.
const WIDTH: usize = 80;

/// `rollout status`
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct StatusView(pub Standing);

impl View for StatusView {
    fn page(&self, page: &mut Page) {
        draw(&self.0, page);
    }

    fn summary(&self, page: &mut Page) {
        summary(&self.0, page);
    }
}

/// A ladder with the rung that stands in brackets.
pub fn ladder(rungs: &[u8], at: Option<u8>) -> String {
    let rungs: Vec<String> =
        rungs.iter().map(|rung| if at == Some(*rung) { format!("[{rung}]") } else { rung.to_string() }).collect();
    rungs.join(" · ")
}

/// The last line of something that is watched.
pub fn watched(page: &mut Page, next: std::time::Duration) {
    page.toned(Tone::Dim, format!("next look in {} s · Ctrl-C ends", next.as_secs().max(1)));
}

/// The head of a picture: whose flag, and where.
pub fn head(page: &mut Page, flag: &str, rest: &str) {
    page.spans(&[(Tone::Strong, "FLAG "), (Tone::Plain, &fit(flag, 40)), (Tone::Dim, &format!("   {rest}"))]);
}

/// Draw how a run stands.
pub fn draw(standing: &Standing, page: &mut Page) {
    let profile = standing.profile.as_ref().map(|profile| format!("profile {profile}   ")).unwrap_or_default();
    head(page, &standing.flag, &format!("{profile}run {}", standing.run));
    let lease = match &standing.lease {
        Some(lease) => format!("{}   lease {} s", lease.holder, lease.seconds_left),
        None if standing.state.is_terminal() => format!("nobody any more (begun by {})", standing.started_by),
        None => format!("nobody acts (begun by {})", standing.started_by),
    };
    page.spans(&[(Tone::Dim, "BY   "), (Tone::Plain, &fit(&lease, WIDTH - 5))]);
    page.spans(&[
        (Tone::Strong, "STATE "),
        (tone(standing.state), standing.state.word()),
        (Tone::Plain, &why(standing)),
    ]);
    page.spans(&[(Tone::Strong, "STEP "), (Tone::Plain, &fit(&step(standing), WIDTH - 5))]);
    if let Some(live) = &standing.live
        && live.verdict == "partial"
    {
        page.toned(Tone::Bad, fit(&format!("     {}", live.evidence), WIDTH));
    }
    page.spans(&[(Tone::Dim, "     "), (Tone::Plain, &fit(&ladder(&standing.steps, standing.wanted), WIDTH - 5))]);
    if let Some(cohort) = &standing.cohort {
        page.spans(&[(Tone::Dim, "COHORT "), (Tone::Plain, &reached(cohort))]);
    }
    for gate in &standing.gates {
        gate_line(gate, page);
    }
    for reason in standing.reasons.iter().filter(|_| !standing.state.is_terminal()) {
        page.spans(&[(Tone::Dim, "  - "), (Tone::Plain, &fit(&reason.to_string(), WIDTH - 4))]);
    }
    for gap in &standing.unproven {
        page.toned(Tone::Bad, fit(&format!("not proven: {gap}"), WIDTH));
    }
    if let Some(broken) = standing.history_broken_at {
        page.toned(Tone::Bad, format!("its history was changed from event {broken} on"));
    }
    let next = next(standing);
    if !next.is_empty() {
        page.toned(Tone::Dim, next);
    }
}

fn tone(state: State) -> Tone {
    match state {
        State::Completed | State::Baking | State::Evaluating | State::Applying | State::Converging | State::Planned => {
            Tone::Good
        }
        State::Holding | State::Paused | State::AwaitingApproval | State::AbortedKept => Tone::Warn,
        State::Conflict | State::RollingBack | State::RolledBack | State::RollbackUnverified | State::Abandoned => {
            Tone::Bad
        }
    }
}

fn why(standing: &Standing) -> String {
    let why = match (&standing.going_back, standing.reasons.first()) {
        (Some(why), _) => why.clone(),
        (None, Some(reason)) if !standing.state.is_terminal() => reason.to_string(),
        _ => String::new(),
    };
    let stored = if standing.state == standing.stored_state {
        String::new()
    } else {
        format!(" (was {})", standing.stored_state)
    };
    let why = if why.is_empty() { why } else { format!(": {why}") };
    fit(&format!("{stored}{why}"), WIDTH - 6 - standing.state.word().len())
}

pub(super) fn step(standing: &Standing) -> String {
    let place = standing.wanted.and_then(|wanted| standing.steps.iter().position(|rung| *rung == wanted));
    let mut words = vec![match (place, standing.wanted) {
        (Some(place), Some(wanted)) => format!("{}/{}  wanted {wanted} %", place + 1, standing.steps.len()),
        _ => standing.back_from.map_or_else(|| "not begun".to_owned(), |rung| format!("back from {rung} %")),
    }];
    words.extend(standing.live.as_ref().map(crate::app::Processes::words));
    if let Some(persisted) = standing.persisted {
        words.push(format!("persisted {}", if persisted { "yes" } else { "no" }));
    }
    if let Some(bake) = standing.bake.as_ref().filter(|_| !standing.state.is_terminal()) {
        let span = |seconds| minutes(std::time::Duration::from_secs(seconds));
        words.push(format!("bake {} of {}", span(bake.seconds_done), span(bake.seconds_wanted)));
    }
    words.join("  ")
}

fn gate_line(gate: &GateView, page: &mut Page) {
    let (tone, word) = match gate.verdict {
        Some("pass") => (Tone::Good, "ok  "),
        Some("fail") => (Tone::Bad, "fail"),
        Some(_) => (Tone::Warn, "hold"),
        None => (Tone::Dim, "…   "),
    };
    let value = gate.value.map_or_else(|| "no value".to_owned(), |value| number(value, gate.ratio));
    let condition = gate.pass_if.as_ref().map(|condition| format!(" ({condition})")).unwrap_or_default();
    let samples = gate.samples.map(|samples| format!(" n={samples}")).unwrap_or_default();
    let line = format!(
        " {:<14} pass {}/{} fail {}/{} inc {} nodata {} inv {} err {}  ",
        fit(&gate.metric, 14),
        gate.passes,
        gate.passes_wanted,
        gate.failures,
        gate.failures_allowed,
        gate.inconclusive,
        gate.nodata,
        gate.invalid,
        gate.errors,
    );
    page.spans(&[(tone, word), (Tone::Plain, line.trim_end())]);
    let last = format!("last {value}{condition}{samples}  {}", sparkline(&gate.history));
    page.spans(&[(Tone::Dim, "     "), (Tone::Plain, &fit(last.trim_end(), WIDTH - 5))]);
}

/// Whom a rung reaches.
pub(super) fn reached(reach: &Reach) -> String {
    format!("+{}, now {} of {}", reach.gained, reach.on, reach.of)
}

/// A number as a gate shows it; a ratio has no unit.
pub(super) fn number(value: f64, ratio: bool) -> String {
    if ratio { format!("×{}", shown(value)) } else { shown(value) }
}

/// Values as bars of eight heights between their smallest and largest; a gap where there was none.
pub fn sparkline(values: &[Option<f64>]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let (low, high) =
        finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    values
        .iter()
        .map(|value| match value {
            Some(value) if value.is_finite() => {
                let share = if high > low { (value - low) / (high - low) } else { 0.0 };
                // A share of 0 to 1 times 7 is a place in the table.
                BARS.get((share * 7.0).round() as usize).copied().unwrap_or('█')
            }
            _ => '·',
        })
        .collect()
}

pub(super) fn next(standing: &Standing) -> String {
    if let Some(next) = standing.next.as_ref().filter(|_| !standing.state.is_terminal()) {
        let left = next.at.map(|at| {
            let left = std::time::Duration::try_from(at.duration_since(standing.at)).unwrap_or_default();
            format!(", in {} (at {} UTC)", minutes(left), at.strftime("%H:%M:%S"))
        });
        return fit(&format!("next: {}{}", next.what, left.unwrap_or_default()), WIDTH);
    }
    match standing.state {
        State::Completed => "at 100 %, baked and passed".to_owned(),
        State::RolledBack => "as it was before the run, verified; a new run is needed".to_owned(),
        State::RollbackUnverified => fit("look: llmhub flags diff --between hub,db,env; then llmhub rollback", WIDTH),
        State::AbortedKept => "ended by a person; the exposure stays".to_owned(),
        State::RollingBack => "next: every source is written and verified".to_owned(),
        State::Abandoned => format!("next: a person takes it up (llmhub rollout resume {})", fit(&standing.flag, 30)),
        _ => String::new(),
    }
}

/// The text, cut to so many columns.
pub fn fit(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_spans_from_the_smallest_to_the_largest_and_leaves_gaps() {
        assert_eq!(sparkline(&[Some(0.0), Some(0.5), Some(1.0), None]), "▁▅█·");
        assert_eq!(sparkline(&[Some(3.0), Some(3.0)]), "▁▁");
        assert_eq!(sparkline(&[Some(f64::NAN), None]), "··");
        assert_eq!(sparkline(&[]), "");
    }

    #[test]
    fn a_line_is_cut_to_its_columns() {
        assert_eq!(fit("short", 5), "short");
        assert_eq!(fit("too long for it", 8), "too lon…");
        assert_eq!(fit("", 0), "");
    }

    #[test]
    fn the_rung_that_stands_is_in_brackets() {
        assert_eq!(ladder(&[0, 10, 100], Some(10)), "0 · [10] · 100");
        assert_eq!(ladder(&[0, 100], None), "0 · 100");
    }
}
