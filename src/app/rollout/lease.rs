//! The right to act, held while a run works: renewed in the background, and given up in time when it cannot be renewed.
//!
//! Whoever writes asks [`Held::check`] right before, and runs under [`Held::guard`], which ends the work at the moment at
//! which another process could begin. The hub knows no fence, so a request that is on its way then still arrives: the gap is
//! narrowed, not closed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::domain::flags::FlagKey;
use crate::store::StoreError;
use crate::store::rollout::{Acquired, Claim, Grant, RunStore, Timing};

/// Pause between two tries to renew once one has failed.
const RETRY: Duration = Duration::from_millis(500);

/// A lease that is ours until it is dropped, released or lost.
pub struct Held {
    store: Arc<dyn RunStore>,
    timing: Timing,
    pulse: watch::Receiver<Pulse>,
    beat: Arc<watch::Sender<Pulse>>,
    task: JoinHandle<()>,
}

/// What the last renewal said.
#[derive(Clone, Debug)]
struct Pulse {
    grant: Grant,
    /// When the renewal was asked for, by a clock that never jumps.
    at: Instant,
    /// What the store's clock said then, or up to one answer later.
    wall: Timestamp,
    lost: Option<Loss>,
}

/// Why a lease is no longer ours.
#[derive(Clone, Debug)]
enum Loss {
    /// Somebody has a higher fence.
    Fenced(String),
    /// It could not be renewed in time.
    Unreachable(String),
}

impl Loss {
    fn error(&self) -> StoreError {
        match self {
            Self::Fenced(text) => StoreError::Fenced(text.clone()),
            Self::Unreachable(text) => StoreError::Unreachable(text.clone()),
        }
    }
}

impl Held {
    /// Ask for the lease; `Err` holds the lease of whoever has it.
    pub async fn acquire(
        store: Arc<dyn RunStore>,
        flag: &FlagKey,
        holder: &str,
        claim: &Claim,
        timing: Timing,
    ) -> Result<Result<Self, crate::store::rollout::Lease>, StoreError> {
        let at = Instant::now();
        let grant = match store.acquire(flag, holder, claim).await? {
            Acquired::Granted(grant) => grant,
            Acquired::Held(lease) => return Ok(Err(lease)),
        };
        let (beat, pulse) = watch::channel(Pulse { wall: wall(&grant, timing), grant, at, lost: None });
        let beat = Arc::new(beat);
        let task = tokio::spawn(keep(Arc::clone(&store), timing, Arc::clone(&beat)));
        Ok(Ok(Self { store, timing, pulse, beat, task }))
    }

    /// What writes of state carry.
    pub fn grant(&self) -> Grant {
        self.pulse.borrow().grant.clone()
    }

    /// Now, by the store's clock as the last renewal showed it.
    pub fn now(&self) -> Timestamp {
        let pulse = self.pulse.borrow();
        // An hour without a renewal is long after the lease was lost, so the sum is in range.
        pulse.wall.checked_add(pulse.at.elapsed()).unwrap_or(pulse.wall)
    }

    /// See right now that the fence is ours, and lengthen the lease. Asked right before each write to a source.
    ///
    /// # Errors
    /// [`StoreError::Fenced`]; [`StoreError::Unreachable`] when nobody can say.
    pub async fn check(&self) -> Result<(), StoreError> {
        if let Some(loss) = &self.pulse.borrow().lost {
            return Err(loss.error());
        }
        renew(&*self.store, self.timing, &self.beat).await
    }

    /// Work that ends where the lease is lost.
    ///
    /// # Errors
    /// Why it was lost.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, StoreError> {
        tokio::select! {
            biased;
            loss = self.lost() => Err(loss),
            done = work => Ok(done),
        }
    }

    /// Until the lease is lost.
    pub async fn lost(&self) -> StoreError {
        let mut pulse = self.pulse.clone();
        loop {
            let (loss, until) = {
                let seen = pulse.borrow_and_update();
                (seen.lost.clone(), seen.at + self.timing.act_for)
            };
            if let Some(loss) = loss {
                return loss.error();
            }
            // A process that was stopped wakes up with the time long over: this is seen before anything else is done.
            tokio::select! {
                biased;
                () = sleep_until(until) => return late(self.timing).error(),
                _ = pulse.changed() => {}
            }
        }
    }

    /// Give it back, so that nobody has to wait for its end.
    pub async fn release(self) -> Result<(), StoreError> {
        self.task.abort();
        let grant = self.grant();
        let limit = self.timing.act_for;
        match timeout(limit, self.store.release(&grant)).await {
            Ok(released) => released,
            Err(_) => {
                Err(StoreError::Unreachable(format!("the lease runs out by itself in {} s", self.timing.ttl.as_secs())))
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the store's clock said when it gave this grant.
fn wall(grant: &Grant, timing: Timing) -> Timestamp {
    grant.expires_at.checked_sub(timing.ttl).unwrap_or(grant.expires_at)
}

fn late(timing: Timing) -> Loss {
    Loss::Unreachable(format!(
        "the lease could not be renewed for {} s, so this run has stopped acting: another one may have it soon",
        timing.act_for.as_secs()
    ))
}

async fn renew(store: &dyn RunStore, timing: Timing, beat: &watch::Sender<Pulse>) -> Result<(), StoreError> {
    let (grant, last) = {
        let pulse = beat.borrow();
        (pulse.grant.clone(), pulse.at)
    };
    let at = Instant::now();
    let left = (last + timing.act_for).saturating_duration_since(at);
    let renewed = match timeout(left, store.renew(&grant)).await {
        Ok(renewed) => renewed,
        Err(_) => Err(late(timing).error()),
    };
    match renewed {
        Ok(grant) => {
            beat.send_modify(|pulse| *pulse = Pulse { wall: wall(&grant, timing), grant, at, lost: pulse.lost.take() });
            Ok(())
        }
        Err(StoreError::Fenced(text)) => {
            beat.send_modify(|pulse| pulse.lost = Some(Loss::Fenced(text.clone())));
            Err(StoreError::Fenced(text))
        }
        Err(error) => Err(error),
    }
}

async fn keep(store: Arc<dyn RunStore>, timing: Timing, beat: Arc<watch::Sender<Pulse>>) {
    let mut pause = timing.renew_every;
    loop {
        sleep(pause).await;
        if beat.borrow().lost.is_some() {
            return;
        }
        pause = match renew(&*store, timing, &beat).await {
            Ok(()) => timing.renew_every,
            Err(StoreError::Fenced(_)) => return,
            Err(_) if beat.borrow().at.elapsed() >= timing.act_for => {
                beat.send_modify(|pulse| pulse.lost = Some(late(timing)));
                return;
            }
            Err(_) => RETRY,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::store::rollout::FileRuns;

    const QUICK: Timing = Timing {
        ttl: Duration::from_millis(600),
        renew_every: Duration::from_millis(100),
        act_for: Duration::from_millis(400),
    };

    fn flag() -> FlagKey {
        "unified_llm_hub".parse().unwrap()
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    async fn held(store: &Arc<dyn RunStore>) -> Held {
        let acquired = Held::acquire(Arc::clone(store), &flag(), "ana", &Claim::WhenFree, QUICK).await.unwrap();
        acquired.unwrap_or_else(|lease| panic!("held by {:?}", lease.holder))
    }

    #[test]
    fn a_lease_outlives_its_time_to_live_while_its_holder_works() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn RunStore> = Arc::new(FileRuns::new(folder.path().join("r"), QUICK, SystemTime::now));
        run(async {
            let held = held(&store).await;
            held.guard(sleep(Duration::from_millis(1200))).await.unwrap();
            assert!(store.lease(&flag()).await.unwrap().unwrap().is_live());
            held.release().await.unwrap();
            assert!(!store.lease(&flag()).await.unwrap().unwrap().is_live());
        });
    }

    #[test]
    fn work_ends_as_soon_as_an_emergency_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn RunStore> = Arc::new(FileRuns::new(folder.path().join("r"), QUICK, SystemTime::now));
        run(async {
            let held = held(&store).await;
            store.bump_fence(&flag(), "ben", "smoke").await.unwrap();
            let ended = held.guard(sleep(Duration::from_secs(30))).await;
            assert!(matches!(ended, Err(StoreError::Fenced(_))), "{ended:?}");
            assert!(matches!(held.check().await, Err(StoreError::Fenced(_))));
        });
    }

    #[test]
    fn a_holder_that_cannot_renew_stops_before_another_could_begin() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("r");
        let store: Arc<dyn RunStore> = Arc::new(FileRuns::new(place.clone(), QUICK, SystemTime::now));
        run(async {
            let held = held(&store).await;
            std::fs::write(place.join("unified_llm_hub/state.json"), "{half").unwrap();
            let since = Instant::now();
            let ended = held.guard(sleep(Duration::from_secs(30))).await;
            assert!(matches!(ended, Err(StoreError::Unreachable(_))), "{ended:?}");
            assert!(since.elapsed() < QUICK.ttl, "{:?}", since.elapsed());
        });
    }
}
