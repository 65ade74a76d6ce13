//! Switching a flag off in every process, and looking whether it is: the emergency's way to write to a hub (rollout.md 7).
//!
//! Each address is pursued by itself until it is off or the time is over: one that does not answer, or a process that hangs,
//! keeps no other one from being switched off. Where the list is rate-limited, it is written blindly and said so.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::budget::Route;
use super::connection::address;
use super::converge::{Address, Way, send};
use super::session::Session;
use super::survey::{PROBE, batch, live, read, reading_of};
use super::{HubFlags, wire};
use crate::domain::flags::convergence::{BATCH, Cause, Outcome, Reading, Tally, sample_size};
use crate::domain::flags::{Change, Flag, FlagKey, Member};
use crate::store::{Edit, Live, Stance, StoreError, Variant, Verdict};

/// Between two attempts at an address that did not come to agree.
const PAUSE: Duration = Duration::from_millis(250);

/// Blind writes to an address whose list cannot be read, for each of its processes: a miss of one of four in 32 is 1 in 10,000.
const BLIND: u32 = 8;

/// What a process that hung once may still take.
const IMPATIENT: Duration = Duration::from_secs(1);

/// One address after it was pursued.
struct Pursued {
    place: String,
    tally: Tally,
    outcome: Outcome,
    known: u32,
    writes: u32,
    lost: u32,
    failure: Option<StoreError>,
    differs: Option<String>,
}

/// What came of switching off.
pub struct SwitchedOff {
    /// The processes; what did not answer counts against them.
    pub live: Live,
    /// Requests that were sent to change something.
    pub writes: u32,
    /// Reads.
    pub reads: u32,
    /// Writes whose answer was lost and whose address could not be read back.
    pub lost: u32,
    /// Whether any address answered.
    pub answered: Answered,
    /// What else the operator should know.
    pub notes: Vec<String>,
    parts: Vec<(String, Tally, Outcome)>,
}

/// Whether anybody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Some address did.
    Some,
    /// None did.
    None,
}

/// What a look at all processes showed.
pub struct OffLook {
    /// The processes.
    pub live: Live,
    /// The distinct states, with the number of reads that showed them.
    pub states: Vec<Variant>,
    /// Addresses at which a process was seen that is not off.
    pub on_at: Vec<String>,
    /// Reads.
    pub reads: u32,
}

impl HubFlags {
    /// Switch the flag off in every process, for at most `time`.
    pub async fn switch_off(&self, key: &FlagKey, time: Duration) -> SwitchedOff {
        let mut seen = Flag::off(key.clone());
        seen.enabled = Some(true);
        let mut empty = Flag::off(key.clone());
        empty.enabled = None;
        let edit = Edit {
            wanted: Change::Disable.apply(&seen),
            also_seen: vec![empty],
            seen,
            members: vec![Member::Enabled],
            stance: Stance::Determined,
        };
        let deadline = Instant::now() + time;
        let pursued = join_all(self.options.addresses.iter().map(|base| self.pursue(&edit, base, deadline))).await;
        let answered = if pursued.iter().any(has_answered) { Answered::Some } else { Answered::None };
        let differing: Vec<String> = pursued
            .iter()
            .filter(|one| matches!(one.outcome, Outcome::Partial(_)))
            .flat_map(|one| {
                let failure = one.failure.as_ref().map(ToString::to_string);
                failure.into_iter().chain(one.differs.as_ref().map(|what| format!("{}: {what}", one.place)))
            })
            .collect();
        let (writes, reads, lost) = pursued.iter().fold((0, 0, 0), |(writes, reads, lost), one| {
            let open = if matches!(one.outcome, Outcome::Partial(_)) && one.failure.is_some() { one.lost } else { 0 };
            (writes + one.writes, reads + one.tally.reads(), lost + open)
        });
        let known: u32 = pursued.iter().map(|one| one.known).fold(0, u32::saturating_add);
        let parts: Vec<_> = pursued.into_iter().map(|one| (one.place, one.tally, one.outcome)).collect();
        let mut summary = live(self.options.workers, &parts, &differing);
        if summary.verdict == Verdict::Partial {
            // An attempt before the last one may have known more.
            summary.agree = summary.agree.max(summary.of.map_or(known, |of| known.min(of.saturating_sub(1))));
        }
        SwitchedOff { live: summary, writes, reads, lost, answered, notes: self.take_notes(), parts }
    }

    async fn pursue(&self, edit: &Edit, base: &Url, deadline: Instant) -> Pursued {
        let (mut writes, mut lost, mut known, mut miscounted) = (0, 0, 0, None);
        loop {
            let report = Address::new(self, edit, base, Way::Disable, deadline).run().await;
            writes += report.tally.writes();
            lost = if report.tally.known() > 0 { report.lost } else { lost + report.lost };
            known = known.max(report.tally.known());
            if let Outcome::Partial(cause @ (Cause::TooManyProcesses | Cause::Restarted)) = &report.outcome {
                miscounted = Some(cause.clone());
            }
            let outcome = match (&report.outcome, &miscounted) {
                // All that were seen are off, but how many there are is not known any more.
                (Outcome::Proved | Outcome::Sampled, Some(cause)) => Outcome::Partial(cause.clone()),
                (outcome, _) => outcome.clone(),
            };
            let settled = !matches!(report.outcome, Outcome::Partial(_)) || report.error.as_ref().is_some_and(is_final);
            let limited = outcome == Outcome::Partial(Cause::RateLimited)
                || matches!(report.error, Some(StoreError::RateLimited(_)));
            if limited {
                writes += self.write_blindly(&edit.wanted.key, base, deadline).await;
            }
            if settled || limited || Instant::now() + PAUSE >= deadline {
                let place = address(base).to_owned();
                let (failure, differs) = (report.error, report.differs);
                return Pursued { place, tally: report.tally, outcome, known, writes, lost, failure, differs };
            }
            sleep(PAUSE).await;
        }
    }

    /// Write on fresh connections without reading: how many were answered by a process that is off now.
    async fn write_blindly(&self, key: &FlagKey, base: &Url, deadline: Instant) -> u32 {
        let mut session = Session::new(None);
        let Ok(auth) = session.auth(&self.transport, base).await else { return 0 };
        let mut done = 0;
        for _ in 0..BLIND * Tally::new(self.options.workers).workers() {
            if Instant::now() >= deadline {
                break;
            }
            let Ok(mut connection) = self.transport.connect(base) else { break };
            self.spend(connection.address(), Route::Disable, 1);
            let sent = timeout(IMPATIENT, send(&mut connection, key, Way::Disable, &auth)).await;
            let off = |body: &[u8]| wire::switched(key, body).is_some_and(|flag| flag.enabled == Some(false));
            done += u32::from(matches!(sent, Ok(Ok(answer)) if off(&answer.body)));
        }
        self.note(format!(
            "{}: its list is rate-limited (429), so it was written blindly: {done} writes were answered with off",
            address(base)
        ));
        done
    }

    /// Look at every process, for at most `time`. What `before` has counted stays proven where nothing contradicts it.
    pub async fn look_off(&self, key: &FlagKey, before: Option<&SwitchedOff>, time: Duration) -> OffLook {
        let deadline = Instant::now() + time;
        let looks = join_all(self.options.addresses.iter().map(|base| self.look_at(key, base, deadline))).await;
        let mut found = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut reads = 0;
        for (base, (tally, states, failure)) in self.options.addresses.iter().zip(looks) {
            let (parts, all, on_at, differing) = &mut found;
            let place = address(base).to_owned();
            reads += tally.reads();
            if states.iter().any(|state: &Variant| state.flags.iter().any(|flag| flag.enabled != Some(false))) {
                on_at.push(place.clone());
            }
            all.extend(states);
            let known = before.and_then(|before| before.parts.iter().find(|(known, ..)| *known == place));
            let outcome = match (tally.outcome(), known) {
                _ if on_at.contains(&place) => Outcome::Partial(Cause::Differs),
                // Then nobody knows how many reads would be enough, however clean they are.
                (_, Some((_, _, Outcome::Partial(cause @ (Cause::TooManyProcesses | Cause::Restarted))))) => {
                    Outcome::Partial(cause.clone())
                }
                (Some(outcome), _) => outcome,
                (None, _) if matches!(failure, Some(StoreError::Invalid(_))) => Outcome::Partial(Cause::Differs),
                (None, _) => Outcome::Partial(Cause::Silent),
            };
            differing.extend(failure.map(|failure: StoreError| failure.to_string()));
            let counted = known.filter(|(_, _, outcome)| *outcome == Outcome::Proved);
            parts.push(match (counted, &outcome) {
                (Some(counted), Outcome::Sampled) => counted.clone(),
                _ => (place, tally, outcome),
            });
        }
        let (parts, states, on_at, differing) = found;
        let mut summary = live(self.options.workers, &parts, &differing);
        if summary.verdict == Verdict::Partial
            && let Some(before) = before
            && on_at.is_empty()
        {
            // What was counted then and did not read on now is still the lower bound.
            summary.agree =
                summary.agree.max(before.live.agree.min(summary.of.map_or(u32::MAX, |of| of.saturating_sub(1))));
        }
        OffLook { live: summary, states, on_at, reads }
    }

    async fn look_at(&self, key: &FlagKey, base: &Url, deadline: Instant) -> (Tally, Vec<Variant>, Option<StoreError>) {
        let mut tally = Tally::new(self.options.workers);
        let (mut states, mut failure): (Vec<Variant>, Option<StoreError>) = (Vec::new(), None);
        let mut request_ids = HashSet::new();
        let wanted = sample_size(tally.workers());
        let mut clean = 0;
        while clean < wanted && !tally.must_stop() && Instant::now() < deadline {
            let patience = if failure.is_some() { IMPATIENT } else { PROBE };
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = patience.min(self.options.request_timeout).min(left.max(Duration::from_millis(1)));
            let batch = match batch(self, base, patience).await {
                Ok(batch) => batch,
                Err(error) => return (tally, states, Some(error)),
            };
            let mut silent = 0;
            for (_, listing) in batch {
                match listing {
                    Ok(listing)
                        if listing.aged || listing.request_id.clone().is_some_and(|id| !request_ids.insert(id)) =>
                    {
                        tally.read(Reading::Cached);
                    }
                    Ok(mut listing) => {
                        listing.flags.retain(|flag| flag.key == *key);
                        // A process that does not list it has not said that it is off.
                        if listing.flags.is_empty() {
                            tally.read(Reading::Stale(listing.tag));
                            let why = format!("{}: a process does not list `{key}`", address(base));
                            return (tally, states, Some(StoreError::Invalid(why)));
                        }
                        let off = listing.flags.iter().all(|flag| flag.enabled == Some(false));
                        clean += u32::from(off);
                        tally.read(if off { Reading::Clean(listing.tag) } else { Reading::Stale(listing.tag) });
                        count(&mut states, listing.flags, base);
                    }
                    Err(error) => {
                        tally.read(reading_of(&error));
                        silent += 1;
                        failure = Some(error);
                    }
                }
            }
            // One process that is on is enough to know; an address of which nothing answers will not begin to.
            if silent == BATCH || states.iter().any(|state| state.flags.iter().any(|flag| flag.enabled != Some(false)))
            {
                break;
            }
        }
        (tally, states, failure)
    }

    /// Whether some address knows the flag, asked past the list: one that does not answers 404.
    pub async fn knows(&self, key: &FlagKey) -> bool {
        let asked = join_all(self.options.addresses.iter().map(|base| async move {
            let Ok(mut connection) = self.transport.connect(base) else { return false };
            self.spend(connection.address(), Route::Flag, 1);
            let (path, buster) = (["api", "v1", "features", key.as_str()], super::buster());
            let query = [("_", buster.as_str())];
            let answer = timeout(PROBE, connection.get(&path, &query, None)).await;
            // A poisoned flag fails to be evaluated, but it is there.
            matches!(answer, Ok(Ok(answer)) if answer.status == 200 || answer.status == 500)
        }));
        asked.await.contains(&true)
    }

    /// Whether each address answers, and how fast; `Err` says why not.
    pub async fn answers(&self) -> Vec<(String, Result<Duration, String>)> {
        join_all(self.options.addresses.iter().map(|base| async move {
            let started = Instant::now();
            let answered = match self.transport.connect(base) {
                Ok(mut connection) => read(self, &mut connection, PROBE).await.map(|_| started.elapsed()),
                Err(error) => Err(error),
            };
            (address(base).to_owned(), answered.map_err(|error| error.to_string()))
        }))
        .await
    }

    /// Ask each address whether the flag is on for this user; `Err` says why it cannot be told.
    pub async fn ask_user(&self, key: &FlagKey, user: &str) -> Vec<(String, Result<bool, String>)> {
        join_all(self.options.addresses.iter().map(|base| async move {
            let asked = timeout(PROBE, self.ask_user_at(key, user, base)).await;
            (address(base).to_owned(), asked.unwrap_or_else(|_| Err("timed out".to_owned())))
        }))
        .await
    }

    async fn ask_user_at(&self, key: &FlagKey, user: &str, base: &Url) -> Result<bool, String> {
        let mut connection = self.transport.connect(base).map_err(|error| error.to_string())?;
        let path = ["api", "v1", "features", "user", user, "enabled"];
        let buster = super::buster();
        let answer = connection.get(&path, &[("_", &buster)], None).await.map_err(|error| error.reason().to_owned())?;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status.as_u16(), body.get(key.as_str()).and_then(serde_json::Value::as_bool)) {
            (200, Some(enabled)) => Ok(enabled),
            (200, None) => Err("the answer does not name the flag".to_owned()),
            (status, _) => Err(format!("status {status}")),
        }
    }
}

/// Whether anything came back from the address.
fn has_answered(one: &Pursued) -> bool {
    one.known > 0 || !matches!(one.failure, Some(StoreError::Unreachable(_)))
}

/// Whether trying again would be answered the same.
fn is_final(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::NotFound { .. }
            | StoreError::Unsupported { .. }
            | StoreError::Refused(_)
            | StoreError::Denied(_)
            | StoreError::Credentials(_)
            | StoreError::Local(_)
    )
}

/// Add a reading to the distinct states of an address.
fn count(states: &mut Vec<Variant>, flags: Vec<Flag>, base: &Url) {
    match states.iter_mut().find(|state| state.flags == flags) {
        Some(state) => state.reads += 1,
        None => states.push(Variant { flags, reads: 1, addresses: vec![address(base).to_owned()] }),
    }
}
