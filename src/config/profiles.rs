//! The two configuration files as layers, and which of their profiles counts.
//!
//! A profile that both files have is merged key by key, `./llmhub.toml` first. Production is never the default: a protected
//! profile is used only when somebody names it.

use std::collections::BTreeSet;

use super::disk::TextFile;
use super::file::{RawFile, RawProfile};
use super::{ConfigError, Environment, Line, Origin, Overrides, Protection, Setting, Undecided, trust};

/// A profile that exists, for `profile list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileEntry {
    /// Its name.
    pub name: String,
    /// Where it stands, highest rank first; two lines when both files have it.
    pub lines: Vec<Line>,
    /// Whether it is protected.
    pub protection: Protection,
    /// Who chose it, if it is the one that counts.
    pub chosen: Option<Origin>,
}

/// All profiles, by name.
///
/// # Errors
/// As [`super::load`], but no choice is needed.
pub fn profiles(environment: &Environment, overrides: &Overrides) -> Result<Vec<ProfileEntry>, ConfigError> {
    let layers = Layers::read(environment, overrides)?;
    let chosen = layers.choose(environment, overrides, Undecided::WithoutProfile)?;
    let entry = |name: String| ProfileEntry {
        lines: layers.tables(&name).map(|(_, line)| line.clone()).collect(),
        protection: layers.merged(&name).protection.map(|setting| setting.value).unwrap_or_default(),
        chosen: chosen.as_ref().filter(|chosen| chosen.value == name).map(|chosen| chosen.origin.clone()),
        name,
    };
    Ok(layers.names().into_iter().map(entry).collect())
}

/// A file and what it says.
pub(super) struct Layer {
    pub file: TextFile,
    pub settings: RawFile,
}

/// The files that are there, checked, and allowed to say what they say.
pub(super) struct Layers {
    /// `./llmhub.toml`, or the file named instead.
    pub project: Option<Layer>,
    /// `$XDG_CONFIG_HOME/llmhub/config.toml`
    pub user: Option<Layer>,
    pub found: Found,
}

/// How the project file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// By `--config` or `LLMHUB_CONFIG`: the operator stands for it.
    Named,
    /// In the current folder.
    Here,
}

/// The user's own file, unread further.
pub(super) fn user_file(environment: &Environment) -> Result<Option<TextFile>, ConfigError> {
    let Some(folder) = environment.config_home() else { return Ok(None) };
    let path = folder.join("llmhub").join("config.toml");
    TextFile::read(path.clone(), path.display().to_string())
}

impl Layers {
    /// Read both files.
    pub(super) fn read(environment: &Environment, overrides: &Overrides) -> Result<Self, ConfigError> {
        let (file, found) = match overrides.config(environment) {
            None => {
                let here = environment.directory().join("llmhub.toml");
                (TextFile::read(here, "llmhub.toml".to_owned())?, Found::Here)
            }
            Some(Setting { value: path, origin }) => {
                let shown = path.display().to_string();
                match TextFile::read(environment.directory().join(path), shown.clone())? {
                    Some(file) => (Some(file), Found::Named),
                    None => return Err(ConfigError::NotFound { origin, path: shown }),
                }
            }
        };
        let layer = |file: TextFile| RawFile::parse(&file).map(|settings| Layer { file, settings });
        let user = user_file(environment)?.map(layer).transpose()?;
        let project = file.map(layer).transpose()?;
        if let (Found::Here, Some(project)) = (found, &project) {
            let none = RawFile::default();
            let user = user.as_ref().map_or(&none, |user| &user.settings);
            trust::check(environment, &project.file, &project.settings, user)?;
        }
        Ok(Self { project, user, found })
    }

    /// The files, highest rank first.
    pub(super) fn files(&self) -> impl Iterator<Item = &Layer> {
        self.project.iter().chain(&self.user)
    }

    fn tables<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a (RawProfile, Line)> {
        self.files().filter_map(move |layer| layer.settings.profiles.get(name))
    }

    /// The names of all profiles, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.files().flat_map(|layer| layer.settings.profiles.keys()).collect();
        names.into_iter().cloned().collect()
    }

    pub(super) fn merged(&self, name: &str) -> RawProfile {
        self.tables(name).fold(RawProfile::default(), |above, (below, _)| above.over(below.clone()))
    }

    /// The chosen profile, merged; [`ConfigError::UnknownProfile`] when no file has it.
    pub(super) fn profile(&self, chosen: &Setting<String>) -> Result<RawProfile, ConfigError> {
        if self.tables(&chosen.value).next().is_some() {
            return Ok(self.merged(&chosen.value));
        }
        let (origin, name) = (chosen.origin.clone(), chosen.value.clone());
        Err(ConfigError::UnknownProfile { origin, name, known: self.names() })
    }

    /// The profile that counts, which may be in no file. `None` when there is none to choose from or none is needed.
    pub(super) fn choose(
        &self,
        environment: &Environment,
        overrides: &Overrides,
        undecided: Undecided,
    ) -> Result<Option<Setting<String>>, ConfigError> {
        if let Some(named) = overrides.profile(environment)? {
            return Ok(Some(named));
        }
        if let Some(default) = self.files().find_map(|layer| layer.settings.default_profile.clone()) {
            return Ok(Some(default));
        }
        let known = self.names();
        match known.as_slice() {
            [] => return Ok(None),
            // Production is never the default: a protected profile is chosen by name only.
            [only] if !self.merged(only).protection.is_some_and(|setting| setting.value == Protection::Protected) => {
                return Ok(Some(Setting::fallback(only.clone())));
            }
            _ => {}
        }
        if undecided == Undecided::WithoutProfile || overrides.name_a_source(environment)? {
            Ok(None)
        } else {
            Err(ConfigError::NoProfileChosen { known })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::Folders;

    fn choice(folders: &Folders, variables: &[(&str, &str)], overrides: &Overrides) -> Result<String, ConfigError> {
        let environment = folders.environment(variables);
        let chosen = Layers::read(&environment, overrides)?.choose(&environment, overrides, overrides.undecided)?;
        Ok(chosen.map_or("none".into(), |chosen| format!("{} by {}", chosen.value, chosen.origin)))
    }

    #[test]
    fn a_flag_beats_a_variable_beats_both_files() {
        let folders = Folders::new();
        folders.project("default_profile = \"b\"\n[profiles.b]\n");
        folders.user("default_profile = \"a\"\n[profiles.a]\n");
        let variable = [("LLMHUB_PROFILE", "c")];
        let flag = Overrides { profile: Some("d".into()), ..Overrides::default() };
        assert_eq!(choice(&folders, &variable, &flag).unwrap(), "d by --profile");
        assert_eq!(choice(&folders, &variable, &Overrides::default()).unwrap(), "c by LLMHUB_PROFILE");
        assert_eq!(choice(&folders, &[], &Overrides::default()).unwrap(), "b by llmhub.toml:1");
        folders.project("[profiles.b]\n");
        assert_eq!(
            choice(&folders, &[], &Overrides::default()).unwrap(),
            format!("a by {}:1", folders.user_path().display())
        );
    }

    #[test]
    fn nobody_chose() {
        #[track_caller]
        fn case(user: &str, variables: &[(&str, &str)], expected: Result<&str, &[&str]>) {
            let folders = Folders::new();
            folders.user(user);
            let known = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let expected =
                expected.map(str::to_owned).map_err(|names| ConfigError::NoProfileChosen { known: known(names) });
            assert_eq!(choice(&folders, variables, &Overrides::default()), expected);
        }
        case("", &[], Ok("none"));
        case("[profiles.dev]", &[], Ok("dev by default"));
        case("[profiles.dev]\n[profiles.stage]", &[], Err(&["dev", "stage"]));
        case("[profiles.prod]\nprotected = true", &[], Err(&["prod"]));
        case("[profiles.dev]\n[profiles.prod]\nprotected = true", &[], Err(&["dev", "prod"]));
        let source = [("LLMHUB_HUB_URL", "http://h")];
        case("[profiles.dev]\n[profiles.stage]", &source, Ok("none"));
        case("[profiles.dev]\n[profiles.stage]", &[("DATABASE_URL", "postgres://h/d")], Ok("none"));
        case("[profiles.dev]\n[profiles.stage]", &[("LLMHUB_ENV_FILE", ".env")], Ok("none"));
        case("[profiles.dev]\n[profiles.stage]", &[("LLMHUB_ENV_FILE", "")], Err(&["dev", "stage"]));
    }

    #[test]
    fn a_command_without_a_source_needs_no_choice() {
        let folders = Folders::new();
        folders.user("[profiles.dev]\n[profiles.stage]");
        let overrides = Overrides { undecided: Undecided::WithoutProfile, ..Overrides::default() };
        assert_eq!(choice(&folders, &[], &overrides).unwrap(), "none");
    }

    #[test]
    fn profiles_are_listed_with_all_their_lines_and_the_one_that_counts() {
        let folders = Folders::new();
        folders.project("default_profile = \"dev\"\n[profiles.dev]\n");
        folders.user("[profiles.dev]\n[profiles.prod]\nprotected = true\n");
        let list = profiles(&folders.environment(&[]), &Overrides::default()).unwrap();
        let user = |number| Line { file: folders.user_path().display().to_string(), number };
        let here = |number| Line { file: "llmhub.toml".into(), number };
        assert_eq!(
            list,
            [
                ProfileEntry {
                    name: "dev".into(),
                    lines: vec![here(2), user(1)],
                    protection: Protection::Open,
                    chosen: Some(Origin::File(here(1))),
                },
                ProfileEntry {
                    name: "prod".into(),
                    lines: vec![user(2)],
                    protection: Protection::Protected,
                    chosen: None,
                },
            ]
        );
    }

    #[test]
    fn a_named_file_takes_the_place_of_the_one_here_and_must_exist() {
        let folders = Folders::new();
        folders.project("[profiles.here]\n");
        std::fs::write(folders.path("other.toml"), "[profiles.other]\n").unwrap();
        let named = Overrides { config: Some("other.toml".into()), ..Overrides::default() };
        let names = |overrides: &Overrides, variables: &[(&str, &str)]| {
            profiles(&folders.environment(variables), overrides)
                .map(|list| list.into_iter().map(|entry| entry.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&named, &[]).unwrap(), ["other"]);
        assert_eq!(names(&Overrides::default(), &[("LLMHUB_CONFIG", "other.toml")]).unwrap(), ["other"]);
        assert_eq!(names(&Overrides::default(), &[("LLMHUB_CONFIG", "")]).unwrap(), ["here"]);
        assert_eq!(names(&Overrides::default(), &[("LLMHUB_CONFIG", "/dev/null")]).unwrap(), [""; 0]);
        assert_eq!(
            names(&Overrides::default(), &[("LLMHUB_CONFIG", "none.toml")]),
            Err(ConfigError::NotFound { origin: Origin::Variable("LLMHUB_CONFIG"), path: "none.toml".into() })
        );
    }

    #[test]
    fn a_relative_xdg_folder_is_not_searched() {
        let folders = Folders::new();
        std::fs::create_dir_all(folders.path("xdg/llmhub")).unwrap();
        std::fs::write(folders.path("xdg/llmhub/config.toml"), "[profiles.stray]\n").unwrap();
        let environment = folders.environment(&[("XDG_CONFIG_HOME", "xdg")]);
        assert_eq!(profiles(&environment, &Overrides::default()).unwrap(), []);
    }
}
