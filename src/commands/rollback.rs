//! `rollback`: the emergency. One command that switches a flag off everywhere, proves it, persists it and reports it.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::ArgValueCandidates;
use serde::Serialize;

use super::{Globals, complete, quote};
use crate::app::{Answer, App, Emergency, EmergencyWish, Recreate, Resume, WithDatabase};
use crate::domain::flags::FlagKey;
use crate::domain::incident::document::Names;
use crate::domain::incident::{Exit, Held, Incident, RUNBOOK, StepId, report};
use crate::domain::migrations::Version;
use crate::error::Error;
use crate::ui::{Format, Page, Tone, View, clean};

/// The emergency: a flag off for everybody, in every source at once, proven on every process and kept off
///
/// Asks once. Fences a running rollout, switches the flag off in the env file, the database and every process of the hub,
/// reads it all back, looks at the old pages and at what a restart would load, and ends with an incident report. A source that
/// is down keeps no other one from being written. Running it again writes nothing that is off already.
///
/// Exit: 0 off, kept off by a restart, and verified; 10 some of it, the report says which; 11 a write is out whose fate is not
/// known; 6 nothing could be reached, nothing was written. The lease that fences rollouts binds only llmhub: other tools can
/// still write to the hub.
///
/// Example: llmhub rollback unified_llm_hub --reason 'errors at 12 %'
#[derive(Debug, Args)]
pub struct Rollback {
    /// The flag's name
    #[arg(add = ArgValueCandidates::new(complete::flags))]
    name: FlagKey,
    /// Roll the database back as well, once the flag is verified off; asks again
    #[arg(long)]
    with_db: bool,
    /// With --with-db: the migration that stays as the newest, the one before the feature
    #[arg(long, value_name = "VERSION", requires = "with_db")]
    to: Option<Version>,
    /// Also write the report to this file: JSON where its name ends in .json, else Markdown
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Go on with the last incident of this flag
    #[arg(long)]
    resume: bool,
    /// Run the profile's hook `recreate`, so that every process reads its environment again
    #[arg(long)]
    recreate: bool,
    /// Name the listed users in the report instead of counting them
    #[arg(long)]
    names: bool,
}

/// What `--dry-run` shows.
#[derive(Debug, Serialize)]
struct RunbookView {
    flag: String,
    dry_run: bool,
    steps: Vec<StepView>,
    before: Vec<Held>,
    unreachable: Vec<String>,
}

/// One step of it.
#[derive(Debug, Serialize)]
struct StepView {
    step: u8,
    name: &'static str,
    precondition: &'static str,
    action: &'static str,
    proof: &'static str,
    budget: String,
    /// Why it would be left out; `None` when it would run.
    left_out: Option<String>,
}

impl View for RunbookView {
    fn page(&self, page: &mut Page) {
        page.spans(&[(Tone::Strong, "EMERGENCY RUNBOOK "), (Tone::Plain, &self.flag)]);
        for held in &self.before {
            page.line(format!("  {} ({}): {}", held.source, held.places.join(", "), held.words()));
        }
        for silent in &self.unreachable {
            page.spans(&[(Tone::Bad, "  no answer "), (Tone::Plain, silent)]);
        }
        for step in &self.steps {
            page.spans(&[
                (Tone::Strong, &format!("{} {}", step.step, step.name)),
                (Tone::Dim, &format!("  (needs: {}; within {})", step.precondition, step.budget)),
            ]);
            match &step.left_out {
                Some(why) => page.spans(&[(Tone::Warn, "    left out: "), (Tone::Plain, why)]),
                None => {
                    page.line(format!("    {}", step.action));
                    page.toned(Tone::Dim, format!("    proof: {}", step.proof));
                }
            }
        }
        page.line("dry run: nothing was written");
    }
}

/// The incident for people at a terminal; the whole report is Markdown or JSON.
#[derive(Serialize)]
#[serde(transparent)]
struct IncidentView<'a>(&'a Incident);

impl View for IncidentView<'_> {
    fn page(&self, page: &mut Page) {
        let incident = self.0;
        page.spans(&[(Tone::Strong, "INCIDENT "), (Tone::Plain, &incident.incident)]);
        let tone = if incident.outcome == Exit::Done { Tone::Good } else { Tone::Bad };
        page.toned_fact("flag", Tone::Strong, &incident.flag);
        page.toned_fact("live", tone, incident.live_words());
        page.fact("kept", incident.kept_words());
        page.fact("changed", if incident.changed { "yes" } else { "no, it was off already" });
        page.fact("exposure before", incident.exposure_words());
        page.fact("report", incident.folder.as_deref().map_or("not kept".to_owned(), |folder| folder.to_owned()));
        let rows = incident.timeline.iter().map(|entry| {
            [
                (Tone::Dim, report::moment(entry.at)),
                (Tone::Strong, format!("{} {}", entry.step.number(), entry.step.name())),
                (Tone::Plain, entry.result.words().to_owned()),
            ]
        });
        page.table(&["UTC", "step", "result"], rows);
        for (what, tone, sentences) in
            [("NOT DONE ", Tone::Bad, &incident.not_done), ("not proven ", Tone::Warn, &incident.not_proven)]
        {
            for sentence in sentences {
                page.spans(&[(tone, what), (Tone::Plain, sentence)]);
            }
        }
        for (what, commands) in [("finish ", &incident.commands.finish), ("undo ", &incident.commands.undo)] {
            for command in commands {
                page.spans(&[(Tone::Dim, what), (Tone::Plain, command)]);
            }
        }
    }
}

impl Rollback {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let emergency = app.emergency(self.wish(globals)?).await?;
        if globals.dry_run {
            app.show(&runbook(&self.name, &emergency))?;
            return Ok(Answer::Yes);
        }
        if emergency.reason().is_none() {
            return Err(Error::ReasonNeeded("a rollback".to_owned()));
        }
        app.announce();
        if let Some(obstacle) = emergency.database_obstacle() {
            app.ui.warn(&format!("the database will not be rolled back: {obstacle}"));
        }
        app.authorise(emergency.question(), true, emergency.reason()).await?;
        let incident = emergency.run().await?;
        if let Some(file) = &self.report {
            write_report(app, file, &incident);
        }
        let shown = show(app, globals.format(), &incident);
        // The last lines do not depend on a pipe that is closed or a disk that is full.
        conclude(app, &incident);
        match (incident.outcome, shown) {
            (Exit::Done, shown) => shown.map(|()| Answer::Yes),
            (outcome, shown) => {
                // What is open weighs more than a document that could not be shown.
                if let Err(error) = shown {
                    app.ui.warn(&error.to_string());
                }
                Ok(if outcome == Exit::Unknown { Answer::Unknown } else { Answer::Partial })
            }
        }
    }

    fn wish(&self, globals: &Globals) -> Result<EmergencyWish, Error> {
        if globals.reason.is_none() && !self.resume && !globals.dry_run {
            return Err(Error::ReasonNeeded("a rollback".to_owned()));
        }
        let database = match (self.with_db, &self.to) {
            (false, _) => WithDatabase::No,
            (true, Some(version)) => WithDatabase::BackTo(version.clone()),
            (true, None) => {
                return Err(Error::Usage {
                    message: "--with-db needs --to: which migration was there before the feature is not guessed"
                        .to_owned(),
                    hint: "llmhub db status shows the versions; --to VERSION names the one that stays".to_owned(),
                });
            }
        };
        Ok(EmergencyWish {
            flag: self.name.clone(),
            reason: globals.reason.clone(),
            database,
            recreate: if self.recreate { Recreate::Run } else { Recreate::Printed },
            names: if self.names { Names::Shown } else { Names::Counted },
            resume: if self.resume { Resume::Last } else { Resume::New },
            where_words: globals.where_words(),
            quote,
        })
    }
}

fn runbook(flag: &FlagKey, emergency: &Emergency<'_>) -> RunbookView {
    let left_out: Vec<(StepId, String)> = emergency.left_out();
    let steps = RUNBOOK.iter().map(|step| StepView {
        step: step.id.number(),
        name: step.id.name(),
        precondition: step.precondition,
        action: step.action,
        proof: step.proof,
        budget: step.budget.words(),
        left_out: left_out.iter().find(|(id, _)| *id == step.id).map(|(_, why)| why.clone()),
    });
    RunbookView {
        flag: flag.to_string(),
        dry_run: true,
        steps: steps.collect(),
        before: emergency.held(),
        unreachable: emergency.silent(),
    }
}

/// A report that cannot be written is no reason to end without one.
fn write_report(app: &App, file: &Path, incident: &Incident) {
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let text = if is_json {
        serde_json::to_string_pretty(incident).unwrap_or_default() + "\n"
    } else {
        clean(&report::markdown(incident))
    };
    match app.write_file(&app.environment().directory().join(file), &text) {
        Ok(()) => app.ui.note(&format!("report: {}", file.display())),
        Err(error) => app.ui.warn(&format!("the report was not written: {error}")),
    }
}

/// The document: the whole report for programs and for pull requests, and where there is no folder that keeps it.
fn show(app: &App, format: Format, incident: &Incident) -> Result<(), Error> {
    match format {
        Format::Markdown => app.document(&clean(&report::markdown(incident))),
        Format::Table if incident.folder.is_none() => app.document(&clean(&report::markdown(incident))),
        Format::Table | Format::Json | Format::Yaml => app.show(&IncidentView(incident)),
    }
}

/// The last lines on the screen: is it off, how is that known, does it last, what to type next.
fn conclude(app: &App, incident: &Incident) {
    let words = format!("{}: {}", incident.flag, incident.live_words());
    let say = |good: bool, text: &str| if good { app.ui.note(text) } else { app.ui.warn(text) };
    say(incident.live.is_off(), &words);
    say(incident.survives_restart == Some(true), &incident.kept_words());
    incident.not_done.iter().for_each(|sentence| app.ui.warn(&format!("not done: {sentence}")));
    match incident.commands.finish.first() {
        Some(command) => app.ui.note(&format!("next: {command}")),
        None => app.ui.note("next: nothing; fill in the report"),
    }
}
