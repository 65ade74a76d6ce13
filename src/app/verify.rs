//! Verifying migrations, and keeping what was proven.
//!
//! The scratch databases stand on the server that the operator named for it, else beside the profile's database. Proofs are
//! kept in the profile's database, never on the scratch server.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::App;
use super::migrate::PATIENCE;
use crate::config::database_url::DatabaseUrl;
use crate::domain::migrations::Set;
use crate::domain::proof::Proof;
use crate::error::Error;
use crate::store::database::{self, Examined, How, Rights, Run};
use crate::store::postgres::Target;

/// How to verify.
#[derive(Clone, Debug)]
pub struct VerifyWish {
    /// The folder, instead of the profile's.
    pub dir: Option<PathBuf>,
    /// A scratch server, instead of the profile's: its URL, or `env:` and the name of the variable that holds it.
    pub url: Option<SecretString>,
    /// With whose rights the scripts run.
    pub rights: Rights,
    /// How long one statement may take.
    pub limit: Duration,
    /// How many scratch databases to use at once; without it as many as this machine has processors, at most four.
    pub workers: Option<NonZeroUsize>,
}

impl App {
    /// Examine the migrations of `set`. Returns also where that was, without a password.
    ///
    /// # Errors
    /// [`Error::DatabaseUrl`], and as [`database::verify`].
    pub async fn verify(&self, set: &Set, wish: &VerifyWish) -> Result<(Vec<Examined>, String), Error> {
        let server = self.scratch_server(wish.url.as_ref()).await?;
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(4);
        let on_done = |label: &str, done: usize, of: usize| {
            self.ui.progress(&format!("{} {done}/{of}  {label}", bar(done, of)));
        };
        let workers = wish.workers.map_or(processors, NonZeroUsize::get);
        let how = How { rights: wish.rights, limit: wish.limit, workers, on_done: &on_done };
        self.ui.progress(&format!("{} 0/{}", bar(0, set.migrations().len()), set.migrations().len()));
        let found = database::verify(&server, set.migrations(), &how).await;
        self.ui.progress_end();
        Ok((found?, server.to_string()))
    }

    /// Keep proofs in the profile's database.
    ///
    /// # Errors
    /// As [`database::keep_proofs`].
    pub async fn keep_proofs(&self, proofs: &[Proof], reason: Option<&str>) -> Result<(), Error> {
        let run = Run { reason: reason.map(str::to_owned), ..Run::new(self.operator(), PATIENCE) };
        Ok(database::keep_proofs(&self.target().await?, proofs, &run).await?)
    }

    async fn scratch_server(&self, typed: Option<&SecretString>) -> Result<Target, Error> {
        let Some(typed) = typed else { return self.target().await };
        let text = match typed.expose_secret().strip_prefix("env:") {
            None => typed.clone(),
            // Where everybody on this machine could read an argument.
            Some(name) => match self.environment.variable(name)? {
                Some(url) => SecretString::from(url),
                None => {
                    return Err(Error::Refused {
                        message: format!("--url names the variable {name}, which is not set"),
                        hint: format!("export {name}=postgres://…"),
                    });
                }
            },
        };
        let url = DatabaseUrl::parse(text.expose_secret())
            .map_err(|error| Error::DatabaseUrl { origin: "--url".to_owned(), error })?;
        if let Some(password) = url.password() {
            self.ui.redact([text.expose_secret(), password.expose_secret()]);
        }
        Ok(Target::Url(url))
    }
}

/// Twenty places, filled as far as it is done.
fn bar(done: usize, of: usize) -> String {
    let filled = (done * 20).checked_div(of).unwrap_or(20).min(20);
    format!("[{}{}]", "=".repeat(filled), " ".repeat(20 - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_empty_before_and_full_after_and_never_longer() {
        #[track_caller]
        fn case(done: usize, of: usize, filled: usize) {
            let bar = bar(done, of);
            assert_eq!((bar.len(), bar.matches('=').count()), (22, filled), "{bar}");
        }
        case(0, 3, 0);
        case(1, 3, 6);
        case(3, 3, 20);
        case(0, 0, 20);
    }
}
