//! Every key of a configuration file, with an example of its value.
//!
//! The one list: the errors take their "write for example" from it, and a test reads it back as a whole file.

use super::Origin;

/// The keys of a profile, and one value that is right for each, as TOML.
pub(super) const PROFILE: [(&str, &str); 19] = [
    ("hub", r#""http://localhost:8084""#),
    ("replicas", r#"["https://hub-a.example.com", "https://hub-b.example.com"]"#),
    ("workers", "4"),
    ("database_url", r#""postgres://unicorn@localhost:5432/unicorn_test""#),
    ("database_url_command", r#"["op", "read", "op://prod/llmhub/url"]"#),
    ("database_url_env", r#""PROD_URL""#),
    ("env_file", r#""/srv/hub/.env.auth""#),
    ("session_token_env", r#""HUB_SESSION""#),
    ("session_token_command", r#"["op", "read", "op://prod/llmhub/session"]"#),
    ("migrations", r#""migrations""#),
    ("seeds", r#"["seeds"]"#),
    ("ladder", "[0, 10, 25, 50, 100]"),
    ("protected", "true"),
    ("master_keys", r#"["env:BYOK_ENCRYPTION_KEY", "file:/run/secrets/old_key"]"#),
    ("write", r#"["env", "db", "hub"]"#),
    ("identity_flag", r#""scratch_flag""#),
    ("pg_tools", r#"["docker", "exec", "-i", "unicorn-postgresql"]"#),
    ("hooks", r#"{ recreate = ["docker", "compose", "up", "-d"] }"#),
    ("env_flags", r#"{ beta = { enabled = "FEATURE_BETA" } }"#),
];

/// The names of the profile keys.
pub(super) fn profile() -> Vec<&'static str> {
    PROFILE.iter().map(|(name, _)| *name).collect()
}

/// The keys of `hooks`: commands that are run when asked for.
pub(super) const HOOKS: [&str; 3] = ["recreate", "stop_writes", "allow_writes"];

/// The keys of `env_flags.NAME`: the variables that hold a flag in the hub's `.env`.
pub(super) const ENV_FLAG: [&str; 6] = ["enabled", "rollout", "whitelist", "blacklist", "start_date", "end_date"];

/// The keys outside of any profile.
pub(super) const TOP: [&str; 2] = ["default_profile", "profiles"];

/// A right value for `key` (with the tables around it, in a file), written the way its layer takes it.
pub(super) fn example(origin: &Origin, key: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let value = PROFILE.iter().find(|(name, _)| *name == last).map_or_else(|| nested(last), |(_, value)| *value);
    match origin {
        Origin::Flag(name) => format!("write for example: {name} {value}"),
        Origin::Variable(name) => format!("write for example: export {name}={value}"),
        Origin::NamedVariable { variable, .. } => format!("write for example: export {variable}={value}"),
        Origin::File(_) | Origin::Default if last == "profiles" => "write for example: [profiles.dev]".to_owned(),
        Origin::File(_) | Origin::Default => format!("write for example: {last} = {value}"),
    }
}

/// A right value for a key of an inner or outer table.
fn nested(key: &str) -> &'static str {
    if HOOKS.contains(&key) {
        r#"["docker", "compose", "up", "-d"]"#
    } else if ENV_FLAG.contains(&key) {
        r#""FEATURE_BETA""#
    } else if key == "default_profile" {
        r#""dev""#
    } else {
        // A table of a name the operator chose: a profile, or a flag of `env_flags`.
        "{}"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::RawFile;
    use crate::config::testing::text_file;
    use crate::config::{Line, STARTER};

    #[test]
    fn every_example_is_a_right_value() {
        for (key, value) in PROFILE {
            let file = text_file(&format!("[profiles.dev]\n{key} = {value}\n"));
            assert!(RawFile::parse(&file).is_ok(), "{key}: {:?}", RawFile::parse(&file));
        }
    }

    #[test]
    fn the_starter_shows_every_key() {
        let keys = PROFILE.iter().map(|(key, _)| *key).chain(HOOKS).chain(ENV_FLAG).chain(TOP);
        for key in keys {
            assert!(STARTER.contains(key), "{key}");
        }
    }

    #[test]
    fn an_example_is_written_the_way_its_layer_takes_it() {
        let file = || Origin::File(Line { file: "f".into(), number: 1 });
        #[track_caller]
        fn case(origin: Origin, key: &str, text: &str) {
            assert_eq!(example(&origin, key), format!("write for example: {text}"));
        }
        case(file(), "profiles.dev.protected", "protected = true");
        case(file(), "profiles.dev.hooks.recreate", "recreate = [\"docker\", \"compose\", \"up\", \"-d\"]");
        case(file(), "profiles.dev.env_flags.beta.rollout", "rollout = \"FEATURE_BETA\"");
        case(file(), "default_profile", "default_profile = \"dev\"");
        case(file(), "profiles", "[profiles.dev]");
        case(file(), "profiles.dev", "dev = {}");
        case(Origin::Flag("--hub"), "hub", "--hub \"http://localhost:8084\"");
        case(Origin::Variable("LLMHUB_HUB_URL"), "hub", "export LLMHUB_HUB_URL=\"http://localhost:8084\"");
    }
}
