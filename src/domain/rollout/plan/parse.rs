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
    let url = reader.take(table, "url", |value| prometheus_address(&text(value)?));
    let prefix = reader.take(table, "prefix", prefix);
    let scrape_interval = reader.take(table, "scrape_interval", span).unwrap_or(Duration::from_secs(15));
    let bearer_env = reader.take(table, "bearer_env", variable);
    Some(Prometheus { url: url?, prefix, scrape_interval, bearer_env })
}

/// The base address of a Prometheus server. It is stored and shown with the plan, so it holds no secret.
///
/// # Errors
/// What is wrong with it, in words that do not repeat it.
pub fn prometheus_address(text: &str) -> Result<url::Url, String> {
    let refused = || "must be an address such as \"http://prometheus:9090\"".to_owned();
    let url = url::Url::parse(text).map_err(|_| refused())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refused());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a login: name a variable with `bearer_env`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end before `?` and `#`: what stands there is never sent".to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollout::plan::{Relative, Scope, Starter, Usage, starter};

    const HEAD: &str = "flag = \"f\"\n";
    const METRIC: &str = "[[metric]]\nname = \"errors\"\nsource = \"sql\"\nquery = \"@cohort_errors\"\n";

    #[track_caller]
    fn refused(text: &str, line: usize, message: &str) {
        let faults = parse(text, &Ladder::default()).unwrap_err();
        let told: Vec<String> = faults.iter().map(|fault| fault.at("plan.toml")).collect();
        let wanted = format!("plan.toml:{line}: ");
        let found = told.iter().any(|fault| fault.starts_with(&wanted) && fault.contains(message));
        assert!(found, "no `{wanted}…{message}` in {told:#?}");
    }

    #[track_caller]
    fn sound(text: &str) -> Plan {
        parse(text, &Ladder::default()).unwrap_or_else(|faults| panic!("{faults:#?}")).plan
    }

    fn rungs(plan: &Plan) -> Vec<(u8, String, String, u64)> {
        let row = |(rung, threshold): (&Percent, &crate::domain::rollout::plan::Threshold)| {
            (rung.get(), threshold.pass_if.to_string(), threshold.fail_if.to_string(), threshold.min_samples)
        };
        plan.metrics[0].thresholds.iter().map(row).collect()
    }

    #[test]
    fn a_plan_that_is_wrong_is_refused_at_its_line() {
        let top = |line: &str| format!("{HEAD}{line}\n{METRIC}");
        refused(&top("steps = [0, 25, 10, 100]"), 2, "goes down from 25 to 10");
        refused(&top("steps = [0, 10, 10, 100]"), 2, "holds 10 twice");
        refused(&top("steps = [0, 10, 150]"), 2, "holds 150");
        refused(&top("steps = [0, -5, 100]"), 2, "holds -5");
        refused(&top("steps = [10, 100]"), 2, "does not begin at 0");
        refused(&top("steps = [0, 50]"), 2, "does not end at 100");
        refused(&top("steps = []"), 2, "does not begin at 0");
        refused(&top("steps = \"all\""), 2, "must be a list of whole numbers");
        refused(&top("stpes = [0, 100]"), 2, "unknown key `stpes`; did you mean `steps`?");
        refused(&top("bake = \"soon\""), 2, "must be a time");
        refused(&top("bake = 30"), 2, "must be a time");
        refused(&top("bake = \"0s\""), 2, "from 1 s to 30 days");
        refused(&top("require = \"maybe\""), 2, "must be \"sampled\" or \"proved\"");
        refused(&top("approve = [30]"), 2, "holds 30, which is no step");
        refused(METRIC, 1, "the plan names no `flag`");
        refused("flag = \"a/b\"\n", 1, "cannot hold `/`");
        refused("flag = \"f\n", 1, "");
        refused(HEAD, 1, "no guardrail is measured at 10, 25, 50, 100 %");
        refused(&format!("{HEAD}[seen]\nflag_digest = \"abc\"\n{METRIC}"), 3, "a digest is `sha256:`");
        let more = |line: &str| format!("{HEAD}{METRIC}{line}\n");
        refused(&more("windwo = \"5m\""), 6, "did you mean `window`?");
        refused(&more("initial_delay = \"1m\""), 6, "shorter than `window`");
        refused(&more("required_passes = 0"), 6, "must be 1 or more");
        refused(&more("on_nodata = \"ignore\""), 6, "must be \"hold\" or \"pause\" or \"rollback\"");
        refused(&more("critical = \"yes\""), 6, "must be true or false");
        refused(&more("samples = \"up\""), 5, "`samples` is for prometheus only");
        refused(&more("command = [\"true\"]"), 6, "for source \"command\" only");
        refused(&more("at = { 10 = { pass_if = \"< 0.02\" } }"), 6, "has no `fail_if`");
        refused(&more("at = { 10 = { fail_if = \"> 0.02\" } }"), 6, "has no `pass_if`");
        refused(
            &more("at = { 10 = { pass_if = \"< 0.06\", fail_if = \"> 0.05\" } }"),
            6,
            "would pass (< 0.06) and fail",
        );
        refused(&more("at = { 10 = { pass_if = \"small\", fail_if = \"> 0.05\" } }"), 6, "a condition is a comparison");
        refused(&more("at = { 101 = { pass_if = \"< 1\", fail_if = \"> 2\" } }"), 6, "whole number from 0 to 100");
        refused(&more("at = { 10 = { pass_fi = \"< 1\" } }"), 6, "did you mean `pass_if`?");
        refused(&more("at = {}"), 6, "`metric.at` is empty");
        refused(&format!("{HEAD}{METRIC}{METRIC}"), 6, "two metrics are called `errors`");
        let asked = |lines: &str| format!("{HEAD}[[metric]]\nname = \"m\"\n{lines}\n");
        refused(&asked("source = \"promtheus\"\nquery = \"up\""), 4, "did you mean \"prometheus\"?");
        refused(&asked("query = \"up\""), 2, "has no `source`");
        refused(&asked("source = \"sql\""), 2, "has no `query`");
        refused(&asked("source = \"sql\"\nquery = \"@nothing\""), 5, "no built-in `@nothing`");
        refused(&asked("source = \"sql\"\nquery = \"@cohort_p95\""), 2, "has no conditions");
        refused(&asked("source = \"logs\"\nquery = \"@errors\""), 2, "write [sources.logs]");
        refused(&asked("source = \"prometheus\"\nquery = \"@errors\""), 2, "write [sources.prometheus]");
        refused(&asked("source = \"command\""), 2, "has no `command");
        refused(&asked("source = \"command\"\ncommand = []"), 5, "a program, then its arguments");
        let bare = "source = \"prometheus\"\nquery = \"up\"\nat = { 0 = { pass_if = \"< 1\", fail_if = \"> 2\" } }";
        refused(&asked(bare), 5, "give `samples = \"PromQL\"`, or `min_samples = 0`");
        let sources = |lines: &str| format!("{HEAD}{lines}\n{METRIC}");
        refused(&sources("[sources.prometheus]\nurl = \"ftp://x\""), 3, "must be an address");
        refused(&sources("[sources.prometheus]\nurl = \"http://u:CANARY@x\""), 3, "must not hold a login");
        refused(&sources("[sources.prometheus]\nurl = \"http://x/?token=CANARY\""), 3, "must end before `?`");
        refused(&sources("[sources.prometheus]"), 2, "has no `url`");
        refused(&sources("[sources.logs]\nfile = \"a\"\nstdin = true"), 2, "needs one of");
        refused(&sources("[sources.sql]\nidentity = \"name\""), 3, "must be \"email\"");
    }

    #[test]
    fn no_fault_repeats_a_value_that_may_be_secret() {
        let text = "flag = \"f\"\n[sources.prometheus]\nurl = \"http://u:CANARY@x\"\nbearer_env = \"Bearer CANARY\"\n";
        let faults = parse(text, &Ladder::default()).unwrap_err();
        assert!(!format!("{faults:?}").contains("CANARY"), "{faults:?}");
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn all_faults_are_told_at_once_from_the_top() {
        let text = "flag = \"f\"\nbake = \"x\"\nmax_hold = \"y\"\nsteps = [0, 7]\n";
        let lines: Vec<usize> = parse(text, &Ladder::default()).unwrap_err().iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [2, 3, 4]);
    }

    #[test]
    fn what_is_left_out_takes_the_defaults() {
        let plan = sound(&format!("{HEAD}{METRIC}"));
        assert_eq!(plan.steps, Ladder::default());
        assert_eq!((plan.bake, plan.max_hold), (Duration::from_secs(1800), Duration::from_secs(3600)));
        let metric = &plan.metrics[0];
        assert_eq!((metric.window, metric.interval, metric.initial_delay).0, Duration::from_secs(300));
        assert_eq!(metric.initial_delay, metric.window);
        assert_eq!((metric.required_passes, metric.max_inconclusive, metric.max_consecutive_errors), (3, 3, 4));
        assert_eq!((metric.rollback_at_consecutive_failures, metric.rollback_at_total_failures), (2, 3));
        assert_eq!((metric.scope, metric.relative), (Scope::Cohort, Relative::Absolute));
        let text = |rung, pass_if: &str, samples| (rung, pass_if.to_owned(), "> 0.05".to_owned(), samples);
        assert_eq!(rungs(&plan), [text(0, "< 0.02", 200), text(50, "< 0.01", 500)]);
    }

    #[test]
    fn conditions_hold_from_their_rung_on_and_the_first_below_it_too() {
        let plan = sound(&format!(
            "{HEAD}{METRIC}at = {{ 10 = {{ pass_if = \"< 0.02\", fail_if = \"> 0.05\" }}, 75 = {{ pass_if = \"< 0.01\", fail_if = \"> 0.03\", min_samples = 9 }} }}\n"
        ));
        let text =
            |rung, pass_if: &str, fail_if: &str, samples| (rung, pass_if.to_owned(), fail_if.to_owned(), samples);
        let wanted =
            [text(0, "< 0.02", "> 0.05", 200), text(50, "< 0.02", "> 0.05", 500), text(75, "< 0.01", "> 0.03", 9)];
        assert_eq!(rungs(&plan), wanted);
        let at = |rung: i64| plan.metrics[0].threshold(Percent::try_from(rung).unwrap()).unwrap().min_samples;
        assert_eq!((at(0), at(49), at(50), at(74), at(100)), (200, 200, 500, 500, 9));
        let plan = sound(&format!("{HEAD}{METRIC}min_samples = 20\n"));
        assert!(rungs(&plan).iter().all(|(.., samples)| *samples == 20));
        let command = "[[metric]]\nname = \"m\"\nsource = \"command\"\ncommand = [\"true\"]\nat = { 0 = { pass_if = \"< 1\", fail_if = \"> 2\" } }\n";
        assert!(rungs(&sound(&format!("{HEAD}{command}"))).iter().all(|(.., samples)| *samples == 0));
    }

    #[test]
    fn the_plan_that_is_written_parses_as_it_is() {
        let ladder = Ladder::try_from([0, 5, 60, 100].as_slice()).unwrap();
        let flag: FlagKey = "a \"b\" флаг".parse().unwrap();
        let url = url::Url::parse("http://localhost:9090/").unwrap();
        let log = LogsFrom::File(PathBuf::from("/var/log/hub \"1\".log"));
        let digest = Digest::of(b"x");
        for (usage, prometheus, logs, metrics) in [
            (Usage::None, None, None, 0),
            (Usage::Tables, None, None, 2),
            (Usage::None, Some(&url), None, 2),
            (Usage::None, None, Some(&log), 1),
            (Usage::Tables, Some(&url), Some(&LogsFrom::Stdin), 5),
        ] {
            let seen = Seen { flag: Some(digest.clone()), cohort: None };
            let text = starter(&Starter { flag: &flag, ladder: &ladder, seen: &seen, usage, prometheus, logs });
            let plan = sound(&text);
            assert_eq!((&plan.flag, &plan.steps, &plan.seen, plan.metrics.len()), (&flag, &ladder, &seen, metrics));
            assert_eq!(plan.approve.is_empty(), metrics > 0);
            // What stands there as a comment is right too, once somebody takes the `# ` away.
            let (head, rest) = text.split_at(text.find("[seen]").unwrap());
            let active: String = rest
                .lines()
                .take_while(|line| !line.starts_with("# Every metric"))
                .map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n")
                .collect();
            assert_eq!(sound(&format!("{head}{active}")).metrics.len(), 5);
        }
    }

    #[test]
    fn what_is_seldom_meant_is_warned_about_at_its_line() {
        let warnings = |text: &str| -> Vec<String> {
            let parsed = parse(text, &Ladder::default()).unwrap();
            parsed.warnings.iter().map(|warning| warning.at("p")).collect()
        };
        assert!(warnings(&format!("{HEAD}{METRIC}")).is_empty());
        let all = warnings(&format!("{HEAD}{METRIC}scope = \"all\"\n"));
        assert!(
            all[0].starts_with("p:2: `errors`: it is about all users: at 10 %") && all[0].contains("3.0 %"),
            "{all:?}"
        );
        let long = warnings(&format!("{HEAD}bake = \"2m\"\n{METRIC}"));
        assert!(long[0].contains("window is longer than the bake"), "{long:?}");
        let control = warnings(&format!(
            "{HEAD}{METRIC}relative = \"control\"\nat = {{ 0 = {{ pass_if = \"< 1\", fail_if = \"> 2\" }} }}\n"
        ));
        assert!(control[0].contains("at 100 % nobody is without the feature"), "{control:?}");
        let odd = warnings(&format!(
            "{HEAD}{METRIC}at = {{ 0 = {{ pass_if = \"< 1\", fail_if = \"> 2\" }}, 15 = {{ pass_if = \"< 1\", fail_if = \"> 2\" }} }}\n"
        ));
        assert!(odd[0].contains("`at` names 15 %"), "{odd:?}");
    }
}
