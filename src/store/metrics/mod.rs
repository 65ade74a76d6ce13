//! Where metrics are measured: Prometheus, the hub's logs, the usage tables, a program.
//!
//! A source says what it found and never what it means ([`Reading`]). Nothing here writes, every wait is bounded, and a
//! measurement that fails is a reading with its reason, never an error that ends a run.

mod command;
mod logs;
mod prometheus;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use self::logs::LogSource;
use self::prometheus::Server;
use self::usage::UsageTables;
use super::StoreError;
use super::postgres::Target;
use crate::domain::flags::{Flag, Percent};
use crate::domain::rollout::plan::Sources;
use crate::domain::rollout::query::{LogQuery, Query};
use crate::domain::rollout::reading::{Reading, Window};

/// One measurement that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The flag as it is: its name and lists tell the arms apart.
    pub flag: &'a Flag,
    /// The share of users that have the feature.
    pub rung: Percent,
    /// What is asked.
    pub query: &'a Query,
    /// The span that it is about.
    pub window: Window,
}

/// A place that can be asked for numbers.
#[async_trait]
pub trait MetricSource: Send + Sync {
    /// Measure; what goes wrong is a [`Reading`] too.
    async fn measure(&self, question: &Question<'_>) -> Reading;

    /// Before the first change: whether the source can be reached, lets us in and understands the query. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the query cannot be asked; [`StoreError::Unreachable`] and [`StoreError::Credentials`] when
    /// nobody answers or lets us in.
    async fn check(&self, query: &Query) -> Result<(), StoreError>;
}

/// What the sources of a plan need beside the plan.
#[derive(Clone, Debug)]
pub struct Access {
    /// The profile's database, for the usage tables.
    pub database: Option<Target>,
    /// What the variable `bearer_env` of Prometheus holds.
    pub bearer: Option<SecretString>,
    /// Trusted beside the system's anchors.
    pub ca_file: Option<PathBuf>,
    /// How long one question may take.
    pub limit: Duration,
}

/// The sources of a plan, each opened once for all metrics that use it.
pub struct Metrics {
    prometheus: Option<Server>,
    logs: Option<LogSource>,
    usage: Option<UsageTables>,
    limit: Duration,
}

impl Metrics {
    /// Open what the queries need: logs from standard input or a program are read from now on. Nothing else is contacted yet.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a query asks a source that is not described; [`StoreError::Local`] when a file or program
    /// of the logs cannot be used.
    pub fn open(sources: &Sources, queries: &[&Query], access: Access) -> Result<Self, StoreError> {
        let missing =
            |what: &str| StoreError::Refused(format!("a metric asks {what}, which the plan does not describe"));
        let mut asked: Vec<LogQuery> = Vec::new();
        let (mut wants_prometheus, mut wants_usage) = (Wanted::No, Wanted::No);
        for query in queries {
            match query {
                Query::Prometheus(_) => wants_prometheus = Wanted::Yes,
                Query::Logs(query) => asked.push(query.clone()),
                Query::Sql(_) => wants_usage = Wanted::Yes,
                Query::Command(_) => {}
            }
        }
        let prometheus = match (wants_prometheus, &sources.prometheus) {
            (Wanted::No, _) => None,
            (Wanted::Yes, None) => return Err(missing("prometheus")),
            (Wanted::Yes, Some(described)) => {
                Some(Server::open(described, access.bearer, access.ca_file.as_deref(), access.limit)?)
            }
        };
        let logs = match (asked.is_empty(), &sources.logs) {
            (true, _) => None,
            (false, None) => return Err(missing("the logs")),
            (false, Some(described)) => Some(LogSource::open(&described.from, &asked)?),
        };
        let usage = match (wants_usage, access.database) {
            (Wanted::No, _) => None,
            (Wanted::Yes, None) => {
                let words =
                    "a metric asks the usage tables, and no database is configured: --database-url, or a profile";
                return Err(StoreError::Refused(words.to_owned()));
            }
            (Wanted::Yes, Some(target)) => {
                let identity = sources.sql.clone().unwrap_or_default().identity;
                Some(UsageTables::new(target, identity, access.limit, queries))
            }
        };
        Ok(Self { prometheus, logs, usage, limit: access.limit })
    }
}

/// Whether some query asks a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Yes,
    No,
}

/// What is said of a query that was not among those that [`Metrics::open`] was given.
const NOT_OPENED: &str = "this source was not opened for the run";

#[async_trait]
impl MetricSource for Metrics {
    async fn measure(&self, question: &Question<'_>) -> Reading {
        let not_opened = || Reading::Failed(NOT_OPENED.to_owned());
        let reading = match question.query {
            Query::Prometheus(query) => match &self.prometheus {
                Some(server) => server.measure(query, question.window).await,
                None => not_opened(),
            },
            Query::Logs(query) => match &self.logs {
                Some(logs) => logs.measure(query, question.window).await,
                None => not_opened(),
            },
            Query::Sql(query) => match &self.usage {
                Some(usage) => usage.measure(query, question).await,
                None => not_opened(),
            },
            Query::Command(words) => command::measure(words, question, self.limit).await,
        };
        tracing::debug!(query = %question.query, ?reading, "measured");
        reading
    }

    async fn check(&self, query: &Query) -> Result<(), StoreError> {
        let not_opened = || StoreError::Refused(NOT_OPENED.to_owned());
        match query {
            Query::Prometheus(query) => self.prometheus.as_ref().ok_or_else(not_opened)?.check(query).await,
            Query::Logs(_) => self.logs.as_ref().ok_or_else(not_opened)?.check().await,
            Query::Sql(query) => self.usage.as_ref().ok_or_else(not_opened)?.check(query).await,
            Query::Command(words) => command::check(words),
        }
    }
}
