//! Verbs: arguments on top, `run` below. No SQL, no URL, no printing.
//!
//! The command tree, the options that every command takes, and the one dispatch. Whether a command needs a store is whether
//! it calls for one.

mod assess;
pub mod complete;
mod db;
mod doctor;
mod flags;
mod help;
mod keys;
mod manual;
mod profile;
mod rollback;
mod rollout;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use secrecy::SecretString;

use crate::app::config::{Overrides, Undecided, Workers};
use crate::app::{Answer, App, Configuration, Database, Options, Source};
use crate::error::Error;
use crate::ui::{ColorChoice, Consent, Format, Volume};

/// The command line of an LLM hub's operators: flags, migrations, and the way back
#[derive(Debug, Parser)]
#[command(
    name = "llmhub",
    version,
    disable_help_subcommand = true,
    infer_subcommands = false,
    after_help = "Examples:\n  llmhub flags list --hub http://localhost:8084\n  llmhub flags rollout unified_llm_hub 25\n  \
                  llmhub flags disable unified_llm_hub --via env,db,hub\n\nExit codes: llmhub help exit-codes"
)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The profile to use [env: LLMHUB_PROFILE]
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Where")]
    profile: Option<String>,
    /// The configuration file instead of ./llmhub.toml [env: LLMHUB_CONFIG]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Where")]
    config: Option<PathBuf>,
    /// A hub's address; repeat for replicas [env: LLMHUB_HUB_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Where")]
    hub: Vec<String>,
    /// Processes behind each hub address; without it nothing is ever proved
    #[arg(long, global = true, value_name = "N", help_heading = "Where")]
    workers: Option<Workers>,
    /// The database [env: LLMHUB_DATABASE_URL, then DATABASE_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Where", value_parser = secret)]
    database_url: Option<SecretString>,
    /// The hub's .env file [env: LLMHUB_ENV_FILE]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Where")]
    env_file: Option<PathBuf>,
    /// An embedded database of this machine's own, for trying things out
    #[arg(long, global = true, help_heading = "Where", conflicts_with = "database_url")]
    sandbox: bool,
    /// Which sources to use, in this order
    #[arg(long, global = true, value_enum, value_delimiter = ',', value_name = "hub|db|env", help_heading = "Where")]
    pub via: Vec<Source>,
    /// Certificates to trust beside the system's (PEM)
    #[arg(long, global = true, value_name = "PATH", help_heading = "Where")]
    ca_file: Option<PathBuf>,

    /// The form of the result
    #[arg(short, long, global = true, value_enum, default_value_t, help_heading = "Result")]
    output: Format,
    /// The same as -o json
    #[arg(long, global = true, help_heading = "Result", conflicts_with = "output")]
    json: bool,
    /// Errors only on stderr
    #[arg(short, long, global = true, help_heading = "Result", conflicts_with = "verbose")]
    quiet: bool,
    /// Say more; twice for a trace
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Result")]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Result")]
    color: ColorChoice,

    /// Show what would be done, and write nothing
    #[arg(long, global = true, help_heading = "Writing")]
    pub dry_run: bool,
    /// Answer yes to questions (a protected profile needs --confirm)
    #[arg(short, long, global = true, help_heading = "Writing")]
    yes: bool,
    /// Confirm a change on the protected profile of this name
    #[arg(long, global = true, value_name = "NAME", help_heading = "Writing")]
    confirm: Option<String>,
    /// Why, for the history
    #[arg(short = 'm', long, global = true, value_name = "TEXT", help_heading = "Writing", value_parser = reason)]
    pub reason: Option<String>,
    /// Give up after this time, such as 30s or 5m
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, help_heading = "Writing")]
    pub timeout: Option<Duration>,
    /// Never ask
    #[arg(long, global = true, help_heading = "Writing")]
    no_input: bool,
}

/// A word as a POSIX shell reads it back.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:@/+%=".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A time span as an operator writes it: `30s`, `5m`, `1h 30m`.
///
/// # Errors
/// A sentence with an example.
pub fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| "give a time such as 30s, 5m or 1h30m".to_owned())?;
    match Duration::try_from(span) {
        Ok(span) if !span.is_zero() => Ok(span),
        _ => Err("the time must be longer than nothing".to_owned()),
    }
}

pub(super) fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a reason cannot be empty".to_owned()),
        text if text.len() > 1000 => Err("a reason has at most 1000 bytes".to_owned()),
        text => Ok(text.to_owned()),
    }
}

impl Globals {
    /// What the command line says about the configuration.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            profile: self.profile.clone(),
            config: self.config.clone(),
            hubs: self.hub.clone(),
            workers: self.workers,
            database_url: self.database_url.clone(),
            env_file: self.env_file.clone(),
            session: None,
            undecided: if self.sandbox { Undecided::WithoutProfile } else { Undecided::Refuse },
        }
    }

    /// The options that stand on a line that is still being typed, as far as they decide where flags are.
    pub fn from_words(words: &[String]) -> Option<Self> {
        const WHERE: [&str; 9] =
            ["-p", "--profile", "--config", "--hub", "--workers", "--database-url", "--env-file", "--via", "--ca-file"];
        let mut line = vec!["llmhub".to_owned()];
        for (word, next) in words.iter().zip(words.iter().skip(1)) {
            if WHERE.contains(&word.as_str()) {
                line.extend([word.clone(), next.clone()]);
            } else if WHERE.iter().any(|option| word.starts_with(&format!("{option}="))) {
                line.push(word.clone());
            }
        }
        Cli::try_parse_from(line).ok().map(|cli| cli.globals)
    }

    /// The options that say where, as they were typed, for a command that is printed: it must run as it stands. A database URL
    /// may hold a password, so it is named by its variable.
    pub fn where_words(&self) -> String {
        let mut words = String::new();
        let mut add = |option: &str, value: &str| words.push_str(&format!(" {option} {}", quote(value)));
        if let Some(profile) = &self.profile {
            add("-p", profile);
        }
        for (option, path) in [("--config", &self.config), ("--env-file", &self.env_file), ("--ca-file", &self.ca_file)]
        {
            if let Some(path) = path {
                add(option, &path.display().to_string());
            }
        }
        self.hub.iter().for_each(|hub| add("--hub", hub));
        if let Some(workers) = &self.workers {
            add("--workers", &workers.count().to_string());
        }
        if self.database_url.is_some() {
            words.push_str(" --database-url \"$LLMHUB_DATABASE_URL\"");
        }
        if self.sandbox {
            words.push_str(" --sandbox");
        }
        words
    }

    /// The form of the result.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    /// How the conversation is held.
    pub fn settings(&self, color_env: crate::ui::ColorEnv) -> crate::ui::Settings {
        let volume = match (self.quiet, self.verbose) {
            (true, _) => Volume::Quiet,
            (false, 0) => Volume::Normal,
            (false, _) => Volume::Verbose,
        };
        let consent = Consent { yes: self.yes, confirmed: self.confirm.clone(), no_input: self.no_input };
        crate::ui::Settings { format: self.format(), color: self.color, volume: Some(volume), color_env, consent }
    }

    /// What the command line says about sources.
    pub fn options(&self) -> Options {
        Options {
            overrides: self.overrides(),
            database: if self.sandbox { Database::Sandbox } else { Database::Configured },
            ca_file: self.ca_file.clone(),
            timeout: self.timeout,
        }
    }
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(subcommand)]
    Flags(flags::Flags),
    #[command(subcommand)]
    Db(db::Db),
    #[command(subcommand)]
    Keys(keys::Keys),
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    Assess(assess::Assess),
    Rollback(rollback::Rollback),
    Doctor(doctor::Doctor),
    #[command(subcommand)]
    Profile(profile::Profile),
    Completions(complete::Completions),
    Man(manual::Man),
    Help(help::Help),
}

impl Command {
    /// Whether the command reads the configuration; a broken file must not keep help from being read.
    pub fn configuration(&self) -> Configuration {
        match self {
            // `profile` reads the layers by itself: it is there to repair them.
            Self::Completions(_) | Self::Man(_) | Self::Help(_) | Self::Profile(_) => Configuration::Ignored,
            Self::Flags(_)
            | Self::Db(_)
            | Self::Keys(_)
            | Self::Rollout(_)
            | Self::Assess(_)
            | Self::Rollback(_)
            | Self::Doctor(_) => Configuration::Needed,
        }
    }

    /// The one dispatch.
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::Flags(command) => command.run(app, globals).await,
            Self::Db(command) => command.run(app, globals).await,
            Self::Keys(command) => command.run(app, globals).await,
            Self::Rollout(command) => command.run(app, globals).await,
            Self::Assess(command) => command.run(app, globals).await,
            Self::Rollback(command) => command.run(app, globals).await,
            Self::Doctor(command) => command.run(app, globals).await,
            Self::Profile(command) => command.run(app, globals).await,
            Self::Completions(command) => command.run(app),
            Self::Man(command) => command.run(app),
            Self::Help(command) => command.run(app),
        }
    }
}

/// What `llmhub` alone prints.
pub const WELCOME: &str = "\
llmhub: the command line of an LLM hub's operators.

  llmhub flags list                          what is on, and for how many
  llmhub flags rollout unified_llm_hub 25    one rung up, proven on every process
  llmhub flags disable unified_llm_hub       off for everybody, at once
  llmhub flags diff --between hub,db,env     who says otherwise
  llmhub doctor                              what is configured, reachable, allowed

Next: llmhub --help · llmhub flags --help · llmhub help exit-codes
";
