//! One migration to be run, one way: its parts, and from which of them a run goes on.

use crate::domain::migrations::{Direction, Migration, Phases, Script, Version};
use crate::domain::schema::{Fingerprint, Level};
use crate::store::StoreError;
use crate::store::database::ledger::Unfinished;

/// One migration to be run, one way.
pub(in crate::store::database) struct Job<'a> {
    pub(in crate::store::database) direction: Direction,
    pub(in crate::store::database) migration: &'a Migration,
    /// What is run: the up, or the down that was chosen.
    pub(in crate::store::database) script: &'a Script,
    pub(in crate::store::database) phases: Phases<'a>,
    pub(in crate::store::database) look: Looks,
    pub(in crate::store::database) more: More,
    /// The schema that must be there at its end, and how exactly.
    pub(in crate::store::database) expected: Option<(&'a Fingerprint, Level)>,
    /// Why it is known that its down gives back the schema, as JSON.
    pub(in crate::store::database) proof: Option<&'a str>,
}

/// Whether the schema is looked at on either side of a migration.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store::database) struct Looks {
    pub(in crate::store::database) before: Look,
    pub(in crate::store::database) after: Look,
}

/// Whether the schema is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store::database) enum Look {
    #[default]
    No,
    Yes,
}

/// Whether the run goes on with another migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store::database) enum More {
    #[default]
    None,
    Follow,
}

impl<'a> Job<'a> {
    /// Forward.
    pub(in crate::store::database) fn up(migration: &'a Migration) -> Result<Self, StoreError> {
        Self::new(Direction::Up, migration, &migration.up)
    }

    /// Either way, with this script.
    pub(in crate::store::database) fn new(
        direction: Direction,
        migration: &'a Migration,
        script: &'a Script,
    ) -> Result<Self, StoreError> {
        let phases = script.phases();
        let phases = phases.map_err(|error| StoreError::Refused(format!("{error}; nothing was written")))?;
        let (look, more) = (Looks::default(), More::None);
        Ok(Self { direction, migration, script, phases, look, more, expected: None, proof: None })
    }

    pub(in crate::store::database) fn label(&self) -> String {
        format!("{}_{}", self.migration.version, self.migration.name)
    }

    pub(in crate::store::database) fn subject(&self) -> (&Version, &str, Direction) {
        (&self.migration.version, &self.migration.name, self.direction)
    }

    /// What stands when `done` parts do.
    pub(in crate::store::database) fn state(&self, done: usize) -> String {
        match (self.phases.all().len(), done) {
            (0 | 1, _) => format!("{} was rolled back", self.label()),
            (parts, 0) => format!("nothing of the {parts} parts of {} stands", self.label()),
            (parts, done) => format!("{done} of the {parts} parts of {} stand; run it again to go on", self.label()),
        }
    }

    /// The first part that is still to be run. Those before it must be what was run.
    pub(in crate::store::database) fn resume_at(&self, unfinished: &Unfinished) -> Result<usize, StoreError> {
        if unfinished.direction != self.direction {
            return Ok(0);
        }
        let parts = self.phases.all();
        for (number, checksum) in unfinished.done.iter().enumerate() {
            if parts.get(number).is_none_or(|phase| phase.checksum().as_str() != checksum) {
                return Err(StoreError::Conflict(format!(
                    "{}: part {} was run by a run that did not end, and says something else now: put the old text back and run it \
                 again; nothing was written",
                    self.script.file(),
                    number + 1
                )));
            }
        }
        Ok(unfinished.done.len())
    }
}
