//! How many errors the log source counts in a file, for `scripts/bench`: prints the number and nothing else.
//!
//! An example rather than a harness benchmark, because only the ratio to another program of the same run means anything.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use llmhub::domain::flags::{Flag, Percent};
use llmhub::domain::rollout::plan::{Logs, LogsFrom, Sources};
use llmhub::domain::rollout::query::{LogQuery, Query};
use llmhub::domain::rollout::reading::{Reading, Window};
use llmhub::store::metrics::{Access, MetricSource, Metrics, Question};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(from), Ok(flag)) = (arguments.next(), arguments.next(), "bench".parse()) else {
        return ExitCode::from(2);
    };
    let Ok(from) = from.parse::<Timestamp>() else { return ExitCode::from(2) };
    let query = Query::Logs(LogQuery::Errors);
    let sources = Sources { logs: Some(Logs { from: LogsFrom::File(path.into()) }), ..Sources::default() };
    let access = Access { database: None, bearer: None, ca_file: None, limit: Duration::from_secs(60) };
    let Ok(metrics) = Metrics::open(&sources, &[&query], access) else { return ExitCode::from(3) };
    let (flag, window) = (Flag::off(flag), Window { from, to: Timestamp::MAX });
    match metrics.measure(&Question { flag: &flag, rung: Percent::FULL, query: &query, window }).await {
        Reading::Number(measured) => {
            let errors = measured.errors.unwrap_or_default();
            if writeln!(std::io::stdout(), "{errors}").is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        _ => ExitCode::FAILURE,
    }
}
