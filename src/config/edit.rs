//! The two edits llmhub makes to a configuration file: writing a first one, and choosing the default profile.
//!
//! Choosing changes one value and leaves every other byte, comments and line endings included. A new file never replaces one.

use std::path::{Path, PathBuf};

use super::disk::{self, TextFile};
use super::profiles::Layers;
use super::trust::{self, Standing};
use super::{ConfigError, Environment, Origin, Overrides, Setting, section};

/// A first `llmhub.toml`, with a comment for every key.
pub const STARTER: &str = include_str!("starter.toml");

/// Write [`STARTER`] to `path`.
///
/// # Errors
/// [`ConfigError::Exists`] or [`ConfigError::Unwritable`].
pub fn init(path: &Path) -> Result<(), ConfigError> {
    disk::create(path, STARTER)
}

/// What [`use_profile`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The file that holds the choice.
    pub path: PathBuf,
    /// The choice it held before; the same name when nothing had to be written.
    pub before: Option<String>,
}

/// Make `name` the default profile: in `./llmhub.toml` (or the file named instead) if there is one, else in the user's file.
/// A file that was trusted stays trusted.
///
/// # Errors
/// [`ConfigError::UnknownProfile`] when no file has it, [`ConfigError::NoFile`] when there is none, or what makes the file
/// unfit; the file is as it was before.
pub fn use_profile(environment: &Environment, overrides: &Overrides, name: &str) -> Result<Used, ConfigError> {
    let layers = Layers::read(environment, overrides)?;
    let layer = layers.files().next().ok_or(ConfigError::NoFile)?;
    let chosen = Setting::new(name.to_owned(), Origin::Flag("profile use"));
    layers.profile(&chosen)?;
    let path = layer.file.path.clone();
    let before = layer.settings.default_profile.as_ref().map(|setting| setting.value.clone());
    if before.as_deref() != Some(name) {
        // Without a state folder nothing was ever trusted, and nothing needs to be trusted again.
        let standing = trust::standing(environment, &layer.file)?;
        disk::replace(&path, &with_default(&layer.file, name)?)?;
        if standing == Standing::Trusted {
            trust::trust(environment, &trust::review(environment, Some(&path))?)?;
        }
    }
    Ok(Used { path, before })
}

/// The whole text of the file with another `default_profile`.
fn with_default(file: &TextFile, name: &str) -> Result<String, ConfigError> {
    let quoted = toml::Value::from(name).to_string();
    let table = section::parse(file)?;
    let text = &file.text;
    let span = table.iter().find(|(key, _)| key.get_ref() == "default_profile").map(|(_, value)| value.span());
    // The span comes from parsing this very text, so both cuts are on character borders.
    let around = span.and_then(|span| Some((text.get(..span.start)?, text.get(span.end..)?)));
    let edited = match around {
        Some((head, tail)) => format!("{head}{quoted}{tail}"),
        None => {
            let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
            format!("default_profile = {quoted}{end}{text}")
        }
    };
    Ok(format!("{}{edited}", file.mark))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::testing::{Folders, text_file};
    use crate::config::{file::RawFile, load};

    #[test]
    fn the_starter_works_as_it_is_and_with_every_line_switched_on() {
        let folders = Folders::new();
        init(&folders.path("llmhub.toml")).unwrap();
        let config = load(&folders.environment(&[]), &Overrides::default()).unwrap();
        assert_eq!((config.profile.unwrap().value.as_str(), config.warnings.len()), ("dev", 0));
        assert_eq!(init(&folders.path("llmhub.toml")).unwrap_err().code(), "config_exists");

        let on = |line: &str| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
            _ => line.to_owned(),
        };
        let all: Vec<String> = STARTER.lines().map(on).collect();
        let file = RawFile::parse(&text_file(&all.join("\n"))).unwrap();
        assert!(file.profiles["prod"].0.hooks.allow_writes.is_some());
        assert!(file.profiles["dev"].0.env_flags["beta"].end_date.is_some());
    }

    #[test]
    fn choosing_changes_one_value_and_no_other_byte() {
        #[track_caller]
        fn case(before: &str, after: &str) {
            let folders = Folders::new();
            folders.project(before);
            use_profile(&folders.environment(&[]), &Overrides::default(), "b").unwrap();
            assert_eq!(fs::read_to_string(folders.path("llmhub.toml")).unwrap(), after);
        }
        case(
            "# mine\ndefault_profile = 'a'   # why\n\n[profiles.a]\n[profiles.b] # x",
            "# mine\ndefault_profile = \"b\"   # why\n\n[profiles.a]\n[profiles.b] # x",
        );
        case("[profiles.b]\n", "default_profile = \"b\"\n[profiles.b]\n");
        case("\u{feff}[profiles.b]\r\n", "\u{feff}default_profile = \"b\"\r\n[profiles.b]\r\n");
        case(
            "\u{feff}# ü\r\ndefault_profile=\"a\"\r\n[profiles.b]\r\n",
            "\u{feff}# ü\r\ndefault_profile=\"b\"\r\n[profiles.b]\r\n",
        );
    }

    #[test]
    fn an_odd_name_is_quoted_so_that_it_reads_back() {
        for name in ["a\"b", "a\\b", "a'b\"c", "a b", "ü", "a\nb"] {
            let folders = Folders::new();
            let key = toml_edit::Key::new(name);
            folders.project(&format!("[profiles.{}]\n", key.display_repr()));
            use_profile(&folders.environment(&[]), &Overrides::default(), name).unwrap();
            let config = load(&folders.environment(&[]), &Overrides::default()).unwrap();
            assert_eq!(config.profile.unwrap().value, name);
        }
    }

    #[test]
    fn choosing_what_is_chosen_writes_nothing() {
        let folders = Folders::new();
        folders.project("default_profile = 'a'\n[profiles.a]\n");
        let used = use_profile(&folders.environment(&[]), &Overrides::default(), "a").unwrap();
        assert_eq!(used, Used { path: folders.path("llmhub.toml"), before: Some("a".into()) });
        assert!(fs::read_to_string(folders.path("llmhub.toml")).unwrap().starts_with("default_profile = 'a'"));
    }

    #[test]
    fn a_name_that_no_file_has_is_refused_and_nothing_is_written() {
        let folders = Folders::new();
        let choose = |name| use_profile(&folders.environment(&[]), &Overrides::default(), name);
        assert_eq!(choose("a"), Err(ConfigError::NoFile));
        folders.user("[profiles.stage]\n");
        let error = choose("stag").unwrap_err();
        assert_eq!(error.to_string(), "profile use: there is no profile `stag`; did you mean `stage`?");
        assert_eq!(fs::read_to_string(folders.user_path()).unwrap(), "[profiles.stage]\n");
        assert_eq!(choose("stage").unwrap().path, folders.user_path());
    }

    #[test]
    fn a_trusted_file_stays_trusted_and_an_untrusted_one_does_not_become_it() {
        let folders = Folders::new();
        let environment = folders.environment(&[]);
        folders.project("[profiles.a]\npg_tools = [\"x\"]\n[profiles.b]\n");
        let named = Overrides { config: Some("llmhub.toml".into()), ..Overrides::default() };
        use_profile(&environment, &named, "b").unwrap();
        assert_eq!(load(&environment, &Overrides::default()).unwrap_err().code(), "config_untrusted");
        trust::trust(&environment, &trust::review(&environment, None).unwrap()).unwrap();
        use_profile(&environment, &Overrides::default(), "a").unwrap();
        assert_eq!(load(&environment, &Overrides::default()).unwrap().profile.unwrap().value, "a");
    }
}
