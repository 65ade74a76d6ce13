//! What a transaction is for, how long each of its waits may be, and the numbers that the server knows it by.

use std::time::Duration;

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Pace {
    /// A look or a small edit: 15 s for a statement.
    Quick,
    /// A migration or a walk over a whole table: 10 minutes for a statement.
    Long,
    /// Nothing but a lock that is held while another connection works.
    Holding,
    /// Somebody else's statements, watched by whoever sends them.
    Work {
        /// How long a statement waits for a lock.
        lock: Duration,
        /// How long a statement may take; as long as it takes where there is no limit.
        statement: Option<Duration>,
    },
    /// One view of the whole database, kept while another program reads in it: 10 minutes for a statement.
    Snapshot,
}

impl Pace {
    pub(super) fn statement_limit(self) -> Option<Duration> {
        match self {
            Self::Quick | Self::Holding => Some(Duration::from_secs(15)),
            Self::Long | Self::Snapshot => Some(Duration::from_secs(600)),
            Self::Work { statement, .. } => statement,
        }
    }

    /// The server's limit comes first, so that its answer says what happened; ours is for a server that says nothing.
    pub(super) fn answer_limit(self) -> Option<Duration> {
        self.statement_limit().map(|limit| limit + Duration::from_secs(4))
    }

    pub(super) fn lock_limit(self) -> Duration {
        match self {
            Self::Quick | Self::Long | Self::Holding | Self::Snapshot => Duration::from_secs(5),
            Self::Work { lock, .. } => lock,
        }
    }

    /// Milliseconds that the server lets the transaction idle; a holder idles by design.
    pub(super) fn idle_limit(self) -> u32 {
        match self {
            Self::Quick | Self::Long | Self::Work { .. } => 60_000,
            Self::Holding | Self::Snapshot => 0,
        }
    }

    /// A snapshot can be shared only from a transaction that keeps its own.
    pub(super) fn isolation(self) -> &'static str {
        match self {
            Self::Quick | Self::Long | Self::Work { .. } | Self::Holding => "READ COMMITTED",
            Self::Snapshot => "REPEATABLE READ",
        }
    }
}

/// A process of the server, by the number that the server knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Backend(pub(in crate::store) i32);

/// A transaction of a run.
#[derive(Clone, Debug)]
pub(in crate::store) struct Work {
    /// Its number.
    pub(in crate::store) transaction: Transaction,
    /// The server's process.
    pub(in crate::store) backend: Backend,
    /// Who has the mark.
    pub(in crate::store) mark: Mark,
}

/// Who has the lock that marks a working run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Mark {
    /// This transaction.
    Ours,
    /// Another session.
    SomebodyElses,
}

/// The id of a transaction that writes, which outlives its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Transaction(pub(super) String);

impl Transaction {
    /// The number, as `xid8` prints it.
    pub(in crate::store) fn as_str(&self) -> &str {
        &self.0
    }
}
