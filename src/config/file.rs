//! One configuration file: TOML text into typed profiles, with the line of every value.
//!
//! All or nothing. A file that does not parse, holds an unknown key, or has one value out of range is an error with its
//! line; no setting of such a file is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use toml::de::{DeTable, DeValue};

use super::disk::TextFile;
use super::section::{Section, command, command_or_none, integer, integers, parse, switch, text, texts};
use super::value::{hub_urls, sources, variable_name};
use super::{
    ConfigError, EnvFlag, Hooks, HubUrl, Ladder, Line, Protection, Refused, Setting, SourceName, Workers, keys,
};

/// A whole file.
#[derive(Debug, Default)]
pub(super) struct RawFile {
    /// The profile to use when nobody chooses.
    pub default_profile: Option<Setting<String>>,
    /// The profiles, by name, with the line of their table.
    pub profiles: BTreeMap<String, (RawProfile, Line)>,
}

/// A profile as one file has it. `None` is a key that is not there.
#[derive(Clone, Debug, Default)]
pub(super) struct RawProfile {
    pub hubs: Option<Setting<Vec<HubUrl>>>,
    pub workers: Option<Setting<Workers>>,
    pub database: Option<Setting<RawSecret>>,
    pub env_file: Option<Setting<PathBuf>>,
    pub session: Option<Setting<RawSecret>>,
    pub migrations: Option<Setting<PathBuf>>,
    pub seeds: Option<Setting<Vec<PathBuf>>>,
    pub ladder: Option<Setting<Ladder>>,
    pub protection: Option<Setting<Protection>>,
    pub master_keys: Option<Setting<Vec<RawKey>>>,
    pub write: Option<Setting<Vec<SourceName>>>,
    pub identity_flag: Option<Setting<String>>,
    pub pg_tools: Option<Setting<Vec<String>>>,
    pub hooks: Hooks,
    pub env_flags: BTreeMap<String, EnvFlag>,
}

/// A secret as a file gives it.
#[derive(Clone, Debug)]
pub(super) enum RawSecret {
    /// The secret itself.
    Text(SecretString),
    /// The variable that holds it.
    Variable(String),
    /// The command that prints it.
    Command(Vec<String>),
}

/// A master key as a file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawKey {
    /// `env:NAME`
    Variable(String),
    /// `file:PATH`
    File(PathBuf),
}

impl RawFile {
    /// The settings of a file; relative paths in it start at its own folder.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub(super) fn parse(file: &TextFile) -> Result<Self, ConfigError> {
        let table = parse(file)?;
        let top = Section::open(file, String::new(), &table, &keys::TOP)?;
        let default_profile = top.take("default_profile", text)?;
        let mut profiles = BTreeMap::new();
        for (name, line, table) in top.tables("profiles")? {
            let profile = RawProfile::parse(file, format!("profiles.{name}"), table)?;
            profiles.insert(name, (profile, line));
        }
        Ok(Self { default_profile, profiles })
    }
}

impl RawProfile {
    fn parse(file: &TextFile, path: String, table: &DeTable<'_>) -> Result<Self, ConfigError> {
        let folder = file.path.parent().unwrap_or(Path::new(""));
        let in_folder = |value: &DeValue<'_>| Ok(folder.join(text(value)?));
        let secret_variable = |value: &DeValue<'_>| Ok(RawSecret::Variable(variable_name(&text(value)?)?));
        let secret_command = |value: &DeValue<'_>| Ok(RawSecret::Command(command(value)?));

        let section = Section::open(file, path, table, &keys::profile())?;
        section.said_once(&["hub", "replicas"])?;
        section.said_once(&["database_url", "database_url_command", "database_url_env"])?;
        section.said_once(&["session_token_env", "session_token_command"])?;
        let mut profile = Self {
            hubs: section
                .take("hub", |value| hub_urls([text(value)?.as_str()]))?
                .or(section.take("replicas", |value| hub_urls(texts(value)?.iter().map(String::as_str)))?),
            workers: section.take("workers", |value| Workers::try_from(integer(value)?))?,
            database: section
                .take("database_url", |value| Ok(RawSecret::Text(text(value)?.into())))?
                .or(section.take("database_url_command", secret_command)?)
                .or(section.take("database_url_env", secret_variable)?),
            env_file: section.take("env_file", in_folder)?,
            session: section
                .take("session_token_env", secret_variable)?
                .or(section.take("session_token_command", secret_command)?),
            migrations: section.take("migrations", in_folder)?,
            seeds: section.take("seeds", |value| Ok(texts(value)?.iter().map(|name| folder.join(name)).collect()))?,
            ladder: section.take("ladder", |value| Ladder::try_from(integers(value)?.as_slice()))?,
            protection: section.take("protected", protection)?,
            master_keys: section.take("master_keys", |value| master_keys(folder, value))?,
            write: section.take("write", |value| sources(&texts(value)?))?,
            identity_flag: section.take("identity_flag", text)?,
            pg_tools: section.take("pg_tools", command_or_none)?,
            hooks: section.inner("hooks", &keys::HOOKS)?.map_or(Ok(Hooks::default()), |hooks| Hooks::read(&hooks))?,
            env_flags: BTreeMap::new(),
        };
        for (flag, _, table) in section.tables("env_flags")? {
            let path = format!("{}.{flag}", section.path_of("env_flags"));
            let variables = EnvFlag::read(&Section::open(file, path, table, &keys::ENV_FLAG)?)?;
            profile.env_flags.insert(flag, variables);
        }
        Ok(profile)
    }

    /// This profile with the gaps filled from a file of lower rank, key by key. `hub` and `replicas` count as one key, as do
    /// the three ways to give a database and the two to give a session: otherwise half of a hub could come from each file.
    pub(super) fn over(self, lower: Self) -> Self {
        let mut env_flags = lower.env_flags;
        for (flag, variables) in self.env_flags {
            let below = env_flags.remove(&flag).unwrap_or_default();
            env_flags.insert(flag, variables.over(below));
        }
        Self {
            hubs: self.hubs.or(lower.hubs),
            workers: self.workers.or(lower.workers),
            database: self.database.or(lower.database),
            env_file: self.env_file.or(lower.env_file),
            session: self.session.or(lower.session),
            migrations: self.migrations.or(lower.migrations),
            seeds: self.seeds.or(lower.seeds),
            ladder: self.ladder.or(lower.ladder),
            protection: self.protection.or(lower.protection),
            master_keys: self.master_keys.or(lower.master_keys),
            write: self.write.or(lower.write),
            identity_flag: self.identity_flag.or(lower.identity_flag),
            pg_tools: self.pg_tools.or(lower.pg_tools),
            hooks: self.hooks.over(lower.hooks),
            env_flags,
        }
    }
}

fn protection(value: &DeValue<'_>) -> Result<Protection, Refused> {
    Ok(if switch(value)? { Protection::Protected } else { Protection::Open })
}

fn master_keys(folder: &Path, value: &DeValue<'_>) -> Result<Vec<RawKey>, Refused> {
    let mut keys = Vec::new();
    for word in texts(value)? {
        let key = match word.split_once(':') {
            Some(("env", name)) => RawKey::Variable(variable_name(name)?),
            Some(("file", path)) if !path.is_empty() => RawKey::File(folder.join(path)),
            _ => return Err(Refused::new("must hold only `env:NAME` and `file:PATH`, never a key itself")),
        };
        if keys.contains(&key) {
            return Err(Refused::new("must not name the same key twice"));
        }
        keys.push(key);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::text_file;

    const WHOLE: &str = r#"default_profile = "dev"
[profiles.dev]
hub = "http://localhost:8084"
workers = 4                       # processes behind each URL
database_url = "postgres://unicorn:CANARY@localhost:5432/unicorn_test"
[profiles.prod]
replicas = ["https://hub-a.example.com", "https://hub-b.example.com"]
workers = 4
database_url_command = ["op", "read", "op://prod/llmhub/url"]
env_file = "/srv/hub/.env.auth"
session_token_env = "HUB_SESSION"
migrations = "migrations"
seeds = ["seeds", "/srv/seeds"]
ladder = [0, 10, 25, 50, 100]
protected = true
master_keys = ["env:BYOK_ENCRYPTION_KEY", "env:ENCRYPTION_KEY"]
write = ["env", "db", "hub"]
identity_flag = "scratch_flag"
pg_tools = ["docker", "exec", "-i", "unicorn-postgresql"]
[profiles.prod.hooks]
recreate = ["docker", "compose", "up", "-d", "--force-recreate", "ops-center-direct"]
stop_writes = []
allow_writes = []
[profiles.prod.env_flags.beta]
enabled = "FEATURE_BETA"
end_date = "FEATURE_BETA_END"
"#;

    fn parsed(text: &str) -> Result<RawFile, ConfigError> {
        RawFile::parse(&text_file(text))
    }

    #[track_caller]
    fn refused(text: &str, message: &str) {
        let error = parsed(text).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(!format!("{error:?} {}", error.hint()).contains("CANARY"), "{error:?}");
    }

    #[test]
    fn every_key_is_read_with_its_line() {
        for text in [WHOLE.to_owned(), format!("\u{feff}{WHOLE}"), WHOLE.replace('\n', "\r\n")] {
            let file = parsed(&text).unwrap();
            let (prod, line) = &file.profiles["prod"];
            assert_eq!(line.to_string(), "llmhub.toml:6");
            let lines = [
                prod.hubs.as_ref().unwrap().origin.to_string(),
                prod.database.as_ref().unwrap().origin.to_string(),
                prod.hooks.stop_writes.as_ref().unwrap().origin.to_string(),
                prod.env_flags["beta"].end_date.as_ref().unwrap().origin.to_string(),
            ];
            assert_eq!(lines, ["llmhub.toml:7", "llmhub.toml:9", "llmhub.toml:22", "llmhub.toml:26"]);
            assert_eq!(prod.migrations.as_ref().unwrap().value, Path::new("/project/migrations"));
            assert_eq!(prod.seeds.as_ref().unwrap().value, [Path::new("/project/seeds"), Path::new("/srv/seeds")]);
            assert_eq!(prod.env_file.as_ref().unwrap().value, Path::new("/srv/hub/.env.auth"));
            assert_eq!(file.default_profile.unwrap().value, "dev");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_name() {
        refused("profile = 1\n", "llmhub.toml:1: unknown key `profile`; did you mean `profiles`?");
        refused(
            "[profiles.dev]\nhub = \"http://h\"\nwrokers = 4\n",
            "llmhub.toml:3: unknown key `profiles.dev.wrokers`; did you mean `workers`?",
        );
        refused(
            "[profiles.dev]\nsession_token = \"CANARY\"\n",
            "llmhub.toml:2: unknown key `profiles.dev.session_token`; did you mean `session_token_env`?",
        );
        refused("[profiles.dev.hooks]\nrestart = []\n", "llmhub.toml:2: unknown key `profiles.dev.hooks.restart`");
        refused(
            "[profiles.dev.env_flags.beta]\nenable = \"A\"\n",
            "llmhub.toml:2: unknown key `profiles.dev.env_flags.beta.enable`; did you mean `enabled`?",
        );
        refused("[profile.dev]\n", "llmhub.toml:1: unknown key `profile`; did you mean `profiles`?");
    }

    #[test]
    fn the_topmost_of_several_unknown_keys_is_told() {
        refused("zzz = 1\naaa = 2\n", "llmhub.toml:1: unknown key `zzz`");
    }

    #[test]
    fn a_wrong_value_is_refused_without_repeating_it() {
        #[track_caller]
        fn case(line: &str, rest: &str) {
            let key = line.split(' ').next().unwrap();
            refused(&format!("[profiles.dev]\n{line}\n"), &format!("llmhub.toml:2: `profiles.dev.{key}` {rest}"));
        }
        case("hub = 8084", "must be a text in quotes");
        case("hub = \"\"", "must not be empty; delete the line to leave it unset");
        case("hub = \"http://u:CANARY@h\"", "must not hold a user name or password: a URL is shown and logged");
        case("replicas = []", "must name at least one URL");
        case("replicas = [\"http://h\", \"http://h/\"]", "must not name http://h twice");
        case("workers = \"4\"", "must be a whole number, without quotes");
        case("workers = 4.0", "must be a whole number, without quotes");
        case("workers = 0", "must be a whole number from 1 to 64");
        case("workers = 65", "must be a whole number from 1 to 64");
        case("workers = 99999999999999999999", "must be a whole number, without quotes");
        case("database_url = [\"CANARY\"]", "must be a text in quotes");
        case("database_url_command = \"op read CANARY\"", "must be a list of texts: a program, then its arguments");
        case("database_url_command = []", "must be a list of texts: a program, then its arguments");
        case("database_url_env = \"postgres://CANARY\"", "must be the name of an environment variable, not its value");
        case("session_token_env = \"CANARY=\"", "must be the name of an environment variable, not its value");
        case("ladder = [0, 50]", "must rise strictly from 0 to 100");
        case("ladder = [0, \"50\", 100]", "must be a list of whole numbers");
        case("protected = \"true\"", "must be true or false, without quotes");
        case("master_keys = [\"CANARY\"]", "must hold only `env:NAME` and `file:PATH`, never a key itself");
        case("master_keys = [\"env:A\", \"env:A\"]", "must not name the same key twice");
        case("write = [\"db\", \"db\"]", "must not hold `db` twice");
        case("write = \"db\"", "must be a list of texts in quotes");
        case("hooks = []", "must be a table");
        refused(
            "[profiles.dev]\nenv_flags.beta = \"CANARY\"\n",
            "llmhub.toml:2: `profiles.dev.env_flags.beta` must be a table",
        );
        refused("profiles.dev = 1\n", "llmhub.toml:1: `profiles.dev` must be a table");
    }

    #[test]
    fn two_ways_to_say_the_same_thing_are_refused() {
        refused(
            "[profiles.dev]\nreplicas = [\"http://a\"]\nhub = \"http://h\"\n",
            "llmhub.toml:3: `hub` says again what `replicas` says",
        );
        refused(
            "[profiles.dev]\ndatabase_url = \"CANARY\"\ndatabase_url_env = \"A\"\n",
            "llmhub.toml:3: `database_url_env` says again what `database_url` says",
        );
    }

    #[test]
    fn a_file_that_does_not_parse_is_told_by_line_and_column_and_not_by_text() {
        #[track_caller]
        fn case(text: &str, place: &str) {
            let error = parsed(text).unwrap_err();
            assert_eq!(error.code(), "config_syntax", "{error}");
            assert!(error.to_string().starts_with(place), "{error}");
            assert!(!format!("{error:?} {error}").contains("CANARY"), "{error:?}");
        }
        case("[profiles.dev]\nhub = \"http://h\ndatabase_url = \"CANARY\"\n", "llmhub.toml:2:");
        case("[profiles.dev]\ndatabase_url = CANARY\n", "llmhub.toml:2:16: ");
        case("[profiles.dev\nx = \"CANARY\"\n", "llmhub.toml:1:14: ");
        case("a = \"ü\" \"CANARY\"\n", "llmhub.toml:1:9: ");
        case("[profiles.dev]\n[profiles.dev]\n", "llmhub.toml:2:");
        case("workers = 1\nworkers = 2\n", "llmhub.toml:2:1: ");
        case(&format!("x = {}", "[".repeat(100_000)), "llmhub.toml:1:");
    }

    #[test]
    fn a_file_cut_anywhere_is_read_whole_or_refused_with_its_line() {
        for end in (0..WHOLE.len()).filter(|end| WHOLE.is_char_boundary(*end)) {
            if let Err(error) = parsed(&WHOLE[..end]) {
                let codes = ["config_syntax", "config_unknown_key", "config_invalid_value"];
                assert!(codes.contains(&error.code()), "{end}: {error}");
                assert!(error.to_string().starts_with("llmhub.toml:"), "{end}: {error}");
                assert!(!format!("{error:?} {error}").contains("CANARY"), "{end}: {error:?}");
            }
        }
    }

    #[test]
    fn a_profile_of_higher_rank_wins_key_by_key() {
        let profile = |text: &str| parsed(&format!("[profiles.p]\n{text}\n")).unwrap().profiles.remove("p").unwrap().0;
        let high = profile("replicas = [\"http://a\"]\nhooks.recreate = [\"a\"]");
        let low = profile("hub = \"http://b\"\nworkers = 3\nhooks.recreate = [\"b\"]\nhooks.stop_writes = [\"b\"]");
        let merged = high.over(low);
        assert_eq!(merged.hubs.unwrap().value[0].to_string(), "http://a");
        assert_eq!(merged.workers.unwrap().value.count(), 3);
        assert_eq!(merged.hooks.recreate.unwrap().value, ["a"]);
        assert_eq!(merged.hooks.stop_writes.unwrap().value, ["b"]);
    }
}
