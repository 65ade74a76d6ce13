//! One migration to be run, one way: its parts, and from which of them a run goes on.

use crate::domain::migrations::{Alone, Direction, Migration, Phase, Phases, Script, Statement, Version};
use crate::domain::schema::{Difference, Level};
use crate::store::StoreError;
use crate::store::database::ledger::Unfinished;
use crate::store::postgres::Durability;

/// One migration to be run, one way.
pub(in crate::store::database) struct Job<'a> {
    pub(in crate::store::database) direction: Direction,
    pub(in crate::store::database) migration: &'a Migration,
    /// What is run: the up, or the down that was chosen.
    pub(in crate::store::database) script: &'a Script,
    pub(in crate::store::database) phases: Phases<'a>,
    pub(in crate::store::database) look: Looks,
    /// Its number in the run, from 1, and how many there are.
    pub(in crate::store::database) number: usize,
    pub(in crate::store::database) of: usize,
    /// What it must change of the schema, no more and no less.
    pub(in crate::store::database) expected: Option<&'a Change>,
    /// Why it is known that its down gives back the schema, as JSON.
    pub(in crate::store::database) proof: Option<&'a str>,
}

/// What a migration changes of a schema, as a rehearsal has seen it.
#[derive(Clone, Debug)]
pub struct Change {
    /// The differences.
    pub differences: Vec<Difference>,
    /// How exactly they were looked at.
    pub level: Level,
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
        let look = Looks::default();
        Ok(Self { direction, migration, script, phases, look, number: 1, of: 1, expected: None, proof: None })
    }

    /// Whether it may share its transaction with others of the run: nothing of it stands alone, and nobody looks at the schema
    /// around it.
    pub(in crate::store::database) fn is_sociable(&self) -> bool {
        self.phases.is_transactional() && self.look.before == Look::No && self.look.after == Look::No
    }

    /// Whether something of it may change a setting or the role for those behind it: anything but plain changes of schema and rows.
    pub(in crate::store::database) fn may_set(&self) -> bool {
        !self.phases.statements().all(Statement::stands_in_a_block)
    }

    /// Whether a commit of it may leave the flush to a later one.
    pub(in crate::store::database) fn durability(&self) -> Durability {
        if self.number < self.of && self.phases.is_transactional() { Durability::WithTheNext } else { Durability::Now }
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
            (0 | 1, _) => match self.phases.all().first() {
                Some(Phase::Alone(_, Alone::Undecidable)) => format!("what {} did stands", self.label()),
                Some(Phase::Alone(..)) => format!("nothing of {} stands", self.label()),
                _ => format!("{} was rolled back", self.label()),
            },
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
        if let Some(intent) = &unfinished.intent
            && let Some(begun) = &intent.checksum
            && parts.get(intent.part).is_none_or(|phase| phase.checksum().as_str() != begun)
        {
            return Err(StoreError::Conflict(format!(
                "{}: a run died while its part {} was under way, and it says something else now: put the old text back and run it \
                 again; nothing was written",
                self.script.file(),
                intent.part + 1
            )));
        }
        Ok(unfinished.done.len())
    }
}
