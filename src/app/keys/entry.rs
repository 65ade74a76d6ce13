//! The ways in which a provider's key reaches llmhub: never as an argument, which everybody on the machine can read.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::app::App;
use crate::domain::keys::secret::ProviderKey;
use crate::error::Error;
use crate::store::{command, files};

/// Where the key comes from.
#[derive(Clone, Debug)]
pub enum WayIn {
    /// Typed at a prompt that shows nothing.
    Prompt,
    /// A file that only its owner can read, or stdin as `-`.
    File(PathBuf),
    /// An environment variable, by name.
    Variable(String),
    /// The first line that a program prints, run without a shell.
    Command(Vec<String>),
}

/// What to give where nobody can be asked.
const INSTEAD: &str = "--stdin, --from-file, --from-env or --from-command";

impl App {
    /// The key, blotted out of everything that is said from here on.
    ///
    /// # Errors
    /// What the way says, or [`Error::Refused`] for a text that is no key; the text is never repeated.
    pub async fn provider_key(&self, way: WayIn, whose: &str) -> Result<ProviderKey, Error> {
        let text = match way {
            WayIn::Prompt => {
                let (ui, question) = (Arc::clone(&self.ui), format!("API key of {whose}"));
                let typed = tokio::task::spawn_blocking(move || ui.ask_hidden(&question, INSTEAD)).await;
                typed.map_err(|_| Error::Bug("the prompt died".to_owned()))??
            }
            WayIn::File(path) => self.secret_text(&path).await?,
            WayIn::Variable(name) => match self.environment().variable(&name)? {
                Some(text) => Zeroizing::new(text.to_owned()),
                None => {
                    return Err(Error::Usage {
                        message: format!("the environment variable {name} is not set, or is empty"),
                        hint: format!("export it in this shell, or give another of {INSTEAD}"),
                    });
                }
            },
            WayIn::Command(words) => {
                let ran = tokio::task::spawn_blocking(move || command::secret(&words, "API key")).await;
                let secret = ran.map_err(|_| Error::Bug("the reader died".to_owned()))??;
                Zeroizing::new(secret.expose_secret().to_owned())
            }
        };
        self.ui.redact([text.trim()]);
        let key = ProviderKey::parse(&text).map_err(|fault| Error::Refused {
            message: format!("{fault}; nothing was written"),
            hint: "give the key alone, on one line".to_owned(),
        })?;
        self.ui.redact([key.expose()]);
        Ok(key)
    }

    /// The text of a file of secrets that only its owner can read, or of stdin for `-`.
    ///
    /// # Errors
    /// [`Error::Store`] as [`files::read_secret`]; [`Error::Usage`] for a terminal as stdin.
    pub async fn secret_text(&self, path: &Path) -> Result<Zeroizing<String>, Error> {
        if path == Path::new("-") && std::io::stdin().is_terminal() {
            return Err(Error::Usage {
                message: "stdin is a terminal, which would show the secret as it is typed".to_owned(),
                hint: "pipe it in, or leave --stdin out: llmhub keys set asks without showing".to_owned(),
            });
        }
        let path = path.to_owned();
        // Stdin may be a pipe that waits: signals must be heard meanwhile.
        let read = tokio::task::spawn_blocking(move || files::read_secret(&path)).await;
        let secret = read.map_err(|_| Error::Bug("the reader died".to_owned()))??;
        Ok(Zeroizing::new(secret.expose_secret().to_owned()))
    }
}
