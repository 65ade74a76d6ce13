//! The runbook of the emergency as ordered data: what each step needs, does, proves, and how long it may take.
//!
//! There is no second list of steps: the dry run prints this one, the runner walks it, the journal and the report name it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A step by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum StepId {
    /// Remember what is there, and fence running rollouts.
    Open,
    /// Off in every source that survives a restart.
    Persist,
    /// Off in every process.
    Disable,
    /// Look at every process again.
    Verify,
    /// And again, when a rollout may still have written.
    VerifyAgain,
    /// The pages that people go back to.
    Pages,
    /// What the next start loads.
    Restart,
    /// The database back to what it was.
    Database,
    /// Whether the hub is well.
    Health,
    /// What happened, in writing.
    Report,
}

impl StepId {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Open,
        Self::Persist,
        Self::Disable,
        Self::Verify,
        Self::VerifyAgain,
        Self::Pages,
        Self::Restart,
        Self::Database,
        Self::Health,
        Self::Report,
    ];

    /// Its number in the runbook, 0 to 9.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Its name in the runbook.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Persist => "persist off",
            Self::Disable => "disable live",
            Self::Verify => "verify off",
            Self::VerifyAgain => "verify again",
            Self::Pages => "old pages",
            Self::Restart => "restart-proof",
            Self::Database => "database",
            Self::Health => "health",
            Self::Report => "report",
        }
    }
}

impl From<StepId> for u8 {
    fn from(step: StepId) -> Self {
        step.number()
    }
}

impl TryFrom<u8> for StepId {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        Self::ALL.get(usize::from(number)).copied().ok_or_else(|| format!("the runbook has no step {number}"))
    }
}

/// How long a step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// At most this.
    Within(Duration),
    /// As long as the operator's own command, which has a bound of its own.
    Hook,
}

impl Budget {
    const fn seconds(count: u64) -> Self {
        Self::Within(Duration::from_secs(count))
    }

    /// In words.
    pub fn words(self) -> String {
        match self {
            Self::Within(time) if time >= Duration::from_secs(300) => format!("{} min", time.as_secs() / 60),
            Self::Within(time) => format!("{} s", time.as_secs()),
            Self::Hook => format!("{} min for the hook", HOOK.as_secs() / 60),
        }
    }
}

/// One step of the runbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub id: StepId,
    /// What it needs; without it the step is left out, and the report says so.
    pub precondition: &'static str,
    /// What it does.
    pub action: &'static str,
    /// What shows that it was done.
    pub proof: &'static str,
    /// How long it may take.
    pub budget: Budget,
}

/// The bound of a profile's hook: a container that is made anew pulls nothing, but may drain for minutes.
pub const HOOK: Duration = Duration::from_secs(300);

/// The emergency, in order (rollout.md 7). An unfinished step never keeps a later one from running.
pub const RUNBOOK: [Step; 10] = [
    Step {
        id: StepId::Open,
        precondition: "a reason",
        action: "a new incident with its folder; the whole flag from every source; fence + 1 against a running rollout",
        proof: "snapshots with their SHA-256; the fence read back",
        budget: Budget::seconds(3),
    },
    Step {
        id: StepId::Persist,
        precondition: "an env file or a database",
        action: "off in the env file and in the database, both at once; a failure delays nothing",
        proof: "both read back",
        budget: Budget::seconds(2),
    },
    Step {
        id: StepId::Disable,
        precondition: "a hub",
        action: "POST disable on the connection of every process that is on, until none is; silent addresses to the end",
        proof: "writes, reads, and the verdict on the processes",
        budget: Budget::seconds(10),
    },
    Step {
        id: StepId::Verify,
        precondition: "a hub",
        action: "read the list on fresh connections without cookies; ask for one listed user",
        proof: "config.enabled is false in every process: PROVED or SAMPLED",
        budget: Budget::seconds(10),
    },
    Step {
        id: StepId::VerifyAgain,
        precondition: "a rollout held the flag, or nobody knows",
        action: "wait until its lease has run out, then verify once more",
        proof: "no late write, or it was taken back",
        budget: Budget::seconds(20),
    },
    Step {
        id: StepId::Pages,
        precondition: "a hub",
        action: "GET the four old pages and one that does not exist, without redirects, at each address",
        proof: "status, bytes and SHA-256 of each; whether a script of the page knows its route",
        budget: Budget::seconds(10),
    },
    Step {
        id: StepId::Restart,
        precondition: "an env file",
        action: "read what a start would load; with --recreate run the profile's hook, then verify once more",
        proof: "the env file says off; the command that makes the processes anew",
        budget: Budget::Hook,
    },
    Step {
        id: StepId::Database,
        precondition: "--with-db, a confirmation of its own, the flag verified off, a proven down",
        action: "stop writes (hook), back up, roll back, allow writes (hook)",
        proof: "the backup is listed; exactly what the migrations made is gone, every other table has its rows; still off",
        budget: Budget::seconds(600),
    },
    Step {
        id: StepId::Health,
        precondition: "a hub",
        action: "ask every address",
        proof: "it answers",
        budget: Budget::seconds(120),
    },
    Step {
        id: StepId::Report,
        precondition: "none",
        action: "the report as Markdown and JSON, also when steps before it failed",
        proof: "both files read back",
        budget: Budget::seconds(2),
    },
];

/// The step of the runbook.
pub fn step(id: StepId) -> &'static Step {
    // One entry for each number, in order: a test holds it.
    let [first, ..] = &RUNBOOK;
    RUNBOOK.get(usize::from(id.number())).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_stand_in_the_order_of_their_numbers() {
        for (place, (step, id)) in RUNBOOK.iter().zip(StepId::ALL).enumerate() {
            assert_eq!((step.id, usize::from(id.number())), (id, place));
            assert_eq!(super::step(id), step);
            assert_eq!(StepId::try_from(id.number()), Ok(id));
        }
        assert!(StepId::try_from(10).is_err());
    }

    #[test]
    fn the_flag_is_off_and_verified_before_anything_else_is_looked_at() {
        let place = |id: StepId| RUNBOOK.iter().position(|step| step.id == id).unwrap();
        for earlier in [StepId::Persist, StepId::Disable, StepId::Verify] {
            for later in [StepId::Pages, StepId::Restart, StepId::Database, StepId::Health, StepId::Report] {
                assert!(place(earlier) < place(later), "{earlier:?} {later:?}");
            }
        }
        assert!(place(StepId::Persist) < place(StepId::Disable), "a crash in between leaves the smaller exposure");
    }

    #[test]
    fn what_always_runs_fits_a_minute() {
        let always = RUNBOOK.iter().take(6).map(|step| match step.budget {
            Budget::Within(time) => time.as_secs(),
            Budget::Hook => 0,
        });
        assert!(always.sum::<u64>() < 60);
        assert_eq!(step(StepId::Database).budget.words(), "10 min");
    }
}
