//! Our share of the hub's request limit: 1000 an hour for each client address and path, in each process (rollout.md 3).
//!
//! A token bucket per address and path, kept in a small file so that all commands on this machine share it. A watch waits
//! for it, a write is only warned. If the file cannot be kept, the bucket lives in memory: a budget must not stop a rescue.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Paths with a limit of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// `GET /api/v1/features/`: all probes.
    List,
    /// `GET` and `PUT /api/v1/features/{flag}`.
    Flag,
    /// `POST …/{flag}/disable`: the emergency only.
    Disable,
}

impl Route {
    /// Our ceiling an hour for one process; the hub's own limit is 1000.
    fn hourly(self) -> f64 {
        match self {
            Self::List => 600.0,
            Self::Flag => 300.0,
            Self::Disable => 60.0,
        }
    }

    /// In the file.
    fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Flag => "flag",
            Self::Disable => "disable",
        }
    }

    /// What only an emergency may use.
    fn reserve(self) -> f64 {
        match self {
            Self::List => 200.0,
            Self::Flag | Self::Disable => 0.0,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bucket {
    tokens: f64,
    /// Seconds since the epoch.
    at: f64,
}

type Buckets = BTreeMap<String, Bucket>;

/// The buckets of one machine.
#[derive(Debug)]
pub struct Budget {
    /// `None` where there is no folder to keep it in.
    path: Option<PathBuf>,
    memory: Buckets,
    clock: fn() -> SystemTime,
}

impl Budget {
    /// Buckets in `folder/requests.json`; `clock` is the wall clock, because the file outlives the process.
    pub fn new(folder: Option<&Path>, clock: fn() -> SystemTime) -> Self {
        Self { path: folder.map(|folder| folder.join("requests.json")), memory: Buckets::new(), clock }
    }

    /// Take `count` requests for `address`, whose limit counts in each of its `workers`.
    ///
    /// Returns how long to wait until they are within the ceiling: zero when they are.
    pub fn take(&mut self, address: &str, route: Route, workers: u32, count: u32) -> Duration {
        let now = (self.clock)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let ceiling = route.hourly() * f64::from(workers.max(1));
        let reserve = route.reserve() * f64::from(workers.max(1));
        let key = format!("{address} {}", route.word());
        let spend = |buckets: &mut Buckets| {
            let bucket = buckets.entry(key).or_insert(Bucket { tokens: ceiling, at: now });
            let refill = (now - bucket.at).max(0.0) * ceiling / 3600.0;
            // Debt is bounded, so that a busy hour of writes does not silence a watch for a day.
            bucket.tokens = (bucket.tokens + refill).min(ceiling) - f64::from(count);
            bucket.tokens = bucket.tokens.max(-ceiling);
            bucket.at = now;
            let missing = (reserve - bucket.tokens).max(0.0);
            Duration::from_secs_f64(missing * 3600.0 / ceiling)
        };
        match self.open() {
            Some((mut file, mut buckets)) => {
                let wait = spend(&mut buckets);
                if store(&mut file, &buckets).is_none() {
                    self.memory = buckets;
                }
                wait
            }
            None => spend(&mut self.memory),
        }
    }

    fn open(&self) -> Option<(File, Buckets)> {
        let path = self.path.as_ref()?;
        std::fs::create_dir_all(path.parent()?).ok()?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).ok()?;
        flock(&file, FlockOperation::LockExclusive).ok()?;
        let mut text = String::new();
        // Nobody writes more than a few lines here; a foreign file of another size is not read into memory.
        Read::by_ref(&mut file).take(1024 * 1024).read_to_string(&mut text).ok()?;
        // A damaged file starts again: it holds a courtesy, not a record.
        Some((file, serde_json::from_str(&text).unwrap_or_default()))
    }
}

fn store(file: &mut File, buckets: &Buckets) -> Option<()> {
    let text = serde_json::to_string(buckets).ok()?;
    file.seek(SeekFrom::Start(0)).ok()?;
    file.set_len(0).ok()?;
    file.write_all(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
    }

    fn half_past() -> SystemTime {
        noon() + Duration::from_secs(1800)
    }

    #[test]
    fn the_list_keeps_a_reserve_and_refills_within_the_hour() {
        let folder = tempfile::tempdir().unwrap();
        let mut budget = Budget::new(Some(folder.path()), noon);
        assert_eq!(budget.take("h", Route::List, 1, 400), Duration::ZERO);
        let wait = budget.take("h", Route::List, 1, 100);
        assert_eq!(wait.as_secs(), 600, "100 of 600 an hour take ten minutes");
        let mut later = Budget::new(Some(folder.path()), half_past);
        assert_eq!(later.take("h", Route::List, 1, 0), Duration::ZERO, "another process shares the file");
    }

    #[test]
    fn the_ceiling_scales_with_the_workers() {
        let folder = tempfile::tempdir().unwrap();
        let mut budget = Budget::new(Some(folder.path()), noon);
        assert_eq!(budget.take("h", Route::List, 4, 1600), Duration::ZERO);
        assert!(budget.take("h", Route::List, 4, 1) > Duration::ZERO);
        assert_eq!(budget.take("other", Route::List, 1, 1), Duration::ZERO);
        assert_eq!(budget.take("h", Route::Flag, 1, 300), Duration::ZERO);
        assert_eq!(budget.take("h", Route::Disable, 1, 60), Duration::ZERO, "the emergency has a bucket of its own");
    }

    #[test]
    fn a_damaged_or_unwritable_file_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("requests.json"), "{half").unwrap();
        assert_eq!(Budget::new(Some(folder.path()), noon).take("h", Route::List, 1, 1), Duration::ZERO);
        let mut memory = Budget::new(Some(Path::new("/proc/nowhere")), noon);
        assert_eq!(memory.take("h", Route::List, 1, 600).as_secs(), 1200);
        assert_eq!(Budget::new(None, noon).take("h", Route::List, 1, 1), Duration::ZERO);
    }
}
