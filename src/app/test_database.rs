//! `db setup-test`: which database may be made anew, who is asked, and making it.
//!
//! Refuses before anything is done. A protected profile's database is never touched: credentials that are at hand are
//! always compared, and a command that prints one is run only where a database would be dropped that llmhub did not make.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::App;
use super::progress::Progress;
use crate::config::database_url::DatabaseUrl;
use crate::config::{Available, Credential, ProtectedDatabase, Protection, Setting, protected_databases};
use crate::domain::migrations::Recorded;
use crate::domain::test_database::TestName;
use crate::error::{Error, Stage};
use crate::store::database::{Made, Origin, Outcome, Recipe, Reuse, Run, Standing, TestServer};
use crate::store::postgres::Target;

/// How long to wait for other runs: each may be building a template of hundreds of migrations.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct TestRequest {
    /// `--name`.
    pub name: Option<String>,
    /// `--dir`.
    pub dir: Option<PathBuf>,
    /// `--fresh`.
    pub reuse: Reuse,
    /// `--dry-run`.
    pub intent: TestIntent,
    /// `--reason`.
    pub reason: Option<String>,
}

/// Whether anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestIntent {
    /// It is.
    Make,
    /// It is only said what would be.
    Plan,
}

/// The test database, ready or planned.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    /// Where it is.
    pub url: DatabaseUrl,
    /// Where its content comes from.
    pub origin: Origin,
    /// Its ledger; empty for a plan.
    pub applied: Vec<Recorded>,
    /// The rows of each set; `None` where they cannot be counted.
    pub seeded: Vec<(String, Option<u64>)>,
}

impl App {
    /// Make the test database, or say what would be made.
    ///
    /// # Errors
    /// [`Error::Refused`] for a database that may not be dropped; as [`App::authorise`]; [`Error::Store`].
    pub async fn setup_test(&self, request: &TestRequest) -> Result<TestDatabase, Error> {
        let Some(base) = self.server_url().await? else {
            return Err(Error::Unsupported {
                message: "the sandbox is one database, and a test database is one beside it".to_owned(),
                hint: "llmhub --sandbox db seed fills the sandbox itself; or name a server with --database-url"
                    .to_owned(),
            });
        };
        let name = match &request.name {
            Some(name) => name.parse(),
            None => TestName::beside(base.database()),
        };
        let name: TestName =
            name.map_err(|error| Error::Refused { message: error.to_string(), hint: "--name hub_test".to_owned() })?;
        let url = base.with_database(name.as_str());
        let hidden = self.refuse_protected(&url)?;
        let (set, seeds) = (self.migrations(request.dir.as_deref())?, self.seed_sets()?);
        let ui = Arc::clone(&self.ui);
        let progress = Progress::new(&self.ui);
        let on_step = move |step: &str| ui.note(step);
        let recipe = Recipe {
            set: &set,
            seeds: &seeds,
            run: Run { watch: &progress, ..Run::new(self.operator(), PATIENCE) },
            reuse: request.reuse,
            on_step: &on_step,
        };
        let mut server = TestServer::open(&base).await?;
        let mut standing = server.look(&name, &recipe).await?;
        loop {
            self.refuse_drop(&name, &url, &standing, &hidden)?;
            if request.intent == TestIntent::Plan {
                server.close().await;
                let seeded = seeds.iter().map(|set| (set.name().to_owned(), None)).collect();
                return Ok(TestDatabase { url, origin: standing.origin, applied: Vec::new(), seeded });
            }
            let (verb, exists) = match standing.existing {
                Some(_) => ("drop the database at {} with all that is in it, and make it anew?", true),
                None => ("make the test database {}?", false),
            };
            self.authorise(verb.replace("{}", &url.to_string()), exists, request.reason.as_deref()).await?;
            self.stage(Stage::Writing("db".to_owned()));
            match server.make(&name, &recipe, &standing).await? {
                Outcome::Moved(now) => standing = now,
                Outcome::Made(Made { origin, applied, seeded }) => {
                    self.stage(Stage::Written);
                    server.close().await;
                    return Ok(TestDatabase { url, origin, applied, seeded });
                }
            }
            self.stage(Stage::NothingWritten);
        }
    }

    /// The configured server; `None` for the sandbox.
    async fn server_url(&self) -> Result<Option<DatabaseUrl>, Error> {
        if self.sandboxed() {
            return Ok(None);
        }
        match self.target().await? {
            Target::Url(url) => Ok(Some(url)),
            #[cfg(feature = "sandbox")]
            Target::Sandbox(_) => Ok(None),
        }
    }

    /// Refuse the database of a protected profile; returns those profiles whose database cannot be known by reading alone.
    fn refuse_protected(&self, url: &DatabaseUrl) -> Result<Vec<ProtectedDatabase>, Error> {
        let mut databases = protected_databases(self.environment(), &self.options.overrides)?;
        let config = self.config();
        if let (Protection::Protected, Some(profile), Some(database @ Setting { value: Credential::Text(_), .. })) =
            (config.protection.value, &config.profile, &config.database)
        {
            // The command line or a variable may have put another database in the place of the profile's.
            databases.push(ProtectedDatabase { profile: profile.value.clone(), database: database.clone() });
        }
        let (known, hidden): (Vec<_>, Vec<_>) =
            databases.into_iter().partition(|found| matches!(found.database.value, Credential::Text(_)));
        for found in known {
            if let Credential::Text(text) = &found.database.value {
                refuse_same(url, text.expose_secret(), &found.profile)?;
            }
        }
        Ok(hidden)
    }

    /// Refuse to drop what is not a test database's.
    fn refuse_drop(
        &self,
        name: &TestName,
        url: &DatabaseUrl,
        standing: &Standing,
        hidden: &[ProtectedDatabase],
    ) -> Result<(), Error> {
        let Some(existing) = &standing.existing else { return Ok(()) };
        let comment = existing.comment.as_deref();
        if !name.may_be_dropped(comment) {
            return Err(Error::Refused {
                message: format!(
                    "the database {url} exists, its name does not end in `_test` and llmhub did not make it: it is not dropped"
                ),
                hint: format!("--name {name}_test"),
            });
        }
        if name.is_marked(comment) {
            return Ok(());
        }
        for found in hidden {
            let unknown = |why: String| Error::Refused {
                message: format!(
                    "{url} exists and llmhub did not make it, and whether it is the database of the protected profile `{}` \
                     cannot be known: {why}",
                    found.profile
                ),
                hint: "take another --name, or drop that database yourself, once".to_owned(),
            };
            let text = match found.database.available().map_err(|error| unknown(error.to_string()))? {
                Available::Text(text) => text.clone(),
                Available::Command(words) => {
                    crate::store::command::secret(words, "database URL").map_err(|error| unknown(error.to_string()))?
                }
            };
            refuse_same(url, text.expose_secret(), &found.profile)?;
        }
        Ok(())
    }
}

/// Refuse when `text` names the database of `url`, or when nobody can tell.
fn refuse_same(url: &DatabaseUrl, text: &str, profile: &str) -> Result<(), Error> {
    match DatabaseUrl::parse(text) {
        Ok(protected) if !protected.is_same_database(url) => Ok(()),
        Ok(_) => Err(Error::Refused {
            message: format!("{url} is the database of the protected profile `{profile}`: it is never made anew"),
            hint: "--name of another database".to_owned(),
        }),
        Err(error) => Err(Error::Refused {
            message: format!(
                "the database URL of the protected profile `{profile}` cannot be read, so nothing is dropped: {error}"
            ),
            hint: "correct that profile: llmhub profile show".to_owned(),
        }),
    }
}
