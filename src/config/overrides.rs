//! The two layers above every file: the command line, then the environment.
//!
//! A flag beats the variable of the same meaning, and both beat every file. Relative paths start at the current folder.

use std::path::PathBuf;

use secrecy::SecretString;

use super::value::hub_urls;
use super::{ConfigError, Environment, HubUrl, Origin, Setting, Workers};

/// What the command line says. Texts are checked by [`super::load`], so that a refused one is never repeated.
#[derive(Clone, Default)]
pub struct Overrides {
    /// `--profile`
    pub profile: Option<String>,
    /// `--config`: takes the place of `./llmhub.toml`.
    pub config: Option<PathBuf>,
    /// `--hub`, once for each replica.
    pub hubs: Vec<String>,
    /// `--database-url`
    pub database_url: Option<SecretString>,
    /// `--env-file`
    pub env_file: Option<PathBuf>,
    /// `--workers`
    pub workers: Option<Workers>,
    /// A session token from wherever the command line points; its origin is shown as `--session`.
    pub session: Option<SecretString>,
    /// What to do when there are several profiles and nobody chose one.
    pub undecided: Undecided,
}

/// What several profiles and no choice mean to a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undecided {
    /// An error that names them, unless flags or the environment configure a source by themselves.
    #[default]
    Refuse,
    /// Work without a profile: for commands that need no source, and for `--sandbox`.
    WithoutProfile,
}

impl Overrides {
    /// The file to read instead of `./llmhub.toml`, as it was typed.
    pub(super) fn config(&self, environment: &Environment) -> Option<Setting<PathBuf>> {
        path(environment, self.config.as_ref(), "--config", "LLMHUB_CONFIG")
    }

    /// The `.env` file, absolute.
    pub(super) fn env_file(&self, environment: &Environment) -> Option<Setting<PathBuf>> {
        let mut file = path(environment, self.env_file.as_ref(), "--env-file", "LLMHUB_ENV_FILE")?;
        file.value = environment.directory().join(file.value);
        Some(file)
    }

    pub(super) fn profile(&self, environment: &Environment) -> Result<Option<Setting<String>>, ConfigError> {
        if let Some(name) = &self.profile {
            return Ok(Some(Setting::new(name.clone(), Origin::Flag("--profile"))));
        }
        let name = environment.variable("LLMHUB_PROFILE")?;
        Ok(name.map(|name| Setting::new(name.to_owned(), Origin::Variable("LLMHUB_PROFILE"))))
    }

    /// The replicas; several in one variable are separated by commas.
    pub(super) fn hubs(&self, environment: &Environment) -> Result<Option<Setting<Vec<HubUrl>>>, ConfigError> {
        let (texts, origin): (Vec<&str>, _) = if self.hubs.is_empty() {
            let Some(list) = environment.variable("LLMHUB_HUB_URL")? else { return Ok(None) };
            (list.split(',').map(str::trim).collect(), Origin::Variable("LLMHUB_HUB_URL"))
        } else {
            (self.hubs.iter().map(String::as_str).collect(), Origin::Flag("--hub"))
        };
        match hub_urls(texts) {
            Ok(urls) => Ok(Some(Setting::new(urls, origin))),
            Err(refused) => Err(ConfigError::InvalidValue { origin, key: "hub".to_owned(), refused }),
        }
    }

    pub(super) fn workers(&self) -> Option<Setting<Workers>> {
        self.workers.map(|workers| Setting::new(workers, Origin::Flag("--workers")))
    }

    pub(super) fn database_url(&self, environment: &Environment) -> Result<Option<Setting<SecretString>>, ConfigError> {
        let variables = ["LLMHUB_DATABASE_URL", "DATABASE_URL"];
        secret(environment, self.database_url.as_ref(), "--database-url", &variables)
    }

    pub(super) fn session(&self, environment: &Environment) -> Result<Option<Setting<SecretString>>, ConfigError> {
        secret(environment, self.session.as_ref(), "--session", &["LLMHUB_SESSION_TOKEN"])
    }

    /// Whether these two layers name a source by themselves, so that no profile is needed.
    pub(super) fn name_a_source(&self, environment: &Environment) -> Result<bool, ConfigError> {
        Ok(self.hubs(environment)?.is_some()
            || self.database_url(environment)?.is_some()
            || self.env_file(environment).is_some())
    }
}

fn path(
    environment: &Environment,
    typed: Option<&PathBuf>,
    flag: &'static str,
    variable: &'static str,
) -> Option<Setting<PathBuf>> {
    match typed {
        Some(path) => Some(Setting::new(path.clone(), Origin::Flag(flag))),
        None => environment.variable_os(variable).map(|path| Setting::new(path.into(), Origin::Variable(variable))),
    }
}

fn secret(
    environment: &Environment,
    typed: Option<&SecretString>,
    flag: &'static str,
    variables: &[&'static str],
) -> Result<Option<Setting<SecretString>>, ConfigError> {
    if let Some(secret) = typed {
        return Ok(Some(Setting::new(secret.clone(), Origin::Flag(flag))));
    }
    for name in variables {
        if let Some(text) = environment.variable(name)? {
            return Ok(Some(Setting::new(text.into(), Origin::Variable(name))));
        }
    }
    Ok(None)
}
