//! What a plan need not say: the default conditions and minimum samples of rollout.md 5.
//!
//! Only built-in questions have default conditions, for only theirs is it known what the number is.

use std::collections::BTreeMap;

use super::{Metric, Relative, Threshold};
use crate::domain::flags::Percent;
use crate::domain::rollout::condition::{Condition, Operator};
use crate::domain::rollout::query::{LogQuery, Query, SourceKind, SqlQuery};

/// From this rung on, errors have to be fewer and samples more.
const HALF: i64 = 50;

/// The conditions of a metric that gives none.
pub(super) fn conditions(query: &Query, relative: Relative) -> Option<Vec<(Percent, Condition, Condition)>> {
    let at = |rung, pass_if, fail_if| Some((Percent::try_from(rung).ok()?, pass_if, fail_if));
    let below = |bound| Condition { operator: Operator::Less, bound };
    let above = |bound| Condition { operator: Operator::Greater, bound };
    match (kind(query)?, relative) {
        (Kind::Errors, Relative::Absolute) => {
            Some(vec![at(0, below(0.02), above(0.05))?, at(HALF, below(0.01), above(0.05))?])
        }
        (Kind::Latency, Relative::Baseline | Relative::Control) => {
            let pass_if = Condition { operator: Operator::AtMost, bound: 1.2 };
            Some(vec![at(0, pass_if, above(1.5))?])
        }
        _ => None,
    }
}

impl Metric {
    /// Which number of the rollback criteria it measures, by its name or by what it asks.
    pub fn criterion(&self) -> Option<&'static str> {
        let named = ["error_rate", "latency_ratio", "adoption"].into_iter().find(|name| *name == self.name);
        let asked = match (kind(&self.query), self.relative) {
            (Some(Kind::Errors), Relative::Absolute) => Some("error_rate"),
            (Some(Kind::Latency), Relative::Baseline | Relative::Control) => Some("latency_ratio"),
            _ if self.query == Query::Sql(SqlQuery::Adoption) => Some("adoption"),
            _ => None,
        };
        named.or(asked)
    }
}

/// What the number of a built-in question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Errors,
    Latency,
}

fn kind(query: &Query) -> Option<Kind> {
    match query {
        Query::Logs(LogQuery::Errors) | Query::Sql(SqlQuery::CohortErrors) => Some(Kind::Errors),
        Query::Sql(SqlQuery::CohortP95) => Some(Kind::Latency),
        Query::Prometheus(query) => match query.built_in {
            Some("@errors") => Some(Kind::Errors),
            Some("@p95") => Some(Kind::Latency),
            _ => None,
        },
        Query::Logs(_) | Query::Sql(_) | Query::Command(_) => None,
    }
}

/// The conditions with their minimum samples. `said` are those that the plan gives by itself; where it gives none, the minimum
/// rises at half of the users, even between two conditions.
pub(super) fn thresholds(
    source: SourceKind,
    conditions: Vec<(Percent, Condition, Condition, Option<u64>)>,
    of_metric: Option<u64>,
) -> BTreeMap<Percent, Threshold> {
    let half = Percent::try_from(HALF).unwrap_or(Percent::FULL);
    let usual = |rung: Percent| match source {
        // A program prints a number and no count.
        SourceKind::Command => 0,
        _ if rung < half => 200,
        _ => 500,
    };
    let mut thresholds = BTreeMap::new();
    let mut last: Option<(Condition, Condition, Option<u64>)> = None;
    for (index, (rung, pass_if, fail_if, said)) in conditions.into_iter().enumerate() {
        // What holds on the first rung that is named holds below it too.
        let rung = if index == 0 { Percent::ZERO } else { rung };
        let min_samples = said.or(of_metric);
        if rung > half
            && let Some((pass_if, fail_if, said)) = last
        {
            thresholds.entry(half).or_insert(Threshold {
                pass_if,
                fail_if,
                min_samples: said.unwrap_or_else(|| usual(half)),
            });
        }
        thresholds
            .insert(rung, Threshold { pass_if, fail_if, min_samples: min_samples.unwrap_or_else(|| usual(rung)) });
        last = Some((pass_if, fail_if, min_samples));
    }
    if let Some((pass_if, fail_if, said)) = last
        && thresholds.range(half..).next().is_none()
    {
        thresholds.insert(half, Threshold { pass_if, fail_if, min_samples: said.unwrap_or_else(|| usual(half)) });
    }
    thresholds
}
