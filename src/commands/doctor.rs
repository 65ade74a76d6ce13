//! `llmhub doctor`: what is configured, reachable and allowed. A list of checks, then one view; nothing is written.

use clap::Args;
use serde::Serialize;

use super::Globals;
use crate::app::{Answer, App, DatabaseFacts, FlagStore, HubFacts, Source};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Check configuration, reachability, clock, API, schema and rights; exit 1 when a check fails
///
/// Example: llmhub doctor -p prod
#[derive(Debug, Args)]
pub struct Doctor {
    /// Contact nothing
    #[arg(long)]
    offline: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    id: &'static str,
    subject: String,
    status: Status,
    evidence: String,
    /// What to do; empty when there is nothing to do.
    fix: String,
}

impl Check {
    fn ok(id: &'static str, subject: impl Into<String>, evidence: impl Into<String>) -> Self {
        Self { id, subject: subject.into(), status: Status::Ok, evidence: evidence.into(), fix: String::new() }
    }

    fn warn(id: &'static str, subject: impl Into<String>, evidence: impl Into<String>, fix: &str) -> Self {
        Self { status: Status::Warn, fix: fix.to_owned(), ..Self::ok(id, subject, evidence) }
    }

    fn fail(id: &'static str, subject: impl Into<String>, evidence: impl Into<String>, fix: &str) -> Self {
        Self { status: Status::Fail, fix: fix.to_owned(), ..Self::ok(id, subject, evidence) }
    }
}

#[derive(Debug, Serialize)]
struct DoctorView {
    healthy: bool,
    checks: Vec<Check>,
}

impl View for DoctorView {
    fn page(&self, page: &mut Page) {
        for check in &self.checks {
            let (tone, word) = match check.status {
                Status::Ok => (Tone::Good, "ok  "),
                Status::Warn => (Tone::Warn, "WARN"),
                Status::Fail => (Tone::Bad, "FAIL"),
            };
            let text = format!("  {}  {}: {}", check.id, check.subject, check.evidence);
            page.spans(&[(tone, word), (Tone::Plain, &text)]);
            if !check.fix.is_empty() {
                page.spans(&[(Tone::Plain, "      "), (Tone::Strong, "fix "), (Tone::Plain, &check.fix)]);
            }
        }
        page.line(if self.healthy { "nothing to repair" } else { "not healthy" });
    }
}

impl Doctor {
    pub async fn run(self, app: &App, _globals: &Globals) -> Result<Answer, Error> {
        let mut checks = configuration(app);
        for source in app.configured() {
            match source {
                Source::Hub if !self.offline => checks.extend(hub(app).await),
                Source::Db if !self.offline => checks.extend(database(app).await),
                Source::Env => checks.extend(env_file(app).await),
                Source::Hub | Source::Db => {}
            }
        }
        let healthy = checks.iter().all(|check| check.status != Status::Fail);
        app.show(&DoctorView { healthy, checks })?;
        Ok(if healthy { Answer::Yes } else { Answer::No })
    }
}

fn configuration(app: &App) -> Vec<Check> {
    let configured = app.configured();
    let mut checks = Vec::new();
    if configured.is_empty() {
        checks.push(Check::fail("config", "sources", "none is configured", "llmhub profile init"));
    } else {
        let words: Vec<&str> = configured.iter().map(|source| source.word()).collect();
        checks.push(Check::ok("config", "sources", words.join(", ")));
    }
    if configured.contains(&Source::Hub) && app.config().workers.is_none() {
        checks.push(Check::warn(
            "config.workers",
            "workers",
            "not declared: nothing about the hub can be proved",
            "workers = N in the profile, or --workers N",
        ));
    }
    if configured.contains(&Source::Hub) && !configured.contains(&Source::Env) {
        checks.push(Check::warn(
            "config.restart",
            "env file",
            "not configured: what a restart of the hub returns to is unknown",
            "env_file = PATH in the profile",
        ));
    }
    checks
}

async fn hub(app: &App) -> Vec<Check> {
    match app.hub() {
        Ok(hub) => hub.examine().await.into_iter().flat_map(address).collect(),
        Err(error) => vec![Check::fail("hub", "configuration", error.to_string(), &error.hint())],
    }
}

fn address(facts: HubFacts) -> Vec<Check> {
    let HubFacts { address, answered, mounted, clock_seconds, session_alive } = facts;
    let mut checks = Vec::new();
    match answered {
        Ok(time) => checks.push(Check::ok("hub.reachable", &address, format!("answers in {} ms", time.as_millis()))),
        Err(reason) => {
            checks.push(Check::fail(
                "hub.reachable",
                &address,
                reason,
                "check the address, the network and the service",
            ));
            return checks;
        }
    }
    checks.push(match mounted {
        Ok(flags) => Check::ok("hub.api", &address, format!("the flag API lists {flags} flags")),
        Err(reason) => Check::fail(
            "hub.api",
            &address,
            reason,
            "mount the flag router in the hub, or set flags by env file and recreate",
        ),
    });
    checks.push(match clock_seconds {
        Some(seconds) if seconds.abs() <= 5 => Check::ok("hub.clock", &address, format!("{seconds:+} s from ours")),
        Some(seconds) => Check::warn(
            "hub.clock",
            &address,
            format!("{seconds:+} s from ours: dates of flags act at other times than you think"),
            "set both clocks by NTP",
        ),
        None => {
            Check::warn("hub.clock", &address, "the answer carries no date", "nothing to do unless flags have dates")
        }
    });
    checks.push(match session_alive {
        Some(true) => Check::ok("hub.session", &address, "the session is alive"),
        Some(false) => Check::fail(
            "hub.session",
            &address,
            "the session is expired or unknown (no CSRF token was minted)",
            "log in again and renew LLMHUB_SESSION_TOKEN",
        ),
        None => Check::ok("hub.session", &address, "none given: writes go through an anonymous session"),
    });
    checks
}

async fn database(app: &App) -> Vec<Check> {
    let examined = match app.postgres().await {
        Ok(store) => store.examine(App::now()).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    let facts = match examined {
        Ok(facts) => facts,
        Err(error) => return vec![Check::fail("db.reachable", "database", error.to_string(), &error.hint())],
    };
    let DatabaseFacts { server_version, role, database, schema, may_write, standby, clock_seconds } = facts;
    let subject = format!("{role}@{database}");
    let mut checks = vec![Check::ok("db.reachable", &subject, format!("PostgreSQL {server_version}"))];
    checks.push(match schema {
        Some(version) => Check::ok("db.schema", &subject, format!("migration {version}")),
        None => Check::fail("db.schema", &subject, "the llmhub tables are missing", "llmhub db apply"),
    });
    if schema_present(&checks) {
        checks.push(match (standby, may_write) {
            (true, _) => Check::fail("db.rights", &subject, "a read-only standby", "name the primary server"),
            (false, true) => Check::ok("db.rights", &subject, "may change flags"),
            (false, false) => Check::fail(
                "db.rights",
                &subject,
                "may not change flags",
                "grant the role all four table rights on feature_flags, and insert on feature_flag_events",
            ),
        });
    }
    checks.push(if clock_seconds.abs() <= 5 {
        Check::ok("db.clock", &subject, format!("{clock_seconds:+} s from ours"))
    } else {
        Check::warn("db.clock", &subject, format!("{clock_seconds:+} s from ours"), "set both clocks by NTP")
    });
    checks
}

fn schema_present(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.id == "db.schema" && check.status == Status::Ok)
}

async fn env_file(app: &App) -> Vec<Check> {
    let listed = match app.env_file() {
        Ok(file) => file.list().await.map_err(Error::from),
        Err(error) => Err(error),
    };
    match listed {
        Ok(flags) => vec![Check::ok("env.file", "env file", format!("a restart would load {} flags", flags.len()))],
        Err(error) => vec![Check::fail("env.file", "env file", error.to_string(), &error.hint())],
    }
}
