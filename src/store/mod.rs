//! Where state lives: the only code that does network, database or file I/O.
//!
//! A *source* holds flags: a running hub, Postgres, or the hub's `.env`. Each offers the same few primitives
//! ([`FlagStore`]); what only some can do is a trait of its own ([`FlagCatalog`], [`FlagHistory`]). No driver type and no
//! decision crosses this border: failures arrive as [`StoreError`], whose variants are what a caller must tell apart.

pub mod command;
pub mod database;
pub mod env_file;
pub mod files;
pub mod git;
pub mod hook;
mod http;
pub mod hub;
pub mod incident;
pub mod keys;
pub mod leaks;
pub mod metrics;
pub mod migrations_folder;
pub mod pg_tools;
pub mod postgres;
pub mod provider;
pub mod revision_files;
pub mod rollout;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod seed_files;
mod stop;
pub mod users;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

pub use self::stop::{Stop, Stopper};
use crate::domain::flags::{Flag, FlagKey, Member};

/// A place where flags live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A running hub, over HTTP: in the memory of its processes only.
    Hub,
    /// Postgres: persistent, with history. The hub itself does not read it.
    Db,
    /// The hub's `.env` file, read at its next start.
    Env,
}

impl Source {
    /// The word in `--via` and in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Db => "db",
            Self::Env => "env",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a store could not do what was asked, by what the operator can do about it.
///
/// Messages are finished sentences without secrets and may hold text from outside: whoever shows them strips control
/// characters.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such flag; `known` are the names that exist there.
    #[error("{source_word} has no flag `{key}`")]
    NotFound {
        /// Where it was looked for.
        source_word: Source,
        /// The name asked for.
        key: FlagKey,
        /// The names that exist.
        known: Vec<String>,
    },
    /// No migration has that version.
    #[error("there is no migration `{wanted}`")]
    NoMigration {
        /// What was asked for.
        wanted: String,
        /// The versions that exist.
        known: Vec<String>,
    },
    /// Somebody else changed it since it was read, or holds a lock; the message says what of ours stands.
    #[error("{0}")]
    Conflict(String),
    /// A process of the hub holds a state that the decision was not made on; nothing was written yet, so decide again.
    #[error("the hub holds a state that was not seen before")]
    Moved {
        /// The flag as that process holds it.
        seen: Box<Flag>,
    },
    /// Somebody else may act on this rollout now; nothing was written.
    #[error("{0}")]
    Fenced(String),
    /// The credentials are missing, rejected or expired; nothing was written.
    #[error("{0}")]
    Credentials(String),
    /// The role may not do this; nothing was written.
    #[error("{0}")]
    Denied(String),
    /// This source cannot do it at all; `hint` names one that can.
    #[error("{message}")]
    Unsupported {
        /// What cannot be done, and why.
        message: String,
        /// The source or step that can.
        hint: String,
    },
    /// The schema that llmhub needs is not there.
    #[error("{0}")]
    NoSchema(String),
    /// Not reachable or too slow, and nothing was sent that could change anything: safe to run again.
    #[error("{0}")]
    Unreachable(String),
    /// The hub's request limit is reached (429); nothing was sent that could change anything.
    #[error("{0}")]
    RateLimited(String),
    /// A write was sent and its fate is unknown.
    #[error("{0}")]
    OutcomeUnknown(String),
    /// A write did not read back as it should, and what was there before was put back and read back.
    #[error("{0}")]
    RolledBack(String),
    /// It answered something that makes no sense, to a read.
    #[error("{0}")]
    Invalid(String),
    /// The input (a file, mostly) cannot be used as it is; nothing was written.
    #[error("{0}")]
    Refused(String),
    /// The operator asked for the end; the message says what stands.
    #[error("{0}")]
    Stopped(String),
    /// A local file or folder cannot be read or written; nothing was changed.
    #[error("{0}")]
    Local(String),
}

/// What is known of the processes of a hub after a write or a look at all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every process was addressed individually and holds what was wanted.
    Proved,
    /// Enough clean reads on fresh connections, none stale; the chance of a miss is stated.
    Sampled,
    /// Some process differs, did not answer, or could not be looked at.
    Partial,
}

/// How many processes are known to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Live {
    /// Processes known to hold the wanted values: all of them for proved and sampled, else the lower bound.
    pub agree: u32,
    /// Addresses times declared workers; `None` when the workers were not declared.
    pub of: Option<u32>,
    /// How it is known.
    pub verdict: Verdict,
    /// The evidence in words: addresses, reads, chance, who differs.
    #[serde(skip)]
    pub evidence: String,
}

/// What a store can prove of a write.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The flag as it was read back, through another connection where the source has connections.
    pub after: Flag,
    /// Whether anything had to be written.
    pub changed: bool,
    /// The processes, for a hub; `None` where the question does not arise.
    pub live: Option<Live>,
    /// Whether a persistent source was read back equal; false for a hub.
    pub persisted: bool,
    /// What else the operator should know, one sentence each.
    pub notes: Vec<String>,
}

/// What a look at every process of a source found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The distinct states seen, most frequent first, at least one; a file or a database has exactly one.
    pub variants: Vec<Variant>,
    /// Addresses that did not answer, with the reason.
    pub unreachable: Vec<String>,
    /// What the answer rests on: `None` for a file or database, which have one state.
    pub live: Option<Live>,
    /// What else the operator should know.
    pub notes: Vec<String>,
}

/// One state of the flags, and how often it was seen.
#[derive(Clone, Debug)]
pub struct Variant {
    /// All flags of that state.
    pub flags: Vec<Flag>,
    /// How many reads showed it.
    pub reads: u32,
    /// The addresses at which it was seen.
    pub addresses: Vec<String>,
}

/// Who makes a change and why, for the history.
#[derive(Clone, Debug)]
pub struct Note {
    /// `user@host` of the operator.
    pub actor: String,
    /// The text of `--reason`.
    pub reason: Option<String>,
    /// The command's verb, such as `rollout`.
    pub operation: &'static str,
}

/// A write that was decided on what was read before.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The flag as it was read.
    pub seen: Flag,
    /// Other states of it that processes of a hub were seen to hold.
    pub also_seen: Vec<Flag>,
    /// The flag as it shall be.
    pub wanted: Flag,
    /// The members that the edit sets; a hub makes them equal on every process.
    pub members: Vec<Member>,
    /// What to do about a state that was not seen before.
    pub stance: Stance,
}

/// How a write to a hub treats a process that holds something unexpected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Somebody may be on afterwards who was off: stop, it may be somebody else's edit.
    Careful,
    /// Nobody is on afterwards who was off, or the operator confirmed the whole state: overwrite it and say so.
    Determined,
}

/// How far a look at all processes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// One batch of reads at each address: enough to decide on.
    Glance,
    /// As many reads as make a sample: enough to say that all agree.
    Sample,
}

/// The primitives that every source of flags offers.
#[async_trait]
pub trait FlagStore: Send + Sync {
    /// Which source this is.
    fn source(&self) -> Source;

    /// What a reader must know of this source's reads, such as "read 1 of 4 processes"; said once on stderr.
    fn scope(&self) -> Option<String>;

    /// All flags, in the source's own order; one process of a hub.
    async fn list(&self) -> Result<Vec<Flag>, StoreError>;

    /// One flag.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] with the names that exist.
    async fn get(&self, key: &FlagKey) -> Result<Flag, StoreError> {
        let flags = self.list().await?;
        pick(self.source(), flags, key)
    }

    /// The flags as the processes of the source hold them.
    async fn survey(&self, depth: Depth) -> Result<Survey, StoreError>;

    /// Keep other writers of this machine away until the value is dropped, waiting at most `patience`. A source that
    /// compares and sets has no need of it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another one writes.
    async fn lock(&self, _patience: Duration) -> Result<Box<dyn Send + Sync>, StoreError> {
        Ok(Box::new(()))
    }

    /// Wait until another look at all processes is within the source's request limit.
    async fn pace(&self) {}

    /// Make the edit if the source still holds what was seen, then read it back.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody else changed the flag; [`StoreError::OutcomeUnknown`] when the connection died
    /// after the write was sent.
    async fn save(&self, edit: &Edit, note: &Note) -> Result<Saved, StoreError>;
}

/// The flag called `key` among `flags`.
///
/// # Errors
/// [`StoreError::NotFound`] with the names that exist.
pub fn pick(source: Source, flags: Vec<Flag>, key: &FlagKey) -> Result<Flag, StoreError> {
    let mut known = Vec::with_capacity(flags.len());
    for flag in flags {
        if flag.key == *key {
            return Ok(flag);
        }
        known.push(flag.key.as_str().to_owned());
    }
    Err(StoreError::NotFound { source_word: source, key: key.clone(), known })
}

/// Flags can be created and deleted here.
#[async_trait]
pub trait FlagCatalog: FlagStore {
    /// Store a new flag at revision 1 and read it back.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken.
    async fn create(&self, flag: &Flag, note: &Note) -> Result<Flag, StoreError>;

    /// Delete the flag if it is still at the revision of `seen`; its history stays.
    async fn delete(&self, seen: &Flag, note: &Note) -> Result<(), StoreError>;
}

/// One entry of a flag's append-only history.
#[derive(Clone, Debug)]
pub struct FlagEvent {
    /// The revision this edit made.
    pub revision: i64,
    /// When, RFC 3339 UTC.
    pub at: String,
    /// Who, `user@host`.
    pub actor: String,
    /// Why, if a reason was given.
    pub reason: Option<String>,
    /// The command's verb.
    pub operation: String,
    /// The flag before; `None` for its creation.
    pub before: Option<Flag>,
    /// The flag after; `None` for its deletion.
    pub after: Option<Flag>,
}

/// Every edit is remembered here.
#[async_trait]
pub trait FlagHistory: Send + Sync {
    /// The events of one flag, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when neither the flag nor any event of it exists.
    async fn history(&self, key: &FlagKey, limit: u32) -> Result<Vec<FlagEvent>, StoreError>;
}
