//! `flags preview`: exactly who gains and who loses a flag at another percentage, before it is stored.

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use crate::app::{Answer, App, Identity, Preview as Count};
use crate::commands::{Globals, complete};
use crate::domain::flags::cohort::{Cohort, Effect};
use crate::domain::flags::{Flag, FlagKey, Percent, StoredPercent};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Say exactly who gains and who loses a flag at another percentage; default: the next rung
///
/// The ids must be those that the hub is asked about: the same person as e-mail and as UUID are two users.
///
/// Example: llmhub flags preview unified_llm_hub 25 --users users.txt
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("list").required(true).args(["users", "from_db"])))]
pub struct Preview {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// A whole number from 0 to 100
    #[arg(allow_negative_numbers = true)]
    percent: Option<Percent>,
    /// A file with one user id per line; - is stdin
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// The users table of the database
    #[arg(long)]
    from_db: bool,
    /// Which column of the users table the hub is asked about
    #[arg(long, value_enum, default_value_t, requires = "from_db")]
    identity: Identity,
    /// Also list the ids that gain the flag
    #[arg(long)]
    names: bool,
}

/// `flags preview`
#[derive(Debug, Serialize)]
struct PreviewView {
    flag: String,
    from: StoredPercent,
    to: Percent,
    users: u64,
    gained: u64,
    lost: u64,
    unchanged_on: u64,
    unchanged_off: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gained_users: Option<Vec<String>>,
}

impl View for PreviewView {
    fn page(&self, page: &mut Page) {
        let share = |count: u64| {
            // For the eye only: a share of a count that may be zero.
            let percent = if self.users == 0 { 0.0 } else { count as f64 * 100.0 / self.users as f64 };
            format!("{count} ({percent:.2} %)")
        };
        page.spans(&[(Tone::Strong, &self.flag), (Tone::Plain, &format!("  {} → {} %", self.from, self.to))]);
        page.fact("users", self.users.to_string());
        page.toned_fact("gained", Tone::Good, share(self.gained));
        page.toned_fact("lost", if self.lost > 0 { Tone::Bad } else { Tone::Plain }, share(self.lost));
        page.fact("on before and after", share(self.unchanged_on));
        page.fact("off before and after", share(self.unchanged_off));
        for user in self.gained_users.iter().flatten() {
            page.line(format!("+ {user}"));
        }
    }
}

impl Preview {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let store = app.reader(&globals.via).await?;
        let flag = store.get(&self.name).await?;
        app.say_scope(store.as_ref());
        let to = self.percent.unwrap_or_else(|| next_rung(app, &flag));
        let cohort = Cohort::new(&flag, to, app.utc_now()).map_err(|error| Error::Refused {
            message: error.to_string(),
            hint: format!("llmhub flags show {}", crate::commands::quote(self.name.as_str())),
        })?;
        let count = match &self.users {
            Some(path) => app.preview_file(path, cohort, self.names).await?,
            None => app.preview_database(self.identity, cohort, self.names).await?,
        };
        self.tell(app, &flag, &count);
        let of = |effect| count.tally.of(effect);
        app.show(&PreviewView {
            flag: self.name.to_string(),
            from: flag.percentage.clone(),
            to,
            users: count.tally.users(),
            gained: of(Effect::Gained),
            lost: of(Effect::Lost),
            unchanged_on: of(Effect::StaysOn),
            unchanged_off: of(Effect::StaysOff),
            gained_users: count.names,
        })?;
        Ok(Answer::Yes)
    }

    fn tell(&self, app: &App, flag: &Flag, count: &Count) {
        if !flag.is_enabled() {
            app.ui.note("the flag is disabled: nobody is on, whatever the percentage, until it is enabled");
        }
        if count.tally.duplicates > 0 {
            app.ui.note(&format!("{} lines repeat an id; each id is counted once", count.tally.duplicates));
        }
        if count.tally.padded > 0 {
            app.ui.warn(&format!("{} ids have blanks around them, which makes them other users", count.tally.padded));
        }
        if count.unidentified > 0 {
            app.ui.warn(&format!("{} users have no {} and are not counted", count.unidentified, self.identity.word()));
        }
        app.ui.note("the order of users is fixed for each flag: the same people go first every time");
    }
}

fn next_rung(app: &App, flag: &Flag) -> Percent {
    let now = flag.percentage.effective().unwrap_or(Percent::ZERO);
    app.ladder().next(now).unwrap_or(Percent::FULL)
}
