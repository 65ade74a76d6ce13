//! The five layers in their order: flag, environment, `./llmhub.toml`, the user's file, default.
//!
//! The one place that joins them. What is odd but not wrong becomes a warning; nothing is printed, run or contacted.

use secrecy::ExposeSecret;

use super::disk::Readers;
use super::file::{RawFile, RawProfile, RawSecret};
use super::profiles::{Found, Layers};
use super::trust::{self, Standing};
use super::{Config, ConfigError, Credential, Environment, Ladder, Origin, Overrides, Protection, Setting, mask, ring};

/// Read the files, choose a profile and join all layers.
///
/// # Errors
/// The first thing an operator has to fix. Nothing was changed, run or contacted.
pub fn load(environment: &Environment, overrides: &Overrides) -> Result<Config, ConfigError> {
    let layers = Layers::read(environment, overrides)?;
    let profile = layers.choose(environment, overrides, overrides.undecided)?;
    let raw = match &profile {
        Some(chosen) => layers.profile(chosen)?,
        None => RawProfile::default(),
    };
    let below = raw.database.as_ref().map(|setting| setting.origin.clone());
    let mut config = Config {
        profile,
        files: layers.files().map(|layer| layer.file.shown.clone()).collect(),
        hubs: overrides.hubs(environment)?.or(raw.hubs),
        workers: overrides.workers().or(raw.workers),
        database: match overrides.database_url(environment)? {
            Some(url) => Some(Setting::new(Credential::Text(url.value), url.origin)),
            None => raw.database.map(|secret| credential(environment, secret)).transpose()?,
        },
        env_file: overrides.env_file(environment).or(raw.env_file),
        session: match overrides.session(environment)? {
            Some(token) => Some(Setting::new(Credential::Text(token.value), token.origin)),
            None => raw.session.map(|secret| credential(environment, secret)).transpose()?,
        },
        migrations: raw.migrations,
        seeds: raw.seeds.filter(|folders| !folders.value.is_empty()),
        ladder: raw.ladder.unwrap_or_else(|| Setting::fallback(Ladder::default())),
        protection: raw.protection.unwrap_or_else(|| Setting::fallback(Protection::Open)),
        master_keys: ring::ring(environment, raw.master_keys)?,
        write: raw.write,
        identity_flag: raw.identity_flag,
        pg_tools: raw.pg_tools.filter(|command| !command.value.is_empty()),
        hooks: raw.hooks.filled(),
        env_flags: raw.env_flags,
        warnings: Vec::new(),
    };
    config.warnings = open_files(&layers);
    config.warnings.extend(hidden_database(&config, below.as_ref()));
    config.warnings.extend(stray_token(environment, &layers, &config));
    Ok(config)
}

/// The secret a file speaks of, or how to get it.
pub(super) fn credential(
    environment: &Environment,
    secret: Setting<RawSecret>,
) -> Result<Setting<Credential>, ConfigError> {
    let Setting { value, origin } = secret;
    let variable = match value {
        RawSecret::Text(text) => return Ok(Setting::new(Credential::Text(text), origin)),
        RawSecret::Command(words) => return Ok(Setting::new(Credential::Command(words), origin)),
        RawSecret::Variable(variable) => variable,
    };
    Ok(match environment.variable(&variable)? {
        Some(text) => Setting::new(Credential::Text(text.into()), origin.naming(&variable)),
        None => Setting::new(Credential::Unset(variable), origin),
    })
}

/// A warning for each file that holds a password and can be read by others.
fn open_files(layers: &Layers) -> Vec<String> {
    let open = layers.files().filter(|layer| layer.file.readers == Readers::Others && holds_password(&layer.settings));
    open.map(|layer| {
        let shown = &layer.file.shown;
        format!("`{shown}` holds a database password and others can read it: chmod 600 '{shown}'")
    })
    .collect()
}

fn holds_password(settings: &RawFile) -> bool {
    settings.profiles.values().any(|(profile, _)| match &profile.database {
        Some(Setting { value: RawSecret::Text(url), .. }) => mask::mask(url.expose_secret()).shown.contains("***"),
        _ => false,
    })
}

/// Warn when the variable that many programs share hides what the profile says: it may point at another database.
fn hidden_database(config: &Config, below: Option<&Origin>) -> Option<String> {
    let used = config.database.as_ref().filter(|setting| setting.origin == Origin::Variable("DATABASE_URL"))?;
    let profile = config.profile.as_ref()?;
    Some(format!("{} is used, not the database of profile `{}` ({})", used.origin, profile.value, below?))
}

/// Warn when a found file nobody vouched for decides to which machine the operator's session token goes.
fn stray_token(environment: &Environment, layers: &Layers, config: &Config) -> Option<String> {
    let project = layers.project.as_ref().filter(|_| layers.found == Found::Here)?;
    let (hubs, _) = (config.hubs.as_ref()?, config.session.as_ref()?);
    let Origin::File(line) = &hubs.origin else { return None };
    let far = hubs.value.iter().find(|hub| !hub.is_loopback()).filter(|_| line.file == project.file.shown)?;
    // A list of trusted files that cannot be read vouches for nothing.
    let vouched = trust::standing(environment, &project.file).is_ok_and(|standing| standing == Standing::Trusted);
    let warning = format!(
        "the session token goes to {far}, which {line} names; nobody trusted that file yet: llmhub profile trust"
    );
    (!vouched).then_some(warning)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::config::describe;
    use crate::config::testing::Folders;

    const BOTH: &str = r#"default_profile = "dev"
[profiles.dev]
hub = "http://user-file:1"
workers = 2
database_url = "postgres://u@user-file/d"
env_file = "hub.env"
session_token_env = "USER_TOKEN"
[profiles.dev.hooks]
recreate = ["user"]
[profiles.dev.env_flags.beta]
enabled = "USER_BETA"
rollout = "USER_ROLLOUT"
"#;

    #[track_caller]
    fn shown(config: &Config, key: &str) -> String {
        let row = describe(config).into_iter().find(|row| row.key == key).unwrap();
        format!("{} from {}", row.value.unwrap_or("nothing".into()), row.origin)
    }

    #[test]
    fn each_of_the_five_layers_beats_those_below_it() {
        let folders = Folders::new();
        let user = folders.user_path().display().to_string();
        let mut variables = vec![];
        let mut overrides = Overrides::default();
        #[track_caller]
        fn case(folders: &Folders, variables: &[(&str, &str)], overrides: &Overrides, key: &str, expected: &str) {
            let config = load(&folders.environment(variables), overrides).unwrap();
            assert_eq!(shown(&config, key), expected, "{key}");
        }
        case(&folders, &variables, &overrides, "hub", "nothing from default");
        case(&folders, &variables, &overrides, "ladder", "0 10 25 50 100 from default");
        case(&folders, &variables, &overrides, "protected", "false from default");

        folders.user(BOTH);
        case(&folders, &variables, &overrides, "hub", &format!("http://user-file:1 from {user}:3"));
        case(&folders, &variables, &overrides, "database", &format!("postgres://u@user-file/d from {user}:5"));
        let beside = folders.user_path().with_file_name("hub.env");
        case(&folders, &variables, &overrides, "env_file", &format!("{} from {user}:6", beside.display()));
        case(&folders, &variables, &overrides, "session_token", &format!("USER_TOKEN (not set) from {user}:7"));

        folders.project(
            "[profiles.dev]\nreplicas = [\"http://a\", \"http://b\"]\nenv_file = \"p.env\"\ndatabase_url_env = \"P_URL\"\n\
             [profiles.dev.env_flags.beta]\nenabled = \"P_BETA\"\n",
        );
        variables.push(("P_URL", "postgres://u:CANARY@p/d"));
        case(&folders, &variables, &overrides, "hub", "http://a, http://b from llmhub.toml:2");
        case(&folders, &variables, &overrides, "workers", &format!("2 from {user}:4"));
        case(&folders, &variables, &overrides, "database", "postgres://u:***@p/d from P_URL (llmhub.toml:4)");
        case(
            &folders,
            &variables,
            &overrides,
            "env_file",
            &format!("{} from llmhub.toml:3", folders.path("p.env").display()),
        );
        case(&folders, &variables, &overrides, "env_flags.beta.enabled", "P_BETA from llmhub.toml:6");
        case(&folders, &variables, &overrides, "env_flags.beta.rollout", &format!("USER_ROLLOUT from {user}:12"));
        case(&folders, &variables, &overrides, "hooks.recreate", &format!("command `user` from {user}:9"));

        variables.push(("DATABASE_URL", "postgres://e1/d"));
        case(&folders, &variables, &overrides, "database", "postgres://e1/d from DATABASE_URL");
        variables.extend([
            ("LLMHUB_DATABASE_URL", "postgres://e2/d"),
            ("LLMHUB_HUB_URL", "http://c, http://d/"),
            ("LLMHUB_ENV_FILE", "e.env"),
            ("LLMHUB_SESSION_TOKEN", "CANARY"),
        ]);
        case(&folders, &variables, &overrides, "database", "postgres://e2/d from LLMHUB_DATABASE_URL");
        case(&folders, &variables, &overrides, "hub", "http://c, http://d from LLMHUB_HUB_URL");
        let env_file = folders.path("e.env");
        case(&folders, &variables, &overrides, "env_file", &format!("{} from LLMHUB_ENV_FILE", env_file.display()));
        case(&folders, &variables, &overrides, "session_token", "*** from LLMHUB_SESSION_TOKEN");

        overrides.hubs = vec!["http://f".into()];
        overrides.database_url = Some(SecretString::from("postgres://u:CANARY@f/d"));
        overrides.env_file = Some("/abs/f.env".into());
        overrides.workers = Some("3".parse().unwrap());
        overrides.session = Some(SecretString::from("CANARY"));
        case(&folders, &variables, &overrides, "hub", "http://f from --hub");
        case(&folders, &variables, &overrides, "database", "postgres://u:***@f/d from --database-url");
        case(&folders, &variables, &overrides, "env_file", "/abs/f.env from --env-file");
        case(&folders, &variables, &overrides, "workers", "3 from --workers");
        case(&folders, &variables, &overrides, "session_token", "*** from --session");
    }

    #[test]
    fn empty_variables_change_nothing() {
        let folders = Folders::new();
        folders.user(BOTH);
        let names = ["LLMHUB_PROFILE", "LLMHUB_HUB_URL", "LLMHUB_DATABASE_URL", "DATABASE_URL", "LLMHUB_ENV_FILE"];
        let empty: Vec<(&str, &str)> = names.into_iter().map(|name| (name, "")).collect();
        let with = load(&folders.environment(&empty), &Overrides::default()).unwrap();
        let without = load(&folders.environment(&[]), &Overrides::default()).unwrap();
        assert_eq!(describe(&with), describe(&without));
    }

    #[test]
    fn a_bad_address_names_its_layer_and_hides_itself() {
        let folders = Folders::new();
        let flag = Overrides { hubs: vec!["http://u:CANARY@h".into()], ..Overrides::default() };
        let rest = "must not hold a user name or password: a URL is shown and logged";
        let error = load(&folders.environment(&[]), &flag).unwrap_err();
        assert_eq!(error.to_string(), format!("`--hub` {rest}"));
        let variable = folders.environment(&[("LLMHUB_HUB_URL", "http://ok,http://u:CANARY@h")]);
        let error = load(&variable, &Overrides::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("`LLMHUB_HUB_URL` {rest}"));
        folders.user("[profiles.dev]\nhub = \"http://u:CANARY@h\"\n");
        let error = load(&folders.environment(&[]), &Overrides::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("{}:2: `profiles.dev.hub` {rest}", folders.user_path().display()));
    }

    #[test]
    fn a_profile_that_is_in_no_file_is_named_with_the_nearest() {
        let folders = Folders::new();
        folders.user(BOTH);
        let error = load(&folders.environment(&[("LLMHUB_PROFILE", "dve")]), &Overrides::default()).unwrap_err();
        assert_eq!(error.to_string(), "LLMHUB_PROFILE: there is no profile `dve`; did you mean `dev`?");
        folders.user("default_profile = \"gone\"\n");
        let error = load(&folders.environment(&[]), &Overrides::default()).unwrap_err();
        let user = folders.user_path().display().to_string();
        assert_eq!(error.to_string(), format!("{user}:1: there is no profile `gone`"));
    }

    #[test]
    fn a_missing_variable_stops_only_who_needs_it() {
        let folders = Folders::new();
        folders.user("[profiles.dev]\ndatabase_url_env = \"PROD_URL\"\nsession_token_command = [\"pass\", \"x\"]\n");
        let config = load(&folders.environment(&[]), &Overrides::default()).unwrap();
        let error = config.database.unwrap().available().unwrap_err();
        let user = folders.user_path().display().to_string();
        assert_eq!(error.to_string(), format!("{user}:2: the variable `PROD_URL` is not set"));
        let session = config.session.unwrap();
        assert!(
            matches!(session.available(), Ok(crate::config::Available::Command([program, _])) if program == "pass")
        );
    }

    #[test]
    fn an_empty_hook_takes_one_back() {
        let folders = Folders::new();
        folders.user(BOTH);
        folders.project("[profiles.dev.hooks]\nrecreate = []\n");
        let named = Overrides { config: Some("llmhub.toml".into()), ..Overrides::default() };
        assert_eq!(load(&folders.environment(&[]), &named).unwrap().hooks.recreate, None);
    }

    #[test]
    fn the_shared_variable_that_hides_a_profile_is_pointed_out() {
        let folders = Folders::new();
        folders.user("[profiles.dev]\ndatabase_url = \"postgres://h/d\"\n");
        let warnings = |variable| {
            load(&folders.environment(&[(variable, "postgres://other/d")]), &Overrides::default()).unwrap().warnings
        };
        let user = folders.user_path().display().to_string();
        assert_eq!(
            warnings("DATABASE_URL"),
            [format!("DATABASE_URL is used, not the database of profile `dev` ({user}:2)")]
        );
        assert_eq!(warnings("LLMHUB_DATABASE_URL"), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn a_password_that_others_can_read_is_pointed_out() {
        use std::os::unix::fs::PermissionsExt;
        #[track_caller]
        fn case(url: &str, mode: u32, warned: bool) {
            let folders = Folders::new();
            folders.project(&format!("[profiles.dev]\ndatabase_url = \"{url}\"\n"));
            std::fs::set_permissions(folders.path("llmhub.toml"), std::fs::Permissions::from_mode(mode)).unwrap();
            let warnings = load(&folders.environment(&[]), &Overrides::default()).unwrap().warnings;
            let text = "`llmhub.toml` holds a database password and others can read it: chmod 600 'llmhub.toml'";
            assert_eq!(warnings, if warned { vec![text.to_owned()] } else { vec![] }, "{url} {mode:o}");
        }
        case("postgres://u:CANARY@h/d", 0o644, true);
        case("postgres://u:CANARY@h/d", 0o640, true);
        case("postgres://h/d?password=CANARY", 0o604, true);
        case("postgres://u:CANARY@h/d", 0o600, false);
        case("postgres://u@h/d", 0o644, false);
    }

    #[test]
    fn a_session_token_on_its_way_to_a_strangers_address_is_pointed_out() {
        #[track_caller]
        fn case(hub: &str, variables: &[(&str, &str)], config: Option<&str>, warned: bool) {
            let folders = Folders::new();
            folders.project(&format!("[profiles.dev]\nhub = \"{hub}\"\n"));
            let overrides = Overrides { config: config.map(Into::into), ..Overrides::default() };
            let warnings = load(&folders.environment(variables), &overrides).unwrap().warnings;
            let text = format!(
                "the session token goes to {hub}, which llmhub.toml:2 names; nobody trusted that file yet: llmhub profile trust"
            );
            assert_eq!(warnings, if warned { vec![text] } else { vec![] });
        }
        let token = [("LLMHUB_SESSION_TOKEN", "CANARY")];
        case("https://evil.example.com", &token, None, true);
        case("https://evil.example.com", &token, Some("llmhub.toml"), false);
        case("https://evil.example.com", &[], None, false);
        case("http://localhost:1", &token, None, false);
        let elsewhere = [("LLMHUB_SESSION_TOKEN", "CANARY"), ("LLMHUB_HUB_URL", "https://mine.example.com")];
        case("https://evil.example.com", &elsewhere, None, false);
    }

    #[test]
    fn no_debug_output_holds_a_secret() {
        let folders = Folders::new();
        folders.user("[profiles.dev]\ndatabase_url = \"postgres://u:CANARY@h/d\"\n");
        let variables = [
            ("LLMHUB_SESSION_TOKEN", "CANARY"),
            ("BYOK_ENCRYPTION_KEY", "CANARY"),
            ("BYOK_ENCRYPTION_KEYS_OLD", "CANARY1,CANARY2"),
        ];
        let config = load(&folders.environment(&variables), &Overrides::default()).unwrap();
        assert!(!format!("{config:?} {:?}", describe(&config)).contains("CANARY"));
        let mut secrets: Vec<_> = config.secrets().iter().map(|secret| secret.expose_secret().to_owned()).collect();
        secrets.sort();
        assert_eq!(secrets, ["CANARY", "CANARY", "CANARY", "CANARY1", "CANARY2"]);
    }
}
