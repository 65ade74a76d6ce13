//! What a question counts in records: two numbers and a spread of values, which can be added up over threads and seconds.
//!
//! A spread keeps counts of values in steps of one percent, so that its size does not grow with their number: a quantile of it
//! is off by half a percent at most.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::line::{Asker, Level, Record};
use crate::domain::rollout::query::LogQuery;
use crate::domain::rollout::reading::{Measured, Reading};

/// One step of a spread: each is one percent wide.
const STEP: f64 = 1.01;

/// Beyond these, a value counts as the smallest or largest.
const SMALLEST: f64 = 1e-9;
const LARGEST: f64 = 1e12;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// All records, whatever they are.
    pub(super) records: u64,
    /// Those above the line, or those that are counted.
    above: u64,
    /// Those below it.
    below: u64,
    /// Values by their step.
    spread: BTreeMap<i32, u64>,
    /// Values that were no number or negative.
    unfit: u64,
    /// The newest record, milliseconds since 1970.
    newest: Option<i64>,
}

/// The field that a question reads; empty for none.
pub(super) fn field(query: &LogQuery) -> &[u8] {
    match query {
        LogQuery::Quantile { field, .. } => field.as_bytes(),
        LogQuery::Errors | LogQuery::Share { .. } | LogQuery::Count(_) => &[],
    }
}

impl Tally {
    /// Count a record.
    pub(super) fn add(&mut self, query: &LogQuery, record: &Record<'_>) {
        if record.asker == Asker::Probe {
            return;
        }
        self.records += 1;
        self.newest = self.newest.max(Some(record.at));
        let is = |kind: &String| record.kind.eq_ignore_ascii_case(kind.as_bytes());
        match query {
            LogQuery::Errors => {
                self.below += 1;
                self.above += u64::from(record.level == Level::Error);
            }
            LogQuery::Share { of, among } => {
                self.below += u64::from(among.iter().any(is));
                self.above += u64::from(of.iter().any(is));
            }
            LogQuery::Count(kinds) => self.above += u64::from(kinds.iter().any(is)),
            LogQuery::Quantile { kind, .. } if is(kind) => {
                self.below += 1;
                match record.field {
                    Some(value) if value >= 0.0 && value.is_finite() => {
                        *self.spread.entry(step(value)).or_default() += 1;
                    }
                    Some(_) => self.unfit += 1,
                    None => {}
                }
            }
            LogQuery::Quantile { .. } => {}
        }
    }

    /// Add another one.
    pub(super) fn join(&mut self, other: &Self) {
        self.records += other.records;
        self.above += other.above;
        self.below += other.below;
        self.unfit += other.unfit;
        self.newest = self.newest.max(other.newest);
        for (step, count) in &other.spread {
            *self.spread.entry(*step).or_default() += count;
        }
    }

    /// What it comes to.
    pub(super) fn reading(&self, query: &LogQuery) -> Reading {
        if self.records == 0 {
            return Reading::Nothing("no record of the log lies in the window".to_owned());
        }
        // Counts of records are far below 2^53.
        let share = self.above as f64 / self.below as f64;
        let missing = |kinds: &[String]| {
            Reading::Nothing(format!(
                "none of the {} records in the window is {}: a hub as published fails to write its page_view, error, api_call \
                 and performance events",
                self.records,
                kinds.join(" or ")
            ))
        };
        let (value, samples, errors) = match query {
            LogQuery::Errors => (share, self.below, Some(self.above)),
            LogQuery::Share { among, .. } if self.below == 0 => return missing(among),
            LogQuery::Share { of, .. } => {
                (share, self.below, of.iter().all(|kind| kind == "error").then_some(self.above))
            }
            LogQuery::Count(_) => (self.above as f64, self.records, None),
            LogQuery::Quantile { kind, .. } if self.below == 0 => return missing(std::slice::from_ref(kind)),
            LogQuery::Quantile { kind, field, .. } if self.unfit > 0 => {
                let words = format!(
                    "{} of the {} {kind} records have a {field} that is negative or no number",
                    self.unfit, self.below
                );
                return Reading::Unusable(words);
            }
            LogQuery::Quantile { quantile, kind, field } => {
                let values: u64 = self.spread.values().sum();
                let Some(value) = self.quantile(*quantile, values) else {
                    return Reading::Nothing(format!(
                        "none of the {} {kind} records has a number called {field}",
                        self.below
                    ));
                };
                (if field.ends_with("_ms") { value / 1e3 } else { value }, values, None)
            }
        };
        let at = self.newest.and_then(|newest| Timestamp::from_millisecond(newest).ok());
        Reading::Number(Measured { value, samples: Some(samples), errors, at, control: None })
    }

    /// The middle of the step in which the quantile lies.
    fn quantile(&self, quantile: f64, values: u64) -> Option<f64> {
        // Counts are far below 2^53.
        let rank = ((values as f64 * quantile).ceil() as u64).max(1);
        let mut upto = 0;
        for (step, count) in &self.spread {
            upto += count;
            if upto >= rank {
                return Some(if *step == i32::MIN { 0.0 } else { STEP.powf(f64::from(*step) + 0.5) });
            }
        }
        None
    }
}

/// The step of a value; zero has one of its own.
fn step(value: f64) -> i32 {
    if value == 0.0 {
        return i32::MIN;
    }
    // In range: the logarithms of the bounds are below 3000 steps.
    (value.clamp(SMALLEST, LARGEST).ln() / STEP.ln()).floor() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollout::query::{Query, SourceKind};

    fn query(text: &str) -> LogQuery {
        match Query::parse(SourceKind::Logs, text, None, None) {
            Ok(Query::Logs(query)) => query,
            other => panic!("{other:?}"),
        }
    }

    fn tally(query: &LogQuery, records: &[(&str, Level, Option<f64>)]) -> Tally {
        let mut tally = Tally::default();
        for (kind, level, field) in records {
            let record = Record { at: 1, level: *level, kind: kind.as_bytes(), field: *field, asker: Asker::Users };
            tally.add(query, &record);
        }
        tally
    }

    #[test]
    fn each_question_counts_its_own() {
        #[track_caller]
        fn case(text: &str, expected: &str) {
            let records = [
                ("API_CALL", Level::Other, Some(100.0)),
                ("api_call", Level::Other, Some(200.0)),
                ("ERROR", Level::Error, None),
                ("", Level::Error, None),
            ];
            let query = query(text);
            let reading = format!("{:?}", tally(&query, &records).reading(&query));
            assert!(reading.contains(expected), "{text}: {reading}");
        }
        case("@errors", "value: 0.5, samples: Some(4), errors: Some(2)");
        case("share error of api_call", "value: 0.3333333333333333, samples: Some(3), errors: Some(1)");
        case("share api_call of api_call,error", "samples: Some(3), errors: None");
        case("share security of page_view", "Nothing(\"none of the 4 records in the window is page_view or security");
        case("count api_call", "value: 2.0, samples: Some(4)");
        case("count security", "value: 0.0, samples: Some(4)");
        case("p50 performance value", "Nothing(\"none of the 4 records");
        case("p95 error duration_ms", "has a number called duration_ms");
    }

    #[test]
    fn a_quantile_is_right_by_half_a_percent() {
        let query = query("p95 a x");
        let records: Vec<(&str, Level, Option<f64>)> =
            (1..=1000).map(|n| ("a", Level::Other, Some(f64::from(n)))).collect();
        let Reading::Number(measured) = tally(&query, &records).reading(&query) else { panic!("a number") };
        assert!((measured.value / 950.0 - 1.0).abs() < 0.01, "{}", measured.value);
        let zero = tally(&query, &[("a", Level::Other, Some(0.0))]).reading(&query);
        assert!(matches!(zero, Reading::Number(measured) if measured.value == 0.0));
        for value in [f64::MAX, f64::MIN_POSITIVE] {
            assert!(matches!(tally(&query, &[("a", Level::Other, Some(value))]).reading(&query), Reading::Number(_)));
        }
        for value in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(tally(&query, &[("a", Level::Other, Some(value))]).reading(&query), Reading::Unusable(_)));
        }
    }

    #[test]
    fn sums_do_not_depend_on_how_the_records_were_shared_out() {
        let query = query("p95 a x_ms");
        let records: Vec<(&str, Level, Option<f64>)> =
            (0..500).map(|n| ("a", Level::Other, Some(f64::from(n)))).collect();
        let mut joined = tally(&query, &records[..100]);
        joined.join(&tally(&query, &records[100..]));
        assert_eq!(joined, tally(&query, &records));
    }

    #[test]
    fn our_own_probes_do_not_count() {
        let mut tally = Tally::default();
        tally.add(&LogQuery::Errors, &Record { asker: Asker::Probe, ..Record::default() });
        assert!(matches!(tally.reading(&LogQuery::Errors), Reading::Nothing(_)));
    }
}
