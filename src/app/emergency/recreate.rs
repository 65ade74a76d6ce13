//! Step 6: what the hub's next start would load, and making its processes anew.
//!
//! A container keeps the environment that it was created with: a plain restart brings the old value back, whatever the env file
//! says. So the command that is printed makes the processes anew.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Recreate;
use super::log::Changed;
use super::persist::{Persisted, Wrote};
use super::run::{Recreated, Run};
use crate::app::Source;
use crate::domain::incident::document::Ending;
use crate::domain::incident::runbook::HOOK;
use crate::domain::incident::{Kept, Restart, StepId};
use crate::store::env_file::PredictError;
use crate::store::hook::{self, Success};

/// How long a hub may take to answer after it was made anew.
const COMES_BACK: Duration = Duration::from_secs(60);

/// Of a hook's output: a flood must not bury what was proven.
const SHOWN: usize = 20;
const WIDTH: usize = 300;

/// Stands for the address of one replica in the words of the hook.
const REPLICA: &str = "{replica}";

impl Run<'_> {
    /// Step 6.
    pub(super) async fn restart_proof(&mut self) {
        let id = StepId::Restart;
        self.log.begin(self.app.moment(), id);
        let mut wrote = self.settle().await;
        self.restart = self.predict();
        let command = self.recreate_command();
        let (mut words, mut result) = match &self.restart {
            Restart::Off => ("a start loads it off".to_owned(), Ending::Done),
            Restart::On { why } => (format!("a start loads it ON: {why}"), Ending::NotDone),
            Restart::Unknown { why } => (format!("what a start loads is not known: {why}"), Ending::NotDone),
        };
        match self.wish.recreate {
            Recreate::Printed if self.restart != Restart::Off => {
                words.push_str("; do not make the processes anew before it says off");
            }
            Recreate::Printed => words.push_str(&format!("; a plain restart keeps the old environment, so: {command}")),
            Recreate::Run if self.restart != Restart::Off => {
                result = Ending::NotDone;
                words.push_str("; not made anew: that would bring the flag back");
            }
            Recreate::Run => match self.recreate().await {
                Ok(done) => {
                    self.recreated = Recreated::Yes;
                    let (seen, ending, changed) = self.look_at_the_new().await;
                    words.push_str(&format!("; made anew ({done}); {seen}"));
                    (result, wrote) = (ending, if changed == Changed::Yes { Changed::Yes } else { wrote });
                }
                Err(why) => {
                    result = Ending::NotDone;
                    let open = format!("the processes were not made anew: {why}");
                    words.push_str(&format!("; {open}"));
                    self.remarks.push(open);
                }
            },
        }
        self.log.end(self.app.moment(), id, result, words, wrote);
    }

    /// A source that was down or did not answer gets another chance, now that the hub is off.
    async fn settle(&mut self) -> Changed {
        let open = |kept: &Kept| matches!(kept, Kept::Down { .. } | Kept::Unknown { .. });
        let mut changed = Changed::No;
        let mut settle = |kept: &mut Kept, tried: Persisted| {
            if tried.wrote == Wrote::Something {
                changed = Changed::Yes;
            }
            // An unknown write that still cannot be read back stays unknown.
            if !(matches!(kept, Kept::Unknown { .. }) && matches!(tried.kept, Kept::Down { .. })) {
                *kept = tried.kept;
            }
        };
        if open(&self.env) {
            settle(&mut self.env, self.sources.persist_env(&self.wish.flag, &self.note).await);
        }
        if open(&self.db) {
            settle(&mut self.db, self.sources.persist_db(&self.wish.flag, &self.note).await);
        }
        changed
    }

    /// What the env file says, by the hub's own rules.
    fn predict(&self) -> Restart {
        let Some(env) = &self.sources.env else {
            return Restart::Unknown { why: "no env file is configured".to_owned() };
        };
        match env.predict(&self.wish.flag) {
            Ok(flag) if !flag.is_enabled() => Restart::Off,
            Ok(flag) => Restart::On { why: format!("the env file says enabled, at {}", flag.percentage) },
            Err(PredictError::ImportFails { .. }) => {
                Restart::Unknown { why: "the hub would not start on this env file: llmhub doctor".to_owned() }
            }
            Err(error) => Restart::Unknown { why: error.to_string() },
        }
    }

    /// The command that makes the processes anew.
    pub(super) fn recreate_command(&self) -> String {
        match &self.app.config().hooks.recreate {
            Some(hook) => hook.value.iter().map(|word| (self.wish.quote)(word)).collect::<Vec<_>>().join(" "),
            None => "docker compose up -d --force-recreate SERVICE".to_owned(),
        }
    }

    /// Run the profile's hook: once, or for one replica after the other where it names `{replica}`.
    async fn recreate(&self) -> Result<String, String> {
        let Some(command) = &self.app.config().hooks.recreate else {
            return Err("the profile has no hook `recreate`".to_owned());
        };
        let words = &command.value;
        let Some(hub) = &self.sources.hub else {
            return self.hook(words).await;
        };
        if !words.iter().any(|word| word.contains(REPLICA)) {
            let ended = self.hook(words).await?;
            self.all_come_back().await?;
            return Ok(ended);
        }
        let addresses: Vec<String> = hub.answers().await.into_iter().map(|(address, _)| address).collect();
        for address in &addresses {
            let words: Vec<String> = words.iter().map(|word| word.replace(REPLICA, address)).collect();
            self.hook(&words).await?;
            // The next one goes only when this one is back: somebody must answer the users.
            self.comes_back(address).await?;
        }
        Ok(format!("{} replicas, one after the other", addresses.len()))
    }

    /// Look at processes that a hook may have started: what was counted before were other ones.
    pub(super) async fn look_at_the_new(&mut self) -> (String, Ending, Changed) {
        self.off = None;
        self.look_again().await
    }

    /// Wait until every address answers again.
    pub(super) async fn all_come_back(&self) -> Result<(), String> {
        let Some(hub) = &self.sources.hub else { return Ok(()) };
        for (address, _) in hub.answers().await {
            self.comes_back(&address).await?;
        }
        Ok(())
    }

    /// Run a hook and show what it prints.
    pub(super) async fn hook(&self, words: &[String]) -> Result<String, String> {
        self.app.ui.note(&format!("running: {}", words.join(" ")));
        let ended = hook::run(words, HOOK).await.map_err(|error| error.to_string())?;
        let lines: Vec<&str> = ended.output.lines().collect();
        let before = lines.len().saturating_sub(SHOWN);
        if before > 0 {
            self.app.ui.note(&format!("  … {before} lines before"));
        }
        for line in lines.into_iter().skip(before) {
            self.app.ui.note(&format!("  {}", line.chars().take(WIDTH).collect::<String>()));
        }
        match ended.success {
            Success::Yes => Ok(ended.words),
            Success::No => Err(format!("`{}` {}", words.first().map_or("", String::as_str), ended.words)),
        }
    }

    async fn comes_back(&self, address: &str) -> Result<(), String> {
        let Some(hub) = &self.sources.hub else { return Ok(()) };
        let deadline = Instant::now() + COMES_BACK;
        loop {
            let answers = hub.answers().await;
            if answers.iter().any(|(place, answered)| place == address && answered.is_ok()) {
                return Ok(());
            }
            if Instant::now() >= deadline || self.stop.is_asked() {
                return Err(format!("{address} did not answer again within {} s", COMES_BACK.as_secs()));
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// For the report: what a persistent source holds at the end.
    pub(super) async fn look_at_the_kept(&mut self) {
        let found = self.sources.look_kept().await;
        let kept = found.held(&self.wish.flag, self.wish.names);
        self.after.retain(|held| held.source == Source::Hub.word());
        self.after.extend(kept);
        let at = self.app.moment();
        for look in &found.0 {
            if let Ok(states) = &look.states {
                let text = super::run::snapshot(states, self.wish.flag.as_str());
                let shows = format!("the whole flag in {} at the end", look.source);
                self.log.keep(at, &format!("after-{}.json", look.source), &text, &shows);
            }
        }
    }
}
