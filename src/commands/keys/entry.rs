//! The options that say where a key comes from; there is none that takes the key itself.

use std::path::PathBuf;

use clap::Args;

use super::target::refuse_keys;
use crate::app::{App, WayIn};
use crate::domain::keys::words::split;
use crate::error::Error;

/// Where the key comes from; without any of them it is asked for.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Entry {
    /// Read the key from stdin
    #[arg(long, help_heading = "The key")]
    stdin: bool,
    /// Read the key from a file that only its owner can read, or from stdin as -
    #[arg(long, value_name = "FILE", help_heading = "The key")]
    from_file: Option<PathBuf>,
    /// Take the key from this environment variable
    #[arg(long, value_name = "VAR", help_heading = "The key")]
    from_env: Option<String>,
    /// Take the first line that a program prints, such as 'pass show openai'; run without a shell
    #[arg(long, value_name = "COMMAND", help_heading = "The key")]
    from_command: Option<String>,
}

impl Entry {
    /// The way that was chosen, if any was.
    ///
    /// # Errors
    /// As [`Entry::way`].
    pub fn given(self, app: &App) -> Result<Option<WayIn>, Error> {
        match self.way(app)? {
            WayIn::Prompt => Ok(None),
            way => Ok(Some(way)),
        }
    }

    /// The way that was chosen.
    ///
    /// # Errors
    /// [`Error::Usage`] for a word that looks like a key, or a command that cannot be split.
    pub fn way(self, app: &App) -> Result<WayIn, Error> {
        let file = self.from_file.as_ref().map(|path| path.to_string_lossy().into_owned());
        refuse_keys(app, file.as_deref().into_iter().chain(self.from_env.as_deref()))?;
        Ok(match (self.stdin, self.from_file, self.from_env, self.from_command) {
            (true, ..) => WayIn::File(PathBuf::from("-")),
            (_, Some(path), ..) => WayIn::File(path),
            (_, _, Some(variable), _) => WayIn::Variable(variable),
            (.., Some(line)) => WayIn::Command(split(&line).map_err(|why| Error::Usage {
                message: format!("--from-command: {why}"),
                hint: "--from-command 'pass show openai'".to_owned(),
            })?),
            (false, None, None, None) => WayIn::Prompt,
        })
    }
}
