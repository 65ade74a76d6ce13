//! `db adopt DIR`: a working order for a folder of legacy scripts, proposed, tried and written down.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::super::super::{Globals, duration};
use crate::app::{Answer, App, Trial};
use crate::domain::adopt::{Basis, Entry, Offer, Problem, Proposal};
use crate::domain::migrations::{Layout, MANIFEST};
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// Which folder, and how.
#[derive(Debug, Args)]
pub struct FromFolder {
    /// The folder of scripts; left out only with --from
    #[arg(value_name = "DIR", required_unless_present = "from", conflicts_with = "from")]
    scripts: Option<PathBuf>,
    /// Write the manifest over another one, or into a folder that has a layout of its own
    #[arg(long, conflicts_with = "from")]
    replace: bool,
    /// Run nothing: the order comes from names and words alone, and nothing is proven
    #[arg(long, conflicts_with = "from")]
    no_trial: bool,
    /// How long one statement may take on the scratch database
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s", conflicts_with = "from")]
    statement_timeout: Duration,
}

/// What became of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Written,
    Replaced,
    Unchanged,
    DryRun,
    NothingToAdopt,
    NothingRan,
}

/// `db adopt`
#[derive(Debug, Serialize)]
struct AdoptView {
    manifest: String,
    state: State,
    /// `tried` or `guessed`; null where the folder has a layout of its own.
    basis: Option<Basis>,
    layout: Option<String>,
    migrations: Vec<Entry>,
    ignored: Vec<IgnoredRow>,
    problems: Vec<Problem>,
    commented_rollbacks: Vec<Offer>,
}

#[derive(Debug, Serialize)]
struct IgnoredRow {
    file: String,
    reason: String,
}

impl View for AdoptView {
    fn page(&self, page: &mut Page) {
        page.fact("manifest", &self.manifest);
        if let Some(layout) = &self.layout {
            page.line(format!("nothing to adopt: it is a {layout} folder, which every db command reads with --dir"));
            return;
        }
        let rows = self.migrations.iter().map(|entry| {
            let down = entry.down.as_deref().map_or((Tone::Warn, "none"), |down| (Tone::Plain, down));
            let notes = [(entry.seeds, "only rows"), (entry.without_transaction, "no transaction")];
            let notes: Vec<&str> = notes.iter().filter(|(holds, _)| *holds).map(|(_, note)| *note).collect();
            [
                (Tone::Strong, entry.version.clone()),
                (Tone::Plain, entry.up.clone()),
                (down.0, down.1.to_owned()),
                (Tone::Dim, entry.needs.join(" ")),
                (Tone::Dim, notes.join(", ")),
            ]
        });
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            page.table(&["version", "up", "down", "needs", ""], rows);
        }
        // A file with a problem is told once, with its place.
        let told = |file: &str| self.problems.iter().any(|problem| problem.file == file);
        for ignored in self.ignored.iter().filter(|ignored| !told(&ignored.file)) {
            page.spans(&[
                (Tone::Dim, "ignored  "),
                (Tone::Plain, &ignored.file),
                (Tone::Dim, ": "),
                (Tone::Plain, &ignored.reason),
            ]);
        }
        for problem in &self.problems {
            let place = problem.place();
            page.spans(&[
                (Tone::Bad, problem.problem.word()),
                (Tone::Plain, "  "),
                (Tone::Strong, &place),
                (Tone::Plain, ": "),
                (Tone::Plain, &problem.message),
            ]);
        }
        for offer in &self.commented_rollbacks {
            let place = format!("{}:{}", offer.file, offer.line);
            page.line(format!(
                "a rollback stands in the comments of {place}; it is never run from there, put it into a file:"
            ));
            offer.sql.lines().for_each(|line| page.toned(Tone::Dim, format!("  {line}")));
        }
        match self.basis.filter(|_| !self.migrations.is_empty()) {
            Some(Basis::Tried) => page.line(
                "every entry ran in this order on an empty scratch database; the downs were only read, db verify proves them",
            ),
            Some(Basis::Guessed) => {
                page.toned(Tone::Warn, "nothing was run: the order comes from names and words alone, and nothing is proven");
            }
            None => {}
        }
        page.line(match self.state {
            State::Written => "the manifest was written",
            State::Replaced => "the manifest was replaced",
            State::Unchanged => "the manifest says so already: unchanged",
            State::DryRun | State::NothingToAdopt => "dry run: nothing was written",
            State::NothingRan => "no script has run, so there is no order to write down: nothing was written",
        });
    }
}

impl FromFolder {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let folder = app.migrations_folder(self.scripts.as_deref())?;
        let found = app.found(&folder)?;
        if let Some(layout) = found.layout.filter(|_| !self.replace) {
            app.show(&self.nothing(layout))?;
            return Ok(Answer::Yes);
        }
        let trial = if self.no_trial { Trial::Skipped } else { Trial::Within(self.statement_timeout) };
        if trial != Trial::Skipped {
            app.announce();
        }
        let proposal = app.proposal(&folder, &found, trial).await?;
        let state = match (found.manifest(), proposal.text()) {
            // A manifest that ignores every file would make the other commands pass without having looked at one.
            _ if proposal.entries.is_empty() => State::NothingRan,
            (Some(before), text) if before == text => State::Unchanged,
            _ if globals.dry_run => State::DryRun,
            (Some(before), _) if !self.replace => return Err(self.conflict(before, &proposal)),
            (before, _) => {
                app.write_manifest(&folder, &found, &proposal)?;
                app.stage(Stage::Written);
                if before.is_some() { State::Replaced } else { State::Written }
            }
        };
        let settled = proposal.problems.is_empty();
        app.show(&self.view(proposal, state))?;
        Ok(if settled { Answer::Yes } else { Answer::No })
    }

    fn path(&self) -> String {
        self.scripts.clone().unwrap_or_default().join(MANIFEST).display().to_string()
    }

    fn nothing(&self, layout: Layout) -> AdoptView {
        AdoptView {
            manifest: self.path(),
            state: State::NothingToAdopt,
            basis: None,
            layout: Some(layout.to_string()),
            migrations: Vec::new(),
            ignored: Vec::new(),
            problems: Vec::new(),
            commented_rollbacks: Vec::new(),
        }
    }

    fn view(&self, proposal: Proposal, state: State) -> AdoptView {
        let ignored = proposal.ignored.into_iter().map(|one| IgnoredRow { file: one.file, reason: one.reason });
        AdoptView {
            manifest: self.path(),
            state,
            basis: Some(proposal.basis),
            layout: None,
            migrations: proposal.entries,
            ignored: ignored.collect(),
            problems: proposal.problems,
            commented_rollbacks: proposal.offers,
        }
    }

    fn conflict(&self, before: &str, proposal: &Proposal) -> Error {
        Error::Differs {
            file: self.path(),
            diff: proposal.differences(before),
            hint: "--replace writes the new one over it; --dry-run shows the whole proposal".to_owned(),
        }
    }
}
