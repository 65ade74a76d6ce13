//! How a run begins: its worker, the end of what a dead run left at work, and a ledger once it is sure that something is written.

use super::Engine;
use crate::store::StoreError;
use crate::store::database::ledger::{Existence, Ledger};
use crate::store::database::lock::{Purpose, wait_for};
use crate::store::database::record;
use crate::store::database::run::{Run, RunId};
use crate::store::postgres::{Pace, Session, Target};

impl Engine<'_> {
    /// A worker that nobody else is at work beside. A transaction that could write shows early whether this server takes writes.
    pub(super) async fn get_ready(target: &Target, run: &Run<'_>, id: &RunId) -> Result<Session, StoreError> {
        let mut worker = Self::open_worker(target, id).await?;
        wait_for(&mut worker, Purpose::Worker, run, async |worker| worker.begin_write(Pace::Quick).await).await?;
        worker.roll_back().await.map_err(|failure| failure.into_store_error(worker.place()))?;
        Ok(worker)
    }

    pub(super) async fn open_worker(target: &Target, id: &RunId) -> Result<Session, StoreError> {
        Session::open_as(target, &format!("llmhub-db worker {}", id.as_str())).await
    }

    /// Create the ledger where there is none, or bring it to the current format. `seen` is what was read of it under the lock.
    pub(in crate::store::database) async fn create_ledger(&mut self, seen: &Ledger) -> Result<(), StoreError> {
        if seen.existence == Existence::Current {
            return Ok(());
        }
        let transaction = self.worker.begin_write(Pace::Quick).await?;
        record::ensure(&mut self.worker).await?;
        self.close_record(&transaction, "SELECT 1", "the ledger").await
    }
}
