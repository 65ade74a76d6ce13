//! What can go wrong, its stable code, the hint that goes with it, and the exit status. Nothing else.
//!
//! One variant per thing an operator can fix. "No" is not an error but an answer (see [`crate::app::Answer`]).

mod codes;

pub use self::codes::CODES;
use crate::config::database_url::DatabaseUrlError;
use crate::config::{ConfigError, Fault};
use crate::domain::flags::FlagKey;
use crate::domain::flags::ladder::Refusal as LadderRefusal;
use crate::store::{Source, StoreError};
use crate::ui::Refusal as ConsentRefusal;

/// Why a command ended without its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument is malformed in a way that the argument parser cannot see.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to type instead.
        hint: String,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database URL cannot be used.
    #[error("the database URL from {origin} cannot be used: {error}")]
    DatabaseUrl {
        /// Where the URL came from.
        origin: String,
        /// What is wrong with it.
        error: DatabaseUrlError,
    },
    /// No source is configured at all.
    #[error("no source is configured: llmhub does not know where the flags are")]
    NoSource,
    /// No folder of migrations is configured.
    #[error("no folder of migrations is configured: the built-in ones cannot be added to")]
    NoMigrationsFolder,
    /// `--via` names a source that is not configured.
    #[error("{wanted} was asked for, but no {} is configured", needs(*wanted))]
    SourceNotConfigured {
        /// The source.
        wanted: Source,
    },
    /// Several sources are configured and none was chosen for a write.
    #[error("several sources are configured ({}): a write does not guess", words(.0))]
    AmbiguousWrite(Vec<Source>),
    /// A migration cannot be rolled back at all.
    #[error("{migration} cannot be rolled back: {why}; nothing was written")]
    NoDown {
        /// The migration.
        migration: String,
        /// Why not.
        why: String,
    },
    /// The folder and the ledger have different downs.
    #[error("the down of {migration} is not the one it was applied with; nothing was written\n{diff}")]
    DownDiffers {
        /// The migration.
        migration: String,
        /// The lines that differ.
        diff: String,
    },
    /// A file that was written before says something else now.
    #[error("{file} is there and says something else; it was left as it is\n{diff}")]
    Differs {
        /// The file.
        file: String,
        /// The lines that differ.
        diff: String,
        /// How to go on.
        hint: String,
    },
    /// Nobody knows whether a rollback gives the schema back.
    #[error("it is not proven that this rollback gives back the schema: {0}; nothing was written")]
    Unproven(String),
    /// The command needs a source of another kind.
    #[error("{message}")]
    Unsupported {
        /// What cannot be done here, and why.
        message: String,
        /// The source that can.
        hint: String,
    },
    /// The flag does not exist.
    #[error("{source_word} has no flag `{key}`{}", did_you_mean(.nearest))]
    FlagNotFound {
        /// Where it was looked for.
        source_word: Source,
        /// The name that was asked for.
        key: FlagKey,
        /// The names that come close, best first.
        nearest: Vec<String>,
    },
    /// Something else that was named does not exist.
    #[error("{message}")]
    NotFound {
        /// What was not found.
        message: String,
        /// Where to look.
        hint: String,
    },
    /// The ladder guard refused the step.
    #[error("{refusal}")]
    Ladder {
        /// Why.
        refusal: LadderRefusal,
        /// The command that would be allowed.
        hint: String,
    },
    /// A guard other than the ladder refused; nothing was written.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// An option needs `--reason`, or the profile does.
    #[error("{0} needs a reason")]
    ReasonNeeded(String),
    /// The operator, or nobody, did not confirm.
    #[error(transparent)]
    Consent(#[from] ConsentRefusal),
    /// Processes of the hub disagree in what this edit does not touch.
    #[error("{message}")]
    Disagree {
        /// Who holds what.
        message: String,
        /// How to bring them together.
        hint: String,
    },
    /// A source failed.
    #[error("{0}")]
    Store(StoreError),
    /// A file that was named cannot be used.
    #[error("{message}")]
    Input {
        /// The file, the line, and what is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// `--timeout` ran out.
    #[error("the command took longer than --timeout; {0}")]
    TimedOut(Stage),
    /// SIGINT.
    #[error("interrupted; {0}")]
    Interrupted(Stage),
    /// SIGTERM or SIGHUP.
    #[error("terminated; {0}")]
    Terminated(Stage),
    /// The result could not be written to stdout.
    #[error("the result cannot be written to stdout: {0}; {1}")]
    Output(String, Stage),
    /// A defect of llmhub.
    #[error("llmhub met a state that it thought impossible: {0}")]
    Bug(String),
}

/// How far a command had come when it ended early.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Only reads so far.
    #[default]
    NothingWritten,
    /// A write to this source had begun; those before it are done.
    Writing(String),
    /// All writes are done and read back.
    Written,
    /// It ended where it could, and this is what stands.
    Stopped(String),
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NothingWritten => f.write_str("nothing was written"),
            Self::Writing(what) => write!(f, "the write to {what} had begun and its outcome is unknown"),
            Self::Written => f.write_str("the change itself was made and read back"),
            Self::Stopped(state) => f.write_str(state),
        }
    }
}

fn needs(source: Source) -> &'static str {
    match source {
        Source::Hub => "hub address (--hub)",
        Source::Db => "database (--database-url)",
        Source::Env => "env file (--env-file)",
    }
}

fn words(sources: &[Source]) -> String {
    sources.iter().map(|source| source.word()).collect::<Vec<_>>().join(", ")
}

fn did_you_mean(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    let names: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
    format!("; did you mean {}?", names.join(" or "))
}

/// The names that come closest to `wanted`, at most three, best first.
pub fn nearest(wanted: &str, known: &[String]) -> Vec<String> {
    let mut scored: Vec<(f64, &String)> = known
        .iter()
        .map(|name| (strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|one, other| other.0.total_cmp(&one.0));
    scored.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { source_word, key, known } => {
                let nearest = nearest(key.as_str(), &known);
                Self::FlagNotFound { source_word, key, nearest }
            }
            StoreError::Unsupported { message, hint } => Self::Unsupported { message, hint },
            StoreError::NoMigration { wanted, known } => Self::NotFound {
                message: format!("there is no migration `{wanted}`{}", did_you_mean(&nearest(&wanted, &known))),
                hint: "llmhub db status".to_owned(),
            },
            other => Self::Store(other),
        }
    }
}

impl Error {
    /// The stable word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::Config(error) if error.fault() == Fault::Usage => "usage",
            Self::Config(error) => error.code(),
            Self::DatabaseUrl { .. } => "database_url",
            Self::NoSource => "no_source",
            Self::NoMigrationsFolder => "no_migrations_folder",
            Self::SourceNotConfigured { .. } => "source_not_configured",
            Self::AmbiguousWrite(_) => "ambiguous_write",
            Self::NoDown { .. } => "no_down",
            Self::DownDiffers { .. } => "down_differs",
            Self::Differs { .. } => "conflict",
            Self::Unproven(_) => "unproven",
            Self::Unsupported { .. } => "unsupported",
            Self::FlagNotFound { .. } => "flag_not_found",
            Self::NotFound { .. } => "not_found",
            Self::Ladder { refusal: LadderRefusal::Poisoned, .. } => "conflict",
            Self::Ladder { refusal: LadderRefusal::Disagree(_), .. } | Self::Disagree { .. } => "processes_disagree",
            Self::Ladder { refusal: LadderRefusal::Skips { .. } | LadderRefusal::OffLadder { .. }, .. } => "ladder",
            Self::Refused { .. } => "refused",
            Self::ReasonNeeded(_) => "reason_needed",
            Self::Consent(ConsentRefusal::Protected(_)) => "protected",
            Self::Consent(
                ConsentRefusal::Declined(_) | ConsentRefusal::NobodyToAsk(_) | ConsentRefusal::NobodyToType(_),
            ) => "not_confirmed",
            Self::Store(error) => store_code(error),
            Self::Input { .. } => "input",
            Self::TimedOut(Stage::NothingWritten | Stage::Written) => "timed_out",
            // What stands when it ended in between is for the message to say: 6 would say that nothing does.
            Self::TimedOut(Stage::Writing(_) | Stage::Stopped(_)) => "outcome_unknown",
            Self::Interrupted(_) => "interrupted",
            Self::Terminated(_) => "terminated",
            Self::Output(..) => "output",
            Self::Bug(_) => "bug",
        }
    }

    /// The exit status, from the table of codes.
    pub fn status(&self) -> u8 {
        // A test holds that every code is in the table; 70 would be the honest answer to a hole in it.
        CODES.iter().find(|code| code.word == self.code()).map_or(70, |code| code.status)
    }

    /// What to do now: a command to run, or a line to write.
    pub fn hint(&self) -> String {
        match self {
            Self::Usage { hint, .. }
            | Self::Unsupported { hint, .. }
            | Self::NotFound { hint, .. }
            | Self::Ladder { hint, .. }
            | Self::Refused { hint, .. }
            | Self::Disagree { hint, .. }
            | Self::Differs { hint, .. }
            | Self::Input { hint, .. } => hint.clone(),
            Self::Config(error) => error.hint(),
            Self::DatabaseUrl { .. } => "postgres://USER@HOST:5432/DATABASE?sslmode=verify-full".to_owned(),
            Self::NoSource => {
                "give --hub URL, --database-url URL or --env-file PATH, or write a profile: llmhub profile init"
                    .to_owned()
            }
            Self::NoMigrationsFolder => "give --dir PATH, or write `migrations = \"PATH\"` into the profile".to_owned(),
            Self::SourceNotConfigured { wanted } => match wanted {
                Source::Hub => "--hub http://localhost:8084".to_owned(),
                Source::Db => "--database-url postgres://USER@HOST/DATABASE".to_owned(),
                Source::Env => "--env-file PATH".to_owned(),
            },
            Self::AmbiguousWrite(sources) => {
                let list = sources.iter().map(|source| source.word()).collect::<Vec<_>>().join(",");
                format!("--via {list} (in the order in which to write), or `write = [...]` in the profile")
            }
            Self::FlagNotFound { .. } => "llmhub flags list".to_owned(),
            Self::NoDown { .. } => "write its down and give --down file, or undo it with a new migration".to_owned(),
            Self::DownDiffers { .. } => {
                "--down ledger for what was there then, --down file for what is there now".to_owned()
            }
            Self::Unproven(_) => "--unproven with --reason, if you know better".to_owned(),
            Self::ReasonNeeded(_) => "--reason 'why this is right'".to_owned(),
            Self::Consent(ConsentRefusal::Declined(_)) => "nothing was written".to_owned(),
            Self::Consent(ConsentRefusal::NobodyToAsk(option) | ConsentRefusal::NobodyToType(option)) => {
                format!("run it at a terminal, or add {option}")
            }
            Self::Consent(ConsentRefusal::Protected(name)) => format!("--confirm={name}"),
            Self::Store(error) => store_hint(error),
            Self::TimedOut(Stage::NothingWritten) => "run it again, with a larger --timeout".to_owned(),
            Self::TimedOut(_) | Self::Interrupted(Stage::Writing(_)) | Self::Terminated(Stage::Writing(_)) => {
                "look before you run it again: llmhub flags diff, llmhub db status".to_owned()
            }
            Self::Interrupted(_) | Self::Terminated(_) => "it is safe to run it again".to_owned(),
            Self::Output(..) => "free the disk that stdout goes to, then look: llmhub flags list".to_owned(),
            Self::Bug(_) => "please report it with the command and its output".to_owned(),
        }
    }
}

fn store_code(error: &StoreError) -> &'static str {
    match error {
        StoreError::NotFound { .. } => "flag_not_found",
        StoreError::Conflict(_) | StoreError::Moved { .. } => "conflict",
        StoreError::Fenced(_) => "fenced",
        StoreError::Credentials(_) => "credentials",
        StoreError::Denied(_) => "denied",
        StoreError::Unsupported { .. } => "unsupported",
        StoreError::NoSchema(_) => "schema_missing",
        StoreError::Unreachable(_) => "unreachable",
        StoreError::RateLimited(_) => "rate_limited",
        StoreError::OutcomeUnknown(_) => "outcome_unknown",
        StoreError::RolledBack(_) => "rolled_back",
        StoreError::Invalid(_) => "invalid_answer",
        StoreError::Refused(_) => "refused",
        StoreError::Local(_) => "local_file",
        StoreError::NoMigration { .. } => "not_found",
        StoreError::Stopped(_) => "interrupted",
    }
}

fn store_hint(error: &StoreError) -> String {
    match error {
        StoreError::NotFound { .. } => "llmhub flags list",
        StoreError::Moved { .. } => "look, then run it again: llmhub flags diff",
        StoreError::Conflict(_) => "look what is there, then run it again",
        StoreError::Fenced(_) => "look who acts on it now: llmhub rollout status NAME",
        StoreError::Credentials(_) => "check what it names, login, file or master key: llmhub profile show",
        StoreError::Denied(_) => "use a role that may do this: llmhub profile show",
        StoreError::Unsupported { hint, .. } => hint.as_str(),
        StoreError::NoSchema(_) => "llmhub db apply",
        StoreError::Unreachable(_) => "nothing was written, it is safe to run it again: llmhub doctor",
        StoreError::RateLimited(_) => "wait some minutes, then run it again",
        StoreError::OutcomeUnknown(_) => "look before you run it again: llmhub flags diff, llmhub db status",
        StoreError::RolledBack(_) => {
            "what was there before is there again; look before you run it again: llmhub keys list"
        }
        StoreError::Invalid(_) => "check that the address is a hub: llmhub doctor",
        StoreError::Refused(_) => "nothing was written; correct what the message names",
        StoreError::Local(_) => "check the path and its rights",
        StoreError::NoMigration { .. } => "llmhub db status",
        StoreError::Stopped(_) => "it is safe to run it again",
    }
    .to_owned()
}
