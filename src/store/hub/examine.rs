//! What `doctor` asks a hub: does each address answer, is the flag API mounted, is the clock right, is the session alive.
//! Only reads.

use std::time::{Duration, Instant};

use url::Url;

use super::connection::{Answer, address};
use super::{HubFlags, LIST, wire};

/// One address of a hub, as a read-only look found it.
#[derive(Debug)]
pub struct HubFacts {
    /// The address.
    pub address: String,
    /// How long the answer took, or why there is none.
    pub answered: Result<Duration, String>,
    /// Whether the flag API is mounted; the reason if not.
    pub mounted: Result<usize, String>,
    /// How far the hub's clock is ahead (positive) or behind, in seconds.
    pub clock_seconds: Option<i64>,
    /// Whether the operator's session is alive; `None` without one.
    pub session_alive: Option<bool>,
}

impl HubFlags {
    /// Look at every address.
    pub async fn examine(&self) -> Vec<HubFacts> {
        futures_util::future::join_all(self.options.addresses.iter().map(|base| self.examine_address(base))).await
    }

    async fn examine_address(&self, base: &Url) -> HubFacts {
        let started = Instant::now();
        let mut facts = HubFacts {
            address: address(base).to_owned(),
            answered: Err("not asked".to_owned()),
            mounted: Err("it does not answer".to_owned()),
            clock_seconds: None,
            session_alive: None,
        };
        let asked = match self.transport.connect(base) {
            Ok(mut connection) => {
                let session = self.options.session.as_ref();
                let buster = super::buster();
                connection.get(&LIST, &[("_", &buster)], session).await.map_err(|error| error.reason().to_owned())
            }
            Err(error) => Err(error.to_string()),
        };
        let answer = match asked {
            Ok(answer) => answer,
            Err(reason) => {
                facts.answered = Err(reason);
                return facts;
            }
        };
        facts.answered = Ok(started.elapsed());
        facts.clock_seconds = self.clock_offset(&answer);
        facts.session_alive = self.options.session.as_ref().map(|_| answer.csrf.is_some());
        facts.mounted = match answer.status.as_u16() {
            200 => wire::flags(&answer.body).map(|flags| flags.len()),
            404 | 405 => Err(format!("the flag API is not mounted (status {})", answer.status.as_u16())),
            status => Err(format!("status {status}")),
        };
        facts
    }

    fn clock_offset(&self, answer: &Answer) -> Option<i64> {
        let theirs = jiff::fmt::rfc2822::parse(answer.date.as_deref()?).ok()?.timestamp();
        let ours = jiff::Timestamp::try_from((self.options.clock)()).ok()?;
        Some(theirs.as_second() - ours.as_second())
    }
}
