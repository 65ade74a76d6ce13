//! Where `pg_dump` and `pg_restore` are, and whether they are new enough.
//!
//! `pg_dump` refuses a server that is newer than itself, so it is chosen by version: the first on `PATH` that fits, else the
//! newest in the places where packages put it. A prefix from the profile (`docker exec -i NAME`) is taken as it is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::config::Environment;
use crate::store::StoreError;

use super::connection::Access;
use super::version::ToolVersion;

/// To print a version takes milliseconds; a container engine that is stuck must not hold the command.
const PATIENCE: Duration = Duration::from_secs(15);

/// Folders that hold one folder for each installed version, and what that folder's name begins with.
const VERSIONED: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/Library/PostgreSQL", ""),
];

/// Folders without a version in their name.
const PLAIN: [&str; 4] =
    ["/opt/homebrew/opt/libpq/bin", "/usr/local/opt/libpq/bin", "/opt/homebrew/bin", "/usr/local/bin"];

/// Programs whose `exec -e NAME` hands a variable of ours into the container without its value on the command line.
const ENGINES: [&str; 2] = ["docker", "podman"];

/// The programs that were chosen.
#[derive(Debug)]
pub(super) struct Programs {
    place: Place,
    version: ToolVersion,
}

#[derive(Debug)]
enum Place {
    /// In this folder.
    Folder(PathBuf),
    /// Behind these words. A prefix that is no container engine gets the variables in its own environment; what of them reaches
    /// the program is up to the prefix, and without a password the program must be let in by the local socket's rules.
    Behind(Vec<String>),
}

impl Programs {
    /// Choose for a server of this major version.
    pub(super) async fn find(
        environment: &Environment,
        prefix: Option<&[String]>,
        server: u32,
    ) -> Result<Self, StoreError> {
        if let Some(prefix) = prefix {
            return Self::behind(environment, prefix, server).await;
        }
        let mut older = Vec::new();
        for folder in folders(environment) {
            let place = Place::Folder(folder.clone());
            let Ok(version) = place.version("pg_dump", environment).await else { continue };
            // A folder with half of the tools is of no use, nor is one whose pg_restore could not read the dump.
            let restore = place.version("pg_restore", environment).await;
            if !restore.is_ok_and(|restore| restore.major() >= version.major()) {
                continue;
            }
            if version.major() >= server {
                return Ok(Self { place, version });
            }
            older.push(format!("{version} in {}", folder.display()));
        }
        let message = if older.is_empty() {
            "there is no pg_dump with its pg_restore, neither on PATH nor where packages put it".to_owned()
        } else {
            format!(
                "pg_dump is older than the server (PostgreSQL {server}) and cannot dump it: found {}",
                older.join(", ")
            )
        };
        Err(missing(message, server))
    }

    async fn behind(environment: &Environment, prefix: &[String], server: u32) -> Result<Self, StoreError> {
        let words = prefix.join(" ");
        let place = Place::Behind(prefix.to_vec());
        let refused = |why: String| missing(format!("`{words} pg_dump`, as `pg_tools` names it, {why}"), server);
        let version = place.version("pg_dump", environment).await.map_err(refused)?;
        place
            .version("pg_restore", environment)
            .await
            .map_err(|why| missing(format!("`{words} pg_restore`, as `pg_tools` names it, {why}"), server))?;
        if version.major() < server {
            let why = format!("is {version}, older than the server (PostgreSQL {server}), and cannot dump it");
            return Err(missing(format!("`{words} pg_dump`, as `pg_tools` names it, {why}"), server));
        }
        Ok(Self { place, version })
    }

    pub(super) fn version(&self) -> &ToolVersion {
        &self.version
    }

    /// A program with its surroundings, its arguments still to come.
    pub(super) fn command(&self, program: &str, environment: &Environment, access: &Access) -> Command {
        self.place.command(program, environment, access)
    }
}

fn missing(message: String, server: u32) -> StoreError {
    StoreError::Unsupported {
        message: format!("{message}; nothing was done"),
        hint: format!(
            "install PostgreSQL's client tools, version {server} or newer, or set `pg_tools` in the profile, such as \
             [\"docker\", \"exec\", \"-i\", \"unicorn-postgresql\"]"
        ),
    }
}

impl Place {
    fn command(&self, program: &str, environment: &Environment, access: &Access) -> Command {
        let (mut command, variables) = match self {
            Self::Folder(folder) => (Command::new(folder.join(program)), access.directly()),
            Self::Behind(words) => {
                let variables = access.beside();
                let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
                let words = carrying(words, &names);
                let mut words = words.iter();
                let mut command = Command::new(words.next().map_or("", String::as_str));
                command.args(words).arg(program);
                (command, variables)
            }
        };
        command.env_clear().envs(environment.variables().filter(|(name, _)| {
            let name = name.to_string_lossy();
            // Its own settings are given below, and the hub's secrets are none of its business.
            !["PG", "LLMHUB_", "BYOK_"].iter().any(|prefix| name.starts_with(prefix)) && name != "DATABASE_URL"
        }));
        // Messages in one language, whoever runs it.
        command.env("LC_ALL", "C").envs(variables).current_dir("/");
        command
    }

    /// Ask for a version; the error says why there is none, as the end of a sentence.
    async fn version(&self, program: &str, environment: &Environment) -> Result<ToolVersion, String> {
        if let Self::Folder(folder) = self
            && !folder.join(program).is_file()
        {
            return Err("does not exist".to_owned());
        }
        let mut command = self.command(program, environment, &Access::none());
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let output = match timeout(PATIENCE, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(format!("cannot be started: {error}")),
            Err(_) => return Err(format!("did not say its version within {} s", PATIENCE.as_secs())),
        };
        if !output.status.success() {
            let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect();
            return Err(format!("does not run ({}): {said}", output.status));
        }
        ToolVersion::read(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| "does not say which version it is".to_owned())
    }
}

/// The prefix with the variables of these names handed through, if it is a container engine's `exec`.
fn carrying(prefix: &[String], names: &[&str]) -> Vec<String> {
    let engine = prefix.first().and_then(|program| Path::new(program).file_name()?.to_str());
    let exec = prefix.iter().position(|word| word == "exec");
    let mut words = prefix.to_vec();
    if let (Some(engine), Some(exec)) = (engine, exec)
        && ENGINES.contains(&engine)
    {
        let carried = names.iter().flat_map(|name| ["-e".to_owned(), (*name).to_owned()]);
        words.splice(exec + 1..exec + 1, carried);
    }
    words
}

/// Where to look, in this order.
fn folders(environment: &Environment) -> Vec<PathBuf> {
    let path: OsString = environment.variable_os("PATH").unwrap_or_default().to_owned();
    // A relative folder on PATH would run what lies in the current one.
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    let mut versioned = Vec::new();
    for (parent, prefix) in VERSIONED {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_prefix(prefix)).and_then(|name| name.parse::<f32>().ok());
            versioned.extend(number.map(|number| (number, entry.path().join("bin"))));
        }
    }
    versioned.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    folders.extend(versioned.into_iter().map(|(_, folder)| folder));
    folders.extend(PLAIN.iter().map(PathBuf::from));
    let mut seen = Vec::new();
    folders.retain(|folder| {
        let new = !seen.contains(folder);
        seen.push(folder.clone());
        new
    });
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_hands_variables_through_by_name_and_nothing_else_does() {
        #[track_caller]
        fn case(prefix: &str, expected: &str) {
            let words: Vec<String> = prefix.split(' ').map(str::to_owned).collect();
            assert_eq!(carrying(&words, &["PGUSER", "PGPASSWORD"]).join(" "), expected);
        }
        case("docker exec -i db", "docker exec -e PGUSER -e PGPASSWORD -i db");
        case(
            "/usr/bin/docker --context x exec -i db",
            "/usr/bin/docker --context x exec -e PGUSER -e PGPASSWORD -i db",
        );
        case("podman exec -i db", "podman exec -e PGUSER -e PGPASSWORD -i db");
        case("kubectl exec -i pod --", "kubectl exec -i pod --");
        case("sudo -u postgres", "sudo -u postgres");
    }

    #[test]
    fn a_relative_folder_on_the_path_is_not_looked_into() {
        let environment = Environment::new("/", [("PATH", ".:bin:/first:/second:/first")]);
        assert_eq!(folders(&environment).get(..2), Some(&[PathBuf::from("/first"), PathBuf::from("/second")][..]));
    }
}
