//! What llmhub knows before it acts: profiles, addresses, credentials, and where each of them came from.
//!
//! [`load`] joins five layers (flag, environment, `./llmhub.toml`, the user's file, default) into one [`Config`]. It reads
//! files and nothing else: no command is run, no address is contacted. A file that is not right stops the program.

pub mod database_url;
mod describe;
mod disk;
mod edit;
mod environment;
mod error;
mod file;
mod keys;
mod layers;
mod mask;
mod origin;
mod overrides;
mod profiles;
mod protected;
mod ring;
mod section;
mod tables;
#[cfg(test)]
mod testing;
mod trust;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

pub use describe::{Row, describe};
pub use edit::{STARTER, Used, init, use_profile};
pub use environment::Environment;
pub use error::{ConfigError, Fault};
pub use layers::load;
pub use origin::{Line, Origin, Setting};
pub use overrides::{Overrides, Undecided};
pub use profiles::{ProfileEntry, profiles};
pub use protected::{ProtectedDatabase, protected_databases};
pub use tables::{EnvFlag, Hooks};
pub use trust::{Power, Review, Standing, review, trust};
pub use value::{
    Credential, HubUrl, KeyMaterial, Ladder, MasterKey, Protection, Refused, SourceName, Workers, is_loopback,
};

/// The configuration of one run. `None` is what nobody set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chosen profile, and who chose it.
    pub profile: Option<Setting<String>>,
    /// The configuration files that were read, highest rank first, as the operator knows them.
    pub files: Vec<String>,
    /// The hub's replicas, at least one.
    pub hubs: Option<Setting<Vec<HubUrl>>>,
    /// Processes behind each hub URL.
    pub workers: Option<Setting<Workers>>,
    /// How to get the database URL, which is not parsed yet.
    pub database: Option<Setting<Credential>>,
    /// The hub's `.env` file, absolute.
    pub env_file: Option<Setting<PathBuf>>,
    /// How to get the hub's session token.
    pub session: Option<Setting<Credential>>,
    /// The folder that replaces the shipped migrations, absolute.
    pub migrations: Option<Setting<PathBuf>>,
    /// Folders of seed sets besides the shipped ones, absolute, at least one.
    pub seeds: Option<Setting<Vec<PathBuf>>>,
    /// The rungs of a rollout; 0 10 25 50 100 unless set.
    pub ladder: Setting<Ladder>,
    /// Whether changes need a reason and the profile's name.
    pub protection: Setting<Protection>,
    /// The master-key ring: the first is current, the rest only open old rows. No key is named twice.
    pub master_keys: Vec<MasterKey>,
    /// Where writes go when `--via` is not given, in this order.
    pub write: Option<Setting<Vec<SourceName>>>,
    /// The flag that carries process tags (rollout.md 3).
    pub identity_flag: Option<Setting<String>>,
    /// The command to put in front of `pg_dump` and `pg_restore`.
    pub pg_tools: Option<Setting<Vec<String>>>,
    /// Commands to run when asked for; none of them is an empty list.
    pub hooks: Hooks,
    /// The `.env` variables of flags that llmhub does not know by itself, by flag.
    pub env_flags: BTreeMap<String, EnvFlag>,
    /// What the operator should know, one sentence each.
    pub warnings: Vec<String>,
}

impl Default for Config {
    /// What counts when nobody said anything.
    fn default() -> Self {
        Self {
            profile: None,
            files: Vec::new(),
            hubs: None,
            workers: None,
            database: None,
            env_file: None,
            session: None,
            migrations: None,
            seeds: None,
            ladder: Setting::fallback(Ladder::default()),
            protection: Setting::fallback(Protection::default()),
            master_keys: Vec::new(),
            write: None,
            identity_flag: None,
            pg_tools: None,
            hooks: Hooks::default(),
            env_flags: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }
}

impl Config {
    /// The sources that are configured, in the order in which reads choose.
    pub fn sources(&self) -> Vec<SourceName> {
        let present = [
            (SourceName::Hub, self.hubs.is_some()),
            (SourceName::Db, self.database.is_some()),
            (SourceName::Env, self.env_file.is_some()),
        ];
        present.into_iter().filter(|(_, present)| *present).map(|(source, _)| source).collect()
    }

    /// Every literal secret this configuration holds, to be removed from whatever is about to be shown: the session token,
    /// the database password, the master keys. What a command prints or a file holds is not among them.
    pub fn secrets(&self) -> Vec<SecretString> {
        let mut secrets = Vec::new();
        if let Some(Setting { value: Credential::Text(token), .. }) = &self.session {
            secrets.push(token.clone());
        }
        if let Some(Setting { value: Credential::Text(url), .. }) = &self.database {
            secrets.extend(mask::mask(url.expose_secret()).secrets.into_iter().map(SecretString::from));
        }
        for key in &self.master_keys {
            if let KeyMaterial::Text(text) = &key.material {
                secrets.push(text.clone());
            }
        }
        secrets
    }
}

/// A credential that is there, to be used as it is or after running its command.
#[derive(Debug)]
pub enum Available<'a> {
    /// The secret.
    Text(&'a SecretString),
    /// The program and arguments that print it.
    Command(&'a [String]),
}

impl Setting<Credential> {
    /// The credential, unless its variable is missing.
    ///
    /// # Errors
    /// [`ConfigError::VariableUnset`], which names the variable and the line that names it.
    pub fn available(&self) -> Result<Available<'_>, ConfigError> {
        match (&self.value, &self.origin) {
            (Credential::Text(text), _) => Ok(Available::Text(text)),
            (Credential::Command(words), _) => Ok(Available::Command(words)),
            (Credential::Unset(variable), origin) => {
                Err(ConfigError::VariableUnset { variable: variable.clone(), origin: origin.clone() })
            }
        }
    }
}
