//! COMMIT, and the certainty that it happened.
//!
//! An answered COMMIT may have been a ROLLBACK, and an unanswered one may have happened. Either way another connection asks
//! the server what became of the transaction, and that connection is handed on for reading back.

use std::time::Duration;

use tokio::time::sleep;

use crate::store::StoreError;

use super::failure::Failure;
use super::pace::{Pace, Transaction};
use super::session::Session;
use super::target::Target;

/// How often a transaction that is "in progress" is asked about, 100 ms apart: the server needs a moment to notice that its
/// client is gone.
const LOOKS: u32 = 50;

/// Commit `session` and return another connection, inside a reading transaction, once the server says "committed".
///
/// The writing connection is closed before the reading one is opened. `what` names the work in messages, such as
/// "the edit of `f`".
///
/// # Errors
/// The server's own refusal of the COMMIT; [`StoreError::Unreachable`] when it is known that nothing stands;
/// [`StoreError::OutcomeUnknown`] when nobody can say.
pub(in crate::store) async fn settle(
    mut session: Session,
    target: &Target,
    transaction: &Transaction,
    what: &str,
) -> Result<Session, StoreError> {
    let place = session.place().clone();
    let lost = match session.commit().await {
        Ok(()) => {
            session.close().await;
            None
        }
        Err(refused @ Failure::Server { .. }) => return Err(refused.into_store_error(&place)),
        Err(Failure::Gone { reason, .. } | Failure::Nonsense(reason)) => {
            drop(session);
            Some(reason)
        }
    };
    let story = match &lost {
        Some(reason) => format!("the connection to {place} was lost while {what} was being committed ({reason})"),
        None => format!("{place} answered the COMMIT of {what}"),
    };
    committed(target, transaction, &story).await
}

/// Another connection, inside a reading transaction, once the server says "committed".
async fn committed(target: &Target, transaction: &Transaction, story: &str) -> Result<Session, StoreError> {
    let unknown = |why: &str| {
        StoreError::OutcomeUnknown(format!("{story}, but {why}: look whether it stands before running it again"))
    };
    let mut reader = open_reader(target).await.map_err(|error| unknown(&error.to_string()))?;
    for _ in 0..LOOKS {
        match reader.fate(transaction).await.map_err(|error| unknown(&error.to_string()))?.as_deref() {
            Some("committed") => return Ok(reader),
            Some("aborted") => {
                return Err(StoreError::Unreachable(format!(
                    "{story}, and the server rolled it back: nothing was written, run it again"
                )));
            }
            Some(_) => sleep(Duration::from_millis(100)).await,
            None => return Err(unknown("the server no longer knows that transaction")),
        }
    }
    Err(unknown("the server still calls it unfinished"))
}

/// What a session is good for after [`close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum After {
    /// For the next transaction.
    Alive,
    /// For nothing: the commit stands, and its connection is lost.
    Lost,
}

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Durability {
    /// It does.
    Now,
    /// It does not; a later commit of the same run waits for both. A server that dies in between forgets it whole.
    WithTheNext,
}

/// Take back what foreign SQL has set, run `records` (plain SQL of ours) and commit, all in one message; go on with the same
/// session. Another connection is asked only where this one was lost.
///
/// # Errors
/// As [`settle`]; inside, the server's refusal, with everything rolled back.
pub(in crate::store) async fn close(
    session: &mut Session,
    target: &Target,
    transaction: &Transaction,
    (records, durability): (&str, Durability),
    what: &str,
) -> Result<Result<After, Failure>, StoreError> {
    let place = session.place().clone();
    let reason = match session.close_transaction(transaction, records, durability).await {
        Ok(Some(fate)) if fate == "committed" => return Ok(Ok(After::Alive)),
        Ok(fate) => {
            let fate = fate.unwrap_or_else(|| "forgotten".to_owned());
            return Err(StoreError::OutcomeUnknown(format!(
                "{place} answered the COMMIT of {what}, but calls it {fate}: look whether it stands before running it again"
            )));
        }
        Err(refused @ Failure::Server { .. }) => return Ok(Err(refused)),
        Err(Failure::Gone { reason, .. } | Failure::Nonsense(reason)) => reason,
    };
    let story = format!("the connection to {place} was lost while {what} was being committed ({reason})");
    let reader = committed(target, transaction, &story).await?;
    reader.abandon().await;
    Ok(Ok(After::Lost))
}

async fn open_reader(target: &Target) -> Result<Session, StoreError> {
    let mut reader = Session::open(target).await?;
    reader.begin_read(Pace::Quick).await?;
    Ok(reader)
}
