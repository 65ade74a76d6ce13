//! PostgreSQL's own `pg_dump` and `pg_restore`: found, checked against the server, and run with the data on their pipes.
//!
//! A password travels in the environment of the program, never in its arguments. The program gets none of the operator's
//! other `PG…` variables, so it connects as llmhub does and nowhere else. Whoever stops waiting for it ends it.

mod child;
mod connection;
mod find;
mod version;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::config::Environment;
use crate::store::StoreError;
use crate::store::postgres::{Session, Target};

use self::child::Running;
use self::connection::Access;
use self::find::Programs;
pub use self::version::ToolVersion;

/// How much is read from a program at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// `pg_dump` and `pg_restore`, fit for one server.
#[derive(Debug)]
pub struct PgTools {
    programs: Programs,
    environment: Environment,
}

/// What a dump holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents<'a> {
    /// Schema and rows, as the transaction sees them that exported this snapshot.
    Snapshot(&'a str),
    /// Schema and rows, as `pg_dump` sees them when it starts.
    Everything,
    /// No rows.
    Schema,
}

/// A dump in PostgreSQL's custom format.
#[derive(Clone, Copy, Debug)]
pub enum Archive<'a> {
    /// An open file, read from its beginning.
    File(&'a File),
    /// In memory.
    Bytes(&'a [u8]),
}

/// What becomes of owners and rights when an archive is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// As in the archive; the role must be allowed to give things away.
    Kept,
    /// Everything belongs to the role that restores: for databases that live for a moment.
    Dropped,
}

impl PgTools {
    /// Find programs that can dump the server of `target`: behind `prefix` if there is one, else the first on `PATH` or in
    /// the usual places that is not older than the server. Nothing is dumped yet.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] when none is found, or only older ones; what opening a connection says.
    pub async fn find(
        environment: &Environment,
        prefix: Option<&[String]>,
        target: &Target,
    ) -> Result<Self, StoreError> {
        let session = Session::open(target).await?;
        let server = session.server_version();
        session.close().await;
        let server = server.map(|number| number / 10_000).ok_or_else(|| {
            StoreError::Invalid(format!("{target} does not say which PostgreSQL it is, so no pg_dump can be chosen"))
        })?;
        let programs = Programs::find(environment, prefix, server).await?;
        Ok(Self { programs, environment: environment.clone() })
    }

    /// The version of `pg_dump`.
    pub fn version(&self) -> &ToolVersion {
        self.programs.version()
    }

    /// Dump `target` and hand the bytes on as they come.
    ///
    /// # Errors
    /// What `take` says; [`StoreError::Refused`] with `pg_dump`'s own words when it fails.
    pub async fn dump(
        &self,
        target: &Target,
        contents: Contents<'_>,
        mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // Without a limit a table that somebody keeps locked would hold the dump, and us, for ever.
        let mut arguments: Vec<String> =
            ["--format=custom", "--no-password", "--lock-wait-timeout=30s"].map(str::to_owned).into();
        match contents {
            Contents::Snapshot(name) => arguments.push(format!("--snapshot={name}")),
            Contents::Everything => {}
            Contents::Schema => arguments.push("--schema-only".to_owned()),
        }
        let access = Access::to(target).await?;
        arguments.push(access.database_argument());
        let mut command = self.programs.command("pg_dump", &self.environment, &access);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = Running::start(command, "pg_dump", &access)?;
        let mut chunk = vec![0; CHUNK];
        if let Some(mut output) = running.output() {
            loop {
                let read = output.read(&mut chunk).await.map_err(|error| broken("pg_dump", &error))?;
                match chunk.get(..read) {
                    Some(bytes) if !bytes.is_empty() => take(bytes)?,
                    _ => break,
                }
            }
        }
        running.finish().await
    }

    /// The schema of `target` without rows, as an archive in memory.
    ///
    /// # Errors
    /// As [`PgTools::dump`].
    pub async fn schema(&self, target: &Target) -> Result<Vec<u8>, StoreError> {
        let mut archive = Vec::new();
        self.dump(target, Contents::Schema, |bytes| {
            archive.extend_from_slice(bytes);
            Ok(())
        })
        .await?;
        Ok(archive)
    }

    /// The lines of an archive's table of contents, comments left out.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when it is no archive.
    pub async fn list(&self, archive: Archive<'_>) -> Result<Vec<String>, StoreError> {
        let access = Access::none();
        let mut command = self.programs.command("pg_restore", &self.environment, &access);
        command.arg("--list").stdout(Stdio::piped());
        let text = feed(command, archive, &access).await?;
        Ok(text.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect())
    }

    /// Restore an archive into `into`, which should be empty; stops at the first error, which leaves a part of it there.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with `pg_restore`'s own words.
    pub async fn restore(&self, archive: Archive<'_>, into: &Target, ownership: Ownership) -> Result<(), StoreError> {
        let access = Access::to(into).await?;
        let mut command = self.programs.command("pg_restore", &self.environment, &access);
        command
            .args(["--format=custom", "--no-password", "--exit-on-error"])
            .arg(access.database_argument())
            .stdout(Stdio::piped());
        if ownership == Ownership::Dropped {
            command.args(["--no-owner", "--no-privileges"]);
        }
        feed(command, archive, &access).await.map(drop)
    }
}

/// Run `pg_restore` with the archive on its stdin; what it prints.
async fn feed(
    mut command: tokio::process::Command,
    archive: Archive<'_>,
    access: &Access,
) -> Result<String, StoreError> {
    let failed = |error: std::io::Error| broken("pg_restore", &error);
    match archive {
        Archive::File(file) => {
            let mut file = file.try_clone().map_err(failed)?;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            command.stdin(file);
        }
        Archive::Bytes(_) => {
            command.stdin(Stdio::piped());
        }
    }
    let mut running = Running::start(command, "pg_restore", access)?;
    let (input, output) = (running.input(), running.output());
    let write = async {
        if let (Some(mut input), Archive::Bytes(bytes)) = (input, archive) {
            // A listing ends before all is read, and a failure says more than the pipe that it breaks.
            let _ = input.write_all(bytes).await;
        }
    };
    let read = async {
        let mut text = Vec::new();
        if let Some(mut output) = output {
            output.read_to_end(&mut text).await?;
        }
        Ok(text)
    };
    let ((), text) = tokio::join!(write, read);
    let text: Vec<u8> = text.map_err(failed)?;
    running.finish().await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn broken(program: &str, error: &std::io::Error) -> StoreError {
    StoreError::Local(format!("the pipe of {program} broke: {error}"))
}
