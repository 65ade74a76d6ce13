//! The commented plan that `rollout plan` writes: the ladder and the criteria of rollout.md 5, ready to run.
//!
//! What is configured is measured; what is not stands there as a comment. The text parses as it is.

use std::fmt::Write as _;

use super::{LogsFrom, Seen};
use crate::domain::flags::FlagKey;
use crate::domain::flags::ladder::Ladder;

/// What a plan is written for.
#[derive(Clone, Debug)]
pub struct Starter<'a> {
    /// The flag.
    pub flag: &'a FlagKey,
    /// Its rungs.
    pub ladder: &'a Ladder,
    /// What was seen of it.
    pub seen: &'a Seen,
    /// Whether the profile has a database with usage tables.
    pub usage: Usage,
    /// A Prometheus server.
    pub prometheus: Option<&'a url::Url>,
    /// The hub's logs.
    pub logs: Option<&'a LogsFrom>,
}

/// Whether there are usage tables to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A database is configured.
    Tables,
    /// None is.
    None,
}

/// The text of the plan.
pub fn starter(wish: &Starter<'_>) -> String {
    let mut text = head(wish);
    let sql = wish.usage == Usage::Tables;
    section(
        &mut text,
        sql,
        "[sources.sql]\nidentity = \"email\"         # which column of `users` the hub hashes: email | id | username | keycloak_id\n",
    );
    section(&mut text, sql, SQL_METRICS);
    let url =
        wish.prometheus.map_or("http://localhost:9090".to_owned(), |url| url.as_str().trim_end_matches('/').to_owned());
    let source = format!(
        "[sources.prometheus]\nurl = {}\nscrape_interval = \"15s\"\n# prefix = \"hub\"            # what stands before `_http_requests_total`; found in the scrape when left out\n",
        quoted(&url)
    );
    section(&mut text, wish.prometheus.is_some(), &source);
    section(&mut text, wish.prometheus.is_some(), PROMETHEUS_METRICS);
    let logs = match wish.logs {
        Some(LogsFrom::File(path)) => format!("file = {}", quoted(&path.display().to_string())),
        Some(LogsFrom::Stdin) => "stdin = true".to_owned(),
        Some(LogsFrom::Command(words)) => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("command = [{}]", words.join(", "))
        }
        None => "command = [\"docker\", \"logs\", \"-f\", \"--since\", \"10m\", \"hub\"]".to_owned(),
    };
    section(&mut text, wish.logs.is_some(), &format!("[sources.logs]\n{logs}\n"));
    section(&mut text, wish.logs.is_some(), LOG_METRICS);
    text.push_str(FIELDS);
    text
}

fn head(wish: &Starter<'_>) -> String {
    let flag = wish.flag.as_str();
    let steps: Vec<String> = wish.ladder.rungs().iter().map(ToString::to_string).collect();
    let measured = wish.usage == Usage::Tables || wish.prometheus.is_some() || wish.logs.is_some();
    let approve = if measured {
        "approve = []                 # rungs that only a person leaves (llmhub rollout promote); 0 is always one\n"
            .to_owned()
    } else {
        let rungs: Vec<String> = steps.iter().filter(|rung| *rung != "0").cloned().collect();
        format!(
            "# Nothing is measured yet, so a person leaves every rung. Enable a metric below, then empty this list.\napprove = [{}]\n",
            rungs.join(", ")
        )
    };
    let mut text = format!(
        "# The rollout of {}: what has to hold at each step, and where that is measured.\n\
         # Read it, change it, then: llmhub rollout run\n\
         # Keys that are left out take the values shown. Unknown keys are errors. Times are written 90s, 30m, 1h.\n\n\
         flag = {}\n\
         steps = [{}]\n\
         require = \"sampled\"          # or \"proved\": what has to be known of the processes before a step up\n\
         bake = \"30m\"                 # how long each rung stands, from the moment all processes agree\n\
         max_hold = \"60m\"             # how long a rung may be held after that\n\
         on_deadline = \"pause\"        # or \"rollback\"; nothing goes up by a timeout\n\
         rollback_to = \"snapshot\"     # the whole flag as it was before the run, or \"off\"\n\
         {approve}",
        flag.chars().filter(|c| !c.is_control()).collect::<String>(),
        quoted(flag),
        steps.join(", "),
    );
    let digests = [("flag_digest", &wish.seen.flag), ("cohort_digest", &wish.seen.cohort)];
    if digests.iter().any(|(_, digest)| digest.is_some()) {
        text.push_str("\n# What the plan was made for: a run refuses to start when it moved.\n[seen]\n");
        for (name, digest) in digests {
            if let Some(digest) = digest {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{name} = \"{digest}\"");
            }
        }
    }
    text
}

/// A part of the plan, or the same as comments.
fn section(text: &mut String, active: bool, part: &str) {
    text.push('\n');
    for line in part.lines() {
        match (active, line.is_empty()) {
            (true, _) => text.push_str(line),
            (false, true) => text.push('#'),
            (false, false) => {
                text.push_str("# ");
                text.push_str(line);
            }
        }
        text.push('\n');
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

const SQL_METRICS: &str = r#"[[metric]]
name = "error_rate"          # failed requests of the users who have the feature
source = "sql"
query = "@cohort_errors"
at = { 0 = { pass_if = "< 0.02", fail_if = "> 0.05" }, 50 = { pass_if = "< 0.01", fail_if = "> 0.05", min_samples = 500 } }

[[metric]]
name = "p95_ratio"           # their 95th percentile of latency, against the hour before the rollout
source = "sql"
query = "@cohort_p95"
relative = "baseline"
at = { 0 = { pass_if = "<= 1.20", fail_if = "> 1.50" }, 50 = { pass_if = "<= 1.20", fail_if = "> 1.50", min_samples = 500 } }
"#;

const PROMETHEUS_METRICS: &str = r#"[[metric]]
name = "hub_error_rate"      # 5xx among all requests of the hub, of everybody: at small rungs a fault hides in it
source = "prometheus"
query = "@errors"
scope = "all"
at = { 0 = { pass_if = "< 0.02", fail_if = "> 0.05" }, 50 = { pass_if = "< 0.01", fail_if = "> 0.05", min_samples = 500 } }

[[metric]]
name = "hub_p95_ratio"
source = "prometheus"
query = "@p95"
scope = "all"
relative = "baseline"
at = { 0 = { pass_if = "<= 1.20", fail_if = "> 1.50" }, 50 = { pass_if = "<= 1.20", fail_if = "> 1.50", min_samples = 500 } }
"#;

const LOG_METRICS: &str = r#"[[metric]]
name = "log_error_rate"      # ERROR and CRITICAL among all records of the hub's log
source = "logs"
query = "@errors"
scope = "all"
at = { 0 = { pass_if = "< 0.02", fail_if = "> 0.05" }, 50 = { pass_if = "< 0.01", fail_if = "> 0.05", min_samples = 500 } }
"#;

const FIELDS: &str = r#"
# Every metric also takes, with these values when they are left out:
#   role = "guardrail"                        # signal: may only hold; shadow: is only shown
#   window = "5m", interval = "60s"           # the span of one measurement, the time between two
#   required_passes = 3                       # in a row, from windows that do not overlap
#   rollback_at_consecutive_failures = 2, rollback_at_total_failures = 3
#   critical = false                          # true: the first failure rolls back
#   max_inconclusive = 3                      # then the run pauses
#   max_consecutive_errors = 4                # then the gauge counts as dead, and on_error decides
#   on_nodata = "hold", on_invalid = "hold", on_error = "hold"      # or "pause", "rollback"
#   min_samples = 200                         # 500 from 50 % on; fewer say nothing
"#;
