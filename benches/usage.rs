//! How long a decision round over the usage tables takes, for `scripts/bench`: prints microseconds and nothing else.
//!
//! A round is both built-in questions of the default plan on one window, from connecting to the two readings.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use llmhub::config::database_url::DatabaseUrl;
use llmhub::domain::flags::{Flag, Percent};
use llmhub::domain::rollout::plan::{Identity, Sources, Sql};
use llmhub::domain::rollout::query::{Query, SourceKind};
use llmhub::domain::rollout::reading::{Reading, Window};
use llmhub::store::metrics::{Access, MetricSource, Metrics, Question};
use llmhub::store::postgres::Target;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().and_then(|url| DatabaseUrl::parse(&url).ok());
    let parse = |text| Query::parse(SourceKind::Sql, text, None, None).ok();
    let (Some(url), Some(errors), Some(p95)) = (url, parse("@cohort_errors"), parse("@cohort_p95")) else {
        return ExitCode::from(2);
    };
    let (Ok(key), Ok(rung)) = ("unified_llm_hub".parse(), Percent::try_from(25)) else { return ExitCode::from(2) };
    let sources = Sources { sql: Some(Sql { identity: Identity::Email }), ..Sources::default() };
    let limit = Duration::from_secs(60);
    let access = Access { database: Some(Target::Url(url)), bearer: None, ca_file: None, limit };
    let Ok(metrics) = Metrics::open(&sources, &[&errors, &p95], access) else { return ExitCode::from(3) };
    let flag = Flag::off(key);
    let started = Instant::now();
    let to = Timestamp::now();
    let window = Window { from: to - Duration::from_secs(24 * 60 * 60), to };
    for query in [&errors, &p95] {
        let reading = metrics.measure(&Question { flag: &flag, rung, query, window }).await;
        if !matches!(reading, Reading::Number(_)) {
            return ExitCode::FAILURE;
        }
    }
    let micros = started.elapsed().as_micros();
    if writeln!(std::io::stdout(), "{micros}").is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
