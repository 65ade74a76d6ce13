//! Where metrics are measured: Prometheus, the hub's logs, the usage tables, a program.
//!
//! A source says what it found and never what it means ([`Reading`]). Nothing here writes, every wait is bounded, and a
//! measurement that fails is a reading with its reason, never an error that ends a run.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::flags::{Flag, Percent};
use crate::domain::rollout::query::Query;
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
