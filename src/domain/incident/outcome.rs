//! What an emergency came to: its exit, and what was not done or not proven (the outage table of rollout.md 7).
//!
//! A pure function over what the sources ended with. Only a flag that is off in every process, kept off by what a restart
//! loads, and read back, is a success; whatever could not be seen is said.

use serde::{Deserialize, Serialize};

/// How it is known that processes are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Every process was addressed individually.
    Proved,
    /// Enough clean reads on fresh connections.
    Sampled,
    /// Some process was seen on, did not answer, or could not be looked at.
    Partial,
}

impl Word {
    /// As it stands in a sentence.
    pub fn shout(self) -> &'static str {
        match self {
            Self::Proved => "PROVED",
            Self::Sampled => "SAMPLED",
            Self::Partial => "PARTIAL",
        }
    }
}

/// The processes of a hub, as far as they are known to be off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Processes {
    /// Known to be off; for [`Word::Partial`] the lower bound.
    pub agree: u32,
    /// Addresses times declared workers; `None` when those were not declared.
    pub of: Option<u32>,
    /// How it is known.
    pub verdict: Word,
    /// The evidence in words: addresses, reads, who is not off.
    pub evidence: String,
}

impl Processes {
    /// Such as `12/12 PROVED`.
    pub fn words(&self) -> String {
        let of = self.of.map_or("?".to_owned(), |of| of.to_string());
        format!("{}/{of} {}", self.agree, self.verdict.shout())
    }
}

/// What became of the running hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Running {
    /// No hub is configured.
    NotConfigured,
    /// Some address answered.
    Seen(Processes),
    /// No address did; nothing was written there.
    Silent {
        /// Why.
        why: String,
    },
    /// A write was sent, and nothing can be read back.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Running {
    /// Whether every process is off, as the verdict says.
    pub fn is_off(&self) -> bool {
        matches!(self, Self::Seen(processes) if processes.verdict != Word::Partial)
    }
}

/// What became of a source that survives a restart of the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Kept {
    /// It is not configured.
    NotConfigured,
    /// Off, and read back.
    Off,
    /// It does not know the flag.
    Unaware,
    /// It could not be written; it is as it was.
    Down {
        /// Why.
        why: String,
    },
    /// A write was begun, and nobody knows what became of it.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What the hub's next start would load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Restart {
    /// Off.
    Off,
    /// Something else.
    On {
        /// What.
        why: String,
    },
    /// Nobody can tell.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// What became of the database's way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Undone {
    /// It was not asked for.
    NotAsked,
    /// Rolled back, and read back.
    Done {
        /// The newest version that stands now.
        current: Option<String>,
        /// The versions that are gone.
        versions: Vec<String>,
        /// The backup that was made before.
        backup: Option<String>,
    },
    /// It was not done; the database is as it was, or as the words say.
    NotDone {
        /// Why.
        why: String,
    },
    /// Something was sent, and nobody knows what became of it.
    Unknown {
        /// Why.
        why: String,
    },
}

/// What the steps ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The hub.
    pub running: Running,
    /// The database.
    pub db: Kept,
    /// The env file.
    pub env: Kept,
    /// The next start.
    pub restart: Restart,
    /// `--with-db`.
    pub undone: Undone,
}

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// Off everywhere, persisted, verified: 0.
    Done,
    /// Some of it: 10.
    Partial,
    /// A write is out whose fate is unknown: 11.
    Unknown,
    /// Nothing could be reached, nothing was written: 6.
    Nothing,
}

/// What it all came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How the command ends.
    pub exit: Exit,
    /// What was not done, one sentence each.
    pub not_done: Vec<String>,
    /// What was not proven, one sentence each.
    pub not_proven: Vec<String>,
}

/// Judge the ends of the steps.
pub fn outcome(ends: &Ends) -> Outcome {
    let (mut not_done, mut not_proven) = (Vec::new(), Vec::new());
    match &ends.running {
        Running::NotConfigured => not_proven.push("live unknown: no hub is configured".to_owned()),
        Running::Seen(processes) if processes.verdict == Word::Partial => {
            not_done.push(format!("not every process is off ({}): {}", processes.words(), processes.evidence));
        }
        Running::Seen(_) => {}
        Running::Silent { why } => not_proven.push(format!("live unknown: {why}")),
        Running::Unknown { why } => not_proven.push(format!("live unknown, a write is out: {why}")),
    }
    for (name, kept) in [("env file", &ends.env), ("database", &ends.db)] {
        match kept {
            Kept::NotConfigured | Kept::Off => {}
            Kept::Unaware => not_proven.push(format!("the {name} does not know the flag")),
            Kept::Down { why } => not_done.push(match name {
                "database" => format!("the database was not written, its history entry is queued: {why}"),
                _ => format!("the {name} was not written: {why}"),
            }),
            Kept::Unknown { why } => not_proven.push(format!("what became of the write to the {name}: {why}")),
        }
    }
    match &ends.restart {
        Restart::Off => {}
        Restart::On { why } => not_done.push(format!("a restart brings it back: {why}")),
        Restart::Unknown { why } => not_proven.push(format!("what a restart loads: {why}")),
    }
    match &ends.undone {
        Undone::NotAsked | Undone::Done { .. } => {}
        Undone::NotDone { why } => not_done.push(format!("the database was not rolled back: {why}")),
        Undone::Unknown { why } => not_proven.push(format!("what became of the database rollback: {why}")),
    }
    Outcome { exit: exit(ends), not_done, not_proven }
}

fn exit(ends: &Ends) -> Exit {
    let kept = [&ends.db, &ends.env];
    if matches!(ends.running, Running::Unknown { .. })
        || kept.iter().any(|kept| matches!(kept, Kept::Unknown { .. }))
        || matches!(ends.undone, Undone::Unknown { .. })
    {
        return Exit::Unknown;
    }
    let nobody = matches!(ends.running, Running::NotConfigured | Running::Silent { .. });
    if nobody && !kept.contains(&&Kept::Off) {
        return Exit::Nothing;
    }
    // The hub reads no database: one that is down is a queued history entry, as long as the env file keeps the flag off.
    let kept_off = ends.restart == Restart::Off;
    let database = matches!(ends.undone, Undone::NotAsked | Undone::Done { .. });
    if ends.running.is_off() && kept_off && database { Exit::Done } else { Exit::Partial }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(verdict: Word) -> Running {
        let agree = if verdict == Word::Partial { 8 } else { 12 };
        Running::Seen(Processes { agree, of: Some(12), verdict, evidence: "hub-c does not answer".to_owned() })
    }

    fn silent() -> Running {
        Running::Silent { why: "hub-a does not answer".to_owned() }
    }

    fn down() -> Kept {
        Kept::Down { why: "refused".to_owned() }
    }

    /// What a restart loads follows from the env file.
    fn ends(running: Running, db: Kept, env: Kept) -> Ends {
        let restart = match &env {
            Kept::Off => Restart::Off,
            Kept::Down { .. } => Restart::On { why: "the env file says enabled".to_owned() },
            _ => Restart::Unknown { why: "no env file is configured".to_owned() },
        };
        Ends { running, db, env, restart, undone: Undone::NotAsked }
    }

    #[track_caller]
    fn case(name: &str, ends: Ends, exit: Exit, not_done: &[&str], not_proven: &[&str]) {
        let outcome = outcome(&ends);
        assert_eq!(outcome.exit, exit, "{name}");
        for (kind, found, expected) in
            [("not done", &outcome.not_done, not_done), ("not proven", &outcome.not_proven, not_proven)]
        {
            assert_eq!(found.len(), expected.len(), "{name}, {kind}: {found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{name}, {kind}: {found}");
            }
        }
    }

    #[test]
    fn every_row_of_the_outage_table() {
        let off = || seen(Word::Proved);
        case("all up", ends(off(), Kept::Off, Kept::Off), Exit::Done, &[], &[]);
        case("sampled is enough", ends(seen(Word::Sampled), Kept::Off, Kept::Off), Exit::Done, &[], &[]);
        case("the database is down", ends(off(), down(), Kept::Off), Exit::Done, &["history entry is queued"], &[]);
        case(
            "the env file is down",
            ends(off(), Kept::Off, down()),
            Exit::Partial,
            &["the env file was not written", "a restart brings it back"],
            &[],
        );
        for db in [Kept::Off, down()] {
            for env in [Kept::Off, down()] {
                let outcome = outcome(&ends(seen(Word::Partial), db.clone(), env));
                assert_eq!(outcome.exit, Exit::Partial, "one replica is down");
                assert!(outcome.not_done[0].contains("hub-c does not answer"), "{outcome:?}");
            }
        }
        case("the hub is down", ends(silent(), Kept::Off, Kept::Off), Exit::Partial, &[], &["live unknown"]);
        case(
            "the hub and the database are down",
            ends(silent(), down(), Kept::Off),
            Exit::Partial,
            &["history entry"],
            &["live unknown"],
        );
        case(
            "the hub and the env file are down",
            ends(silent(), Kept::Off, down()),
            Exit::Partial,
            &["env file", "a restart brings it back"],
            &["live unknown"],
        );
        case(
            "everything is down",
            ends(silent(), down(), down()),
            Exit::Nothing,
            &["env file", "database", "a restart"],
            &["live unknown"],
        );
    }

    #[test]
    fn a_source_that_is_not_there_proves_nothing() {
        let none = Kept::NotConfigured;
        case(
            "a hub alone",
            ends(seen(Word::Proved), none.clone(), none.clone()),
            Exit::Partial,
            &[],
            &["what a restart loads"],
        );
        case(
            "a hub and a database",
            ends(seen(Word::Proved), Kept::Off, none.clone()),
            Exit::Partial,
            &[],
            &["what a restart loads"],
        );
        case("a hub and an env file", ends(seen(Word::Proved), none.clone(), Kept::Off), Exit::Done, &[], &[]);
        case(
            "an env file alone",
            ends(Running::NotConfigured, none.clone(), Kept::Off),
            Exit::Partial,
            &[],
            &["no hub is configured"],
        );
        case(
            "a database alone",
            ends(Running::NotConfigured, Kept::Off, none.clone()),
            Exit::Partial,
            &[],
            &["no hub", "what a restart loads"],
        );
        case(
            "nothing that knows it",
            ends(silent(), Kept::Unaware, none),
            Exit::Nothing,
            &[],
            &["live", "know", "load"],
        );
    }

    #[test]
    fn a_write_without_an_answer_is_unknown_whatever_else_is_proven() {
        let lost = || Kept::Unknown { why: "cut".to_owned() };
        let off = || seen(Word::Proved);
        case("env", ends(off(), Kept::Off, lost()), Exit::Unknown, &[], &["env file", "restart"]);
        case("db", ends(off(), lost(), Kept::Off), Exit::Unknown, &[], &["database"]);
        let hub = Running::Unknown { why: "cut".to_owned() };
        case("hub", ends(hub, Kept::Off, Kept::Off), Exit::Unknown, &[], &["a write is out"]);
        let undone = Undone::Unknown { why: "cut".to_owned() };
        case(
            "rollback",
            Ends { undone, ..ends(off(), Kept::Off, Kept::Off) },
            Exit::Unknown,
            &[],
            &["database rollback"],
        );
    }

    #[test]
    fn a_database_that_was_to_go_back_and_did_not_is_partial() {
        let undone = Undone::NotDone { why: "no backup".to_owned() };
        let all = ends(seen(Word::Proved), Kept::Off, Kept::Off);
        case("refused", Ends { undone, ..all.clone() }, Exit::Partial, &["no backup"], &[]);
        let undone = Undone::Done { current: None, versions: vec!["2".to_owned()], backup: None };
        case("done", Ends { undone, ..all }, Exit::Done, &[], &[]);
    }
}
