//! Where a flag can live, as an operator sees it: a home that names one hub, one database, one env file, or several of them.

use super::cli::{Done, Home, Run};
use super::hub::Hub;
use super::postgres::Database;

/// The flag that the stories are about.
pub const FLAG: &str = "unified_llm_hub";

/// A hub's env file as it is found in the field, with the flag off at 0 %.
pub const ENV: &str =
    "# The hub's flags\nSECRET_KEY=\"keep me\"\nFEATURE_UNIFIED_LLM_HUB=false\nFEATURE_LLM_HUB_ROLLOUT=0\n";

/// A home, and what its sources need to live.
pub struct Place {
    /// For messages.
    pub name: &'static str,
    /// The word of the source, when there is just one.
    pub source: &'static str,
    pub home: Home,
    pub hub: Option<Hub>,
    pub database: Option<Database>,
}

impl Place {
    /// A hub with this many processes, declared as such.
    pub fn hub(workers: usize) -> Self {
        let name = if workers == 1 { "hub with one process" } else { "hub with several processes" };
        Self { name, source: "hub", ..Self::with(Some(workers), false, None) }
    }

    /// A database to which the real `db apply` was applied.
    pub fn database() -> Self {
        let place = Self { name: "database", source: "db", ..Self::with(None, true, None) };
        place.line("db apply").exits(0);
        place
    }

    /// An env file.
    pub fn env() -> Self {
        Self { name: "env file", source: "env", ..Self::with(None, false, Some(ENV)) }
    }

    /// Every kind of source alone.
    pub fn each() -> [Self; 4] {
        [Self::hub(1), Self::hub(4), Self::database(), Self::env()]
    }

    /// Several sources at once; the database is migrated, the env file is `.env`.
    pub fn several(workers: Option<usize>, database: bool, env: Option<&str>) -> Self {
        let mut place = Self::with(workers, false, env);
        if database {
            let migrated = Database::migrated();
            place.home = place.home.variable("LLMHUB_DATABASE_URL", migrated.url());
            place.database = Some(migrated);
        }
        Self { name: "several", ..place }
    }

    fn with(workers: Option<usize>, database: bool, env: Option<&str>) -> Self {
        let mut home = Home::new();
        let hub = workers.map(|workers| Hub::builder().workers(workers).rate_limit(1_000_000).start());
        if let Some(hub) = &hub {
            home.file(
                "xdg/llmhub/config.toml",
                format!("[profiles.test]\nhub = \"{}\"\nworkers = {}\n", hub.url(), hub.workers()),
            );
            let folder = home.path().join("xdg").display().to_string();
            home = home.variable("XDG_CONFIG_HOME", folder);
        }
        let database = database.then(Database::empty);
        if let Some(database) = &database {
            home = home.variable("LLMHUB_DATABASE_URL", database.url());
        }
        if let Some(text) = env {
            let path = home.file(".env", text).display().to_string();
            home = home.variable("LLMHUB_ENV_FILE", path);
        }
        Self { name: "", source: "", home, hub, database }
    }

    /// Prepare `llmhub` with this line.
    pub fn line(&self, line: &str) -> Run {
        self.home.line(line)
    }

    /// Run `llmhub flags …` with a JSON answer.
    #[track_caller]
    pub fn flags(&self, line: &str, status: i32) -> Done {
        self.line(&format!("flags {line} -o json")).exits(status)
    }

    /// The text of the env file.
    pub fn env_text(&self) -> String {
        std::fs::read_to_string(self.home.path().join(".env")).unwrap()
    }

    /// The running hub.
    pub fn double(&self) -> &Hub {
        self.hub.as_ref().expect("a place with a hub")
    }

    /// Run SQL in the database.
    pub fn sql(&self, sql: &str) {
        runtime().block_on(self.database.as_ref().expect("a place with a database").sql(sql));
    }

    /// Lines of one text column.
    pub fn query(&self, sql: &str) -> Vec<String> {
        runtime().block_on(self.database.as_ref().expect("a place with a database").lines(sql))
    }
}

/// A runtime for the test's own connections.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
