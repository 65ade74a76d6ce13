//! Opening sources: which ones a command acts on, and what each can do. One table of profile and capability.
//!
//! Reads take the first that is configured of hub, db, env. Writes never guess (DESIGN 1).

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{App, REQUEST, WRITE};
use crate::config::database_url::DatabaseUrl;
use crate::config::{Available, Credential, HubUrl, Origin, Setting, SourceName};
use crate::domain::flags::env_names::{EnvMapping, EnvNames};
use crate::domain::flags::{FlagKey, FlagKeyError};
use crate::error::Error;
use crate::store::env_file::EnvFlags;
use crate::store::hub::keys::{HubKeyOptions, HubKeys};
use crate::store::hub::{HubFlags, HubOptions};
use crate::store::postgres::{PostgresFlags, Target};
use crate::store::{FlagCatalog, FlagHistory, FlagStore, Source, command};

/// What the program of a credential may take in an emergency: long enough for one that has to ask a server, short enough that
/// nobody watches a flag stay on while it hangs.
const EMERGENCY: Duration = Duration::from_secs(5);

impl App {
    /// The sources that are configured, in the order in which reads prefer them.
    pub fn configured(&self) -> Vec<Source> {
        let mut sources: Vec<Source> = self.config().sources().into_iter().map(source).collect();
        if self.sandboxed() && !sources.contains(&Source::Db) {
            sources.push(Source::Db);
        }
        sources
    }

    /// The sources that were typed on the command line: they say where to act as plainly as `--via` does.
    pub(super) fn typed(&self) -> Vec<Source> {
        let config = self.config();
        let typed = |origin: Option<&Origin>| matches!(origin, Some(Origin::Flag(_)));
        [
            (Source::Hub, typed(config.hubs.as_ref().map(|setting| &setting.origin))),
            (Source::Db, self.sandboxed() || typed(config.database.as_ref().map(|setting| &setting.origin))),
            (Source::Env, typed(config.env_file.as_ref().map(|setting| &setting.origin))),
        ]
        .into_iter()
        .filter_map(|(source, typed)| typed.then_some(source))
        .collect()
    }

    /// The source of a read: the one that `--via` names, else the first that is configured. A source that
    /// was typed comes before one of the profile: whoever says `--sandbox` does not mean production.
    ///
    /// # Errors
    /// [`Error::NoSource`], [`Error::SourceNotConfigured`], [`Error::Usage`] for more than one.
    pub async fn reader(&self, via: &[Source]) -> Result<Box<dyn FlagStore>, Error> {
        let source = match via {
            [] => *self.typed().first().or(self.configured().first()).ok_or(Error::NoSource)?,
            [source] => *source,
            _ => {
                return Err(Error::Usage {
                    message: "a read takes one source".to_owned(),
                    hint: "--via hub; to compare sources: llmhub flags diff --between hub,db".to_owned(),
                });
            }
        };
        self.source(source).await
    }

    /// These sources, or all that are configured.
    ///
    /// # Errors
    /// As [`App::reader`].
    pub async fn readers(&self, chosen: &[Source]) -> Result<Vec<Box<dyn FlagStore>>, Error> {
        let chosen = if chosen.is_empty() { self.configured() } else { distinct(chosen) };
        if chosen.is_empty() {
            return Err(Error::NoSource);
        }
        self.open_all(&chosen).await
    }

    /// The sources of a write, in the order to write: `--via`, else the one that was typed, else the profile's `write`, else
    /// the only one there is.
    ///
    /// # Errors
    /// [`Error::AmbiguousWrite`] where that is not one.
    pub async fn writers(&self, via: &[Source]) -> Result<Vec<Box<dyn FlagStore>>, Error> {
        let (typed, configured) = (self.typed(), self.configured());
        let chosen = match (via, typed.as_slice(), &self.config().write, configured.as_slice()) {
            ([_, ..], ..) => distinct(via),
            ([], [one], ..) => vec![*one],
            ([], [_, ..], ..) => return Err(Error::AmbiguousWrite(typed)),
            ([], [], Some(write), _) => write.value.iter().map(|name| source(*name)).collect(),
            ([], [], None, []) => return Err(Error::NoSource),
            ([], [], None, [one]) => vec![*one],
            ([], [], None, _) => return Err(Error::AmbiguousWrite(configured)),
        };
        self.open_all(&chosen).await
    }

    async fn open_all(&self, chosen: &[Source]) -> Result<Vec<Box<dyn FlagStore>>, Error> {
        let mut stores = Vec::new();
        for source in chosen {
            stores.push(self.source(*source).await?);
        }
        Ok(stores)
    }

    async fn source(&self, source: Source) -> Result<Box<dyn FlagStore>, Error> {
        Ok(match source {
            Source::Hub => Box::new(self.hub()?),
            Source::Db => Box::new(self.postgres().await?),
            Source::Env => Box::new(self.env_file()?),
        })
    }

    /// The hub.
    ///
    /// # Errors
    /// [`Error::SourceNotConfigured`], or the reason why the session token cannot be had.
    pub fn hub(&self) -> Result<HubFlags, Error> {
        if self.config().hubs.is_none() {
            return Err(missing(self, Source::Hub));
        }
        let session = self.session(command::PATIENCE)?;
        if let (Some(_), Some(url)) = (&session, self.clear_address()) {
            return Err(Error::Refused {
                message: format!("the session token would travel to {url} in clear text"),
                hint: "use an https:// address, or a tunnel to a loopback one".to_owned(),
            });
        }
        self.hub_as(session)
    }

    /// The hub for an emergency: a login that cannot be had, or must not travel, is left out and said, since anonymous clients
    /// may switch a flag off too.
    pub(super) fn hub_in_emergency(&self) -> Result<HubFlags, Error> {
        let session = match (self.session(EMERGENCY), self.clear_address()) {
            (Ok(Some(_)), Some(url)) => {
                self.ui.warn(&format!("{url} speaks clear text: the login is not used, an anonymous session is"));
                None
            }
            (Ok(session), _) => session,
            (Err(error), _) => {
                self.ui.warn(&format!("there is no login, an anonymous session is used: {error}"));
                None
            }
        };
        self.hub_as(session)
    }

    /// An address to which a secret must not go.
    fn clear_address(&self) -> Option<&HubUrl> {
        let addresses = &self.config().hubs.as_ref()?.value;
        addresses.iter().find(|url| url.url().scheme() == "http" && !url.is_loopback())
    }

    fn hub_as(&self, session: Option<SecretString>) -> Result<HubFlags, Error> {
        let config = self.config();
        let Some(addresses) = &config.hubs else {
            return Err(missing(self, Source::Hub));
        };
        let identity_flag = config.identity_flag.as_ref().and_then(|name| name.value.parse().ok());
        let request_timeout = self.options.timeout.map_or(REQUEST, |timeout| REQUEST.min(timeout));
        Ok(HubFlags::new(HubOptions {
            addresses: addresses.value.iter().map(|url| url.url().clone()).collect(),
            workers: config.workers.as_ref().map(|workers| workers.value.count()),
            session,
            identity_flag,
            state: self.state_folder(),
            ca_file: self.options.ca_file.clone(),
            request_timeout,
            write_timeout: self.options.timeout.map_or(WRITE, |timeout| WRITE.min(timeout)),
            clock: Self::now,
        }))
    }

    /// The provider keys of the hub, for an admin's session.
    ///
    /// # Errors
    /// As [`App::hub`]; without a session [`Error::Store`].
    pub fn hub_keys(&self) -> Result<HubKeys, Error> {
        let Some(addresses) = &self.config().hubs else {
            return Err(missing(self, Source::Hub));
        };
        Ok(HubKeys::new(HubKeyOptions {
            addresses: addresses.value.clone(),
            session: self.session(command::PATIENCE)?,
            ca_file: self.options.ca_file.clone(),
            request_timeout: self.options.timeout,
        })?)
    }

    /// The session token, which is never shown from here on.
    fn session(&self, patience: Duration) -> Result<Option<SecretString>, Error> {
        let session = self.config().session.as_ref();
        let session = session.map(|session| self.credential(session, "session token", patience)).transpose()?;
        self.ui.redact(session.iter().map(ExposeSecret::expose_secret));
        Ok(session)
    }

    /// The env file.
    ///
    /// # Errors
    /// [`Error::SourceNotConfigured`].
    pub fn env_file(&self) -> Result<EnvFlags, Error> {
        let config = self.config();
        let Some(path) = &config.env_file else {
            return Err(missing(self, Source::Env));
        };
        Ok(EnvFlags::new(path.value.clone(), self.env_names()?))
    }

    /// The flags in the database.
    ///
    /// # Errors
    /// [`Error::SourceNotConfigured`], [`Error::DatabaseUrl`], or what the sandbox says.
    pub async fn postgres(&self) -> Result<PostgresFlags, Error> {
        Ok(PostgresFlags::new(self.target().await?))
    }

    /// How to open the database.
    ///
    /// # Errors
    /// As [`App::postgres`].
    pub(super) async fn target(&self) -> Result<Target, Error> {
        self.target_within(command::PATIENCE).await
    }

    /// How to open the database, without waiting long for the program that knows its password.
    ///
    /// # Errors
    /// As [`App::postgres`].
    pub(super) async fn target_in_emergency(&self) -> Result<Target, Error> {
        self.target_within(EMERGENCY).await
    }

    async fn target_within(&self, patience: Duration) -> Result<Target, Error> {
        if self.sandboxed() {
            return self.sandbox().await;
        }
        let Some(database) = &self.config().database else {
            return Err(missing(self, Source::Db));
        };
        let text = self.credential(database, "database URL", patience)?;
        let url = DatabaseUrl::parse(text.expose_secret())
            .map_err(|error| Error::DatabaseUrl { origin: database.origin.to_string(), error })?;
        // A URL without a password is no secret: it is how messages name the database.
        if let Some(password) = url.password() {
            self.ui.redact([text.expose_secret(), password.expose_secret()]);
        }
        Ok(Target::Url(url))
    }

    /// The variables of all flags: the shipped mapping and the profile's own.
    fn env_names(&self) -> Result<EnvMapping, Error> {
        let mut mapping = EnvMapping::shipped();
        for (name, flag) in &self.config().env_flags {
            let unfit = |message: String| Error::Refused {
                message: format!("env_flags.{name}: {message}"),
                hint: "correct the profile: llmhub profile show".to_owned(),
            };
            let text = |setting: &Option<Setting<String>>| setting.as_ref().map(|setting| setting.value.clone());
            let key: FlagKey = name.parse().map_err(|error: FlagKeyError| unfit(error.to_string()))?;
            let names = EnvNames {
                enabled: text(&flag.enabled).ok_or_else(|| unfit("the variable `enabled` is missing".to_owned()))?,
                rollout: text(&flag.rollout),
                whitelist: text(&flag.whitelist),
                blacklist: text(&flag.blacklist),
                start_date: text(&flag.start_date),
                end_date: text(&flag.end_date),
            };
            mapping = mapping.with(key, names).map_err(|error| unfit(error.to_string()))?;
        }
        Ok(mapping)
    }

    /// The secret behind a setting, for the caller to keep out of what is said; a command is run for it.
    fn credential(&self, setting: &Setting<Credential>, what: &str, patience: Duration) -> Result<SecretString, Error> {
        Ok(match setting.available()? {
            Available::Text(text) => text.clone(),
            Available::Command(words) => command::secret_within(words, what, patience)?,
        })
    }

    /// The history of changes; only the database has one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where no database is configured or another source was named.
    pub async fn history(&self, via: &[Source], operation: &str) -> Result<Box<dyn FlagHistory>, Error> {
        self.only_database(via, operation)?;
        Ok(Box::new(self.postgres().await?))
    }

    /// Where flags can be created and deleted.
    ///
    /// # Errors
    /// As [`App::history`].
    pub async fn catalog(&self, via: &[Source], operation: &str) -> Result<Box<dyn FlagCatalog>, Error> {
        self.only_database(via, operation)?;
        Ok(Box::new(self.postgres().await?))
    }

    pub(super) fn only_database(&self, via: &[Source], operation: &str) -> Result<(), Error> {
        let other = via.iter().find(|source| **source != Source::Db);
        let configured = self.configured();
        let without = (!configured.contains(&Source::Db)).then(|| configured.first()).flatten();
        match other.or(without) {
            Some(source) => Err(Error::Unsupported {
                message: format!("{source} cannot do `{operation}`: only a database can"),
                hint: "--via db, with --database-url or a profile that has one".to_owned(),
            }),
            None if configured.is_empty() => Err(Error::NoSource),
            None => Ok(()),
        }
    }
}

pub(super) fn distinct(sources: &[Source]) -> Vec<Source> {
    let mut distinct = Vec::new();
    for source in sources {
        if !distinct.contains(source) {
            distinct.push(*source);
        }
    }
    distinct
}

pub(super) fn source(name: SourceName) -> Source {
    match name {
        SourceName::Hub => Source::Hub,
        SourceName::Db => Source::Db,
        SourceName::Env => Source::Env,
    }
}

pub(super) fn missing(app: &App, source: Source) -> Error {
    if app.configured().is_empty() { Error::NoSource } else { Error::SourceNotConfigured { wanted: source } }
}
