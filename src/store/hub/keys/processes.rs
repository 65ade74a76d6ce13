//! Whether every process of a hub opens the stored keys: the list is read on fresh connections, as often as a sample of the
//! processes takes (rollout.md 3), and each row is compared with what a process with the right master key must show.
//!
//! A process that cannot open a key shows `***` and silently uses its variable (craft.md 2.1). Nothing is written, no preview
//! is repeated, and what no answer has shown counts as not proven.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde::Serialize;
use tokio::time::timeout;

use super::super::connection::{CallError, address};
use super::super::survey::live;
use super::wire::{HIDDEN, checked, preview};
use super::{HubKeys, KEYS, Listed, refusal, rows_of};
use crate::config::HubUrl;
use crate::domain::flags::convergence::{BATCH, Cause, Outcome, Reading, Tally, sample_size};
use crate::store::keys::{KeySource, Material};
use crate::store::{Live, StoreError};

/// How long one read may take before its process counts as silent: a healthy one has to open some rows only.
const PROBE: Duration = Duration::from_secs(5);

/// A stored key, and what a process that opens it shows. It has no `Debug`: a preview is a part of the key.
pub struct Expected {
    id: String,
    name: String,
    preview: String,
}

impl Expected {
    /// The row of this id and name, which holds this key.
    pub fn new(id: &str, name: &str, key: &str) -> Self {
        Self { id: id.to_owned(), name: name.to_owned(), preview: checked(preview(key)) }
    }

    /// Whether a preview tells a process that opens the key from one that does not: of a key of at most 20 characters both
    /// show `***`.
    pub fn is_telling(&self) -> bool {
        self.preview != HIDDEN
    }

    /// What keeps this process from being one that opens the key.
    fn doubt(&self, listed: Option<&Listed>) -> Option<Doubt> {
        let Some(Listed { row, .. }) = listed else { return Some(Doubt::Missing) };
        match (&row.material, row.source) {
            (_, Some(KeySource::Environment)) => Some(Doubt::Environment),
            (Material::Empty, _) | (_, Some(KeySource::NotSet)) => Some(Doubt::NotSet),
            (Material::Hidden { preview }, _) if *preview == self.preview => None,
            (Material::Hidden { preview }, _) if preview == HIDDEN => Some(Doubt::Hidden),
            (Material::Hidden { .. } | Material::Stored(_), _) => Some(Doubt::Other),
        }
    }
}

/// What a process showed in place of the stored key. The words stand in documents and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// `***`: it cannot open it.
    Hidden,
    /// The key of its variable.
    Environment,
    /// No key at all.
    NotSet,
    /// Another key.
    Other,
    /// No such row.
    Missing,
}

impl Doubt {
    /// The end of a sentence that begins with the row.
    pub fn words(self) -> &'static str {
        match self {
            Self::Hidden => "is shown as ***: a process cannot open it",
            Self::Environment => "is taken from the hub's environment, not from the database",
            Self::NotSet => "has no key there",
            Self::Other => "is shown as another key than the database holds",
            Self::Missing => "is not listed: it may be another database's hub",
        }
    }
}

/// A row that some process did not show as it must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unproven {
    /// The hub's address.
    pub address: String,
    /// The row's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What was shown.
    pub seen: Doubt,
    /// In how many of the reads.
    pub reads: u32,
}

/// What all processes of all addresses showed.
#[derive(Clone, Debug)]
pub struct Processes {
    /// How many are known to open every key, and how it is known.
    pub live: Live,
    /// The rows that some did not show as they must.
    pub unproven: Vec<Unproven>,
    /// Why reads failed, each reason once.
    pub failures: Vec<String>,
}

/// One address as the look found it.
struct Look {
    place: String,
    tally: Tally,
    unproven: Vec<Unproven>,
    failures: Vec<String>,
}

impl HubKeys {
    /// Look whether every process opens these keys; `workers` are those declared behind each address.
    pub async fn processes(&self, workers: Option<u32>, expected: &[Expected]) -> Processes {
        let looks = join_all(self.addresses.iter().map(|url| self.look(url, workers, expected))).await;
        let (mut parts, mut unproven, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for look in looks {
            let cause = if look.unproven.is_empty() { Cause::Silent } else { Cause::Differs };
            let outcome = look.tally.outcome().unwrap_or(Outcome::Partial(cause));
            parts.push((look.place, look.tally, outcome));
            unproven.extend(look.unproven);
            failures.extend(look.failures);
        }
        Processes { live: live(workers, &parts, &[]), unproven, failures }
    }

    async fn look(&self, url: &HubUrl, workers: Option<u32>, expected: &[Expected]) -> Look {
        let place = address(url.url()).to_owned();
        let mut look = Look { place, tally: Tally::new(workers), unproven: Vec::new(), failures: Vec::new() };
        let mut left = sample_size(look.tally.workers());
        // A read that failed has spoilt the proof already; more of them would only be waited for.
        while left > 0 && look.failures.is_empty() && !look.tally.must_stop() {
            left = left.saturating_sub(BATCH);
            for read in join_all((0..BATCH).map(|_| self.read(url))).await {
                look.count(read, expected);
            }
        }
        look
    }

    /// The rows on a fresh connection. `None`: a cache answered.
    async fn read(&self, url: &HubUrl) -> Result<Option<Vec<Listed>>, StoreError> {
        let mut connection = self.transport.connect(url.url())?;
        let place = address(url.url());
        let buster = super::super::buster();
        let query = [("_", buster.as_str())];
        let call = connection.call(Method::GET, &KEYS, &query, &self.auth, None);
        let answer = match timeout(PROBE, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error @ (CallError::NotSent(_) | CallError::Lost(_)))) => {
                return Err(StoreError::Unreachable(format!("{place} does not answer: {}", error.reason())));
            }
            Err(_) => {
                let limit = PROBE.as_secs();
                return Err(StoreError::Unreachable(format!("{place} does not answer within {limit} s")));
            }
        };
        match (answer.status.as_u16(), answer.aged) {
            (200, true) => Ok(None),
            (200, false) => rows_of(place, &answer).map(Some),
            _ => Err(refusal(place, &answer)),
        }
    }
}

impl Look {
    fn count(&mut self, read: Result<Option<Vec<Listed>>, StoreError>, expected: &[Expected]) {
        let rows = match read {
            Ok(Some(rows)) => rows,
            Ok(None) => return self.tally.read(Reading::Cached),
            Err(error) => {
                let limited = matches!(error, StoreError::RateLimited(_));
                self.tally.read(if limited { Reading::RateLimited } else { Reading::Silent });
                // Without its request id, which differs each time.
                let why = error.to_string();
                let why = why.split(" (request id ").next().unwrap_or_default().to_owned();
                if !self.failures.contains(&why) {
                    self.failures.push(why);
                }
                return;
            }
        };
        let mut opens_all = true;
        for expected in expected {
            if let Some(doubt) = expected.doubt(rows.iter().find(|listed| listed.row.id == expected.id)) {
                opens_all = false;
                self.doubted(expected, doubt);
            }
        }
        self.tally.read(if opens_all { Reading::Clean(None) } else { Reading::Stale(None) });
    }

    fn doubted(&mut self, Expected { id, name, .. }: &Expected, seen: Doubt) {
        match self.unproven.iter_mut().find(|known| known.id == *id && known.seen == seen) {
            Some(known) => known.reads += 1,
            None => {
                let (address, id, name) = (self.place.clone(), id.clone(), name.clone());
                self.unproven.push(Unproven { address, id, name, seen, reads: 1 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::wire::rows;
    use super::*;

    #[test]
    fn only_the_preview_of_the_very_key_out_of_the_database_is_no_doubt() {
        #[track_caller]
        fn case(key: &str, source: &str, preview: Value, doubt: Option<Doubt>) {
            let row =
                json!({"id": "i", "name": "n", "provider_type": "x", "key_source": source, "key_preview": preview});
            let listed = rows(json!({"providers": [row]}).to_string().as_bytes()).ok().unwrap();
            assert_eq!(Expected::new("i", "n", key).doubt(listed.first()), doubt, "{source} {preview}");
        }
        let long = "sk-proj-0123456789abcdefghijkl";
        case(long, "database", json!("sk-proj...ijkl"), None);
        case(long, "database", json!("***"), Some(Doubt::Hidden));
        case(long, "database", json!("sk-proj...other"), Some(Doubt::Hidden));
        case(long, "database", json!("sk-proj...9999"), Some(Doubt::Other));
        case(long, "environment", json!(null), Some(Doubt::Environment));
        case(long, "environment", json!("sk-proj...ijkl"), Some(Doubt::Environment));
        case(long, "not_set", json!(null), Some(Doubt::NotSet));
        case(long, "elsewhere", json!(null), Some(Doubt::NotSet));
        case("short", "database", json!("***"), None);
        case("short", "environment", json!(null), Some(Doubt::Environment));
        assert_eq!(Expected::new("i", "n", long).doubt(None), Some(Doubt::Missing));
        assert!(Expected::new("i", "n", long).is_telling() && !Expected::new("i", "n", "short").is_telling());
    }
}
