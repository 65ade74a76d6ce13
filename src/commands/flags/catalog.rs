//! `flags create` and `flags delete`: only the database can hold flags that the hub does not know yet.

use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::view::FlagView;
use crate::app::{Answer, App, Source};
use crate::commands::{Globals, complete, quote};
use crate::domain::flags::{Flag, FlagKey, Percent};
use crate::error::{Error, Stage};
use crate::ui::{Page, View};

/// Create a flag in the database, off unless told otherwise
///
/// Example: llmhub flags create new_search --description 'Semantic search' --tag llm --owner search-team
#[derive(Debug, Args)]
pub struct Create {
    name: FlagKey,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// A word to filter by; repeat for more
    #[arg(long)]
    tag: Vec<String>,
    /// The team that answers for it
    #[arg(long)]
    owner: Option<String>,
}

impl Create {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let catalog = app.catalog(&globals.via, "create").await?;
        app.announce();
        let flag = Flag { description: self.description, tags: self.tag, owner: self.owner, ..Flag::off(self.name) };
        if globals.dry_run {
            app.ui.note("dry run: nothing was written");
            app.show(&FlagView::new(&flag, Source::Db))?;
            return Ok(Answer::Yes);
        }
        app.authorise(format!("create the flag {}?", flag.key), false, globals.reason.as_deref()).await?;
        app.stage(Stage::Writing("db".to_owned()));
        let created = catalog.create(&flag, &app.note("create", globals.reason.as_deref())).await?;
        app.stage(Stage::Written);
        app.ui.note(&format!(
            "undo: llmhub flags delete {} --via db{}",
            quote(created.key.as_str()),
            globals.where_words()
        ));
        app.show(&FlagView::new(&created, Source::Db))?;
        Ok(Answer::Yes)
    }
}

/// What was deleted.
#[derive(Debug, Serialize)]
struct DeletedView {
    flag: String,
    deleted: bool,
    before: FlagView,
}

impl View for DeletedView {
    fn page(&self, page: &mut Page) {
        page.line(if self.deleted { "deleted; its history stays" } else { "would be deleted" });
        self.before.page(page);
    }
}

/// Delete a flag from the database; asks first, and its history stays
///
/// Example: llmhub flags delete new_search --reason 'shipped'
#[derive(Debug, Args)]
pub struct Delete {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
}

impl Delete {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let catalog = app.catalog(&globals.via, "delete").await?;
        app.announce();
        let seen = catalog.get(&self.name).await?;
        let before = FlagView::new(&seen, Source::Db);
        let flag = self.name.to_string();
        if globals.dry_run {
            app.show(&DeletedView { flag, deleted: false, before })?;
            return Ok(Answer::Yes);
        }
        let exposed = match seen.exposure() {
            Percent::ZERO => String::new(),
            share => format!(" It is on for {share} % of the users."),
        };
        let question =
            format!("delete the flag {flag} from the database?{exposed} There is no undo but to create it again.");
        app.authorise(question, true, globals.reason.as_deref()).await?;
        app.stage(Stage::Writing("db".to_owned()));
        catalog.delete(&seen, &app.note("delete", globals.reason.as_deref())).await?;
        app.stage(Stage::Written);
        app.show(&DeletedView { flag, deleted: true, before })?;
        Ok(Answer::Yes)
    }
}
