//! Step 1: off in every source that survives a restart, both at once, each within its time.

use std::time::Duration;

use tokio::time::timeout;

use super::look::Sources;
use crate::app::Source;
use crate::domain::flags::{Change, FlagKey, Member};
use crate::domain::incident::Kept;
use crate::store::{Edit, FlagStore, Note, Stance, StoreError, pick};

/// A failure must not delay the running hub (rollout.md 7, step 1).
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody else's edit in between is read and decided again.
const ATTEMPTS: u32 = 5;

/// One source after the attempt.
pub(super) struct Persisted {
    pub(super) kept: Kept,
    pub(super) wrote: Wrote,
}

/// Whether something had to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    Nothing,
    Something,
}

impl Persisted {
    fn nothing(kept: Kept) -> Self {
        Self { kept, wrote: Wrote::Nothing }
    }

    /// For a journal.
    pub(super) fn words(&self, source: Source) -> Option<String> {
        let how = match (&self.kept, self.wrote) {
            (Kept::NotConfigured, _) => return None,
            (Kept::Off, Wrote::Something) => "off, read back".to_owned(),
            (Kept::Off, Wrote::Nothing) => "was off already".to_owned(),
            (Kept::Unaware, _) => "does not know the flag".to_owned(),
            (Kept::Down { why } | Kept::Unknown { why }, _) => why.clone(),
        };
        Some(format!("{source}: {how}"))
    }
}

impl Sources {
    /// Write both at once.
    pub(super) async fn persist_off(&self, key: &FlagKey, note: &Note) -> (Persisted, Persisted) {
        tokio::join!(self.persist_db(key, note), self.persist_env(key, note))
    }

    pub(super) async fn persist_db(&self, key: &FlagKey, note: &Note) -> Persisted {
        match &self.db {
            None => Persisted::nothing(Kept::NotConfigured),
            Some(Err(why)) => Persisted::nothing(Kept::Down { why: why.clone() }),
            Some(Ok(db)) => bounded(db, key, note).await,
        }
    }

    pub(super) async fn persist_env(&self, key: &FlagKey, note: &Note) -> Persisted {
        match &self.env {
            None => Persisted::nothing(Kept::NotConfigured),
            Some(env) => bounded(env, key, note).await,
        }
    }
}

async fn bounded(store: &dyn FlagStore, key: &FlagKey, note: &Note) -> Persisted {
    let mut sent = Wrote::Nothing;
    match timeout(PATIENCE, off(store, key, note, &mut sent)).await {
        Ok(Ok(wrote)) => Persisted { kept: Kept::Off, wrote },
        Ok(Err(StoreError::NotFound { .. })) => Persisted::nothing(Kept::Unaware),
        Ok(Err(StoreError::OutcomeUnknown(why))) => Persisted { kept: Kept::Unknown { why }, wrote: Wrote::Something },
        Ok(Err(error)) => Persisted::nothing(Kept::Down { why: error.to_string() }),
        Err(_) => {
            let why = format!("no answer within {} s", PATIENCE.as_secs());
            let kept = if sent == Wrote::Something { Kept::Unknown { why } } else { Kept::Down { why } };
            Persisted { kept, wrote: sent }
        }
    }
}

/// Read, and write if it is not off; the store reads it back.
async fn off(store: &dyn FlagStore, key: &FlagKey, note: &Note, sent: &mut Wrote) -> Result<Wrote, StoreError> {
    let mut attempts = 1;
    loop {
        let seen = pick(store.source(), store.list().await?, key)?;
        if seen.enabled == Some(false) {
            return Ok(Wrote::Nothing);
        }
        let wanted = Change::Disable.apply(&seen);
        let members = vec![Member::Enabled];
        let edit = Edit { seen, also_seen: Vec::new(), wanted, members, stance: Stance::Determined };
        *sent = Wrote::Something;
        match store.save(&edit, note).await {
            Ok(saved) => return Ok(if saved.changed { Wrote::Something } else { Wrote::Nothing }),
            Err(StoreError::Conflict(_)) if attempts < ATTEMPTS => attempts += 1,
            Err(error) => return Err(error),
        }
    }
}
