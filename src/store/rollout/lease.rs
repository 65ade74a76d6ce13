//! Who may act on a rollout: one lease for each profile and flag, with a fence that only grows (rollout.md 5).
//!
//! The rules alone; the stores keep the row and bring the time. A fence is never given twice, so whoever holds an old one
//! is known by it, however late it wakes.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::flags::FlagKey;
use crate::store::StoreError;

/// The times of a lease, all in one place. [`Timing::default`] is what operators get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease lasts after its last renewal, by the store's clock.
    pub ttl: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
    /// How long after the last renewal its holder may act, by its own monotonic clock; shorter than `ttl`, so that the holder
    /// has stopped before anybody else may begin.
    pub act_for: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(15), renew_every: Duration::from_secs(5), act_for: Duration::from_secs(10) }
    }
}

/// The right to act, as long as nobody has a higher fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The flag it is about.
    pub flag: FlagKey,
    /// Who holds it: `user@host (process N)`.
    pub holder: String,
    /// The number that every write of state carries.
    pub fence: i64,
    /// When it ends unless it is renewed, by the store's clock.
    pub expires_at: Timestamp,
}

/// A lease as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it; nobody after a release or an emergency.
    pub holder: Option<String>,
    /// The highest fence that was given.
    pub fence: i64,
    /// When it ends or ended, by the store's clock.
    pub expires_at: Timestamp,
    /// What is left of it now; zero when it is over.
    pub left: Duration,
}

impl Lease {
    /// Whether somebody may act under it now.
    pub fn is_live(&self) -> bool {
        self.holder.is_some() && !self.left.is_zero()
    }
}

/// How a lease is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// If nobody holds it, or it has run out.
    WhenFree,
    /// Whoever holds it.
    TakeOver {
        /// Why.
        reason: String,
    },
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It is ours.
    Granted(Grant),
    /// Somebody else has it.
    Held(Lease),
}

/// What an emergency found when it raised the fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bumped {
    /// The fence that was read back; 0 where no rollout ever left a trace, so that there was nobody to stop.
    pub fence: i64,
    /// Who held a lease that had not run out, and until when by the store's clock.
    pub was_held_by: Option<(String, Timestamp)>,
    /// What was left of that lease: a late write of its holder can come for so long.
    pub left: Duration,
}

/// The stored row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) holder: Option<String>,
    pub(super) fence: i64,
    /// Microseconds since 1970.
    pub(super) expires_at: i64,
}

impl Row {
    /// The row at a moment.
    pub(super) fn at(&self, now: i64) -> Lease {
        Lease {
            holder: self.holder.clone(),
            fence: self.fence,
            expires_at: moment(self.expires_at),
            left: left(self.expires_at, now),
        }
    }

    /// Give the lease to `holder`, or say who has it.
    pub(super) fn acquire(&mut self, flag: &FlagKey, holder: &str, claim: &Claim, now: i64, ttl: Duration) -> Acquired {
        let current = self.at(now);
        if current.is_live() && *claim == Claim::WhenFree {
            return Acquired::Held(current);
        }
        self.fence += 1;
        self.holder = Some(holder.to_owned());
        self.expires_at = now.saturating_add(micros(ttl));
        Acquired::Granted(self.grant(flag, holder))
    }

    /// Lengthen the lease of `grant`. One that ran out unseen is still ours while nobody took a higher fence.
    pub(super) fn renew(&mut self, grant: &Grant, now: i64, ttl: Duration) -> Result<Grant, StoreError> {
        self.check(grant)?;
        self.expires_at = now.saturating_add(micros(ttl));
        Ok(self.grant(&grant.flag, &grant.holder))
    }

    /// Give it back; somebody else's is left alone.
    pub(super) fn release(&mut self, grant: &Grant, now: i64) {
        if self.check(grant).is_ok() {
            self.holder = None;
            self.expires_at = now;
        }
    }

    /// Take the right to act from whoever has it.
    pub(super) fn bump(&mut self, now: i64) -> Bumped {
        let current = self.at(now);
        self.fence += 1;
        self.holder = None;
        self.expires_at = now;
        let left = if current.is_live() { current.left } else { Duration::ZERO };
        let was_held_by = current.holder.filter(|_| !left.is_zero()).map(|holder| (holder, current.expires_at));
        Bumped { fence: self.fence, was_held_by, left }
    }

    /// Whether the fence of `grant` is still the highest.
    pub(super) fn check(&self, grant: &Grant) -> Result<(), StoreError> {
        if self.fence == grant.fence && self.holder.is_some() {
            return Ok(());
        }
        let who = match &self.holder {
            Some(holder) => format!("{holder} has taken over the rollout of `{}`", grant.flag),
            None => format!("the rollout of `{}` was stopped from outside", grant.flag),
        };
        Err(StoreError::Fenced(format!(
            "{who} (fence {}, ours was {}); this run writes nothing more",
            self.fence, grant.fence
        )))
    }

    fn grant(&self, flag: &FlagKey, holder: &str) -> Grant {
        Grant { flag: flag.clone(), holder: holder.to_owned(), fence: self.fence, expires_at: moment(self.expires_at) }
    }
}

/// A time in microseconds since 1970; one outside of what a calendar holds is shown as 1970.
pub(super) fn moment(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn left(until: i64, now: i64) -> Duration {
    Duration::from_micros(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(15);
    const SECOND: i64 = 1_000_000;

    fn flag() -> FlagKey {
        "unified_llm_hub".parse().unwrap()
    }

    fn granted(acquired: Acquired) -> Grant {
        match acquired {
            Acquired::Granted(grant) => grant,
            Acquired::Held(lease) => panic!("held by {:?}", lease.holder),
        }
    }

    #[test]
    fn a_second_run_is_told_who_holds_the_lease_and_for_how_long() {
        let mut row = Row::default();
        granted(row.acquire(&flag(), "ana", &Claim::WhenFree, 0, TTL));
        match row.acquire(&flag(), "ben", &Claim::WhenFree, 4 * SECOND, TTL) {
            Acquired::Held(lease) => {
                assert_eq!((lease.holder.as_deref(), lease.left.as_secs()), (Some("ana"), 11));
            }
            Acquired::Granted(_) => panic!("two holders"),
        }
    }

    #[test]
    fn a_lease_that_ran_out_goes_to_whoever_asks_and_the_old_holder_is_refused() {
        let mut row = Row::default();
        let ana = granted(row.acquire(&flag(), "ana", &Claim::WhenFree, 0, TTL));
        let ben = granted(row.acquire(&flag(), "ben", &Claim::WhenFree, 15 * SECOND, TTL));
        assert!(ben.fence > ana.fence);
        let error = row.renew(&ana, 16 * SECOND, TTL).unwrap_err();
        assert!(matches!(&error, StoreError::Fenced(text) if text.contains("ben has taken over")), "{error}");
        row.release(&ana, 16 * SECOND);
        assert!(row.renew(&ben, 16 * SECOND, TTL).is_ok(), "an old holder gives back nothing of the new one");
    }

    #[test]
    fn a_take_over_does_not_wait() {
        let mut row = Row::default();
        let ana = granted(row.acquire(&flag(), "ana", &Claim::WhenFree, 0, TTL));
        let claim = Claim::TakeOver { reason: "ana is away".to_owned() };
        granted(row.acquire(&flag(), "ben", &claim, SECOND, TTL));
        assert!(row.check(&ana).is_err());
    }

    #[test]
    fn a_lease_that_ran_out_unseen_is_still_its_holders_while_nobody_took_it() {
        let mut row = Row::default();
        let ana = granted(row.acquire(&flag(), "ana", &Claim::WhenFree, 0, TTL));
        assert_eq!(row.renew(&ana, 60 * SECOND, TTL).unwrap().expires_at, moment(75 * SECOND));
    }

    #[test]
    fn an_emergency_stops_the_holder_and_says_who_it_was() {
        let mut row = Row::default();
        let ana = granted(row.acquire(&flag(), "ana", &Claim::WhenFree, 0, TTL));
        let bumped = row.bump(5 * SECOND);
        assert_eq!(bumped.was_held_by, Some(("ana".to_owned(), moment(15 * SECOND))));
        assert_eq!((bumped.fence, bumped.left.as_secs()), (ana.fence + 1, 10));
        assert!(row.renew(&ana, 6 * SECOND, TTL).is_err());
        let again = row.bump(7 * SECOND);
        assert_eq!((again.fence, again.was_held_by), (ana.fence + 2, None), "nobody holds it now");
    }

    #[test]
    fn a_fence_only_grows_whatever_happens() {
        let mut row = Row::default();
        let mut last = 0;
        for round in 0..50 {
            let grant = granted(row.acquire(&flag(), "ana", &Claim::WhenFree, round * 20 * SECOND, TTL));
            assert!(grant.fence > last);
            last = grant.fence;
            if round % 2 == 0 {
                row.release(&grant, round * 20 * SECOND);
            }
        }
    }

    #[test]
    fn a_holder_stops_before_its_lease_can_be_taken() {
        let timing = Timing::default();
        assert!(timing.renew_every < timing.act_for && timing.act_for < timing.ttl);
    }
}
