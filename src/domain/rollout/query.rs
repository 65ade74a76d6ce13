//! What a metric asks, parsed once: the text of a plan's `query`, in the language of its source.
//!
//! A [`Query`] that exists can be asked: built-ins are spelled out, kinds of events are in lower case, a command has a program.
//! Whether a PromQL or an SQL text means anything is the server's to say, before the first change.

use std::fmt;
use std::str::FromStr;

/// Which kind of source a metric is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// A Prometheus server.
    Prometheus,
    /// The hub's logs.
    Logs,
    /// The usage tables.
    Sql,
    /// A program.
    Command,
}

impl SourceKind {
    /// All of them, as a plan may name them.
    pub const ALL: [Self; 4] = [Self::Prometheus, Self::Logs, Self::Sql, Self::Command];

    /// The word in a plan.
    pub fn word(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::Logs => "logs",
            Self::Sql => "sql",
            Self::Command => "command",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for SourceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().find(|kind| kind.word() == text);
        known.copied().ok_or_else(|| "a source is prometheus, logs, sql or command".to_owned())
    }
}

/// A question to one source.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// To Prometheus.
    Prometheus(PromQuery),
    /// To the hub's logs.
    Logs(LogQuery),
    /// To the usage tables.
    Sql(SqlQuery),
    /// To a program that prints one number, run without a shell.
    Command(Vec<String>),
}

/// A question to Prometheus: one for the value, and others that say what it is worth, all asked at the same time.
///
/// In each text `$P_` stands for the prefix of the hub's metric names, `[$W` for the metric's window in seconds, and `"$ARM"`
/// for `"cohort"` and, in a second question, for `"control"`.
#[derive(Clone, Debug, PartialEq)]
pub struct PromQuery {
    /// The name of a built-in; `None` for free text.
    pub built_in: Option<&'static str>,
    /// Gives one sample.
    pub value: String,
    /// Gives the number of events behind it.
    pub samples: Option<String>,
    /// Gives the number of those that are errors, for a share of errors.
    pub errors: Option<String>,
    /// Is 0 unless a counter was reset in the window.
    pub resets: Option<String>,
    /// Gives the time of the newest scrape behind it, in seconds since 1970.
    pub newest: Option<String>,
    /// Gives one series for each bucket of a histogram, with its `le`: a value that equals the last finite one is no
    /// measurement.
    pub buckets: Option<String>,
}

/// A question to the logs; `kind` is the word in `[EVENT_TYPE]` or the JSON member of that meaning, in lower case.
#[derive(Clone, Debug, PartialEq)]
pub enum LogQuery {
    /// `@errors`: the share of ERROR and CRITICAL records among all.
    Errors,
    /// `share KIND[,KIND] of KIND[,KIND]`: the share of some events among others.
    Share {
        /// Counted above the line.
        of: Vec<String>,
        /// Counted below it; these include those above.
        among: Vec<String>,
    },
    /// `count KIND[,KIND]`: how many there are.
    Count(Vec<String>),
    /// `p95 KIND FIELD`: a quantile of a numeric field of one kind of event; of a field that ends in `_ms`, in seconds.
    Quantile {
        /// 0 to 1, both excluded.
        quantile: f64,
        /// The kind of event.
        kind: String,
        /// The field.
        field: String,
    },
}

/// A question to the usage tables.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlQuery {
    /// `@cohort_errors`: the share of failed requests of the cohort; control likewise.
    CohortErrors,
    /// `@cohort_p95`: the 95th percentile of the cohort's latency in seconds; control likewise.
    CohortP95,
    /// `@adoption`: exposed users who used the feature, as a share of exposed users.
    Adoption,
    /// Any SELECT of one row: `value`, and `samples`, `errors`, `control`, `control_samples` where they can be told. `$1` is the
    /// start of the window and `$2` its end, `$3` the flag, `$4` the percentage.
    Text(String),
}

/// Our own probes ask the features API; they are no traffic of the hub's users.
macro_rules! not_ours {
    () => {
        "endpoint!~\"/api/v1/features.*\""
    };
}

impl Query {
    /// Read the text of a plan's `query`, with its `samples` and `resets`, which only Prometheus takes.
    ///
    /// # Errors
    /// What is wrong, and what would be right, in words.
    pub fn parse(source: SourceKind, text: &str, samples: Option<&str>, resets: Option<&str>) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("the query is empty".to_owned());
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err("the query holds a control character".to_owned());
        }
        let beside = samples.map(|_| "samples").or(resets.map(|_| "resets"));
        if let (Some(word), false) = (beside, source == SourceKind::Prometheus) {
            return Err(format!("`{word}` is for prometheus only: {source} counts by itself"));
        }
        match source {
            SourceKind::Prometheus => PromQuery::parse(text, samples, resets).map(Self::Prometheus),
            SourceKind::Logs => LogQuery::parse(text).map(Self::Logs),
            SourceKind::Sql => SqlQuery::parse(text).map(Self::Sql),
            SourceKind::Command => words(text).map(Self::Command),
        }
    }

    /// Which kind of source answers it.
    pub fn source(&self) -> SourceKind {
        match self {
            Self::Prometheus(_) => SourceKind::Prometheus,
            Self::Logs(_) => SourceKind::Logs,
            Self::Sql(_) => SourceKind::Sql,
            Self::Command(_) => SourceKind::Command,
        }
    }
}

/// As evidence shows it: what a plan says, in its canonical form.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prometheus(query) => f.write_str(query.built_in.unwrap_or(&query.value)),
            Self::Logs(LogQuery::Errors) => f.write_str("@errors"),
            Self::Logs(LogQuery::Share { of, among }) => write!(f, "share {} of {}", of.join(","), among.join(",")),
            Self::Logs(LogQuery::Count(kinds)) => write!(f, "count {}", kinds.join(",")),
            Self::Logs(LogQuery::Quantile { quantile, kind, field }) => {
                // Rounded: 0.999 times 100 is not 99.9 in binary.
                write!(f, "p{} {kind} {field}", (quantile * 1e6).round() / 1e4)
            }
            Self::Sql(SqlQuery::CohortErrors) => f.write_str("@cohort_errors"),
            Self::Sql(SqlQuery::CohortP95) => f.write_str("@cohort_p95"),
            Self::Sql(SqlQuery::Adoption) => f.write_str("@adoption"),
            Self::Sql(SqlQuery::Text(text)) => f.write_str(text),
            Self::Command(words) => f.write_str(&words.join(" ")),
        }
    }
}

impl PromQuery {
    fn parse(text: &str, samples: Option<&str>, resets: Option<&str>) -> Result<Self, String> {
        let beside = |what: &str, text: Option<&str>| match text.map(str::trim) {
            Some("") => Err(format!("`{what}` is empty")),
            text => Ok(text.map(str::to_owned)),
        };
        let (samples, resets) = (beside("samples", samples)?, beside("resets", resets)?);
        if !text.starts_with('@') {
            let value = text.to_owned();
            return Ok(Self { built_in: None, value, samples, errors: None, resets, newest: None, buckets: None });
        }
        let mut query = match text {
            "@errors" => Self::errors(),
            "@p95" => Self::p95(),
            _ => return Err(unknown(text, "prometheus", "@errors, @p95 or PromQL")),
        };
        query.samples = samples.or(query.samples);
        query.resets = resets.or(query.resets);
        Ok(query)
    }

    /// All questions: value, samples, errors, resets, newest, buckets.
    pub fn texts(&self) -> [Option<&str>; 6] {
        let Self { built_in: _, value, samples, errors, resets, newest, buckets } = self;
        [
            Some(value.as_str()),
            samples.as_deref(),
            errors.as_deref(),
            resets.as_deref(),
            newest.as_deref(),
            buckets.as_deref(),
        ]
    }

    /// A hub that never failed has no series of failures, and nothing divided by something is nothing: hence `or vector(0)`.
    fn errors() -> Self {
        const ALL: &str = concat!("$P_http_requests_total{", not_ours!(), "}");
        const FAILED: &str = concat!("$P_http_requests_total{status=~\"5..\",", not_ours!(), "}");
        Self {
            built_in: Some("@errors"),
            value: format!("(sum(rate({FAILED}[$W])) or vector(0)) / sum(rate({ALL}[$W]))"),
            samples: Some(format!("sum(increase({ALL}[$W]))")),
            errors: Some(format!("sum(increase({FAILED}[$W])) or vector(0)")),
            resets: Some(format!("sum(resets({ALL}[$W]))")),
            newest: Some(format!("max(timestamp({ALL}))")),
            buckets: None,
        }
    }

    fn p95() -> Self {
        const BUCKET: &str = concat!("$P_http_request_duration_seconds_bucket{", not_ours!(), "}");
        const COUNT: &str = concat!("$P_http_request_duration_seconds_count{", not_ours!(), "}");
        Self {
            built_in: Some("@p95"),
            value: format!("histogram_quantile(0.95, sum by (le) (rate({BUCKET}[$W])))"),
            samples: Some(format!("sum(increase({COUNT}[$W]))")),
            errors: None,
            resets: Some(format!("sum(resets({COUNT}[$W]))")),
            newest: Some(format!("max(timestamp({COUNT}))")),
            buckets: Some(format!("group by (le) ({BUCKET})")),
        }
    }
}

impl LogQuery {
    fn parse(text: &str) -> Result<Self, String> {
        const FORMS: &str = "@errors, `share KIND[,KIND] of KIND[,KIND]`, `count KIND[,KIND]` or `p95 KIND FIELD`";
        if text.starts_with('@') && text != "@errors" {
            return Err(unknown(text, "logs", FORMS));
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        match *words.as_slice() {
            ["@errors"] => Ok(Self::Errors),
            ["share", of, "of", among] => {
                let (of, mut among) = (kinds(of)?, kinds(among)?);
                // A share above 1 is none: what is counted above the line is counted below it too.
                among.extend(of.iter().filter(|kind| !among.contains(kind)).cloned().collect::<Vec<_>>());
                Ok(Self::Share { of, among })
            }
            ["count", of] => kinds(of).map(Self::Count),
            [quantile, kind, field] if quantile.starts_with('p') => {
                let quantile = quantile_of(quantile)
                    .ok_or_else(|| format!("`{quantile}` is no quantile: p50, p95, p99.9 are, between p0 and p100"))?;
                let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                if !field.chars().all(fits) {
                    return Err(format!("`{field}` is no field: letters, digits, `_` and `-`"));
                }
                Ok(Self::Quantile { quantile, kind: one_kind(kind)?, field: field.to_owned() })
            }
            _ => Err(format!("the logs are asked by {FORMS}")),
        }
    }
}

impl SqlQuery {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "@cohort_errors" => return Ok(Self::CohortErrors),
            "@cohort_p95" => return Ok(Self::CohortP95),
            "@adoption" => return Ok(Self::Adoption),
            _ if text.starts_with('@') => {
                return Err(unknown(text, "sql", "@cohort_errors, @cohort_p95, @adoption or a SELECT"));
            }
            _ => {}
        }
        let text = text.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        let first: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
        if !matches!(first.to_ascii_lowercase().as_str(), "select" | "with") {
            return Err("a free question to the database begins with SELECT or WITH".to_owned());
        }
        Ok(Self::Text(text.to_owned()))
    }
}

fn unknown(text: &str, source: &str, known: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    format!("{source} has no built-in `{shown}`: there are {known}")
}

fn kinds(text: &str) -> Result<Vec<String>, String> {
    let mut kinds = Vec::new();
    for kind in text.split(',') {
        let kind = one_kind(kind)?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

fn one_kind(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.is_empty() || !text.chars().all(fits) {
        return Err(format!("`{text}` is no kind of event: a word such as api_call, and no blank after a comma"));
    }
    Ok(text.to_ascii_lowercase())
}

/// `p95` as 0.95.
fn quantile_of(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('p')?;
    if !digits.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let percent: f64 = digits.parse().ok()?;
    (percent > 0.0 && percent < 100.0).then_some(percent / 100.0)
}

/// The words of a command line: blanks separate, quotes of both kinds and the backslash keep. Nothing is expanded.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word): (Vec<String>, Option<String>) = (Vec::new(), None);
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => match characters.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("the command ends in a backslash".to_owned()),
            },
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote of the command is not closed".to_owned());
    }
    words.extend(word);
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err("the command names no program".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(source: SourceKind, text: &str) -> Result<Query, String> {
        Query::parse(source, text, None, None)
    }

    #[test]
    fn a_source_is_one_of_four_words() {
        for kind in SourceKind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
        }
        assert!("SQL".parse::<SourceKind>().is_err());
    }

    #[test]
    fn a_query_says_itself_again() {
        #[track_caller]
        fn case(source: SourceKind, text: &str, said: &str) {
            let query = parse(source, text).unwrap();
            assert_eq!(query.source(), source);
            assert_eq!(query.to_string(), said);
            assert_eq!(parse(source, said), Ok(query), "{said}");
        }
        case(SourceKind::Prometheus, "@errors", "@errors");
        case(SourceKind::Prometheus, " @p95\n", "@p95");
        case(SourceKind::Prometheus, "up == 1", "up == 1");
        case(SourceKind::Logs, "@errors", "@errors");
        case(SourceKind::Logs, "share ERROR of api_call,page_view", "share error of api_call,page_view,error");
        case(SourceKind::Logs, "share error,error of error", "share error of error");
        case(SourceKind::Logs, "count  Security", "count security");
        case(SourceKind::Logs, "p95 api_call duration_ms", "p95 api_call duration_ms");
        case(SourceKind::Logs, "p99.9 API_CALL duration_ms", "p99.9 api_call duration_ms");
        case(SourceKind::Sql, "@cohort_errors", "@cohort_errors");
        case(SourceKind::Sql, "@cohort_p95", "@cohort_p95");
        case(SourceKind::Sql, "@adoption", "@adoption");
        case(SourceKind::Sql, "select 1 AS value ; ", "select 1 AS value");
        case(SourceKind::Sql, "WITH a AS (SELECT 1) SELECT * FROM a", "WITH a AS (SELECT 1) SELECT * FROM a");
        case(SourceKind::Command, "./share-of-errors --last 5m", "./share-of-errors --last 5m");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_what_can() {
        #[track_caller]
        fn case(source: SourceKind, text: &str, part: &str) {
            let error = parse(source, text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        case(SourceKind::Prometheus, "", "empty");
        case(SourceKind::Prometheus, "up\0", "control character");
        case(SourceKind::Prometheus, "@cohort_errors", "@errors, @p95 or PromQL");
        case(SourceKind::Logs, "@p95", "@errors");
        case(SourceKind::Logs, "errors", "count KIND");
        case(SourceKind::Logs, "share error", "share KIND");
        case(SourceKind::Logs, "share error of", "share KIND");
        case(SourceKind::Logs, "share error, x of y", "share KIND");
        case(SourceKind::Logs, "share error,, of y", "no kind of event");
        case(SourceKind::Logs, "count error,", "no kind of event");
        case(SourceKind::Logs, "count [ERROR]", "no kind of event");
        case(SourceKind::Logs, "p100 api_call duration_ms", "no quantile");
        case(SourceKind::Logs, "p0 api_call duration_ms", "no quantile");
        case(SourceKind::Logs, "p-5 api_call duration_ms", "no quantile");
        case(SourceKind::Logs, "pNaN api_call duration_ms", "no quantile");
        case(SourceKind::Logs, "p9.5.1 api_call duration_ms", "no quantile");
        case(SourceKind::Logs, "p95 api_call a\"b", "no field");
        case(SourceKind::Sql, "@errors", "@cohort_errors");
        case(SourceKind::Sql, "UPDATE users SET tier = 'x'", "SELECT or WITH");
        case(SourceKind::Sql, ";", "SELECT or WITH");
        case(SourceKind::Command, "''", "no program");
        case(SourceKind::Command, "a 'b", "not closed");
        case(SourceKind::Command, "a \\", "backslash");
    }

    #[test]
    fn only_prometheus_is_asked_for_samples_and_resets() {
        for source in [SourceKind::Logs, SourceKind::Sql, SourceKind::Command] {
            assert!(Query::parse(source, "select", Some("x"), None).unwrap_err().contains("`samples`"));
            assert!(Query::parse(source, "select", None, Some("x")).unwrap_err().contains("`resets`"));
        }
        let query = Query::parse(SourceKind::Prometheus, "up", Some("count(up)"), Some("resets(x[5m])"));
        let Ok(Query::Prometheus(query)) = query else { panic!("{query:?}") };
        assert_eq!((query.samples.as_deref(), query.resets.as_deref()), (Some("count(up)"), Some("resets(x[5m])")));
        assert!(Query::parse(SourceKind::Prometheus, "up", Some(" "), None).unwrap_err().contains("empty"));
    }

    #[test]
    fn a_built_in_brings_its_own_questions_and_a_plan_may_replace_them() {
        let query = Query::parse(SourceKind::Prometheus, "@p95", Some("mine"), None);
        let Ok(Query::Prometheus(query)) = query else { panic!("{query:?}") };
        assert_eq!(query.samples.as_deref(), Some("mine"));
        assert!(query.resets.unwrap().starts_with("sum(resets($P_http_request_duration_seconds_count{"));
        assert!(query.buckets.is_some() && query.newest.is_some());
    }

    #[test]
    fn a_command_is_split_like_a_shell_splits_it_and_nothing_is_expanded() {
        #[track_caller]
        fn case(text: &str, expected: &[&str]) {
            let expected: Vec<String> = expected.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(words(text), Ok(expected), "{text}");
        }
        case("a  b", &["a", "b"]);
        case("a 'b c' \"d 'e'\"", &["a", "b c", "d 'e'"]);
        case("a '' b", &["a", "", "b"]);
        case(r#"a\ b "c\"d" 'e\f'"#, &["a b", "c\"d", "e\\f"]);
        case("a$HOME *", &["a$HOME", "*"]);
    }
}
