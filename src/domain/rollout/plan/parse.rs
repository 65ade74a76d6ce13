//! TOML text into a [`Plan`], or everything that is wrong with it, by line.
//!
//! A plan is refused as a whole: no rollout starts on half of one.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::reader::{Finding, Reader, Table, command, integers, span, switch, table_of, text, word};
use super::{
    Identity, Logs, LogsFrom, Metric, OnDeadline, Plan, Prometheus, Require, Role, RollbackTo, Seen, Sources, Sql,
    lint, metric,
};
use crate::domain::flags::digest::Digest;
use crate::domain::flags::ladder::Ladder;
use crate::domain::flags::{FlagKey, Percent};
use crate::domain::rollout::query::SourceKind;

const TOP: [&str; 11] = [
    "flag",
    "steps",
    "require",
    "bake",
    "max_hold",
    "on_deadline",
    "rollback_to",
    "approve",
    "seen",
    "sources",
    "metric",
];

/// A sound plan, and what is allowed but seldom meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The plan.
    pub plan: Plan,
    /// What somebody should look at.
    pub warnings: Vec<Finding>,
}

/// A metric with the line where it begins.
pub(super) struct Placed {
    pub metric: Metric,
    pub line: usize,
}

/// Read a plan; `ladder` stands for steps that it leaves out.
///
/// # Errors
/// Everything that is wrong, from the top; at least one finding.
pub fn parse(source: &str, ladder: &Ladder) -> Result<Parsed, Vec<Finding>> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut reader = Reader::new(source);
    let table = match DeTable::parse(source) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let line = reader.line(error.span().map_or(source.len(), |span| span.start));
            return Err(vec![Finding { line, message: error.message().to_owned() }]);
        }
    };
    // The table outlives the reader's look at it, and the reader its faults.
    let (plan, warnings) = {
        let parsed = whole(&mut reader, &table, ladder);
        match parsed {
            Some(parsed) if reader.faults.is_empty() => parsed,
            _ => {
                let mut faults = std::mem::take(&mut reader.faults);
                faults.sort();
                faults.dedup();
                return Err(faults);
            }
        }
    };
    Ok(Parsed { plan, warnings })
}

fn whole<'a>(reader: &mut Reader<'a>, table: &'a DeTable<'a>, ladder: &Ladder) -> Option<(Plan, Vec<Finding>)> {
    let top = reader.open("", 1, table, &TOP);
    if !top.has("flag") {
        reader.fault(1, "the plan names no `flag`");
    }
    let flag = reader
        .take(&top, "flag", |value| text(value)?.parse::<FlagKey>().map_err(|error| format!("is wrong: {error}")));
    let steps = if top.has("steps") { reader.take(&top, "steps", steps) } else { Some(ladder.clone()) };
    let require = [("sampled", Require::Sampled), ("proved", Require::Proved)];
    let require = reader.take(&top, "require", |value| word(value, &require)).unwrap_or_default();
    let bake = reader.take(&top, "bake", span).unwrap_or(Duration::from_secs(30 * 60));
    let max_hold = reader.take(&top, "max_hold", span).unwrap_or(Duration::from_secs(60 * 60));
    let on_deadline = [("pause", OnDeadline::Pause), ("rollback", OnDeadline::Rollback)];
    let on_deadline = reader.take(&top, "on_deadline", |value| word(value, &on_deadline)).unwrap_or_default();
    let rollback_to = [("snapshot", RollbackTo::Snapshot), ("off", RollbackTo::Off)];
    let rollback_to = reader.take(&top, "rollback_to", |value| word(value, &rollback_to)).unwrap_or_default();
    let approve = match &steps {
        Some(steps) => reader.take(&top, "approve", |value| rungs_of(value, steps)).unwrap_or_default(),
        None => Vec::new(),
    };
    let seen = seen(reader, &top);
    let mut sources = sources(reader, &top);
    let metrics = metrics(reader, &top);
    described(reader, &metrics, &mut sources);
    let (flag, steps) = (flag?, steps?);
    gated(reader, &top, &metrics, &steps, &approve);
    let lines = metrics.iter().map(|placed| placed.line).collect::<Vec<_>>();
    let metrics = metrics.into_iter().map(|placed| placed.metric).collect();
    let plan = Plan { flag, steps, require, bake, max_hold, on_deadline, rollback_to, approve, sources, metrics, seen };
    let warnings = lint::warnings(&plan, top.line_of("bake"), &lines);
    Some((plan, warnings))
}

/// A ladder, or which number breaks it.
fn steps(value: &DeValue<'_>) -> Result<Ladder, String> {
    let numbers = integers(value)?;
    let mut rungs: Vec<u8> = Vec::new();
    for number in numbers {
        let rung = Percent::try_from(number).map_err(|_| format!("holds {number}: a step is from 0 to 100"))?.get();
        match rungs.last() {
            Some(last) if rung == *last => return Err(format!("holds {rung} twice")),
            Some(last) if rung < *last => return Err(format!("goes down from {last} to {rung}: steps rise")),
            _ => rungs.push(rung),
        }
    }
    match (rungs.first(), rungs.last()) {
        (Some(0), Some(100)) => Ladder::try_from(rungs.as_slice()).map_err(|error| error.to_string()),
        (Some(0), _) => Err("does not end at 100".to_owned()),
        _ => Err("does not begin at 0".to_owned()),
    }
}

/// Rungs that are on the ladder.
fn rungs_of(value: &DeValue<'_>, steps: &Ladder) -> Result<Vec<Percent>, String> {
    let mut rungs = Vec::new();
    for number in integers(value)? {
        let rung = Percent::try_from(number).ok().filter(|rung| steps.rungs().contains(rung));
        rungs.push(rung.ok_or_else(|| format!("holds {number}, which is no step of {steps}"))?);
    }
    rungs.sort_unstable();
    rungs.dedup();
    Ok(rungs)
}

fn seen<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Seen {
    let Some(table) = reader.inner(top, "seen", &["flag_digest", "cohort_digest"]) else { return Seen::default() };
    let digest = |value: &DeValue<'_>| text(value)?.parse::<Digest>().map_err(|error| format!("is wrong: {error}"));
    Seen { flag: reader.take(&table, "flag_digest", digest), cohort: reader.take(&table, "cohort_digest", digest) }
}

fn sources<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Sources {
    let Some(table) = reader.inner(top, "sources", &["prometheus", "logs", "sql"]) else { return Sources::default() };
    let mut sources = Sources::default();
    if let Some(inner) = reader.inner(&table, "prometheus", &["url", "prefix", "scrape_interval", "bearer_env"]) {
        sources.prometheus = prometheus(reader, &inner);
    }
    if let Some(inner) = reader.inner(&table, "logs", &["file", "stdin", "command"]) {
        sources.logs = logs(reader, &inner);
    }
    if let Some(inner) = reader.inner(&table, "sql", &["identity"]) {
        let words = [
            ("email", Identity::Email),
            ("id", Identity::Id),
            ("username", Identity::Username),
            ("keycloak_id", Identity::KeycloakId),
        ];
        let identity = reader.take(&inner, "identity", |value| word(value, &words)).unwrap_or_default();
        sources.sql = Some(Sql { identity });
    }
    sources
}

fn prometheus<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<Prometheus> {
    if !table.has("url") {
        reader.fault(table.line, "`sources.prometheus` has no `url`");
    }
    let url = reader.take(table, "url", url);
    let prefix = reader.take(table, "prefix", prefix);
    let scrape_interval = reader.take(table, "scrape_interval", span).unwrap_or(Duration::from_secs(15));
    let bearer_env = reader.take(table, "bearer_env", variable);
    Some(Prometheus { url: url?, prefix, scrape_interval, bearer_env })
}

fn url(value: &DeValue<'_>) -> Result<url::Url, String> {
    let refused = || "must be an address such as \"http://prometheus:9090\"".to_owned();
    let url = url::Url::parse(&text(value)?).map_err(|_| refused())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refused());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a login: name a variable with `bearer_env`".to_owned());
    }
    Ok(url)
}

fn prefix(value: &DeValue<'_>) -> Result<String, String> {
    let prefix = text(value)?;
    let begins = prefix.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(prefix)
    } else {
        Err("must be the beginning of a metric's name: letters, digits and `_`".to_owned())
    }
}

fn variable(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(name)
    } else {
        Err("must be the name of an environment variable, not the token itself".to_owned())
    }
}

fn logs<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<Logs> {
    let said: Vec<&str> = ["file", "stdin", "command"].into_iter().filter(|key| table.has(key)).collect();
    let from = match *said.as_slice() {
        ["file"] => reader.take(table, "file", text).map(|path| LogsFrom::File(PathBuf::from(path))),
        ["command"] => reader.take(table, "command", command).map(LogsFrom::Command),
        ["stdin"] => reader.take(table, "stdin", |value| match switch(value)? {
            true => Ok(LogsFrom::Stdin),
            false => Err("must be true, or left out".to_owned()),
        }),
        _ => {
            reader.fault(table.line, "`sources.logs` needs one of `file`, `stdin = true` and `command`");
            None
        }
    };
    Some(Logs { from: from? })
}

fn metrics<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Vec<Placed> {
    let list = |value: &'a DeValue<'a>| value.as_array().ok_or_else(|| "must be written as [[metric]]".to_owned());
    let Some(items) = reader.take(top, "metric", list) else { return Vec::new() };
    let mut metrics: Vec<Placed> = Vec::new();
    for item in items.iter() {
        let line = reader.line(item.span().start);
        let table = match table_of(item.get_ref()) {
            Ok(table) => table,
            Err(message) => {
                reader.fault(line, format!("`metric` {message}"));
                continue;
            }
        };
        let Some(metric) = metric::read(reader, line, table) else { continue };
        if metrics.iter().any(|other| other.metric.name == metric.name) {
            reader.fault(line, format!("two metrics are called `{}`", metric.name));
        }
        metrics.push(Placed { metric, line });
    }
    metrics
}

/// Every metric's source has to be described; only the usage tables need no description, the profile's database holds them.
fn described(reader: &mut Reader<'_>, metrics: &[Placed], sources: &mut Sources) {
    for Placed { metric, line } in metrics {
        let missing = match metric.query.source() {
            SourceKind::Prometheus if sources.prometheus.is_none() => "[sources.prometheus] with its `url`",
            SourceKind::Logs if sources.logs.is_none() => "[sources.logs] with `file`, `stdin = true` or `command`",
            SourceKind::Sql => {
                sources.sql.get_or_insert_default();
                continue;
            }
            _ => continue,
        };
        reader.fault(
            *line,
            format!("`{}` is measured by a source that the plan does not describe: write {missing}", metric.name),
        );
    }
}

/// Nothing goes up by time alone: each rung needs something that passes, or a person.
fn gated(reader: &mut Reader<'_>, top: &Table<'_>, metrics: &[Placed], steps: &Ladder, approve: &[Percent]) {
    let guarded = metrics.iter().any(|placed| placed.metric.role == Role::Guardrail);
    let open: Vec<String> = steps
        .rungs()
        .iter()
        .filter(|rung| **rung != Percent::ZERO && !approve.contains(rung))
        .map(ToString::to_string)
        .collect();
    // Where a metric is broken, that is the fault.
    if !guarded && !open.is_empty() && reader.faults.is_empty() {
        let list = open.join(", ");
        let message = format!("no guardrail is measured at {list} %: add a [[metric]], or `approve = [{list}]`");
        reader.fault(top.line_of("metric"), message);
    }
}
