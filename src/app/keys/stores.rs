//! Opening the stores of keys: which one a command acts on. A `.env` file holds none of them.
//!
//! Reads take the first of hub and database; writes never guess (DESIGN 1).

use super::ring::KeyRing;
use crate::app::App;
use crate::app::sources::{distinct, source};
use crate::error::Error;
use crate::store::Source;
use crate::store::keys::KeyStore;
use crate::store::postgres::PostgresKeys;

impl App {
    /// The store of a read: the one that `--via` names, else the one that was typed, else the first that is configured.
    ///
    /// # Errors
    /// [`Error::NoSource`], [`Error::Unsupported`] for a `.env` file, [`Error::Usage`] for more than one.
    pub async fn key_reader(&self, via: &[Source], ring: &KeyRing) -> Result<Box<dyn KeyStore>, Error> {
        let chosen = match distinct(via).as_slice() {
            [] => {
                let (typed, configured) = (self.typed(), self.configured());
                let mut with_keys = typed.iter().chain(&configured).filter(|source| **source != Source::Env);
                *with_keys.next().ok_or_else(|| self.no_keys())?
            }
            [one] => *one,
            _ => return Err(one_store()),
        };
        self.key_store(chosen, ring).await
    }

    /// The store of a write: `--via`, else the one that was typed, else the first of the profile's `write`, else the only one.
    ///
    /// # Errors
    /// As [`App::key_reader`]; [`Error::AmbiguousWrite`] where nothing says which of several.
    pub async fn key_writer(&self, via: &[Source], ring: &KeyRing) -> Result<Box<dyn KeyStore>, Error> {
        let with_keys = |sources: Vec<Source>| -> Vec<Source> {
            sources.into_iter().filter(|source| *source != Source::Env).collect()
        };
        let named = match &self.config().write {
            _ if !via.is_empty() => distinct(via),
            _ if !with_keys(self.typed()).is_empty() => with_keys(self.typed()),
            Some(write) => with_keys(write.value.iter().map(|name| source(*name)).collect()),
            None => with_keys(self.configured()),
        };
        match named.as_slice() {
            [one] => self.key_store(*one, ring).await,
            [] => Err(self.no_keys()),
            // A key is stored by one of them: each would seal it anew.
            _ if via.len() > 1 => Err(one_store()),
            several => Err(Error::AmbiguousWrite(several.to_vec())),
        }
    }

    /// The keys of the database, for what only a database can do.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where no database is configured or another source was named.
    pub async fn key_database(&self, via: &[Source], operation: &str, ring: &KeyRing) -> Result<PostgresKeys, Error> {
        self.only_database(via, operation)?;
        Ok(PostgresKeys::new(self.target().await?, ring.reading(), Self::now))
    }

    async fn key_store(&self, source: Source, ring: &KeyRing) -> Result<Box<dyn KeyStore>, Error> {
        match source {
            Source::Db => Ok(Box::new(PostgresKeys::new(self.target().await?, ring.reading(), Self::now))),
            Source::Hub => Ok(Box::new(self.hub_keys()?)),
            Source::Env => Err(self.no_keys()),
        }
    }

    fn no_keys(&self) -> Error {
        if self.configured().is_empty() {
            return Error::NoSource;
        }
        Error::Unsupported {
            message: "provider keys live in a database or a hub; an env file holds none that llmhub writes".to_owned(),
            hint: "--via db, with --database-url or a profile that has one".to_owned(),
        }
    }
}

fn one_store() -> Error {
    Error::Usage {
        message: "keys are kept in one place at a time".to_owned(),
        hint: "--via db, or --via hub".to_owned(),
    }
}
