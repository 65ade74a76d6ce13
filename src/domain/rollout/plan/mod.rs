//! A plan file: the steps of a rollout, what has to hold at each, and where that is measured (rollout.md 5).
//!
//! A [`Plan`] that exists is sound: steps rise from 0 to 100, every metric has both of its conditions on every rung and they do
//! not overlap, every query can be read, every source that a metric names is described.

mod defaults;
mod lint;
mod metric;
mod parse;
mod reader;
mod starter;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::condition::Condition;
use super::query::Query;
use crate::domain::flags::digest::Digest;
use crate::domain::flags::ladder::Ladder;
use crate::domain::flags::{FlagKey, Percent};

pub use self::parse::{Parsed, parse, prometheus_address};
pub use self::reader::Finding;
pub use self::starter::{Starter, Usage, starter};

/// The whole plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The flag it steps.
    pub flag: FlagKey,
    /// Its rungs.
    pub steps: Ladder,
    /// What has to be known of the processes before a step up.
    pub require: Require,
    /// How long each rung stands before it can be left, from convergence.
    pub bake: Duration,
    /// How long a rung may be held after its bake.
    pub max_hold: Duration,
    /// What happens then.
    pub on_deadline: OnDeadline,
    /// What a rollback gives back.
    pub rollback_to: RollbackTo,
    /// The rungs that only a person leaves (`rollout promote`).
    pub approve: Vec<Percent>,
    /// Where metrics are measured.
    pub sources: Sources,
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// What the plan was made from; a plan written by hand says nothing.
    pub seen: Seen,
}

impl Plan {
    /// How long the controller may be away before a bake starts again: the longest window, and at least 30 s, so that one slow
    /// answer is no absence where windows are short. Five minutes where nothing is measured.
    pub fn longest_absence(&self) -> Duration {
        let windows = self.metrics.iter().map(|metric| metric.window.max(Duration::from_secs(30)));
        windows.max().unwrap_or(Duration::from_secs(300))
    }

    /// Whether only a person leaves this rung; always so for rung 0, whose few users make no statistics.
    pub fn asks_person(&self, rung: Percent) -> bool {
        rung == Percent::ZERO || self.approve.contains(&rung)
    }
}

/// What `rollout plan` saw when it wrote the plan; a run refuses to start when one of them moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The whole flag.
    pub flag: Option<Digest>,
    /// The users whose steps were computed.
    pub cohort: Option<Digest>,
}

/// What has to be known of the processes before a step up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Require {
    /// Enough clean reads, or better.
    #[default]
    Sampled,
    /// Every process addressed individually.
    Proved,
}

/// What happens when a rung was held for too long. Nothing ever goes up by timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeadline {
    /// The run pauses.
    #[default]
    Pause,
    /// The run rolls back.
    Rollback,
}

/// What a rollback gives back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RollbackTo {
    /// The whole flag as it was before the run.
    #[default]
    Snapshot,
    /// The flag, disabled.
    Off,
}

/// Where metrics are measured; only what a metric of the plan uses has to be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// A Prometheus server.
    pub prometheus: Option<Prometheus>,
    /// The hub's logs.
    pub logs: Option<Logs>,
    /// The usage tables in the profile's database.
    pub sql: Option<Sql>,
}

/// A Prometheus server, asked over its HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub struct Prometheus {
    /// Its base address.
    pub url: url::Url,
    /// What `$P` in a query stands for: the prefix of the hub's metric names.
    pub prefix: Option<String>,
    /// How often it scrapes; a sample older than two of these is none.
    pub scrape_interval: Duration,
    /// The environment variable that holds a bearer token.
    pub bearer_env: Option<String>,
}

/// The hub's logs.
#[derive(Clone, Debug, PartialEq)]
pub struct Logs {
    /// Where they come from.
    pub from: LogsFrom,
}

/// Where log lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogsFrom {
    /// A file, which may be rotated.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// What a program prints, run without a shell.
    Command(Vec<String>),
}

/// The usage tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sql {
    /// Which form of a user's identity the hub hashes.
    pub identity: Identity,
}

/// Which column of `users` the hub hashes into a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The e-mail address.
    #[default]
    Email,
    /// The row's UUID.
    Id,
    /// The login name.
    Username,
    /// Keycloak's id.
    KeycloakId,
}

/// One metric and what it decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name, unique in the plan.
    pub name: String,
    /// What is asked, and of whom.
    pub query: Query,
    /// What it may decide.
    pub role: Role,
    /// Whom it is about.
    pub scope: Scope,
    /// What its value is compared with.
    pub relative: Relative,
    /// The span of one measurement.
    pub window: Duration,
    /// The time between two measurements.
    pub interval: Duration,
    /// The time from convergence to the end of the first window; at least `window`.
    pub initial_delay: Duration,
    /// Passes in a row, from windows that do not overlap, before a rung is left.
    pub required_passes: u32,
    /// Fails in a row that roll back.
    pub rollback_at_consecutive_failures: u32,
    /// Fails on one rung that roll back.
    pub rollback_at_total_failures: u32,
    /// How soon one Fail rolls back.
    pub severity: Severity,
    /// Inconclusive results on one rung before the run pauses.
    pub max_inconclusive: u32,
    /// Errors in a row before the gauge counts as dead, and the run holds.
    pub max_consecutive_errors: u32,
    /// What to do without data.
    pub on_nodata: OnTrouble,
    /// What to do about a number that is none.
    pub on_invalid: OnTrouble,
    /// What to do about a source that fails.
    pub on_error: OnTrouble,
    /// The conditions, each from its rung on; the first is for rung 0.
    pub thresholds: BTreeMap<Percent, Threshold>,
}

impl Metric {
    /// The conditions of a rung: those of the nearest entry at or below it. `None` only for a metric without any.
    pub fn threshold(&self, rung: Percent) -> Option<&Threshold> {
        self.thresholds.range(..=rung).next_back().map(|(_, threshold)| threshold)
    }
}

/// What a metric may decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It may hold and roll back.
    #[default]
    Guardrail,
    /// It may only hold.
    Signal,
    /// It is shown.
    Shadow,
}

/// Whom a metric is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The users who have the feature.
    #[default]
    Cohort,
    /// All users: what the cohort suffers is diluted.
    All,
}

/// What a value is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relative {
    /// Nothing: the conditions speak of the value.
    #[default]
    Absolute,
    /// The same query over the hour before rung 0, taken once: the conditions speak of the ratio.
    Baseline,
    /// The same query for the users without the feature, in the same window: the conditions speak of the ratio.
    Control,
}

/// How soon one Fail rolls back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Severity {
    /// By the counters.
    #[default]
    Counted,
    /// At once.
    Critical,
}

/// What a measurement that says nothing leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTrouble {
    /// The rung is held.
    #[default]
    Hold,
    /// The run pauses.
    Pause,
    /// The run rolls back.
    Rollback,
}

/// When a value passes and when it fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// It passes.
    pub pass_if: Condition,
    /// It fails.
    pub fail_if: Condition,
    /// Fewer samples say nothing.
    pub min_samples: u64,
}
