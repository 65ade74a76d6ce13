//! What one measurement means: one of six verdicts, the first that matches (rollout.md 5).
//!
//! A number that rests on too little, or on the wrong window, neither passes nor fails, except that many errors among few
//! requests are a failure all the same.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::{Metric, Relative, Threshold};
use super::reading::{Measured, Reading, Window};
use crate::domain::flags::Percent;

/// Below the minimum of samples, at least this many errors are a failure …
const ERRORS_THAT_COUNT: u64 = 10;

/// … when they are more than this share of the samples.
const SHARE_THAT_COUNTS: f64 = 0.25;

/// What a measurement means. The words are stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The source failed.
    Error,
    /// There is no data, or too little.
    NoData,
    /// It is no measurement of this rung.
    Invalid,
    /// The fail condition holds.
    Fail,
    /// The pass condition holds.
    Pass,
    /// Neither holds.
    Inconclusive,
}

impl Verdict {
    /// The word that is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::NoData => "no_data",
            Self::Invalid => "invalid",
            Self::Fail => "fail",
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who suffers from what failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The users of the feature, as far as is known.
    #[default]
    Feature,
    /// Those without the feature too: a common outage.
    Everyone,
}

/// A verdict with the number it was given for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// What the measurement means.
    pub verdict: Verdict,
    /// The number that was compared: the value itself, or its ratio. `None` where there is no finite one.
    pub value: Option<f64>,
    /// The events it rests on, where the source can tell.
    pub samples: Option<u64>,
    /// For a Fail: who suffers. A common outage holds a rung and is no evidence against the feature.
    pub reach: Reach,
    /// Why this verdict, in words, with the number and the condition.
    pub reason: String,
}

/// What a measurement was made under.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// The rung that stands.
    pub rung: Percent,
    /// The span of the measurement.
    pub window: Window,
    /// When all processes held the rung's value.
    pub converged_at: Timestamp,
    /// The time of the verdict.
    pub now: Timestamp,
    /// The same metric before rung 0, where the plan compares with it and it could be taken.
    pub baseline: Option<f64>,
}

/// What a reading means.
pub fn judge(metric: &Metric, reading: &Reading, context: &Context) -> Judgement {
    let silent =
        |verdict, reason: String| Judgement { verdict, value: None, samples: None, reach: Reach::default(), reason };
    let Some(threshold) = metric.threshold(context.rung) else {
        return silent(Verdict::Invalid, format!("the plan has no condition for {} %", context.rung));
    };
    match reading {
        Reading::Failed(reason) => silent(Verdict::Error, reason.clone()),
        Reading::Nothing(reason) => silent(Verdict::NoData, reason.clone()),
        Reading::Unusable(reason) => silent(Verdict::Invalid, reason.clone()),
        Reading::Number(measured) => {
            let compared = compared(metric.relative, measured, threshold, context.baseline);
            let (verdict, reach, reason) = weigh(metric, measured, &compared, threshold, context);
            let value = compared.ok().filter(|value| value.is_finite());
            Judgement { verdict, value, samples: measured.samples, reach, reason }
        }
    }
}

/// The number that the hour before rung 0 gives a metric to be compared with. Nobody had the feature then, so users without it
/// are who it is about, where a source tells them apart.
///
/// # Errors
/// Why there is none, in words.
pub fn baseline(metric: &Metric, reading: &Reading) -> Result<f64, String> {
    let measured = match reading {
        Reading::Number(measured) => measured,
        Reading::Failed(reason) | Reading::Nothing(reason) | Reading::Unusable(reason) => return Err(reason.clone()),
    };
    let (value, samples) = match measured.control {
        Some(arm) if arm.samples > 0 => (arm.value, Some(arm.samples)),
        _ => (measured.value, measured.samples),
    };
    let needed = metric.threshold(Percent::ZERO).map_or(0, |threshold| threshold.min_samples);
    if !enough(samples, needed) {
        return Err(too_few(samples, needed));
    }
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(format!("{value} is nothing to compare with")) }
}

/// Why there is no number to compare, as the verdict that this makes.
type NoRatio = (Verdict, String);

/// The number that the conditions speak of.
fn compared(
    relative: Relative,
    measured: &Measured,
    threshold: &Threshold,
    baseline: Option<f64>,
) -> Result<f64, NoRatio> {
    let divisor = match relative {
        Relative::Absolute => return Ok(measured.value),
        Relative::Baseline => baseline
            .ok_or_else(|| (Verdict::NoData, "there is no baseline from before the run to compare with".to_owned()))?,
        Relative::Control => match measured.control {
            None => return Err((Verdict::NoData, "there are no users without the feature to compare with".to_owned())),
            Some(arm) if arm.samples < threshold.min_samples => {
                let few = too_few(Some(arm.samples), threshold.min_samples);
                return Err((Verdict::NoData, format!("users without the feature: {few}")));
            }
            Some(arm) => arm.value,
        },
    };
    if divisor.is_finite() && divisor > 0.0 && measured.value >= 0.0 {
        Ok(measured.value / divisor)
    } else {
        Err((Verdict::Invalid, format!("{} against {divisor} is no ratio", shown(measured.value))))
    }
}

fn weigh(
    metric: &Metric,
    measured: &Measured,
    compared: &Result<f64, NoRatio>,
    threshold: &Threshold,
    context: &Context,
) -> (Verdict, Reach, String) {
    let one = |verdict, reason| (verdict, Reach::default(), reason);
    let misplaced = misplaced(context);
    if !enough(measured.samples, threshold.min_samples) {
        // Errors from before the rung stood are no evidence about it, however many.
        return match (many_errors(measured), &misplaced) {
            (Some(reason), None) => (Verdict::Fail, reach_of_many_errors(measured), reason),
            _ => one(Verdict::NoData, too_few(measured.samples, threshold.min_samples)),
        };
    }
    if measured.at.is_some_and(|at| at < context.window.from) {
        return one(Verdict::NoData, "the newest sample is older than the window".to_owned());
    }
    let value = match compared {
        Err((verdict, reason)) => return one(*verdict, reason.clone()),
        Ok(value) => *value,
    };
    if !value.is_finite() {
        return one(Verdict::Invalid, format!("{} is no number", shown(value)));
    }
    if let Some(reason) = misplaced {
        return one(Verdict::Invalid, reason);
    }
    let share = measured.errors.is_some() && metric.relative == Relative::Absolute;
    if share && !(0.0..=1.0).contains(&value) {
        return one(Verdict::Invalid, format!("{} is no share", shown(value)));
    }
    if threshold.fail_if.holds(value) {
        let reach = reach(metric.relative, measured, threshold, context.baseline);
        let mut reason = format!("{} fails ({})", shown(value), threshold.fail_if);
        if reach == Reach::Everyone {
            reason.push_str("; users without the feature fail it too: a common outage, not the feature");
        }
        return (Verdict::Fail, reach, reason);
    }
    if threshold.pass_if.holds(value) {
        return one(Verdict::Pass, format!("{} passes ({})", shown(value), threshold.pass_if));
    }
    let between = format!("neither {} nor {}", threshold.pass_if, threshold.fail_if);
    one(Verdict::Inconclusive, format!("{} is {between}", shown(value)))
}

/// Why the window is not one of this rung, if so.
fn misplaced(context: &Context) -> Option<String> {
    if context.window.from >= context.window.to {
        Some("the window ends before it begins: a clock jumped".to_owned())
    } else if context.window.from < context.converged_at {
        Some("the window begins before the processes agreed".to_owned())
    } else if context.window.to > context.now {
        Some("the window ends in the future: a clock jumped".to_owned())
    } else {
        None
    }
}

/// A source that cannot tell satisfies only a plan that asks for none.
fn enough(samples: Option<u64>, needed: u64) -> bool {
    samples.unwrap_or(0) >= needed
}

fn too_few(samples: Option<u64>, needed: u64) -> String {
    match samples {
        Some(samples) => format!("{samples} samples, {needed} are needed"),
        None => format!("the source does not tell its samples, {needed} are needed"),
    }
}

/// Whether so many of few requests failed that it counts without the minimum.
fn many_errors(measured: &Measured) -> Option<String> {
    let (errors, samples) = (measured.errors?, measured.samples?);
    // Counts below 2^53 are exact, and a hub has no more requests in a window.
    let share = errors as f64 / samples as f64;
    (errors >= ERRORS_THAT_COUNT && share > SHARE_THAT_COUNTS)
        .then(|| format!("{errors} errors among only {samples} samples"))
}

fn reach_of_many_errors(measured: &Measured) -> Reach {
    match measured.control {
        Some(arm) if arm.value > SHARE_THAT_COUNTS && arm.value * arm.samples as f64 >= ERRORS_THAT_COUNT as f64 => {
            Reach::Everyone
        }
        _ => Reach::Feature,
    }
}

/// Whether those without the feature fail the same condition, on enough samples of their own. A ratio to that very group says
/// already how much worse the feature is.
fn reach(relative: Relative, measured: &Measured, threshold: &Threshold, baseline: Option<f64>) -> Reach {
    let Some(arm) = measured.control.filter(|arm| arm.samples > 0 && arm.samples >= threshold.min_samples) else {
        return Reach::Feature;
    };
    let value = match (relative, baseline) {
        (Relative::Absolute, _) => arm.value,
        (Relative::Baseline, Some(baseline)) => arm.value / baseline,
        _ => return Reach::Feature,
    };
    if value.is_finite() && threshold.fail_if.holds(value) { Reach::Everyone } else { Reach::Feature }
}

/// A number in at most four significant digits, as short as it goes.
pub fn shown(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return format!("{value}");
    }
    let whole = value.abs().log10().floor();
    // Bounded by the exponent range of f64, far inside i32.
    let places = (3.0 - whole).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::flags::ladder::Ladder;
    use crate::domain::rollout::plan::parse;
    use crate::domain::rollout::reading::Arm;

    fn metric(relative: &str) -> Metric {
        let at = "at = { 0 = { pass_if = \"< 0.02\", fail_if = \"> 0.05\", min_samples = 100 } }";
        let text = format!(
            "flag = \"f\"\n[[metric]]\nname = \"m\"\nsource = \"sql\"\nquery = \"@cohort_errors\"\nrelative = \"{relative}\"\n{at}\n"
        );
        parse(&text, &Ladder::default()).unwrap().plan.metrics.remove(0)
    }

    fn second(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn context() -> Context {
        let window = Window { from: second(1000), to: second(1300) };
        Context { rung: Percent::ZERO, window, converged_at: second(1000), now: second(1300), baseline: Some(2.0) }
    }

    fn measured(value: f64, samples: u64) -> Measured {
        Measured { value, samples: Some(samples), errors: None, at: None, control: None }
    }

    #[track_caller]
    fn case(relative: &str, measured: Measured, context: Context, verdict: Verdict, reach: Reach, reason: &str) {
        let found = judge(&metric(relative), &Reading::Number(measured), &context);
        assert_eq!((found.verdict, found.reach), (verdict, reach), "{}", found.reason);
        assert!(found.reason.contains(reason), "{}", found.reason);
    }

    #[test]
    fn a_window_that_is_not_the_rungs_own_is_no_measurement() {
        let feature = Reach::Feature;
        let at = |converged: i64, now: i64| Context { converged_at: second(converged), now: second(now), ..context() };
        case("absolute", measured(0.01, 100), at(1000, 1300), Verdict::Pass, feature, "0.01 passes (< 0.02)");
        case("absolute", measured(0.01, 100), at(1001, 1300), Verdict::Invalid, feature, "before the processes agreed");
        case("absolute", measured(0.9, 100), at(1001, 1300), Verdict::Invalid, feature, "before the processes agreed");
        case("absolute", measured(0.01, 100), at(1000, 1299), Verdict::Invalid, feature, "in the future");
        let empty = Context { window: Window { from: second(1000), to: second(1000) }, ..context() };
        case("absolute", measured(0.01, 100), empty, Verdict::Invalid, feature, "ends before it begins");
        let many = Measured { errors: Some(20), ..measured(0.5, 40) };
        case("absolute", many.clone(), at(1000, 1300), Verdict::Fail, feature, "20 errors among only 40 samples");
        case("absolute", many, at(1001, 1300), Verdict::NoData, feature, "40 samples, 100 are needed");
        let old = Measured { at: Some(second(999)), ..measured(0.01, 100) };
        case("absolute", old, context(), Verdict::NoData, feature, "older than the window");
    }

    #[test]
    fn samples_that_nobody_counts_satisfy_only_a_plan_that_asks_for_none() {
        let silent = Measured { samples: None, ..measured(0.01, 0) };
        case("absolute", silent, context(), Verdict::NoData, Reach::Feature, "does not tell its samples");
    }

    #[test]
    fn a_ratio_needs_something_finite_to_compare_with() {
        let against = |baseline| Context { baseline, ..context() };
        case("baseline", measured(0.03, 100), against(Some(2.0)), Verdict::Pass, Reach::Feature, "0.015 passes");
        case("baseline", measured(0.03, 100), against(None), Verdict::NoData, Reach::Feature, "no baseline");
        for nothing in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            case("baseline", measured(0.03, 100), against(Some(nothing)), Verdict::Invalid, Reach::Feature, "no ratio");
        }
        let arm = |value, samples| Measured { control: Some(Arm { value, samples }), ..measured(0.03, 100) };
        case("control", arm(3.0, 100), context(), Verdict::Pass, Reach::Feature, "0.01 passes");
        case(
            "control",
            arm(3.0, 99),
            context(),
            Verdict::NoData,
            Reach::Feature,
            "users without the feature: 99 samples",
        );
        case("control", arm(0.0, 100), context(), Verdict::Invalid, Reach::Feature, "no ratio");
        case(
            "control",
            measured(0.03, 100),
            context(),
            Verdict::NoData,
            Reach::Feature,
            "no users without the feature",
        );
    }

    #[test]
    fn a_failure_of_everybody_is_not_blamed_on_the_feature() {
        let arm = |value, samples| Measured { control: Some(Arm { value, samples }), ..measured(0.06, 100) };
        case("absolute", arm(0.06, 100), context(), Verdict::Fail, Reach::Everyone, "a common outage");
        case("absolute", arm(0.05, 100), context(), Verdict::Fail, Reach::Feature, "0.06 fails (> 0.05)");
        case("absolute", arm(0.06, 99), context(), Verdict::Fail, Reach::Feature, "fails");
        case("absolute", arm(f64::NAN, 100), context(), Verdict::Fail, Reach::Feature, "fails");
        case("control", arm(0.06, 100), context(), Verdict::Fail, Reach::Feature, "1 fails");
        let few = Measured { errors: Some(20), control: Some(Arm { value: 0.5, samples: 40 }), ..measured(0.5, 40) };
        case("absolute", few, context(), Verdict::Fail, Reach::Everyone, "20 errors");
    }

    #[test]
    fn a_baseline_prefers_those_who_did_not_have_the_feature() {
        let metric = metric("baseline");
        let arm = Measured { control: Some(Arm { value: 0.4, samples: 100 }), ..measured(9.0, 3) };
        assert_eq!(baseline(&metric, &Reading::Number(arm)), Ok(0.4));
        assert_eq!(baseline(&metric, &Reading::Number(measured(0.7, 100))), Ok(0.7));
        assert!(baseline(&metric, &Reading::Number(measured(0.7, 99))).is_err());
        assert!(baseline(&metric, &Reading::Number(measured(0.0, 100))).is_err());
        assert_eq!(baseline(&metric, &Reading::Failed("503".to_owned())), Err("503".to_owned()));
    }

    #[test]
    fn numbers_are_shown_short() {
        for (value, text) in [(0.0123456, "0.01235"), (1.5, "1.5"), (1234.56, "1235"), (0.0, "0"), (f64::NAN, "NaN")] {
            assert_eq!(shown(value), text);
        }
    }
}
