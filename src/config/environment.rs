//! The process environment, seen once.
//!
//! [`Environment::capture`] is the only place that reads `std::env`; everything else asks the snapshot. An empty variable
//! counts as unset, and a relative XDG folder is ignored, as the XDG base directory specification demands.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// A snapshot of the environment variables and the current folder.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    directory: PathBuf,
}

impl Environment {
    /// The environment of this process.
    ///
    /// # Errors
    /// [`ConfigError::NoDirectory`] when the current folder was deleted or may not be read.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the process environment")]
    pub fn capture() -> Result<Self, ConfigError> {
        let directory = std::env::current_dir().map_err(|error| ConfigError::NoDirectory(error.kind().to_string()))?;
        Ok(Self::new(directory, std::env::vars_os()))
    }

    /// An environment made of the given variables; `directory` is the current folder.
    pub fn new<K, V>(directory: impl Into<PathBuf>, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, directory: directory.into() }
    }

    /// The current folder: the base of every relative path that comes from the command line or a variable.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A variable, byte for byte; `None` when unset or empty.
    pub fn variable_os(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable as text; `None` when unset or empty.
    ///
    /// # Errors
    /// [`ConfigError::NotUnicode`], which names the variable and never its value.
    pub fn variable(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.variable_os(name).map(OsStr::to_str) {
            None => Ok(None),
            Some(Some(text)) => Ok(Some(text)),
            Some(None) => Err(ConfigError::NotUnicode(name.to_owned())),
        }
    }

    /// All variables, for a program that is started with some of them.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The operator's home folder, if it is known and absolute.
    pub fn home(&self) -> Option<&Path> {
        self.folder(if cfg!(windows) { "USERPROFILE" } else { "HOME" })
    }

    /// `$XDG_CONFIG_HOME`, else `~/.config`: what the operator writes.
    pub fn config_home(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config")
    }

    /// `$XDG_STATE_HOME`, else `~/.local/state`: what llmhub remembers between two runs.
    pub fn state_home(&self) -> Option<PathBuf> {
        self.xdg("XDG_STATE_HOME", ".local/state")
    }

    /// `$XDG_DATA_HOME`, else `~/.local/share`: what would be missed if it were lost.
    pub fn data_home(&self) -> Option<PathBuf> {
        self.xdg("XDG_DATA_HOME", ".local/share")
    }

    /// `$XDG_CACHE_HOME`, else `~/.cache`: what can be made again.
    pub fn cache_home(&self) -> Option<PathBuf> {
        self.xdg("XDG_CACHE_HOME", ".cache")
    }

    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        self.folder(variable).map(Path::to_path_buf).or_else(|| Some(self.home()?.join(below_home)))
    }

    fn folder(&self, variable: &str) -> Option<&Path> {
        self.variable_os(variable).map(Path::new).filter(|path| path.is_absolute())
    }
}

impl fmt::Debug for Environment {
    /// Names only: the values hold tokens and passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.variables.keys().collect();
        f.debug_struct("Environment").field("variables", &names).field("directory", &self.directory).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new("/folder", variables.iter().copied())
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let environment = environment(&[("A", ""), ("B", "x")]);
        assert_eq!(environment.variable("A"), Ok(None));
        assert_eq!(environment.variable("B"), Ok(Some("x")));
        assert_eq!(environment.variable("C"), Ok(None));
    }

    #[test]
    fn xdg_folders_fall_back_to_home_and_ignore_relative_paths() {
        #[track_caller]
        fn case(variables: &[(&str, &str)], expected: Option<&str>) {
            assert_eq!(environment(variables).config_home(), expected.map(PathBuf::from));
        }
        case(&[("XDG_CONFIG_HOME", "/xdg"), ("HOME", "/home/ann")], Some("/xdg"));
        case(&[("XDG_CONFIG_HOME", "relative"), ("HOME", "/home/ann")], Some("/home/ann/.config"));
        case(&[("XDG_CONFIG_HOME", ""), ("HOME", "/home/ann")], Some("/home/ann/.config"));
        case(&[("HOME", "/home/ann")], Some("/home/ann/.config"));
        case(&[("HOME", "ann")], None);
        case(&[], None);
        let home = environment(&[("HOME", "/home/ann")]);
        assert_eq!(home.state_home(), Some("/home/ann/.local/state".into()));
        assert_eq!(home.data_home(), Some("/home/ann/.local/share".into()));
        assert_eq!(home.cache_home(), Some("/home/ann/.cache".into()));
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let shown = format!("{:?}", environment(&[("DATABASE_URL", "postgres://u:CANARY@h/d")]));
        assert!(shown.contains("DATABASE_URL") && !shown.contains("CANARY"), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf8_is_an_error_that_names_it() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = OsString::from_vec(vec![b'x', 0xff]);
        let environment = Environment::new("/", [(OsString::from("LLMHUB_PROFILE"), bytes)]);
        assert_eq!(environment.variable("LLMHUB_PROFILE"), Err(ConfigError::NotUnicode("LLMHUB_PROFILE".into())));
    }
}
