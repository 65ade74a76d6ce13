//! `keys rotate`: every stored key under a new master key, in steps that may each be killed and run again.

use clap::Args;

use super::rotate_view::view;
use crate::app::{Answer, App, HubWord, NewColumns, Rotated, RotationPlan, RotationState, RotationWish, StoreError};
use crate::commands::{Globals, quote};
use crate::domain::keys::rotation::{Phase, Treatment, Wish};
use crate::error::Error;

/// Re-encrypt everything that the master key protects under a new one
///
/// Every table is searched for tokens, and all of them change in one transaction that also writes a journal. Then the hub's env
/// file gets the new key, or you are told what to put where. Recreate the hub and run the same command again: it verifies and
/// finishes. Before that it reads the provider keys of every process of the hub, with an admin's session: while one cannot open
/// them it does not finish (exit 10). Without a hub or a session, and with --via db, that is your word. Run it again after a crash
/// too. --abort goes back, byte by byte. The old keys stay in BYOK_ENCRYPTION_KEY,
/// BYOK_ENCRYPTION_KEYS_OLD or the profile's `master_keys` until it has finished.
///
/// Example: llmhub keys rotate --new-key-env NEW_KEY --dry-run
#[derive(Debug, Args)]
pub struct Rotate {
    /// The environment variable that holds the new master key
    #[arg(long, value_name = "VAR")]
    new_key_env: String,
    /// Go back to the old master key
    #[arg(long)]
    abort: bool,
    /// Also take columns that were not there when the list of columns was confirmed
    #[arg(long, conflicts_with = "abort")]
    new_columns: bool,
}

impl Rotate {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        app.announce();
        let wish = RotationWish {
            new_key_env: self.new_key_env.clone(),
            wish: if self.abort { Wish::Back } else { Wish::Forward },
            new_columns: if self.new_columns { NewColumns::Take } else { NewColumns::Stop },
            via: globals.via.clone(),
        };
        app.database_only(&globals.via, "keys rotate")?;
        let plan = app.plan_rotation(&wish).await?;
        plan.notes.iter().for_each(|note| app.ui.warn(note));
        let obstacle = plan.obstacle().map(|(message, _)| message);
        let idle = obstacle.is_none() && plan.is_done();
        if globals.dry_run || idle {
            let answer = if obstacle.is_some() { Answer::No } else { Answer::Yes };
            let state = if idle { RotationState::Unchanged } else { RotationState::Planned };
            let planned = Rotated { rotation: None, state, rows: plan.due(), hub: None };
            app.show(&view(&plan, planned, Vec::new(), obstacle))?;
            return Ok(answer);
        }
        if let Some((message, hint)) = plan.obstacle() {
            return Err(Error::Refused { message, hint });
        }
        self.warn(app, &plan);
        app.authorise(self.question(&plan), true, globals.reason.as_deref()).await?;
        let done = app.rotate(&plan, globals.reason.as_deref()).await.map_err(|error| self.told(error))?;
        let answer = if done.state == RotationState::Swapped { Answer::Partial } else { Answer::Yes };
        let next = self.next(app, globals, &plan, &done);
        app.show(&view(&plan, done, next, None))?;
        Ok(answer)
    }

    /// What the operator should know before the question.
    fn warn(&self, app: &App, plan: &RotationPlan) {
        for column in &plan.columns {
            let opened: Vec<String> = column.opened_by.iter().map(|(word, rows)| format!("{word} {rows}")).collect();
            app.ui.note(&format!("{}: {} rows ({})", column.column, column.rows, opened.join(", ")));
        }
        for hit in &plan.json {
            app.ui.warn(&format!(
                "{} {}: {} rows hold tokens inside JSON, which are not rotated",
                hit.column, hit.path, hit.rows
            ));
        }
        if plan.phase == Phase::Fresh && !self.abort {
            app.ui.note(
                "a scan sees this database only: files, caches and other databases that the same key protects are an open question",
            );
            if plan.old_key.is_some() {
                // Some 5,000 rows a second, measured; the recreation takes as long as the operator does.
                let seconds = plan.due() / 5000 + 1;
                app.ui.warn(&format!(
                    "the hub cannot open its keys from the commit (in about {seconds} s) until it is recreated with the new key: \
                     be ready to recreate it at once"
                ));
            }
        }
        if self.abort {
            app.ui.warn("if the hub was recreated with the new key, it cannot open its keys until it is recreated with the old one");
        }
    }

    fn question(&self, plan: &RotationPlan) -> String {
        if self.abort {
            return format!("go back from the master key fp:{}?", plan.new_key);
        }
        match plan.phase {
            Phase::Fresh => {
                let columns = plan.columns.iter().filter(|column| column.treatment == Treatment::Rotate).count();
                format!("put {} rows of {columns} columns under the master key fp:{}?", plan.due(), plan.new_key)
            }
            Phase::Applied | Phase::Aborting => format!("go on with the rotation to fp:{}?", plan.new_key),
            Phase::Swapped if plan.asks_hub() => format!(
                "verify that every process of the hub has been recreated with fp:{}, and finish? Then there is no way back",
                plan.new_key
            ),
            Phase::Swapped => format!(
                "has every process of the hub been recreated with fp:{}? Then it is verified and finished, and there is no way back",
                plan.new_key
            ),
        }
    }

    /// What to do now, in order.
    fn next(&self, app: &App, globals: &Globals, plan: &RotationPlan, done: &Rotated) -> Vec<String> {
        let again = format!("llmhub keys rotate --new-key-env {}{}", quote(&self.new_key_env), globals.where_words());
        let recreate = match app.recreate_hook() {
            Some(words) => words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "),
            None => "recreate the hub, every process; a plain restart of its containers keeps the old environment"
                .to_owned(),
        };
        match done.state {
            RotationState::Swapped => {
                let mut next = Vec::new();
                if plan.env_file().is_none() {
                    next.push(format!(
                        "put the value of {} into BYOK_ENCRYPTION_KEY of the hub's environment; keep the old one at hand",
                        self.new_key_env
                    ));
                }
                next.extend([recreate, again.clone()]);
                if done.hub.is_some() {
                    next.push(format!("or without asking the hub, on your word: {again} --via db"));
                }
                next.push(format!("or back: {again} --abort"));
                next
            }
            RotationState::Finished => {
                let word = match &done.hub {
                    Some(HubWord::Unasked(why)) => Some(format!(
                        "that every process of the hub has the new key is your word, and was not looked at: {why}; \
                         llmhub keys list --via hub shows what the hub cannot open"
                    )),
                    Some(HubWord::Asked(_)) | None => None,
                };
                let end = [
                    "destroy the old master key; a backup of the database from before still needs it".to_owned(),
                    "take it out of BYOK_ENCRYPTION_KEYS_OLD and the profile".to_owned(),
                ];
                word.into_iter().chain(end).collect()
            }
            RotationState::Aborted if plan.phase == Phase::Swapped => {
                let back = "put the old key into BYOK_ENCRYPTION_KEY of the hub's environment".to_owned();
                let look = format!(
                    "keep the new master key until this finds nothing: what the hub saved before it was recreated is under it: \
                     llmhub keys audit{}",
                    globals.where_words()
                );
                plan.env_file().is_none().then_some(back).into_iter().chain([recreate, look]).collect()
            }
            RotationState::Aborted | RotationState::Unchanged | RotationState::Planned => Vec::new(),
        }
    }

    /// A run that broke off says how to go on.
    fn told(&self, error: Error) -> Error {
        match error {
            Error::Store(StoreError::OutcomeUnknown(message)) => Error::Store(StoreError::OutcomeUnknown(format!(
                "{message}; the journal knows: run the same command again"
            ))),
            other => other,
        }
    }
}
