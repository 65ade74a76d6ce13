//! The journal of an emergency: one line of JSON for each thing that was about to happen or had happened.
//!
//! A line is written before a step and after it, so that whoever goes on after a crash knows what may have been done. The last
//! line may be torn; what stands before it counts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{Ending, Entry, Evidence, Held};
use super::runbook::{StepId, step};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The incident begins.
    Opened(Opened),
    /// A file was kept, and what it shows.
    Kept {
        /// When.
        at: Timestamp,
        /// The file.
        evidence: Evidence,
    },
    /// What the sources held before anything was written.
    Before {
        /// When.
        at: Timestamp,
        /// The states.
        held: Vec<Held>,
    },
    /// A step is about to be taken.
    Begun {
        /// When.
        at: Timestamp,
        /// Which.
        step: StepId,
    },
    /// A step has ended.
    Ended {
        /// What stands in the report.
        #[serde(flatten)]
        entry: Entry,
        /// Whether it wrote anything.
        changed: bool,
    },
    /// A rollout that was stopped may still write until then.
    MayWrite {
        /// When.
        at: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Every process was seen off for the first time.
    AllOff {
        /// When.
        at: Timestamp,
    },
    /// Writes are stopped in front of a database rollback.
    WritesStopped {
        /// When.
        at: Timestamp,
    },
    /// They are allowed again.
    WritesAllowed {
        /// When.
        at: Timestamp,
    },
    /// Somebody goes on with it.
    Resumed {
        /// When.
        at: Timestamp,
        /// Who.
        actor: String,
    },
    /// The run came to its end.
    Closed {
        /// When.
        at: Timestamp,
        /// The exit status.
        exit: u8,
        /// What is left to be done.
        open: Vec<String>,
    },
}

/// How an incident began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// When.
    pub at: Timestamp,
    /// Its id.
    pub incident: String,
    /// The flag.
    pub flag: String,
    /// Where it acts: an incident is only gone on with on the same sources.
    pub target: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The version that `--with-db --to` names.
    pub back_to: Option<String>,
}

/// What a journal says of the runs before.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// How it began.
    pub opened: Opened,
    /// What was there before.
    pub before: Vec<Held>,
    /// The timeline so far; a step that was cut off is an entry of its own.
    pub timeline: Vec<Entry>,
    /// The files that were kept, the newest of each name.
    pub evidence: Vec<Evidence>,
    /// Whether anything was written.
    pub changed: bool,
    /// When every process was first seen off.
    pub all_off: Option<Timestamp>,
    /// Until when a rollout that a run before stopped may still write.
    pub may_write_until: Option<Timestamp>,
    /// Whether a run before stopped writes and did not allow them again.
    pub writes: Writes,
    /// What the last run left open; `None` when it did not come to its end.
    pub open: Option<Vec<String>>,
}

/// Whether writes to the database are stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// They are not, as far as the journal knows.
    #[default]
    Allowed,
    /// They are.
    Stopped,
}

impl Past {
    /// Read a journal; `None` when it does not begin as one.
    pub fn read(text: &str) -> Option<Self> {
        // A line that is no record was torn by the crash that this is about.
        let mut records = text.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
        let Some(Record::Opened(opened)) = records.next() else { return None };
        let mut past = Self {
            opened,
            before: Vec::new(),
            timeline: Vec::new(),
            evidence: Vec::new(),
            changed: false,
            all_off: None,
            may_write_until: None,
            writes: Writes::Allowed,
            open: None,
        };
        let mut begun: BTreeMap<StepId, Timestamp> = BTreeMap::new();
        for record in records {
            match record {
                Record::Opened(_) => {}
                Record::Kept { evidence, .. } => {
                    past.evidence.retain(|kept| kept.file != evidence.file);
                    past.evidence.push(evidence);
                }
                // What was there first is what the way back leads to.
                Record::Before { held, .. } if past.before.is_empty() => past.before = held,
                Record::Before { .. } => {}
                Record::Begun { at, step } => {
                    begun.insert(step, at);
                }
                Record::Ended { entry, changed } => {
                    begun.remove(&entry.step);
                    past.changed |= changed;
                    past.timeline.push(entry);
                }
                Record::MayWrite { until, .. } => past.may_write_until = past.may_write_until.max(Some(until)),
                Record::AllOff { at } => past.all_off = past.all_off.or(Some(at)),
                Record::WritesStopped { .. } => past.writes = Writes::Stopped,
                Record::WritesAllowed { .. } => past.writes = Writes::Allowed,
                Record::Resumed { .. } => {
                    past.cut_off(&mut begun);
                    past.open = None;
                }
                Record::Closed { open, .. } => past.open = Some(open),
            }
        }
        past.cut_off(&mut begun);
        Some(past)
    }

    /// A step that began and did not end may have written.
    fn cut_off(&mut self, begun: &mut BTreeMap<StepId, Timestamp>) {
        for (id, at) in std::mem::take(begun) {
            self.changed |= matches!(id, StepId::Persist | StepId::Disable | StepId::Database);
            self.timeline.push(Entry {
                at,
                step: id,
                action: step(id).action.to_owned(),
                result: Ending::Interrupted,
                evidence: "the run ended here; what it did is looked at again".to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn opened() -> Record {
        Record::Opened(Opened {
            at: at(0),
            incident: "i-1".to_owned(),
            flag: "f".to_owned(),
            target: "hub h".to_owned(),
            actor: "ana@ops".to_owned(),
            reason: "smoke".to_owned(),
            back_to: None,
        })
    }

    fn begun(step: StepId) -> Record {
        Record::Begun { at: at(1), step }
    }

    fn ended(step: StepId, changed: bool) -> Record {
        let entry = Entry { at: at(2), step, action: "a".to_owned(), result: Ending::Done, evidence: "e".to_owned() };
        Record::Ended { entry, changed }
    }

    fn text(records: &[Record]) -> String {
        records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect()
    }

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        let held = Held {
            source: "hub".to_owned(),
            places: vec!["h".to_owned()],
            reads: 8,
            enabled: Some(true),
            rollout_percentage: 25.into(),
            whitelist_users: Some(2),
            blacklist_users: None,
            names: None,
        };
        let evidence =
            Evidence { file: "before.json".to_owned(), sha256: "00".to_owned(), shows: "the flag".to_owned() };
        for record in [
            opened(),
            Record::Kept { at: at(1), evidence },
            Record::Before { at: at(1), held: vec![held] },
            begun(StepId::Persist),
            ended(StepId::Persist, true),
            Record::MayWrite { at: at(1), until: at(16) },
            Record::AllOff { at: at(3) },
            Record::WritesStopped { at: at(3) },
            Record::WritesAllowed { at: at(3) },
            Record::Resumed { at: at(4), actor: "ben@ops".to_owned() },
            Record::Closed { at: at(5), exit: 10, open: vec!["db".to_owned()] },
        ] {
            let line = serde_json::to_string(&record).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record, "{line}");
        }
    }

    #[test]
    fn a_step_that_was_cut_off_is_told_and_may_have_written() {
        let past =
            Past::read(&text(&[opened(), begun(StepId::Open), ended(StepId::Open, false), begun(StepId::Persist)]));
        let past = past.unwrap();
        let steps: Vec<(StepId, Ending)> = past.timeline.iter().map(|entry| (entry.step, entry.result)).collect();
        assert_eq!(steps, [(StepId::Open, Ending::Done), (StepId::Persist, Ending::Interrupted)]);
        assert_eq!((past.changed, past.open), (true, None));
        let reading = Past::read(&text(&[opened(), begun(StepId::Verify)])).unwrap();
        assert!(!reading.changed, "a step that only reads has written nothing");
    }

    #[test]
    fn a_torn_last_line_costs_only_itself() {
        let whole = text(&[opened(), begun(StepId::Persist), ended(StepId::Persist, true)]);
        for cut in 1..40 {
            let torn = &whole[..whole.len() - cut];
            let past = Past::read(torn).unwrap();
            assert_eq!(past.timeline.len(), 1, "{torn}");
        }
    }

    #[test]
    fn what_is_no_journal_is_none() {
        for text in ["", "{}", "half", "{\"record\":\"begun\",\"at\":\"2026-01-01T00:00:00Z\",\"step\":1}"] {
            assert_eq!(Past::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_run_that_closed_says_what_is_open_until_somebody_goes_on() {
        let closed = Record::Closed { at: at(5), exit: 0, open: vec!["db".to_owned()] };
        let resumed = Record::Resumed { at: at(6), actor: "ben".to_owned() };
        assert_eq!(Past::read(&text(&[opened(), closed.clone()])).unwrap().open, Some(vec!["db".to_owned()]));
        assert_eq!(Past::read(&text(&[opened(), closed, resumed])).unwrap().open, None);
    }

    #[test]
    fn the_longest_time_in_which_a_stopped_rollout_may_write_is_kept() {
        let may_write = |until| Record::MayWrite { at: at(1), until: at(until) };
        assert_eq!(Past::read(&text(&[opened()])).unwrap().may_write_until, None);
        let past = Past::read(&text(&[opened(), may_write(16), may_write(11)])).unwrap();
        assert_eq!(past.may_write_until, Some(at(16)));
    }

    #[test]
    fn writes_that_were_stopped_stay_stopped_until_they_are_allowed() {
        let stopped = Record::WritesStopped { at: at(1) };
        let allowed = Record::WritesAllowed { at: at(2) };
        assert_eq!(Past::read(&text(&[opened(), stopped.clone()])).unwrap().writes, Writes::Stopped);
        assert_eq!(Past::read(&text(&[opened(), stopped, allowed])).unwrap().writes, Writes::Allowed);
    }
}
