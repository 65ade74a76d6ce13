//! Step 9: what it all came to, the report of it, and the end of the journal.

use jiff::Timestamp;

use super::log::Changed;
use super::run::{REPORT, Recreated, Run};
use crate::domain::incident::document::{Commands, Ending};
use crate::domain::incident::journal::Record;
use crate::domain::incident::messages::{About, Messages};
use crate::domain::incident::{Ends, Exit, Incident, Kept, Restart, StepId, Undone, outcome, report};
use crate::ui::clean;

impl Run<'_> {
    /// Write the report and close the journal, however the steps have ended.
    pub(super) async fn close(&mut self) -> Incident {
        self.log.begin(self.app.moment(), StepId::Report);
        self.look_at_the_kept().await;
        let ends = Ends {
            running: self.running.clone(),
            db: self.db.clone(),
            env: self.env.clone(),
            restart: self.restart.clone(),
            undone: self.undone.clone(),
        };
        let came_to = outcome(&ends);
        // The entry of this step stands in the report, so it is made before the report is written.
        let at = self.app.moment();
        let (result, words) = match self.log.folder() {
            Some(folder) => (Ending::Done, format!("report.md and report.json in {folder}")),
            None => (Ending::NotDone, "the report was not kept, it is only shown".to_owned()),
        };
        self.log.end(at, StepId::Report, result, words, Changed::No);
        let mut not_proven = came_to.not_proven.clone();
        not_proven.append(&mut self.remarks.clone());
        if let Some(why) = &self.log.lost {
            not_proven.push(format!("no evidence is kept: {why}"));
        }
        let started_at = self.past.as_ref().map_or(self.started_at, |past| past.opened.at);
        let incident = Incident {
            incident: self.id.clone(),
            flag: self.wish.flag.to_string(),
            profile: match &self.app.config().profile {
                Some(profile) => profile.value.clone(),
                None => self.app.target_words(),
            },
            actor: self.actor.clone(),
            reason: self.reason.clone(),
            outcome: came_to.exit,
            changed: self.log.changed == Changed::Yes,
            persisted: [("env", &self.env), ("db", &self.db)]
                .into_iter()
                .filter_map(|(name, kept)| (*kept == Kept::Off).then_some(name))
                .collect(),
            survives_restart: match self.restart {
                Restart::Off => Some(true),
                Restart::On { .. } => Some(false),
                Restart::Unknown { .. } => None,
            },
            live: ends.running,
            db: ends.db,
            env: ends.env,
            restart: ends.restart,
            database: ends.undone,
            started_at,
            ended_at: at,
            all_off_after_ms: self.all_off.map(|at| since(started_at, at)),
            verified_after_ms: self.verified.map(|at| since(started_at, at)),
            timeline: self.log.timeline.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
            pages: self.pages.clone(),
            evidence: self.log.evidence.clone(),
            not_done: came_to.not_done.clone(),
            not_proven,
            commands: self.commands(came_to.exit),
            messages: Messages::default(),
            folder: self.log.folder(),
        };
        let incident = self.with_messages(incident);
        self.keep_report(&incident);
        let open: Vec<String> = came_to.not_done.into_iter().chain(came_to.not_proven).collect();
        let exit = match came_to.exit {
            Exit::Done => 0,
            Exit::Partial => 10,
            Exit::Unknown => 11,
            Exit::Nothing => 6,
        };
        self.log.write(&Record::Closed { at: self.app.moment(), exit, open });
        self.app.ui.progress_end();
        Incident { folder: self.log.folder(), ..incident }
    }

    fn with_messages(&self, incident: Incident) -> Incident {
        let clock = |at: Timestamp| at.strftime("%H:%M:%S").to_string();
        let (begun, verified) = (clock(incident.started_at), self.verified.map(clock));
        let off = incident.live.is_off();
        let messages = Messages::new(&About {
            flag: &incident.flag,
            incident: &incident.incident,
            actor: &incident.actor,
            begun: &begun,
            verified: verified.as_deref().filter(|_| off),
            proven: &format!("{} · {}", incident.live_words(), incident.kept_words()),
        });
        Incident { messages, ..incident }
    }

    /// The report, and the sums of all files for `sha256sum -c`.
    fn keep_report(&mut self, incident: &Incident) {
        let at = self.app.moment();
        let json = serde_json::to_string_pretty(incident).unwrap_or_default() + "\n";
        let [markdown, data, all] = REPORT;
        self.log.keep(at, markdown, &clean(&report::markdown(incident)), "the report for people");
        self.log.keep(at, data, &json, "the report for programs");
        let sums: String = self.log.evidence.iter().map(|kept| format!("{}  {}\n", kept.sha256, kept.file)).collect();
        self.log.keep(at, all, &sums, "the sums of the other files");
    }

    fn commands(&self, exit: Exit) -> Commands {
        let name = (self.wish.quote)(self.wish.flag.as_str());
        let place = &self.wish.where_words;
        let (mut finish, mut undo) = (Vec::new(), Vec::new());
        if exit != Exit::Done || matches!(self.db, Kept::Down { .. }) {
            finish.push(self.resume_command());
        }
        if self.sources.hub.is_some() && self.restart == Restart::Off && self.recreated == Recreated::No {
            finish.push(format!("{}   # a plain restart keeps the old environment", self.recreate_command()));
        }
        if let (super::WithDatabase::BackTo(version), Undone::NotDone { .. } | Undone::Unknown { .. }) =
            (&self.wish.database, &self.undone)
        {
            finish.push(format!("llmhub db rollback --to {}{place}", (self.wish.quote)(version.as_str())));
        }
        let on: Vec<&str> = ["hub", "db", "env"]
            .into_iter()
            .filter(|source| self.before.iter().any(|held| held.source == *source && held.enabled == Some(true)))
            .collect();
        if let Undone::Done { versions, backup, .. } = &self.undone
            && !versions.is_empty()
        {
            undo.push(format!("llmhub db apply{place}"));
            undo.extend(backup.as_ref().map(|file| format!("llmhub db restore {}{place}", (self.wish.quote)(file))));
        }
        if !on.is_empty() {
            undo.push(format!(
                "llmhub flags enable {name} --via {} --reason 'the incident is over'{place}",
                on.join(",")
            ));
        }
        Commands { finish, undo }
    }
}

/// Milliseconds between two moments; a clock that was set back in between counts as none.
fn since(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0)
}
