//! What is kept of a run, in the words of the store: texts, numbers and times, whose meaning lies with the run itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Lease;

/// A run's name: eight hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// A name that no other run has.
    pub fn fresh() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(format!("{:016x}", RandomState::new().hash_one(())).chars().take(8).collect())
    }

    pub(super) fn stored(text: String) -> Self {
        Self(text)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A run that is about to begin.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Its name.
    pub id: RunId,
    /// The text of its plan.
    pub plan: String,
    /// SHA-256 of that text.
    pub plan_digest: String,
    /// Every source's flag before the first write.
    pub snapshot: Value,
    /// The state's word.
    pub state: String,
    /// What the run has to remember.
    pub progress: Value,
    /// Who began it.
    pub started_by: String,
    /// The first events.
    pub events: Vec<NewEvent>,
}

/// A run as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its name.
    pub id: RunId,
    /// The text of its plan.
    pub plan: String,
    /// SHA-256 of that text.
    pub plan_digest: String,
    /// Every source's flag before the first write.
    pub snapshot: Value,
    /// The state's word.
    pub state: String,
    /// What the run remembers.
    pub progress: Value,
    /// Who began it.
    pub started_by: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
}

/// Which way a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More users.
    Up,
    /// Back.
    Down,
}

impl Direction {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A write to the sources, from its intent on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its number in the run, from 1.
    pub number: i64,
    /// The percentage it goes to.
    pub rung: u8,
    /// Which way.
    pub direction: Direction,
    /// The digest that the processes held before.
    pub digest_before: String,
    /// The digest that they shall hold.
    pub digest_wanted: String,
    /// When it was meant.
    pub intent_at: Timestamp,
    /// When it was written and verified.
    pub applied_at: Option<Timestamp>,
    /// When all processes agreed; bake counts from here.
    pub converged_at: Option<Timestamp>,
}

/// What is to be kept of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepWrite {
    /// It is about to be done.
    Intent {
        /// Its number in the run, from 1.
        number: i64,
        /// The percentage it goes to.
        rung: u8,
        /// Which way.
        direction: Direction,
        /// The digest that the processes hold.
        before: String,
        /// The digest that they shall hold.
        wanted: String,
    },
    /// It was written and verified, and all processes agree.
    Applied {
        /// Its number.
        number: i64,
    },
}

/// One measurement with its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasurementRecord {
    /// The rung it was taken at.
    pub rung: u8,
    /// The metric's name.
    pub metric: String,
    /// The verdict's word.
    pub verdict: String,
    /// Value, samples, window, reason.
    pub details: Value,
}

/// Something that happened, before it has its place in the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The kind, one word.
    pub kind: &'static str,
    /// What there is to say about it.
    pub details: Value,
}

/// Something that happened, in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Its number in the run, from 1.
    pub number: i64,
    /// Microseconds since 1970, by the store's clock.
    pub at: i64,
    /// The kind, one word.
    pub kind: String,
    /// Who acted.
    pub actor: String,
    /// JSON, byte for byte as it was hashed.
    pub details: String,
    /// The hash of the event before; empty for the first.
    pub previous: String,
    /// SHA-256 over the hash before and everything above.
    pub hash: String,
}

impl EventRecord {
    /// The next event of a chain.
    pub(super) fn after(run: &RunId, last: Option<(i64, String)>, at: i64, actor: &str, event: &NewEvent) -> Self {
        let (number, previous) = last.map_or((1, String::new()), |(number, hash)| (number + 1, hash));
        let mut next = Self {
            number,
            at,
            kind: event.kind.to_owned(),
            actor: actor.to_owned(),
            details: event.details.to_string(),
            previous,
            hash: String::new(),
        };
        next.hash = next.digest(run);
        next
    }

    /// When it happened.
    pub fn moment(&self) -> Timestamp {
        super::lease::moment(self.at)
    }

    fn digest(&self, run: &RunId) -> String {
        // Each part with its length: two events that differ cannot have the same text.
        let number = self.number.to_string();
        let at = self.at.to_string();
        let parts = [run.as_str(), &self.previous, &number, &at, &self.kind, &self.actor, &self.details];
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(format!("{}:", part.len()));
            digest.update(part);
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The number of the first event that was changed, removed or put in later; `None` for a chain that holds.
pub fn broken_at(run: &RunId, events: &[EventRecord]) -> Option<i64> {
    let mut previous = "";
    for (expected, event) in (1..).zip(events) {
        if event.number != expected || event.previous != previous || event.hash != event.digest(run) {
            return Some(expected);
        }
        previous = &event.hash;
    }
    None
}

/// What somebody may ask of a run that another process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Go up no further until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// Leave this rung upwards, on this person's word.
    Promote,
    /// Roll back.
    Abort,
    /// End the run and keep the exposure.
    AbortKeep,
}

impl Wish {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pause, Self::Resume, Self::Promote, Self::Abort, Self::AbortKeep];

    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Abort => "abort",
            Self::AbortKeep => "abort_keep",
        }
    }
}

/// A wish that the holder has not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub id: i64,
    /// What is wished.
    pub wish: Wish,
    /// Who asks, `user@host`.
    pub actor: String,
    /// Why.
    pub reason: Option<String>,
    /// When, by the store's clock.
    pub asked_at: Timestamp,
}

/// What one write of state holds; all of it stands or none.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The state's word.
    pub state: String,
    /// What the run remembers.
    pub progress: Value,
    /// Whether this is its end.
    pub end: End,
    /// What became of steps.
    pub steps: Vec<StepWrite>,
    /// What was measured.
    pub measurements: Vec<MeasurementRecord>,
    /// What happened.
    pub events: Vec<NewEvent>,
    /// The requests that are answered by it.
    pub answered: Vec<i64>,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It does.
    #[default]
    Open,
    /// It has come to its end.
    Closed,
}

/// The newest run of a flag and everything about it, seen at one moment.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The run.
    pub run: RunRecord,
    /// Who may act.
    pub lease: Lease,
    /// Its steps, in order.
    pub steps: Vec<StepRecord>,
    /// Its newest measurements, oldest first.
    pub measurements: Vec<MeasurementRecord>,
    /// What happened, in order.
    pub events: Vec<EventRecord>,
    /// What is asked of it.
    pub requests: Vec<Request>,
    /// The time, by the store's clock.
    pub now: Timestamp,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(run: &RunId) -> Vec<EventRecord> {
        let mut events: Vec<EventRecord> = Vec::new();
        for (at, kind) in [(10, "started"), (20, "intent"), (30, "applied")] {
            let last = events.last().map(|event| (event.number, event.hash.clone()));
            let event = NewEvent { kind, details: json!({"rung": at}) };
            events.push(EventRecord::after(run, last, at, "ana@ops", &event));
        }
        events
    }

    #[test]
    fn a_chain_that_nobody_touched_holds() {
        let run = RunId::fresh();
        assert_eq!(broken_at(&run, &chain(&run)), None);
        assert_eq!(broken_at(&run, &[]), None);
    }

    #[test]
    fn an_event_that_was_changed_moved_removed_or_lent_is_found() {
        #[track_caller]
        fn case(name: &str, at: i64, tamper: impl FnOnce(&mut Vec<EventRecord>)) {
            let run = RunId::stored("0123abcd".to_owned());
            let mut events = chain(&run);
            tamper(&mut events);
            assert_eq!(broken_at(&run, &events), Some(at), "{name}");
        }
        case("another text", 2, |events| events[1].details = "{}".to_owned());
        case("another person", 1, |events| events[0].actor = "ben@ops".to_owned());
        case("another time", 3, |events| events[2].at += 1);
        case("one missing", 2, |events| drop(events.remove(1)));
        case("two swapped", 1, |events| events.swap(0, 1));
        case("letters moved between two parts", 1, |events| {
            events[0].kind = "starte".to_owned();
            events[0].actor = "dana@ops".to_owned();
        });
        // Whoever knows how a hash is made still has to make all that come after.
        let forge = |events: &mut [EventRecord]| {
            events[0].actor = "eve@ops".to_owned();
            events[0].hash = events[0].digest(&RunId::stored("0123abcd".to_owned()));
            events[0].hash.clone()
        };
        case("one forged", 2, |events| drop(forge(events)));
        case("one forged, and the next one tied to it", 2, |events| events[1].previous = forge(events));
        let run = RunId::stored("0123abcd".to_owned());
        assert_eq!(broken_at(&RunId::stored("ffffffff".to_owned()), &chain(&run)), Some(1), "another run's");
    }

    #[test]
    fn run_names_are_eight_digits_and_differ() {
        let (one, other) = (RunId::fresh(), RunId::fresh());
        assert_eq!(one.as_str().len(), 8);
        assert_ne!(one, other);
    }
}
