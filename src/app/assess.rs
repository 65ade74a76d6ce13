//! What the criteria of a rollback ask about, measured once by the sources of a plan. Writes nothing.
//!
//! A number that is not known says why; it never counts as a good one.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::App;
use crate::domain::assess::Evidence;
use crate::domain::flags::Flag;
use crate::domain::rollout::plan::{Metric, Plan, Relative};
use crate::domain::rollout::reading::{Reading, Window};
use crate::domain::rollout::verdict::{Context, Judgement, Verdict, baseline, judge};
use crate::error::Error;
use crate::store::metrics::{MetricSource, Question};

/// Adoption says nothing before users had a day to find the feature …
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// … and before this many of them had it.
const EXPOSED: u64 = 100;

/// How long one measurement may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct AssessWish<'a> {
    /// Where and what.
    pub plan: &'a Plan,
    /// The flag as it is.
    pub flag: &'a Flag,
    /// The span that a number is about.
    pub window: Duration,
    /// When the rollout began: the hour before it is what latency is compared with.
    pub since: Option<Timestamp>,
    /// What a run that is under way has taken of its metrics in that hour, by their names.
    pub taken: &'a BTreeMap<String, f64>,
}

impl App {
    /// The numbers that the plan's metrics give the criteria, one entry for each metric.
    ///
    /// # Errors
    /// [`Error::Store`] when a source cannot even be opened.
    pub async fn measure_criteria(&self, wish: &AssessWish<'_>) -> Result<Vec<Evidence>, Error> {
        let source = self.metric_sources(wish.plan).await?;
        let now = self.instant();
        let mut found = Vec::new();
        for metric in &wish.plan.metrics {
            let Some(name) = metric.criterion() else { continue };
            let judgement = if name == "adoption" {
                adoption(source.as_ref(), wish, metric, now).await
            } else {
                number(source.as_ref(), wish, metric, now).await
            };
            // A verdict that says nothing has no number that could say something.
            let known = matches!(judgement.verdict, Verdict::Pass | Verdict::Fail | Verdict::Inconclusive);
            found.push(Evidence {
                name: name.to_owned(),
                value: judgement.value.filter(|_| known),
                answer: None,
                samples: judgement.samples,
                source: format!("{}: {} {}", metric.name, metric.query.source(), metric.query),
                reason: if known { judgement.reason } else { format!("{}: {}", judgement.verdict, judgement.reason) },
            });
        }
        Ok(found)
    }
}

fn unknown(reason: &str) -> Judgement {
    Judgement {
        verdict: Verdict::NoData,
        value: None,
        samples: None,
        reach: crate::domain::rollout::verdict::Reach::default(),
        reason: reason.to_owned(),
    }
}

fn before(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span).ok().and_then(|span| at.checked_sub(span).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

async fn measure(source: &dyn MetricSource, wish: &AssessWish<'_>, metric: &Metric, window: Window) -> Reading {
    let question = Question { flag: wish.flag, rung: wish.flag.exposure(), query: &metric.query, window };
    match tokio::time::timeout(PATIENCE, source.measure(&question)).await {
        Ok(reading) => reading,
        Err(_) => Reading::Failed(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn context(wish: &AssessWish<'_>, window: Window, baseline: Option<f64>) -> Context {
    // Whoever assesses looks at what is there; when the rung converged is a question of a run.
    Context { rung: wish.flag.exposure(), window, converged_at: window.from, now: window.to, baseline }
}

async fn number(source: &dyn MetricSource, wish: &AssessWish<'_>, metric: &Metric, now: Timestamp) -> Judgement {
    let window = Window { from: before(now, wish.window), to: now };
    let reading = measure(source, wish, metric, window).await;
    if metric.relative != Relative::Baseline {
        return judge(metric, &reading, &context(wish, window, None));
    }
    if let Some(value) = wish.taken.get(&metric.name) {
        let mut judgement = judge(metric, &reading, &context(wish, window, Some(*value)));
        judgement.reason.push_str(", against the hour before the run that is under way");
        return judgement;
    }
    let hour = Duration::from_secs(60 * 60);
    match (wish.since, &reading) {
        (Some(since), _) => {
            let past = measure(source, wish, metric, Window { from: before(since, hour), to: since }).await;
            match baseline(metric, &past) {
                Ok(value) => judge(metric, &reading, &context(wish, window, Some(value))),
                Err(reason) => unknown(&format!("the hour before the rollout: {reason}")),
            }
        }
        // Users without the feature, in the same window, are the next best thing to compare with.
        (None, Reading::Number(measured)) if measured.control.is_some() => {
            let against = Metric { relative: Relative::Control, ..metric.clone() };
            let mut judgement = judge(&against, &reading, &context(wish, window, None));
            judgement.reason.push_str(", against the users without the feature");
            judgement
        }
        (None, Reading::Number(_)) => unknown("there is nothing to compare with: --since, when the rollout began"),
        (None, _) => judge(metric, &reading, &context(wish, window, None)),
    }
}

async fn adoption(source: &dyn MetricSource, wish: &AssessWish<'_>, metric: &Metric, now: Timestamp) -> Judgement {
    let day = before(now, DAY);
    if wish.since.is_none_or(|since| since > day) {
        return unknown("adoption needs a day: --since, when the rollout began");
    }
    let window = Window { from: day.min(before(now, wish.window)), to: now };
    let reading = measure(source, wish, metric, window).await;
    match &reading {
        Reading::Number(measured) if measured.samples.is_none_or(|samples| samples < EXPOSED) => {
            unknown("fewer than 100 users have the feature")
        }
        _ => judge(metric, &reading, &context(wish, window, None)),
    }
}
