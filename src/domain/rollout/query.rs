//! What a metric asks, parsed once: the text of a plan's `query`, in the language of its source.

/// A question to one source.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// To Prometheus.
    Prometheus {
        /// PromQL that gives one sample; `$P` is the prefix of the plan.
        value: String,
        /// PromQL that gives the number of events behind it, asked at the same time.
        samples: Option<String>,
        /// PromQL that is 0 unless a counter was reset in the window.
        resets: Option<String>,
    },
    /// To the hub's logs.
    Logs(LogQuery),
    /// To the usage tables.
    Sql(SqlQuery),
    /// To a program that prints one number, run without a shell.
    Command(Vec<String>),
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
    /// `p95 KIND FIELD`: a quantile of a numeric field of one kind of event.
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
