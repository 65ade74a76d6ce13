//! Folders for the unit tests of `config`: a current folder, a home, and nothing of the real machine.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::Environment;
use super::disk::{Readers, TextFile};

/// A current folder with a home below it; gone when dropped.
pub(super) struct Folders(TempDir);

impl Folders {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn user_path(&self) -> PathBuf {
        self.path("home/.config/llmhub/config.toml")
    }

    /// Write `./llmhub.toml`.
    pub(super) fn project(&self, text: &str) {
        fs::write(self.path("llmhub.toml"), text).unwrap();
        self.close("llmhub.toml");
    }

    /// Write the user's file.
    pub(super) fn user(&self, text: &str) {
        fs::create_dir_all(self.path("home/.config/llmhub")).unwrap();
        fs::write(self.user_path(), text).unwrap();
        self.close("home/.config/llmhub/config.toml");
    }

    /// An environment with `HOME` and these variables.
    pub(super) fn environment(&self, variables: &[(&str, &str)]) -> Environment {
        let home = self.path("home").into_os_string();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        Environment::new(self.0.path(), variables.chain([("HOME".to_owned(), home)]))
    }

    /// So that the mode of the test's umask adds no warning.
    fn close(&self, name: &str) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        #[cfg(not(unix))]
        let _ = name;
    }
}

/// A file `llmhub.toml` in the folder `/project` that was never written.
pub(super) fn text_file(text: &str) -> TextFile {
    TextFile::of("/project/llmhub.toml".into(), "llmhub.toml".into(), text.to_owned(), Readers::Owner)
}
