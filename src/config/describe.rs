//! The configuration as `profile show` lists it: every key, its value and its origin, secrets masked.
//!
//! Of a command only the program is shown: arguments may hold tokens.

use std::fmt::Display;

use secrecy::ExposeSecret;

use super::{Config, Credential, KeyMaterial, MasterKey, Origin, Protection, Setting, mask};

/// One line of `profile show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key, as in a profile: `hub`, `hooks.recreate`.
    pub key: String,
    /// What may be shown of the value; `None` when it is not set.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

/// Every key in the order of the documentation, unset ones included.
pub fn describe(config: &Config) -> Vec<Row> {
    let mut rows = vec![
        row("profile", config.profile.as_ref(), String::clone),
        row("hub", config.hubs.as_ref(), |hubs| joined(hubs, ", ")),
        row("workers", config.workers.as_ref(), |workers| workers.count().to_string()),
        row("database", config.database.as_ref(), |database| credential(database, |url| mask::mask(url).shown)),
        row("env_file", config.env_file.as_ref(), |path| path.display().to_string()),
        row("session_token", config.session.as_ref(), |session| credential(session, |_| "***".to_owned())),
        row("migrations", config.migrations.as_ref(), |path| path.display().to_string()),
        row("seeds", config.seeds.as_ref(), |folders| {
            folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
        }),
        row("ladder", Some(&config.ladder), ToString::to_string),
        row("protected", Some(&config.protection), |protection| (*protection == Protection::Protected).to_string()),
    ];
    match config.master_keys.as_slice() {
        [] => rows.push(row("master_keys", None::<&Setting<String>>, String::clone)),
        keys => rows.extend(keys.iter().map(master_key)),
    }
    rows.push(row("write", config.write.as_ref(), |write| joined(write, ", ")));
    rows.push(row("identity_flag", config.identity_flag.as_ref(), String::clone));
    rows.push(row("pg_tools", config.pg_tools.as_ref(), |command| program(command)));
    for (hook, setting) in config.hooks.by_name() {
        rows.push(row(&format!("hooks.{hook}"), setting, |command| program(command)));
    }
    for (flag, variables) in &config.env_flags {
        let set = variables.by_name().into_iter().filter(|(_, setting)| setting.is_some());
        rows.extend(set.map(|(key, setting)| row(&format!("env_flags.{flag}.{key}"), setting, String::clone)));
    }
    rows
}

fn row<T>(key: &str, setting: Option<&Setting<T>>, shown: impl FnOnce(&T) -> String) -> Row {
    let origin = setting.map_or(Origin::Default, |setting| setting.origin.clone());
    Row { key: key.to_owned(), value: setting.map(|setting| shown(&setting.value)), origin }
}

fn master_key(key: &MasterKey) -> Row {
    let state = match key.material {
        KeyMaterial::Text(_) => "***",
        KeyMaterial::File(_) => "in a file",
        KeyMaterial::Unset => "not set",
    };
    Row { key: "master_keys".to_owned(), value: Some(format!("{} ({state})", key.name)), origin: key.origin.clone() }
}

fn credential(credential: &Credential, shown: impl FnOnce(&str) -> String) -> String {
    match credential {
        Credential::Text(text) => shown(text.expose_secret()),
        Credential::Command(command) => program(command),
        Credential::Unset(variable) => format!("{variable} (not set)"),
    }
}

fn program(command: &[String]) -> String {
    match command {
        [] => String::new(),
        [program] => format!("command `{program}`"),
        [program, _] => format!("command `{program}` with 1 more word"),
        [program, arguments @ ..] => format!("command `{program}` with {} more words", arguments.len()),
    }
}

fn joined<T: Display>(items: &[T], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::Folders;
    use crate::config::{Overrides, load};

    #[test]
    fn every_key_is_listed_with_value_and_origin_and_no_secret() {
        let folders = Folders::new();
        folders.project(
            "[profiles.prod]\nhub = \"https://hub.example.com/ops\"\nworkers = 4\n\
             database_url_command = [\"vault\", \"-token=CANARY\"]\nprotected = true\n\
             master_keys = [\"env:KEY\", \"file:old.key\", \"env:GONE\"]\nwrite = [\"env\", \"db\"]\n\
             pg_tools = [\"docker\", \"exec\", \"CANARY\"]\nhooks.recreate = [\"./up\"]\n\
             env_flags.beta.enabled = \"FEATURE_BETA\"\n",
        );
        let variables = [("KEY", "CANARY"), ("LLMHUB_SESSION_TOKEN", "CANARY"), ("LLMHUB_PROFILE", "prod")];
        let overrides = Overrides { config: Some("llmhub.toml".into()), ..Overrides::default() };
        let rows = describe(&load(&folders.environment(&variables), &overrides).unwrap());
        let lines: Vec<String> = rows
            .into_iter()
            .map(|row| format!("{}: {} [{}]", row.key, row.value.unwrap_or("-".into()), row.origin))
            .collect();
        let old = folders.path("old.key");
        assert_eq!(
            lines,
            [
                "profile: prod [LLMHUB_PROFILE]",
                "hub: https://hub.example.com/ops [llmhub.toml:2]",
                "workers: 4 [llmhub.toml:3]",
                "database: command `vault` with 1 more word [llmhub.toml:4]",
                "env_file: - [default]",
                "session_token: *** [LLMHUB_SESSION_TOKEN]",
                "migrations: - [default]",
                "seeds: - [default]",
                "ladder: 0 10 25 50 100 [default]",
                "protected: true [llmhub.toml:5]",
                "master_keys: KEY (***) [KEY (llmhub.toml:6)]",
                &format!("master_keys: {} (in a file) [llmhub.toml:6]", old.display()),
                "master_keys: GONE (not set) [llmhub.toml:6]",
                "write: env, db [llmhub.toml:7]",
                "identity_flag: - [default]",
                "pg_tools: command `docker` with 2 more words [llmhub.toml:8]",
                "hooks.recreate: command `./up` [llmhub.toml:9]",
                "hooks.stop_writes: - [default]",
                "hooks.allow_writes: - [default]",
                "env_flags.beta.enabled: FEATURE_BETA [llmhub.toml:10]",
            ]
        );
    }
}
