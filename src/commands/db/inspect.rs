//! `db status`, `db plan`, `db history`: looks that create nothing.

use clap::Args;
use serde::Serialize;

use super::tuning::Folder;
use crate::app::{Answer, App, LedgerEvent};
use crate::domain::migrations::{Migration, Phase, Problem, Recorded, Script};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// What is applied, what is pending, and what does not fit together
///
/// Example: llmhub db status --exit-code
#[derive(Debug, Args)]
pub struct Status {
    /// Exit 1 when anything is pending or does not fit together
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    folder: Folder,
}

/// `db status`
#[derive(Debug, Serialize)]
struct StatusView {
    database: String,
    current: Option<String>,
    applied: Vec<Recorded>,
    pending: Vec<Named>,
    problems: Vec<String>,
    #[serde(skip)]
    ignored: Vec<String>,
}

/// A migration by name.
#[derive(Debug, Serialize)]
struct Named {
    version: String,
    name: String,
}

impl View for StatusView {
    fn page(&self, page: &mut Page) {
        page.fact("database", &self.database);
        page.fact("current", self.current.as_deref().unwrap_or("none"));
        page.fact("pending", self.pending.len().to_string());
        let rows = self.applied.iter().map(|entry| {
            let proven = if entry.proven { (Tone::Good, "proven") } else { (Tone::Dim, "not proven") };
            [
                (Tone::Strong, entry.version.to_string()),
                (Tone::Plain, entry.name.clone()),
                (Tone::Good, "applied".to_owned()),
                (Tone::Dim, format!("{} by {}", entry.applied_at, entry.applied_by)),
                (proven.0, proven.1.to_owned()),
            ]
        });
        let pending = self.pending.iter().map(|next| {
            [
                (Tone::Strong, next.version.clone()),
                (Tone::Plain, next.name.clone()),
                (Tone::Warn, "pending".to_owned()),
                (Tone::Plain, String::new()),
                (Tone::Plain, String::new()),
            ]
        });
        let rows: Vec<_> = rows.chain(pending).collect();
        if !rows.is_empty() {
            page.table(&["version", "name", "state", "when", "way back"], rows);
        }
        for problem in &self.problems {
            page.spans(&[(Tone::Bad, "PROBLEM"), (Tone::Plain, "  "), (Tone::Plain, problem)]);
        }
        for ignored in &self.ignored {
            page.spans(&[(Tone::Dim, "ignored"), (Tone::Plain, "  "), (Tone::Plain, ignored)]);
        }
    }
}

fn told(problem: &Problem) -> String {
    format!("{problem}: {}", problem.remedy())
}

impl Status {
    pub async fn run(self, app: &App) -> Result<Answer, Error> {
        let set = app.migrations(self.folder.dir.as_deref())?;
        let database = app.database_name().await?;
        let ledger = app.ledger().await?;
        let comparison = set.compare(&ledger.recorded);
        let pending = comparison.pending.iter().map(|migration| named(migration)).collect();
        let problems = ledger.problems().iter().chain(&comparison.problems).map(told).collect();
        for file in &comparison.cosmetic {
            app.ui.note(&format!("{file} was reformatted since it was applied; what it does is the same"));
        }
        let view = StatusView {
            database,
            current: ledger.current().map(ToString::to_string),
            applied: ledger.recorded,
            pending,
            problems,
            ignored: set.ignored().iter().map(|file| format!("{}: {}", file.file, file.reason)).collect(),
        };
        let settled = view.pending.is_empty() && view.problems.is_empty();
        app.show(&view)?;
        Ok(if self.exit_code && !settled { Answer::No } else { Answer::Yes })
    }
}

fn named(migration: &Migration) -> Named {
    Named { version: migration.version.to_string(), name: migration.name.clone() }
}

/// What an apply would do, part by part, without touching the database
///
/// Example: llmhub db plan -o markdown
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    folder: Folder,
}

/// `db plan`
#[derive(Debug, Serialize)]
struct PlanView {
    database: String,
    current: Option<String>,
    steps: Vec<Step>,
    problems: Vec<String>,
}

/// One migration of a plan.
#[derive(Debug, Serialize)]
struct Step {
    version: String,
    name: String,
    file: String,
    parts: Vec<Part>,
    /// `present`, `empty`, `missing` or `broken`.
    down: &'static str,
}

/// What shares a transaction, or stands alone.
#[derive(Debug, Serialize)]
struct Part {
    /// `transaction` or `alone`.
    kind: &'static str,
    statements: Vec<Line>,
}

/// A statement.
#[derive(Debug, Serialize)]
struct Line {
    at: String,
    sql: String,
}

impl View for PlanView {
    fn page(&self, page: &mut Page) {
        page.fact("database", &self.database);
        page.fact("current", self.current.as_deref().unwrap_or("none"));
        if self.steps.is_empty() {
            page.line("nothing to apply");
        }
        for step in &self.steps {
            let down = match step.down {
                "present" => (Tone::Dim, "has a down"),
                "empty" => (Tone::Bad, "its down holds no statement: it cannot be rolled back"),
                "broken" => (Tone::Bad, "its down cannot be run: it cannot be rolled back"),
                _ => (Tone::Bad, "has no down: it cannot be rolled back"),
            };
            let name = format!("{}_{}", step.version, step.name);
            page.spans(&[(Tone::Strong, &name), (Tone::Plain, "  "), down]);
            let rows = step.parts.iter().enumerate().flat_map(|(number, part)| {
                part.statements.iter().map(move |line| {
                    let short: String = line.sql.chars().take(100).collect();
                    let kind = if part.kind == "alone" { (Tone::Warn, "alone") } else { (Tone::Dim, "transaction") };
                    [
                        (Tone::Dim, (number + 1).to_string()),
                        (kind.0, kind.1.to_owned()),
                        (Tone::Plain, short),
                        (Tone::Dim, line.at.clone()),
                    ]
                })
            });
            page.table(&["part", "in", "statement", "at"], rows);
        }
        for problem in &self.problems {
            page.spans(&[(Tone::Bad, "PROBLEM"), (Tone::Plain, "  "), (Tone::Plain, problem)]);
        }
    }
}

impl Plan {
    pub async fn run(self, app: &App) -> Result<Answer, Error> {
        let set = app.migrations(self.folder.dir.as_deref())?;
        let database = app.database_name().await?;
        let ledger = app.ledger().await?;
        let comparison = set.compare(&ledger.recorded);
        let mut problems: Vec<String> = ledger.problems().iter().chain(&comparison.problems).map(told).collect();
        let mut steps = Vec::new();
        for migration in comparison.pending {
            match step(migration) {
                Ok(step) => steps.push(step),
                Err(problem) => problems.push(problem),
            }
        }
        let settled = problems.is_empty();
        let current = ledger.current().map(ToString::to_string);
        app.show(&PlanView { database, current, steps, problems })?;
        Ok(if settled { Answer::Yes } else { Answer::No })
    }
}

fn step(migration: &Migration) -> Result<Step, String> {
    let phases = migration.up.phases().map_err(|error| error.to_string())?;
    let parts = phases.all().iter().map(|phase| Part {
        kind: if matches!(phase, Phase::Alone(..)) { "alone" } else { "transaction" },
        statements: lines(&migration.up, phase),
    });
    let down = match migration.down.as_ref().map(Script::phases) {
        None => "missing",
        Some(Err(_)) => "broken",
        Some(Ok(phases)) if phases.all().is_empty() => "empty",
        Some(Ok(_)) => "present",
    };
    Ok(Step {
        version: migration.version.to_string(),
        name: migration.name.clone(),
        file: migration.up.file().to_owned(),
        parts: parts.collect(),
        down,
    })
}

fn lines(script: &Script, phase: &Phase<'_>) -> Vec<Line> {
    let line = |statement: &crate::domain::migrations::Statement<'_>| Line {
        at: format!("{}:{}", script.file(), statement.position()),
        sql: statement.text().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    phase.statements().iter().map(line).collect()
}

/// Everything that ever happened to the migrations of this database, newest first
///
/// Example: llmhub db history --limit 20
#[derive(Debug, Args)]
pub struct History {
    /// How many events
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// `db history`
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct HistoryView(Vec<LedgerEvent>);

impl View for HistoryView {
    fn page(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("nothing has happened yet");
            return;
        }
        let rows = self.0.iter().map(|event| {
            let tone = match event.kind.as_str() {
                "applied" => Tone::Good,
                "failed" => Tone::Bad,
                "reverted" => Tone::Warn,
                _ => Tone::Plain,
            };
            let what = [event.reason.as_deref(), event.error.as_deref().and_then(|error| error.lines().next())];
            [
                (Tone::Dim, event.at.clone()),
                (tone, event.kind.clone()),
                (Tone::Strong, event.version.clone().unwrap_or_default()),
                (Tone::Plain, event.name.clone().unwrap_or_default()),
                (Tone::Dim, event.by.clone()),
                (Tone::Plain, what.into_iter().flatten().collect::<Vec<_>>().join("; ")),
            ]
        });
        page.table(&["at", "event", "version", "name", "by", "why"], rows);
    }
}

impl History {
    pub async fn run(self, app: &App) -> Result<Answer, Error> {
        let events = app.ledger_history(self.limit).await?;
        app.show(&HistoryView(events))?;
        Ok(Answer::Yes)
    }
}
