//! `llmhub profile`: which configuration counts, where each value came from, and the three edits of configuration files.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::Globals;
use crate::app::config::{self, Protection, Standing};
use crate::app::{Answer, App};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Look at the configuration and choose a profile
///
/// Example: llmhub profile show
#[derive(Debug, Subcommand)]
pub enum Profile {
    /// List the profiles
    ///
    /// Example: llmhub profile list
    List,
    /// Print every setting with its value and origin, secrets masked
    ///
    /// Example: llmhub profile show -p prod
    Show,
    /// Make a profile the default
    ///
    /// Example: llmhub profile use dev
    Use {
        /// The profile's name
        name: String,
    },
    /// Write a commented llmhub.toml into the current folder; an existing file is left as it is
    ///
    /// Example: llmhub profile init
    Init {
        /// Another path for the file
        #[arg(default_value = "llmhub.toml")]
        path: PathBuf,
    },
    /// Allow ./llmhub.toml (or another file) to run commands and name protected profiles; asks first
    ///
    /// Example: llmhub profile trust
    Trust {
        /// The file
        path: Option<PathBuf>,
    },
}

#[derive(Debug, Serialize)]
struct ProfileView {
    name: String,
    protected: bool,
    chosen: bool,
    defined_at: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ProfilesView(Vec<ProfileView>);

impl View for ProfilesView {
    fn page(&self, page: &mut Page) {
        if self.0.is_empty() {
            page.line("no profiles; write a file with: llmhub profile init");
            return;
        }
        let rows = self.0.iter().map(|profile| {
            [
                (Tone::Strong, profile.name.clone()),
                (Tone::Good, if profile.chosen { "chosen" } else { "" }.to_owned()),
                (Tone::Warn, if profile.protected { "protected" } else { "" }.to_owned()),
                (Tone::Plain, profile.defined_at.join(", ")),
            ]
        });
        page.table(&["profile", "", "", "defined at"], rows);
    }
}

#[derive(Debug, Serialize)]
struct SettingView {
    key: String,
    value: Option<String>,
    origin: String,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct SettingsView(Vec<SettingView>);

impl View for SettingsView {
    fn page(&self, page: &mut Page) {
        let rows = self.0.iter().map(|setting| {
            [
                (Tone::Strong, setting.key.clone()),
                (Tone::Plain, setting.value.clone().unwrap_or_else(|| "–".to_owned())),
                (Tone::Dim, setting.origin.clone()),
            ]
        });
        page.table(&["setting", "value", "from"], rows);
    }
}

/// What an edit of a configuration file did.
#[derive(Debug, Serialize)]
struct EditedView {
    path: String,
    changed: bool,
    #[serde(skip)]
    words: String,
}

impl View for EditedView {
    fn page(&self, page: &mut Page) {
        page.line(&self.words);
    }
}

impl Profile {
    /// Run the chosen verb.
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        match self {
            Self::List => list(app, globals),
            Self::Show => show(app, globals),
            Self::Use { name } => choose(app, globals, &name),
            Self::Init { path } => init(app, globals, &path),
            Self::Trust { path } => trust(app, globals, path.as_deref()).await,
        }
    }
}

fn list(app: &App, globals: &Globals) -> Result<Answer, Error> {
    let profiles = config::profiles(app.environment(), &globals.overrides())?;
    let views = profiles.into_iter().map(|profile| ProfileView {
        protected: profile.protection == Protection::Protected,
        chosen: profile.chosen.is_some(),
        defined_at: profile.lines.iter().map(ToString::to_string).collect(),
        name: profile.name,
    });
    app.show(&ProfilesView(views.collect()))?;
    Ok(Answer::Yes)
}

fn show(app: &App, globals: &Globals) -> Result<Answer, Error> {
    let config = config::load(app.environment(), &globals.overrides())?;
    let rows = config::describe(&config).into_iter().map(|row| SettingView {
        origin: row.value.as_ref().map_or_else(String::new, |_| row.origin.to_string()),
        key: row.key,
        value: row.value,
    });
    app.show(&SettingsView(rows.collect()))?;
    Ok(Answer::Yes)
}

fn choose(app: &App, globals: &Globals, name: &str) -> Result<Answer, Error> {
    if globals.dry_run {
        return dry(app, "llmhub.toml", &format!("would make {name} the default profile"));
    }
    let used = config::use_profile(app.environment(), &globals.overrides(), name)?;
    let changed = used.before.as_deref() != Some(name);
    let words = format!("{name} is the default profile in {}", used.path.display());
    app.show(&EditedView { path: used.path.display().to_string(), changed, words })?;
    Ok(Answer::Yes)
}

fn init(app: &App, globals: &Globals, path: &std::path::Path) -> Result<Answer, Error> {
    if globals.dry_run {
        return dry(app, &path.display().to_string(), &format!("would write {}", path.display()));
    }
    config::init(&app.environment().directory().join(path))?;
    let words = format!("wrote {}; edit it, then: llmhub doctor", path.display());
    app.show(&EditedView { path: path.display().to_string(), changed: true, words })?;
    Ok(Answer::Yes)
}

fn dry(app: &App, path: &str, words: &str) -> Result<Answer, Error> {
    app.ui.note("dry run: nothing was written");
    app.show(&EditedView { path: path.to_owned(), changed: true, words: words.to_owned() })?;
    Ok(Answer::Yes)
}

async fn trust(app: &App, globals: &Globals, path: Option<&std::path::Path>) -> Result<Answer, Error> {
    let review = config::review(app.environment(), path)?;
    let shown = review.path.display().to_string();
    if review.standing == Standing::Trusted {
        let words = format!("{shown} is trusted already");
        app.show(&EditedView { path: shown, changed: false, words })?;
        return Ok(Answer::Yes);
    }
    let mut question = format!("{shown} asks for:\n");
    for power in &review.powers {
        question.push_str(&format!("  {}: {}\n", power.line, power.what));
    }
    question.push_str("Trust this text?");
    if globals.dry_run {
        app.ui.note(&question);
        return dry(app, &shown, &format!("would trust {shown}"));
    }
    app.ask(question).await?;
    config::trust(app.environment(), &review)?;
    let words = format!("{shown} is trusted until it changes");
    app.show(&EditedView { path: shown, changed: true, words })?;
    Ok(Answer::Yes)
}
