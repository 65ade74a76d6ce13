//! A write to every process, and the proof of it: repair on contact (rollout.md 3).
//!
//! On each fresh connection: read; stale, then write *on that same connection* and read back on it. Reads are opened in
//! batches, but each is judged after the writes before it: two connections may end at one process, and counting it twice
//! would prove too much. A write whose answer was lost is whole and idempotent, so the next read settles it.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::Method;
use tokio::time::{Instant, timeout};
use url::Url;

use super::budget::Route;
use super::connection::{Answer, CallError, Connection, WriteAuth, address};
use super::session::Session;
use super::survey::{PROBE, batch, read, reading_of};
use super::{HubFlags, Listing, status_error, tags, wire};
use crate::domain::flags::convergence::{BATCH, Cause, Outcome, Reading, Repair, Tally};
use crate::domain::flags::{Flag, FlagKey, differences};
use crate::store::{Edit, Source, Stance, StoreError, pick};

/// Read-backs on the writing connection: one stale answer among them shows a proxy that does not pin (rollout.md 3).
const READ_BACKS: u32 = 3;

/// Writes that an address may refuse in a row before it is given up.
const REFUSALS: u32 = 4;

/// How a process is written.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    /// `PUT` with these members.
    Put(&'a str),
    /// `POST …/disable`, which keeps the percentage: only for the emergency, so that its share of the hub's request limit is
    /// always full. A login that has expired does not stop it: this hub takes writes from anybody (CONTRACT 2).
    Disable,
}

/// Reads in a row that do not list the flag, after which an emergency believes that no process here does.
const UNAWARE: u32 = 3 * BATCH;

/// One address on its way to agreement.
pub struct Address<'a> {
    hub: &'a HubFlags,
    edit: &'a Edit,
    base: &'a Url,
    way: Way<'a>,
    deadline: Instant,
    session: Session,
    tally: Tally,
    /// Writes whose fate is unknown until a read shows it.
    lost: u32,
    refusals: u32,
    silent_batches: u32,
    /// Reads in a row that did not list the flag.
    unaware: u32,
    after: Option<Flag>,
    differs: Option<String>,
    request_ids: HashSet<String>,
}

/// How an address ended.
pub struct Report {
    pub tally: Tally,
    pub outcome: Outcome,
    pub error: Option<StoreError>,
    pub after: Option<Flag>,
    pub lost: u32,
    pub anonymous: bool,
    pub differs: Option<String>,
}

impl<'a> Address<'a> {
    /// Nothing is contacted yet.
    pub fn new(hub: &'a HubFlags, edit: &'a Edit, base: &'a Url, way: Way<'a>, deadline: Instant) -> Self {
        Self {
            hub,
            edit,
            base,
            way,
            deadline,
            session: Session::new(hub.options.session.clone()),
            tally: Tally::new(hub.options.workers),
            lost: 0,
            refusals: 0,
            silent_batches: 0,
            unaware: 0,
            after: None,
            differs: None,
            request_ids: HashSet::new(),
        }
    }

    /// Go on until enough is known, or nothing more can be done.
    pub async fn run(mut self) -> Report {
        let error = self.converge().await.err();
        let outcome = match (&error, self.tally.outcome()) {
            (None, Some(outcome)) => outcome,
            (Some(_), _) => Outcome::Partial(Cause::WriteFailed),
            (None, None) => Outcome::Partial(Cause::TimeBudget),
        };
        if !matches!(outcome, Outcome::Partial(_)) {
            self.differs = None;
        }
        Report {
            anonymous: self.session.is_anonymous(),
            tally: self.tally,
            outcome,
            error,
            after: self.after,
            lost: self.lost,
            differs: self.differs,
        }
    }

    async fn converge(&mut self) -> Result<(), StoreError> {
        while self.tally.outcome().is_none() {
            if Instant::now() >= self.deadline {
                self.tally.trouble(Cause::TimeBudget);
                return Ok(());
            }
            let patience = self.patience();
            let batch = batch(self.hub, self.base, patience).await?;
            let answered = batch.iter().any(|(_, listing)| listing.is_ok());
            let writes = self.tally.writes();
            let mut first_error = None;
            for (mut connection, listing) in batch {
                // What was read before a write of this batch may have been repaired by it, on another connection.
                let listing = match listing {
                    Ok(listing) if self.tally.writes() > writes && self.is_stale(&listing) => {
                        read(self.hub, &mut connection, self.patience()).await
                    }
                    listing => listing,
                };
                match listing {
                    Ok(listing) => self.judge(connection, listing).await?,
                    Err(error) => {
                        self.tally.read(reading_of(&error));
                        first_error.get_or_insert(error);
                    }
                }
                if self.refusals >= REFUSALS {
                    self.tally.trouble(Cause::WriteFailed);
                    return Err(StoreError::Unreachable(format!(
                        "{} refused {REFUSALS} writes in a row",
                        address(self.base)
                    )));
                }
            }
            if !answered {
                return Err(first_error
                    .unwrap_or_else(|| StoreError::Unreachable(format!("{} does not answer", address(self.base)))));
            }
            self.silent_batches += u32::from(first_error.is_some());
        }
        Ok(())
    }

    /// A process that hung once will hang again: later batches wait less for it.
    fn patience(&self) -> Duration {
        let probe = if self.silent_batches == 0 { PROBE } else { Duration::from_secs(1) };
        let left = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        probe.min(self.hub.options.request_timeout).min(left)
    }

    fn flag<'l>(&self, listing: &'l Listing) -> Option<&'l Flag> {
        listing.flags.iter().find(|flag| flag.key == self.edit.wanted.key)
    }

    fn agrees(&self, flag: &Flag) -> bool {
        self.edit.members.iter().all(|member| member.same(flag, &self.edit.wanted))
    }

    fn is_stale(&self, listing: &Listing) -> bool {
        self.flag(listing).is_some_and(|flag| !self.agrees(flag))
    }

    /// Whether the edit was decided with this state in view.
    fn was_seen(&self, flag: &Flag) -> bool {
        std::iter::once(&self.edit.seen)
            .chain(&self.edit.also_seen)
            .any(|seen| self.edit.members.iter().all(|member| member.same(seen, flag)))
    }

    async fn judge(&mut self, mut connection: Connection, listing: Listing) -> Result<(), StoreError> {
        let repeated = listing.request_id.clone().is_some_and(|id| !self.request_ids.insert(id));
        if listing.aged || repeated {
            self.hub.note(super::CACHED.to_owned());
            self.tally.read(Reading::Cached);
            return Ok(());
        }
        let key = &self.edit.wanted.key;
        let Some(flag) = self.flag(&listing) else {
            self.unaware += 1;
            // One process of another build must not keep the others on.
            if matches!(self.way, Way::Disable) && self.unaware < UNAWARE {
                self.tally.trouble(Cause::Differs);
                self.differs = Some(format!("a process does not list `{key}`"));
                return Ok(());
            }
            return pick(Source::Hub, listing.flags, key).map(drop);
        };
        self.unaware = 0;
        if self.agrees(flag) {
            // A flag may carry long lists: one read that agrees is shown, not each.
            if self.after.is_none() {
                self.after = Some(flag.clone());
            }
            self.tally.read(Reading::Clean(listing.tag.clone()));
            return self.plant(&mut connection, &listing).await;
        }
        self.tally.read(Reading::Stale(listing.tag.clone()));
        self.differs = differences(flag, &self.edit.wanted)
            .into_iter()
            .find(|diff| self.edit.members.iter().any(|member| member.name() == diff.member))
            .map(|diff| format!("a process still has {} {}", diff.member, brief(&diff.before)));
        if !self.was_seen(flag) {
            match self.edit.stance {
                Stance::Careful => return Err(StoreError::Moved { seen: Box::new(flag.clone()) }),
                Stance::Determined => {
                    self.hub.note(format!("overwrote a state of `{key}` that was not there when this was decided"));
                }
            }
        }
        self.repair(&mut connection).await?;
        self.plant(&mut connection, &listing).await
    }

    /// Write on the connection that read stale, and read back on it.
    async fn repair(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        let auth = self.session.auth(&self.hub.transport, self.base).await?;
        let key = self.edit.wanted.key.clone();
        let route = if matches!(self.way, Way::Put(_)) { Route::Flag } else { Route::Disable };
        let wait = self.hub.spend(address(self.base), route, 1);
        if wait > Duration::ZERO {
            self.hub.note("this write goes beyond our share of the hub's request limit: expect 429 soon".to_owned());
        }
        let sent = timeout(self.write_patience(), send(connection, &key, self.way, &auth)).await;
        let answer = match sent {
            Ok(Ok(answer)) => answer,
            Ok(Err(CallError::NotSent(_))) => {
                self.refusals += 1;
                return Ok(());
            }
            Ok(Err(CallError::Lost(_))) | Err(_) => {
                self.lost += 1;
                self.tally.repair(Repair::Lost);
                return Ok(());
            }
        };
        match answer.status.as_u16() {
            200 => {}
            500 if answer.plain_text => return self.refused(),
            429 => {
                self.tally.trouble(Cause::RateLimited);
                return Ok(());
            }
            400 | 422 => {
                return Err(StoreError::Refused(format!(
                    "{} refused the values ({}){}",
                    connection.address(),
                    answer.status.as_u16(),
                    answer.reference()
                )));
            }
            // Whoever answered may have passed the write on: the next read tells.
            201..=299 => {
                self.lost += 1;
                self.tally.repair(Repair::Lost);
                return Ok(());
            }
            500..=599 => {
                // It may have been stored all the same: the next read tells.
                self.refusals += 1;
                self.tally.repair(Repair::Lost);
                return Ok(());
            }
            _ => return Err(status_error(connection, &answer, Some(&key))),
        }
        let stored = match self.way {
            Way::Put(_) => wire::stored(&key, &answer.body),
            Way::Disable => wire::switched(&key, &answer.body),
        };
        if let Some(member) = stored
            .as_ref()
            .and_then(|stored| self.edit.members.iter().find(|member| !member.same(stored, &self.edit.wanted)))
        {
            return Err(StoreError::Refused(format!(
                "{} answered 200 but stored another `{}` than it was sent{}",
                connection.address(),
                member.name(),
                answer.reference()
            )));
        }
        self.refusals = 0;
        let repair = self.read_back(connection, answer.same_connection).await;
        self.tally.repair(repair);
        Ok(())
    }

    /// The hub refused session and token.
    fn refused(&mut self) -> Result<(), StoreError> {
        let refused = self.session.refused(self.base);
        if refused.is_err() && matches!(self.way, Way::Disable) && !self.session.is_anonymous() {
            self.hub.note("the login has expired: went on through an anonymous session".to_owned());
            self.session = Session::new(None);
            return Ok(());
        }
        refused
    }

    fn write_patience(&self) -> Duration {
        self.hub.options.request_timeout.min(self.deadline.saturating_duration_since(Instant::now())).max(PROBE)
    }

    async fn read_back(&mut self, connection: &mut Connection, mut same_connection: bool) -> Repair {
        for _ in 0..READ_BACKS {
            let Ok(listing) = read(self.hub, connection, self.patience()).await else {
                return Repair::Lost;
            };
            same_connection &= listing.same_connection;
            match self.flag(&listing) {
                Some(flag) if self.agrees(flag) => self.after = Some(flag.clone()),
                _ => return Repair::NotPinned,
            }
        }
        // A connection that was silently replaced may have been repaired at one process and read at another.
        if same_connection { Repair::Done } else { Repair::Lost }
    }

    /// Give an untagged process its tag, where tags are wanted.
    async fn plant(&mut self, connection: &mut Connection, listing: &Listing) -> Result<(), StoreError> {
        let Some(identity) = &self.hub.options.identity_flag else {
            return Ok(());
        };
        if listing.tag.is_some() || !self.tally.is_pinned() {
            return Ok(());
        }
        if let Some(obstacle) = tags::obstacle(&listing.flags, identity) {
            self.hub.note(obstacle);
            return Ok(());
        }
        // Another connection of this batch may have tagged this very process meanwhile.
        let Ok(now) = read(self.hub, connection, self.patience()).await else {
            return Ok(());
        };
        if let Some(tag) = now.tag.clone() {
            // Then the reading without a tag was this process before it had one.
            if !self.is_stale(&now) {
                self.tally.planted(tag);
            }
            return Ok(());
        }
        let auth = self.session.auth(&self.hub.transport, self.base).await?;
        let tag = tags::fresh();
        self.hub.spend(address(self.base), Route::Flag, 1);
        let path = ["api", "v1", "features", identity.as_str()];
        let planted = timeout(self.write_patience(), connection.put(&path, &auth, tags::plant(&tag))).await;
        if !matches!(planted, Ok(Ok(answer)) if answer.status.as_u16() == 200 && answer.same_connection) {
            return Ok(());
        }
        if let Ok(back) = read(self.hub, connection, self.patience()).await
            && back.tag.as_deref() == Some(tag.as_str())
            && !self.is_stale(&back)
        {
            self.tally.planted(tag);
        }
        Ok(())
    }
}

/// Send the write on this connection.
pub async fn send(
    connection: &mut Connection,
    key: &FlagKey,
    way: Way<'_>,
    auth: &WriteAuth,
) -> Result<Answer, CallError> {
    match way {
        Way::Put(body) => connection.put(&["api", "v1", "features", key.as_str()], auth, body.to_owned()).await,
        Way::Disable => {
            let path = ["api", "v1", "features", key.as_str(), "disable"];
            connection.call(Method::POST, &path, &[], auth, None).await
        }
    }
}

/// A value for a sentence: short ones as they are, lists by their length.
fn brief(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => format!("with {} entries", items.len()),
        other => other.to_string(),
    }
}
