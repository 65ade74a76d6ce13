//! One `[[metric]]` of a plan.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::reader::{Reader, Table, command, count, integer, nearest, span, switch, table_of, text, word};
use super::{Metric, OnTrouble, Relative, Role, Scope, Severity, Threshold, defaults};
use crate::domain::flags::Percent;
use crate::domain::rollout::condition::Condition;
use crate::domain::rollout::query::{Query, SourceKind};

const KEYS: [&str; 23] = [
    "name",
    "source",
    "query",
    "samples",
    "resets",
    "command",
    "role",
    "scope",
    "relative",
    "window",
    "interval",
    "initial_delay",
    "required_passes",
    "rollback_at_consecutive_failures",
    "rollback_at_total_failures",
    "critical",
    "max_inconclusive",
    "max_consecutive_errors",
    "on_nodata",
    "on_invalid",
    "on_error",
    "min_samples",
    "at",
];

const SOURCES: [(&str, SourceKind); 4] = [
    ("prometheus", SourceKind::Prometheus),
    ("logs", SourceKind::Logs),
    ("sql", SourceKind::Sql),
    ("command", SourceKind::Command),
];

const TROUBLE: [(&str, OnTrouble); 3] =
    [("hold", OnTrouble::Hold), ("pause", OnTrouble::Pause), ("rollback", OnTrouble::Rollback)];

/// A metric as a plan has it, with the line where it begins.
pub(super) fn read<'a>(reader: &mut Reader<'a>, line: usize, table: &'a DeTable<'a>) -> Option<Metric> {
    let table = reader.open("metric", line, table, &KEYS);
    let name = reader.take(&table, "name", name);
    if !table.has("name") {
        reader.fault(line, "the metric has no `name`");
    }
    let query = query(reader, &table);
    let role = [("guardrail", Role::Guardrail), ("signal", Role::Signal), ("shadow", Role::Shadow)];
    let role = reader.take(&table, "role", |value| word(value, &role)).unwrap_or_default();
    let scope = [("cohort", Scope::Cohort), ("all", Scope::All)];
    let scope = reader.take(&table, "scope", |value| word(value, &scope));
    let relative = [("baseline", Relative::Baseline), ("control", Relative::Control), ("absolute", Relative::Absolute)];
    let relative = reader.take(&table, "relative", |value| word(value, &relative)).unwrap_or_default();
    let window = reader.take(&table, "window", span).unwrap_or(Duration::from_secs(300));
    let interval = reader.take(&table, "interval", span).unwrap_or(Duration::from_secs(60));
    let initial_delay = reader.take(&table, "initial_delay", span).unwrap_or(window);
    if initial_delay < window {
        let message =
            "`metric.initial_delay` is shorter than `window`: the first window would begin before the rung stood";
        reader.fault(table.line_of("initial_delay"), message);
    }
    let mut times = |key: &str, usual: u32| reader.take(&table, key, count).unwrap_or(usual);
    let required_passes = times("required_passes", 3);
    let rollback_at_consecutive_failures = times("rollback_at_consecutive_failures", 2);
    let rollback_at_total_failures = times("rollback_at_total_failures", 3);
    let max_inconclusive = times("max_inconclusive", 3);
    let max_consecutive_errors = times("max_consecutive_errors", 4);
    let mut trouble = |key: &str| reader.take(&table, key, |value| word(value, &TROUBLE)).unwrap_or_default();
    let (on_nodata, on_invalid, on_error) = (trouble("on_nodata"), trouble("on_invalid"), trouble("on_error"));
    let severity = match reader.take(&table, "critical", switch) {
        Some(true) => Severity::Critical,
        Some(false) | None => Severity::Counted,
    };
    let thresholds = thresholds(reader, &table, query.as_ref(), relative);
    let (name, query, thresholds) = (name?, query?, thresholds?);
    // Without a label for the arm, Prometheus and the logs speak of everybody, unless a plan knows better.
    let scope = scope.unwrap_or(match &query {
        Query::Prometheus(query) if !query.value.contains("$ARM") => Scope::All,
        Query::Logs(_) => Scope::All,
        Query::Prometheus(_) | Query::Sql(_) | Query::Command(_) => Scope::Cohort,
    });
    uncounted(reader, &table, &query, &thresholds);
    Some(Metric {
        name,
        query,
        role,
        scope,
        relative,
        window,
        interval,
        initial_delay,
        required_passes,
        rollback_at_consecutive_failures,
        rollback_at_total_failures,
        severity,
        max_inconclusive,
        max_consecutive_errors,
        on_nodata,
        on_invalid,
        on_error,
        thresholds,
    })
}

fn name(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.len() <= 60 && name.chars().all(plain) {
        Ok(name)
    } else {
        Err("must be at most 60 letters, digits, `_`, `-` and `.`".to_owned())
    }
}

fn query<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<Query> {
    let Some(source) = reader.take(table, "source", source) else {
        if !table.has("source") {
            reader.fault(table.line, "the metric has no `source`: prometheus, logs, sql or command");
        }
        return None;
    };
    let beside = ["query", "samples", "resets"].into_iter().find(|key| table.has(key));
    if source == SourceKind::Command {
        if let Some(key) = beside {
            reader.fault(
                table.line_of(key),
                format!("`metric.{key}` is not for source \"command\": write `command = [\"program\", \"argument\"]`"),
            );
            return None;
        }
        if !table.has("command") {
            reader.fault(table.line, "the metric has no `command = [\"program\", \"argument\"]`");
        }
        return reader.take(table, "command", command).map(Query::Command);
    }
    if table.has("command") {
        reader.fault(table.line_of("command"), "`metric.command` is for source \"command\" only");
        return None;
    }
    if !table.has("query") {
        reader.fault(table.line, "the metric has no `query`");
    }
    let asked = reader.take(table, "query", text);
    let samples = reader.take(table, "samples", text);
    let resets = reader.take(table, "resets", text);
    match Query::parse(source, &asked?, samples.as_deref(), resets.as_deref()) {
        Ok(query) => Some(query),
        Err(message) => {
            reader.fault(table.line_of("query"), format!("`metric.query`: {message}"));
            None
        }
    }
}

fn source(value: &DeValue<'_>) -> Result<SourceKind, String> {
    word(value, &SOURCES).map_err(|message| {
        let names: Vec<&str> = SOURCES.iter().map(|(name, _)| *name).collect();
        let meant = value.as_str().and_then(|said| nearest(said, &names));
        meant.map_or(message.clone(), |near| format!("{message}; did you mean \"{near}\"?"))
    })
}

/// A minimum of samples that the source can never say it has would hold every rung for ever.
fn uncounted(reader: &mut Reader<'_>, table: &Table<'_>, query: &Query, thresholds: &BTreeMap<Percent, Threshold>) {
    let Query::Prometheus(prom) = query else { return };
    if prom.samples.is_none() && thresholds.values().any(|threshold| threshold.min_samples > 0) {
        reader.fault(
            table.line_of("query"),
            "nothing says how many events this rests on: give `samples = \"PromQL\"`, or `min_samples = 0`",
        );
    }
}

type Row = (Percent, Condition, Condition, Option<u64>);

fn thresholds<'a>(
    reader: &mut Reader<'a>,
    table: &Table<'a>,
    query: Option<&Query>,
    relative: Relative,
) -> Option<BTreeMap<Percent, Threshold>> {
    let of_metric = reader.take(table, "min_samples", minimum);
    let rows = if table.has("at") {
        rows(reader, table)?
    } else {
        let query = query?;
        let Some(usual) = defaults::conditions(query, relative) else {
            let message = "the metric has no conditions: at = { 0 = { pass_if = \"< 0.02\", fail_if = \"> 0.05\" } } (only the \
                           built-in shares of errors, and p95 with `relative`, have defaults)";
            reader.fault(table.line, message);
            return None;
        };
        usual.into_iter().map(|(rung, pass_if, fail_if)| (rung, pass_if, fail_if, None)).collect()
    };
    Some(defaults::thresholds(query?.source(), rows, of_metric))
}

/// The table `at`, by rung.
fn rows<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<Vec<Row>> {
    let at = reader.take(table, "at", table_of)?;
    if at.is_empty() {
        reader.fault(table.line_of("at"), "`metric.at` is empty");
        return None;
    }
    let (mut rows, mut sound): (Vec<Row>, _) = (Vec::new(), true);
    for (key, value) in at.iter() {
        let line = reader.line(key.span().start);
        let path = format!("metric.at.{}", key.get_ref());
        let Ok(rung) = key.get_ref().parse::<Percent>() else {
            reader.fault(line, format!("`{path}`: a rung is a whole number from 0 to 100"));
            sound = false;
            continue;
        };
        match table_of(value.get_ref()) {
            Ok(inner) => {
                let inner = reader.open(&path, line, inner, &["pass_if", "fail_if", "min_samples"]);
                match row(reader, &path, &inner, rung) {
                    Some(row) => rows.push(row),
                    None => sound = false,
                }
            }
            Err(message) => {
                reader.fault(line, format!("`{path}` {message}"));
                sound = false;
            }
        }
    }
    rows.sort_by_key(|(rung, ..)| *rung);
    if rows.windows(2).any(|pair| matches!(pair, [(one, ..), (other, ..)] if one == other)) {
        reader.fault(table.line_of("at"), "`metric.at` names the same rung twice");
        return None;
    }
    sound.then_some(rows)
}

fn row<'a>(reader: &mut Reader<'a>, path: &str, table: &Table<'a>, rung: Percent) -> Option<Row> {
    let mut condition = |key: &str| {
        if !table.has(key) {
            reader.fault(table.line, format!("`{path}` has no `{key}`: both conditions are needed"));
        }
        reader.take(table, key, |value| text(value)?.parse::<Condition>().map_err(|error| format!("is wrong: {error}")))
    };
    let (pass_if, fail_if) = (condition("pass_if"), condition("fail_if"));
    let min_samples = reader.take(table, "min_samples", minimum);
    let (pass_if, fail_if) = (pass_if?, fail_if?);
    if pass_if.overlaps(&fail_if) {
        let message = format!("`{path}`: some values would pass ({pass_if}) and fail ({fail_if})");
        reader.fault(table.line_of("fail_if"), message);
        return None;
    }
    Some((rung, pass_if, fail_if, min_samples))
}

fn minimum(value: &DeValue<'_>) -> Result<u64, String> {
    u64::try_from(integer(value)?).map_err(|_| "must be 0 or more".to_owned())
}
