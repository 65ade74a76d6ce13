//! `db seed`: rows that a hub starts with, added where they are not there yet.

use clap::Args;
use serde::Serialize;

use super::super::Globals;
use crate::app::{Answer, App, Effect, Seeded};
use crate::domain::seeds::Body;
use crate::error::{Error, Stage};
use crate::ui::{Page, Tone, View};

/// Add the seed rows that are not there yet, in one transaction; rows that are there stay as they are
///
/// Without a SET, all: tiers, users, models, providers, and those in the folders of the profile's `seeds`.
///
/// Example: llmhub db seed tiers models --dry-run
#[derive(Debug, Args)]
pub struct Seed {
    /// The sets to run
    #[arg(value_name = "SET")]
    sets: Vec<String>,
    /// List the sets, and touch no database
    #[arg(long, conflicts_with = "sets")]
    list: bool,
}

/// `db seed`
#[derive(Debug, Serialize)]
struct SeedView {
    sets: Vec<Seeded>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

impl View for SeedView {
    fn page(&self, page: &mut Page) {
        let rows = self.sets.iter().map(|set| {
            let tone = if set.inserted > 0 { Tone::Good } else { Tone::Dim };
            [
                (Tone::Strong, set.set.clone()),
                (tone, set.inserted.to_string()),
                (Tone::Dim, set.unchanged.map_or_else(|| "–".to_owned(), |unchanged| unchanged.to_string())),
            ]
        });
        page.table(&["set", "inserted", "unchanged"], rows);
        if self.dry_run {
            page.line("dry run: it was run and rolled back, nothing was written");
        }
    }
}

/// `db seed --list`
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ListView(Vec<ListedSet>);

#[derive(Debug, Serialize)]
struct ListedSet {
    set: String,
    file: String,
    table: Option<String>,
    rows: Option<usize>,
}

impl View for ListView {
    fn page(&self, page: &mut Page) {
        let rows = self.0.iter().map(|set| {
            [
                (Tone::Strong, set.set.clone()),
                (Tone::Plain, set.table.clone().unwrap_or_else(|| "SQL".to_owned())),
                (Tone::Plain, set.rows.map_or_else(|| "–".to_owned(), |rows| rows.to_string())),
                (Tone::Dim, set.file.clone()),
            ]
        });
        page.table(&["set", "table", "rows", "file"], rows);
    }
}

impl Seed {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        if self.list {
            return list(app);
        }
        app.announce();
        let sets = app.chosen_seed_sets(&self.sets)?;
        if globals.dry_run {
            let sets = app.seed(&sets, Effect::RollBack).await?;
            app.show(&SeedView { sets, dry_run: true })?;
            return Ok(Answer::Yes);
        }
        let names: Vec<&str> = sets.iter().map(|set| set.name()).collect();
        app.authorise(format!("seed {}?", names.join(", ")), false, globals.reason.as_deref()).await?;
        app.stage(Stage::Writing("db".to_owned()));
        let sets = app.seed(&sets, Effect::Keep).await?;
        app.stage(Stage::Written);
        app.show(&SeedView { sets, dry_run: false })?;
        Ok(Answer::Yes)
    }
}

fn list(app: &App) -> Result<Answer, Error> {
    let sets = app.seed_sets()?;
    let listed = sets.iter().map(|set| {
        let (table, rows) = match set.body() {
            Body::Rows(rows) => (Some(rows.table().to_string()), Some(rows.len())),
            Body::Sql(_) => (None, None),
        };
        ListedSet { set: set.name().to_owned(), file: set.file().to_owned(), table, rows }
    });
    app.show(&ListView(listed.collect()))?;
    Ok(Answer::Yes)
}
