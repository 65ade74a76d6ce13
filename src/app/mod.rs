//! What a command works with: the profile, the conversation, the clock, and the stores, opened when a command calls for one.
//!
//! Also [`Answer`], the way a command ends when it is not an error.

mod adopt;
mod answer;
mod assess;
mod backup;
mod cohorts;
mod drift;
mod emergency;
mod foreign_ledger;
mod kept_proof;
mod keys;
mod lint;
mod metric_sources;
mod migrate;
mod migrations;
mod names;
mod plan_file;
mod progress;
mod restart;
mod rollback;
mod rollout;
mod rotate;
mod sandbox;
mod seeds;
mod signals;
mod sources;
mod test_database;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub use self::adopt::Trial;
pub use self::answer::{Answer, EXIT_CODES};
pub use self::assess::AssessWish;
pub use self::backup::{BackupWish, RestoreWish};
pub use self::cohorts::Preview;
pub use self::drift::Drifted;
pub use self::emergency::{Emergency, EmergencyWish, Recreate, Resume, WithDatabase};
pub use self::foreign_ledger::{LedgerWish, LiveSchema};
pub use self::keys::{
    Effective, Endpoint, KeyRing, KeyStore, KeyTest, Known, Material, NewKey, RowFault, StoredKey, Switch, WayIn,
    is_in_clear, provider_address,
};
pub use self::migrate::Tuning;
pub use self::rollback::{Proof, Prospect, RollbackWish};
pub use self::rollout::{
    Drive, GateView, Happening, Known as Processes, Left, Mode, Prospect as RolloutProspect, Spectator, Standing,
    Steered, Take,
};
pub use self::rotate::{HubWord, NewColumns, PlannedColumn, Rotated, RotationPlan, RotationState, RotationWish};
pub use self::signals::Heard;
pub use self::test_database::{TestDatabase, TestIntent, TestRequest};
pub use self::verify::VerifyWish;
pub use crate::config;
use crate::config::database_url::DatabaseUrl;
use crate::config::{Config, Credential, Environment, Origin, Protection, Setting};
use crate::domain::flags::ladder::Ladder;
use crate::error::{Error, Stage};
pub use crate::store::database::backup::{Evidence, Verification};
pub use crate::store::database::restore::{Live as LiveDatabase, Restoration, Restored};
pub use crate::store::database::{
    Applied, DryRun, Failed, Late, LedgerEvent, LockBudget, Loss, Moment, Ran, Skipped, Undecided, Undo, Wanted,
};
pub use crate::store::database::{Effect, Origin as TestOrigin, Reuse, Seeded};
pub use crate::store::database::{Examined, Rights, Seen};
pub use crate::store::hub::keys::{Processes as HubProcesses, Unproven};
pub use crate::store::hub::{HubAnswer, HubFacts};
pub use crate::store::postgres::{DatabaseFacts, Identity};
pub use crate::store::rollout::{Claim, Wish};
pub use crate::store::{
    Depth, Edit, FlagEvent, FlagStore, Live, Note, Saved, Source, Stance, Stopper, StoreError, Survey, Verdict, pick,
};
use crate::ui::{Refusal, Ui, View};

/// Bound of one request, and of one attempt to reach a database (craft.md 1.5).
const REQUEST: Duration = Duration::from_secs(15);

/// Bound of a write to a hub with its proof.
const WRITE: Duration = Duration::from_secs(30);

/// Which database a command means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Database {
    /// The configured one.
    #[default]
    Configured,
    /// `--sandbox`.
    Sandbox,
}

/// What the command line says about sources.
#[derive(Clone, Default)]
pub struct Options {
    /// The settings that were typed.
    pub overrides: config::Overrides,
    /// `--sandbox`.
    pub database: Database,
    /// `--ca-file`.
    pub ca_file: Option<PathBuf>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
}

/// One command's surroundings.
pub struct App {
    /// The conversation.
    pub ui: Arc<Ui>,
    config: Config,
    environment: Environment,
    options: Options,
    stage: Mutex<Stage>,
    stopper: Mutex<Option<Arc<Stopper>>>,
    #[cfg(feature = "sandbox")]
    sandbox: tokio::sync::OnceCell<Arc<crate::store::sandbox::Sandbox>>,
}

impl App {
    /// Read the configuration, unless the command needs none. Nothing is contacted.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn open(
        ui: Arc<Ui>,
        environment: Environment,
        options: Options,
        configuration: Configuration,
    ) -> Result<Self, Error> {
        let config = match configuration {
            Configuration::Needed => config::load(&environment, &options.overrides)?,
            Configuration::Ignored => Config::default(),
        };
        for secret in config.secrets() {
            use secrecy::ExposeSecret;
            ui.redact([secret.expose_secret()]);
        }
        config.warnings.iter().for_each(|warning| ui.warn(warning));
        if password_was_typed(&config) {
            ui.warn(
                "the password in --database-url can be read by every user of this machine while the command runs; use \
                 LLMHUB_DATABASE_URL or a profile",
            );
        }
        Ok(Self {
            ui,
            config,
            environment,
            options,
            stage: Mutex::new(Stage::NothingWritten),
            stopper: Mutex::new(None),
            #[cfg(feature = "sandbox")]
            sandbox: tokio::sync::OnceCell::new(),
        })
    }

    /// Whether the embedded database stands for the configured one.
    fn sandboxed(&self) -> bool {
        self.options.database == Database::Sandbox
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The environment.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The document of this command.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn show<V: View>(&self, view: &V) -> Result<(), Error> {
        self.ui.show(view).map_err(|error| Error::Output(error.to_string(), self.progress()))
    }

    /// A document that is text already.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn document(&self, text: &str) -> Result<(), Error> {
        self.ui.document(text).map_err(|error| Error::Output(error.to_string(), self.progress()))
    }

    /// Say how far a read reaches, such as "read 1 of 4 processes".
    pub fn say_scope(&self, store: &dyn FlagStore) {
        if let Some(scope) = store.scope() {
            self.ui.note(&scope);
        }
    }

    /// Remember how far the command has come, in case it ends early.
    pub fn stage(&self, stage: Stage) {
        if let Ok(mut current) = self.stage.lock() {
            *current = stage;
        }
    }

    /// How far the command has come.
    pub fn progress(&self) -> Stage {
        self.stage.lock().map(|stage| stage.clone()).unwrap_or_default()
    }

    /// The profile's ladder.
    pub fn ladder(&self) -> Ladder {
        // The configuration checks its ladder by the same rule, so the fallback is never taken.
        Ladder::try_from(self.config.ladder.value.rungs()).unwrap_or_default()
    }

    /// The wall clock, read here and nowhere else.
    pub fn now() -> SystemTime {
        SystemTime::now()
    }

    /// Now as the hub sees it: naive UTC.
    pub fn utc_now(&self) -> DateTime {
        self.instant().to_zoned(TimeZone::UTC).datetime()
    }

    /// Now as RFC 3339 UTC, in whole seconds.
    pub fn timestamp(&self) -> String {
        self.instant().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    fn instant(&self) -> jiff::Timestamp {
        // A clock before 1970 or after 9999 is no reason to fail; the epoch shows plainly that it is wrong.
        jiff::Timestamp::try_from(Self::now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// Who runs this command: the operating system's user (the one behind sudo, if any) and the machine.
    pub fn who(&self) -> (String, String) {
        let read = |name: &str| self.environment.variable(name).ok().flatten().map(str::to_owned);
        let user = read("SUDO_USER").or_else(|| read("USER")).or_else(|| read("LOGNAME"));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        (user.unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw())), host)
    }

    /// Who makes a change and why, for the history.
    pub fn note(&self, operation: &'static str, reason: Option<&str>) -> Note {
        let (user, host) = self.who();
        Note { actor: format!("{user}@{host}"), reason: reason.map(str::to_owned), operation }
    }

    /// Where the command acts, without secrets: profile, hub, database, file.
    pub fn target_words(&self) -> String {
        let config = &self.config;
        let mut words = Vec::new();
        if let Some(profile) = &config.profile {
            words.push(format!("profile {}", profile.value));
        }
        if let Some(hubs) = &config.hubs {
            let hubs: Vec<String> = hubs.value.iter().map(ToString::to_string).collect();
            words.push(format!("hub {}", hubs.join(", ")));
        }
        match &config.database {
            _ if self.sandboxed() => words.push("db sandbox".to_owned()),
            Some(Setting { value: Credential::Text(url), .. }) => {
                use secrecy::ExposeSecret;
                // A URL that cannot be read is reported when it is used; here it would only be noise.
                if let Ok(url) = DatabaseUrl::parse(url.expose_secret()) {
                    words.push(format!("db {url}"));
                }
            }
            Some(database) => words.push(format!("db from {}", database.origin)),
            None => {}
        }
        if let Some(file) = &config.env_file {
            words.push(format!("env {}", file.value.display()));
        }
        words.join(" · ")
    }

    /// The first line of every change: where it goes.
    pub fn announce(&self) {
        let words = self.target_words();
        // Without a source the command itself says so.
        if !words.is_empty() {
            self.ui.note(&words);
        }
    }

    /// Have a change confirmed, as DESIGN 2 and the profile demand. Nothing was written before.
    ///
    /// # Errors
    /// [`Error::ReasonNeeded`], [`Error::Consent`].
    pub async fn authorise(&self, question: String, always: bool, reason: Option<&str>) -> Result<(), Error> {
        let protected = match (self.config.protection.value, &self.config.profile) {
            (Protection::Protected, Some(name)) => Some(name.value.clone()),
            _ => None,
        };
        if let (Some(name), None) = (&protected, reason) {
            return Err(Error::ReasonNeeded(format!("a change on the protected profile `{name}`")));
        }
        if protected.is_none() && !always {
            return Ok(());
        }
        match protected {
            Some(name) => self.prompt(move |ui| ui.confirm_name(&name, &question)).await,
            None => self.ask(question).await,
        }
    }

    /// Ask a yes-or-no question.
    ///
    /// # Errors
    /// [`Error::Consent`].
    pub async fn ask(&self, question: String) -> Result<(), Error> {
        self.prompt(move |ui| ui.confirm(&question)).await
    }

    /// Somebody may think for an hour: signals must be heard meanwhile.
    async fn prompt(&self, ask: impl FnOnce(&Ui) -> Result<(), Refusal> + Send + 'static) -> Result<(), Error> {
        let ui = Arc::clone(&self.ui);
        let asked = tokio::task::spawn_blocking(move || ask(&ui)).await;
        asked.map_err(|_| Error::Bug("the prompt died".to_owned()))?.map_err(Error::from)
    }

    /// The folder for llmhub's own state: request budgets and locks.
    pub fn state_folder(&self) -> Option<PathBuf> {
        self.environment.state_home().map(|home| home.join("llmhub"))
    }

    /// The text of a file that the operator named, or of stdin for `-`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn read_text(&self, path: &Path) -> Result<String, Error> {
        Ok(crate::store::files::read_text(path)?)
    }

    /// Write a file that the operator named.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn write_file(&self, path: &Path, text: &str) -> Result<(), Error> {
        Ok(crate::store::files::write_text(path, text)?)
    }
}

fn password_was_typed(config: &Config) -> bool {
    use secrecy::ExposeSecret;
    match &config.database {
        Some(Setting { value: Credential::Text(url), origin: Origin::Flag(_) }) => {
            DatabaseUrl::parse(url.expose_secret()).is_ok_and(|url| url.password().is_some())
        }
        _ => false,
    }
}

/// Whether a command reads the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// It does, and a broken file stops it.
    Needed,
    /// It does not: help must be readable with a broken file.
    Ignored,
}
