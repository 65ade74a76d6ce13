//! The databases of protected profiles, all of them: what a command that drops a database must keep its hands off.
//!
//! Reads the files and nothing else. A credential that a command prints is handed on as the command.

use super::layers::credential;
use super::profiles::Layers;
use super::{ConfigError, Credential, Environment, Overrides, Protection, Setting};

/// A protected profile's database.
#[derive(Clone, Debug)]
pub struct ProtectedDatabase {
    /// The profile.
    pub profile: String,
    /// How to get its URL.
    pub database: Setting<Credential>,
}

/// The databases of every protected profile that has one, by the profile's name, whichever profile is used.
///
/// # Errors
/// As [`super::load`], but no choice is needed.
pub fn protected_databases(
    environment: &Environment,
    overrides: &Overrides,
) -> Result<Vec<ProtectedDatabase>, ConfigError> {
    let layers = Layers::read(environment, overrides)?;
    let mut databases = Vec::new();
    for name in layers.names() {
        let profile = layers.merged(&name);
        let protected = profile.protection.is_some_and(|setting| setting.value == Protection::Protected);
        if let Some(database) = profile.database.filter(|_| protected) {
            databases.push(ProtectedDatabase { profile: name, database: credential(environment, database)? });
        }
    }
    Ok(databases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::Folders;

    #[test]
    fn every_protected_profile_counts_and_no_other() {
        let folders = Folders::new();
        folders.user(
            "default_profile = \"dev\"\n[profiles.dev]\ndatabase_url = \"postgres://h/dev\"\n[profiles.a]\nprotected = true\n\
             database_url_env = \"A_URL\"\n[profiles.b]\nprotected = true\ndatabase_url_command = [\"op\"]\n\
             [profiles.c]\nprotected = true\n[profiles.d]\nprotected = true\ndatabase_url_env = \"GONE\"\n",
        );
        let environment = folders.environment(&[("A_URL", "postgres://h/a")]);
        let found = protected_databases(&environment, &Overrides::default()).unwrap();
        let names: Vec<&str> = found.iter().map(|found| found.profile.as_str()).collect();
        assert_eq!(names, ["a", "b", "d"]);
        assert!(matches!(found[0].database.value, Credential::Text(_)));
        assert!(matches!(found[1].database.value, Credential::Command(_)));
        assert!(matches!(found[2].database.value, Credential::Unset(_)));
    }
}
