//! `db drift`: what was changed by hand since our runs, object by object, and what would undo it.

use clap::Args;
use serde::Serialize;

use crate::app::{Answer, App, Drifted, Moment};
use crate::domain::schema::{Difference, Fact, Kind, Repair};
use crate::error::Error;
use crate::ui::{Page, Tone, View, is_wild};

/// What was changed by hand: the live schema against the one that the newest run has left
///
/// Each change is dated by the two runs that it lies between. The statements are for you to read and run: llmhub runs none of
/// them. Exit 1 when anything differs, 4 when no run has recorded the schema.
///
/// Example: llmhub db drift -o markdown
#[derive(Debug, Args)]
pub struct Drift {
    /// Show the statements that would make the changes official, for a migration, in place of those that undo them
    #[arg(long)]
    as_migration: bool,
}

/// `db drift`
#[derive(Debug, Serialize)]
struct DriftView {
    database: String,
    since: Since,
    drift: Vec<Line>,
    checked_at: String,
    #[serde(skip)]
    as_migration: bool,
}

/// The run that live is compared with.
#[derive(Debug, Serialize)]
struct Since {
    version: Option<String>,
    name: Option<String>,
    at: String,
}

/// One object.
#[derive(Debug, Serialize)]
struct Line {
    kind: Kind,
    object: String,
    /// `added`, `removed` or `changed`, by hand.
    change: &'static str,
    facts: Vec<Fact>,
    between: Between,
    undo: Option<Vec<String>>,
    /// Why there is no statement, or what the statements do not do.
    why_not: Option<String>,
    /// What a migration would say that makes it official.
    keep: Option<Vec<String>>,
    #[serde(skip)]
    text: String,
}

/// The two runs around a change.
#[derive(Debug, Serialize)]
struct Between {
    after: Moment,
    before: Option<Moment>,
}

impl From<Drifted> for Line {
    fn from(drifted: Drifted) -> Self {
        let (kind, object) = drifted.difference.object();
        let (object, text) = (object.to_owned(), drifted.difference.to_string());
        let (change, facts) = match drifted.difference {
            Difference::Added { .. } => ("added", Vec::new()),
            Difference::Removed { .. } => ("removed", Vec::new()),
            Difference::Changed { facts, .. } => ("changed", facts),
        };
        let (undo, why_not) = match drifted.undo {
            Repair::Statements { sql, caveat } => (Some(sql), caveat),
            Repair::NotSimple(why) => (None, Some(why)),
        };
        let keep = match drifted.keep {
            Repair::Statements { sql, .. } => Some(sql),
            Repair::NotSimple(_) => None,
        };
        let between = Between { after: drifted.after, before: drifted.before };
        Self { kind, object, change, facts, between, undo, why_not, keep, text }
    }
}

fn label(moment: &Moment) -> String {
    let name = [moment.version.as_deref(), moment.name.as_deref()];
    let name = name.into_iter().flatten().collect::<Vec<_>>().join("_");
    let event = if moment.event == "reverted" { "the rollback of " } else { "" };
    format!("{event}{name} ({} by {}, run {})", moment.at, moment.by, moment.run)
}

impl View for DriftView {
    fn page(&self, page: &mut Page) {
        page.fact("database", &self.database);
        let name = [self.since.version.as_deref(), self.since.name.as_deref()];
        let name = name.into_iter().flatten().collect::<Vec<_>>().join("_");
        page.fact("since", format!("{name} at {}", self.since.at));
        if self.drift.is_empty() {
            page.toned(Tone::Good, "no drift: the schema is what the runs have left");
            return;
        }
        page.toned_fact("drift", Tone::Bad, format!("{} changed by hand", self.drift.len()));
        for line in &self.drift {
            page.line("");
            page.spans(&[(Tone::Bad, &line.text)]);
            let when = match &line.between.before {
                Some(before) => format!("between {} and {}", label(&line.between.after), label(before)),
                None => format!("after {}", label(&line.between.after)),
            };
            page.fact("when", when);
            let (word, sql) = if self.as_migration { ("keep", &line.keep) } else { ("undo", &line.undo) };
            match sql {
                Some(sql) => sql.iter().for_each(|sql| page.toned_fact(word, Tone::Strong, format!("{sql};"))),
                None => page.fact(word, "nothing that is simple"),
            }
            if let (Some(why), false) = (&line.why_not, self.as_migration) {
                page.toned_fact("but", Tone::Warn, why);
            }
            if sql.iter().flatten().any(|sql| is_wild(sql)) {
                let text =
                    "a control character in it is not shown, so it would name something else; take it from -o json";
                page.toned_fact("but", Tone::Warn, text);
            }
        }
    }
}

impl Drift {
    pub async fn run(self, app: &App) -> Result<Answer, Error> {
        let database = app.database_name().await?;
        let report = app.drift().await?;
        let since = Since { version: report.since.version, name: report.since.name, at: report.since.at };
        let drift: Vec<Line> = report.drift.into_iter().map(Line::from).collect();
        let answer = if drift.is_empty() { Answer::Yes } else { Answer::No };
        let checked_at = app.timestamp();
        app.show(&DriftView { database, since, drift, checked_at, as_migration: self.as_migration })?;
        Ok(answer)
    }
}
