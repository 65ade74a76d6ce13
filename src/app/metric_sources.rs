//! The sources of a plan's metrics, opened with what the profile and the environment give.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::App;
use crate::domain::rollout::plan::Plan;
use crate::domain::rollout::query::{Query, SourceKind};
use crate::error::Error;
use crate::store::metrics::{Access, MetricSource, Metrics};

/// How long one question to a source may take.
const LIMIT: Duration = Duration::from_secs(10);

impl App {
    /// Open what the plan's metrics need. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Refused`] when the variable of a token is not set; [`Error::Store`] when a source cannot be opened; as
    /// [`App::postgres`] when a metric asks the usage tables.
    pub(super) async fn metric_sources(&self, plan: &Plan) -> Result<Arc<dyn MetricSource>, Error> {
        let queries: Vec<&Query> = plan.metrics.iter().map(|metric| &metric.query).collect();
        let asks = |kind| queries.iter().any(|query| query.source() == kind);
        let database = if asks(SourceKind::Sql) { Some(self.target().await?) } else { None };
        let token = plan.sources.prometheus.as_ref().and_then(|server| server.bearer_env.as_deref());
        let bearer = match token.filter(|_| asks(SourceKind::Prometheus)) {
            None => None,
            Some(name) => Some(self.token(name)?),
        };
        let access = Access { database, bearer, ca_file: self.options.ca_file.clone(), limit: LIMIT };
        Ok(Arc::new(Metrics::open(&plan.sources, &queries, access)?))
    }

    fn token(&self, name: &str) -> Result<SecretString, Error> {
        match self.environment().variable(name)? {
            Some(token) if !token.is_empty() => {
                self.ui.redact([token]);
                Ok(SecretString::from(token))
            }
            _ => Err(Error::Refused {
                message: format!("the plan takes a token from ${name}, which is not set; nothing was written"),
                hint: format!("export {name}, or take `bearer_env` out of the plan"),
            }),
        }
    }
}
