//! The incident report as Markdown, in the sections of rollout.md 7. A pure rendering: it says what the incident holds.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::document::{Held, Incident};
use super::outcome::{Exit, Undone};

/// The headings that only people can fill.
const FOR_PEOPLE: [&str; 5] = ["Root cause", "Impact", "Communication", "Lessons", "Actions"];

/// The report. Text from outside is not cleaned here: whoever shows it does that.
pub fn markdown(incident: &Incident) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, incident);
    text
}

fn write(text: &mut String, incident: &Incident) -> std::fmt::Result {
    head(text, incident)?;
    timeline(text, incident)?;
    states(text, incident)?;
    evidence(text, incident)?;
    writeln!(text, "## Not done, not proven\n")?;
    list(text, "not done", &incident.not_done)?;
    list(text, "not proven", &incident.not_proven)?;
    if incident.not_done.is_empty() && incident.not_proven.is_empty() {
        writeln!(text, "Nothing.")?;
    }
    writeln!(text, "\n## Commands to finish, commands to undo\n")?;
    commands(text, "To finish", &incident.commands.finish)?;
    commands(text, "To undo", &incident.commands.undo)?;
    let messages = &incident.messages;
    writeln!(text, "## Messages\n")?;
    for (name, message) in [
        ("Status page, begun", &messages.status_page_begun),
        ("Status page, mitigated", &messages.status_page_mitigated),
        ("Status page, resolved", &messages.status_page_resolved),
        ("Chat, begun", &messages.chat_begun),
        ("Chat, mitigated", &messages.chat_mitigated),
        ("Chat, resolved", &messages.chat_resolved),
    ] {
        writeln!(text, "{name}:\n\n> {}\n", line(message))?;
    }
    for heading in FOR_PEOPLE {
        writeln!(text, "## {heading}\n")?;
    }
    Ok(())
}

fn head(text: &mut String, incident: &Incident) -> std::fmt::Result {
    writeln!(text, "# Incident {}: rollback of {} in {}\n", incident.incident, incident.flag, line(&incident.profile))?;
    let after = |name: &str, ms: Option<u64>| {
        ms.map_or(format!("{name} never"), |ms| format!("{name} +{}.{} s", ms / 1000, ms % 1000 / 100))
    };
    writeln!(
        text,
        "Status: {} · {} · Started {} UTC · {} · {}\n",
        incident.live_words(),
        line(&incident.kept_words()),
        moment(incident.started_at),
        after("First all-off reading", incident.all_off_after_ms),
        after("Verified", incident.verified_after_ms),
    )?;
    let ended = match incident.outcome {
        Exit::Done => "Off everywhere, persisted and verified.",
        Exit::Partial => "PARTIAL: some of it is not done or not proven; see below.",
        Exit::Unknown => "UNKNOWN: a write was sent whose fate is not known; see below.",
        Exit::Nothing => "NOTHING WAS WRITTEN: no source could be reached.",
    };
    writeln!(text, "{ended}\n")?;
    writeln!(text, "## Reason and class\n")?;
    writeln!(text, "{} ({})\n", line(&incident.reason), line(&incident.actor))?;
    writeln!(
        text,
        "Class: not assessed. `llmhub assess {}` names the class, the rules that fired and the facts that nobody answered.\n",
        incident.flag
    )
}

fn timeline(text: &mut String, incident: &Incident) -> std::fmt::Result {
    writeln!(text, "## Timeline\n\n| UTC | step | action | result | evidence |\n| --- | --- | --- | --- | --- |")?;
    for entry in &incident.timeline {
        writeln!(
            text,
            "| {} | {} {} | {} | {} | {} |",
            moment(entry.at),
            entry.step.number(),
            entry.step.name(),
            cell(&entry.action),
            entry.result.words(),
            cell(&entry.evidence)
        )?;
    }
    writeln!(text)
}

fn states(text: &mut String, incident: &Incident) -> std::fmt::Result {
    writeln!(text, "## Before and after\n\n| | source | where | reads | state |\n| --- | --- | --- | --- | --- |")?;
    for (when, held) in [("before", &incident.before), ("after", &incident.after)] {
        for held in held {
            let Held { source, places, reads, .. } = held;
            writeln!(text, "| {when} | {source} | {} | {reads} | {} |", cell(&places.join(", ")), cell(&held.words()))?;
        }
    }
    writeln!(text, "\nExposure before: {}.", incident.exposure_words())?;
    for held in incident.before.iter().chain(&incident.after) {
        if let Some(names) = &held.names {
            writeln!(
                text,
                "\nUsers at {}: white list {}; black list {}.",
                held.source,
                line(&names.whitelist_users.join(", ")),
                line(&names.blacklist_users.join(", "))
            )?;
        }
    }
    match &incident.database {
        Undone::NotAsked => {}
        Undone::Done { current, versions, backup } => writeln!(
            text,
            "\nDatabase: rolled back {}; now at {}; backup {}.",
            if versions.is_empty() { "nothing, it was there already".to_owned() } else { versions.join(", ") },
            current.as_deref().unwrap_or("none"),
            line(backup.as_deref().unwrap_or("none"))
        )?,
        Undone::NotDone { why } => writeln!(text, "\nDatabase: NOT rolled back: {}.", line(why))?,
        Undone::Unknown { why } => writeln!(text, "\nDatabase: UNKNOWN: {}.", line(why))?,
    }
    if !incident.pages.is_empty() {
        writeln!(text, "\n| page | address | status | bytes | SHA-256 | |\n| --- | --- | --- | --- | --- | --- |")?;
        for page in &incident.pages {
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                cell(&page.path),
                cell(&page.address),
                page.status.map_or("–".to_owned(), |status| status.to_string()),
                page.bytes,
                page.sha256,
                cell([page.state.words(), page.detail.as_str()].join(" ").trim_end())
            )?;
        }
    }
    writeln!(text)
}

fn evidence(text: &mut String, incident: &Incident) -> std::fmt::Result {
    writeln!(text, "## Evidence\n")?;
    match &incident.folder {
        Some(folder) => writeln!(text, "In `{}`:\n", line(folder))?,
        None => writeln!(text, "NOT KEPT: no folder could be written; this report is all there is.\n")?,
    }
    writeln!(text, "| file | SHA-256 | what it shows |\n| --- | --- | --- |")?;
    for file in &incident.evidence {
        writeln!(text, "| {} | {} | {} |", cell(&file.file), file.sha256, cell(&file.shows))?;
    }
    writeln!(text)
}

fn list(text: &mut String, what: &str, sentences: &[String]) -> std::fmt::Result {
    sentences.iter().try_for_each(|sentence| writeln!(text, "- {what}: {}", line(sentence)))
}

fn commands(text: &mut String, what: &str, commands: &[String]) -> std::fmt::Result {
    if commands.is_empty() {
        return writeln!(text, "{what}: nothing.\n");
    }
    writeln!(text, "{what}:\n\n```sh")?;
    commands.iter().try_for_each(|command| writeln!(text, "{}", line(command)))?;
    writeln!(text, "```\n")
}

/// One line: a newline from outside must not become a heading or end a block.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace("```", "'''")
}

/// A cell of a table.
fn cell(text: &str) -> String {
    line(text).replace('\\', "\\\\").replace('|', "\\|")
}

/// A moment for people, with the tenths that an emergency is measured in.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.1f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::incident::document::{Commands, Ending, Entry, Evidence, Page, PageState};
    use crate::domain::incident::messages::Messages;
    use crate::domain::incident::outcome::{Kept, Processes, Restart, Running, Word};
    use crate::domain::incident::runbook::StepId;

    fn incident() -> Incident {
        let started = Timestamp::from_second(1_800_000_000).unwrap();
        let held = |enabled| Held {
            source: "hub".to_owned(),
            places: vec!["http://a".to_owned()],
            reads: 8,
            enabled: Some(enabled),
            rollout_percentage: 25.into(),
            whitelist_users: Some(2),
            blacklist_users: Some(0),
            names: None,
        };
        Incident {
            incident: "i-1".to_owned(),
            flag: "f".to_owned(),
            profile: "prod".to_owned(),
            actor: "ana@ops".to_owned(),
            reason: "errors\n## Fake".to_owned(),
            outcome: Exit::Done,
            changed: true,
            live: Running::Seen(Processes { agree: 12, of: Some(12), verdict: Word::Proved, evidence: String::new() }),
            db: Kept::Off,
            env: Kept::Off,
            persisted: vec!["env", "db"],
            survives_restart: Some(true),
            restart: Restart::Off,
            database: Undone::NotAsked,
            started_at: started,
            ended_at: started,
            all_off_after_ms: Some(6240),
            verified_after_ms: Some(21_400),
            timeline: vec![Entry {
                at: started,
                step: StepId::Disable,
                action: "a|b".to_owned(),
                result: Ending::Done,
                evidence: "12 writes".to_owned(),
            }],
            before: vec![held(true)],
            after: vec![held(false)],
            pages: vec![Page {
                address: "http://a".to_owned(),
                path: "/admin/llm-routing".to_owned(),
                status: Some(200),
                bytes: 10,
                sha256: "ab".to_owned(),
                state: PageState::NotInThisBuild,
                detail: String::new(),
            }],
            evidence: vec![Evidence {
                file: "before.json".to_owned(),
                sha256: "cd".to_owned(),
                shows: "the flag".to_owned(),
            }],
            not_done: Vec::new(),
            not_proven: Vec::new(),
            commands: Commands { finish: Vec::new(), undo: vec!["llmhub flags enable f".to_owned()] },
            messages: Messages::default(),
            folder: Some("/x".to_owned()),
        }
    }

    #[test]
    fn the_sections_stand_in_the_order_of_the_runbook() {
        let text = markdown(&incident());
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(
            headings,
            [
                "# Incident i-1: rollback of f in prod",
                "## Reason and class",
                "## Timeline",
                "## Before and after",
                "## Evidence",
                "## Not done, not proven",
                "## Commands to finish, commands to undo",
                "## Messages",
                "## Root cause",
                "## Impact",
                "## Communication",
                "## Lessons",
                "## Actions",
            ],
            "a newline in a reason makes no heading"
        );
        let status = text.lines().find(|line| line.starts_with("Status: ")).unwrap();
        assert_eq!(
            status,
            "Status: verified off 12/12 PROVED · persisted yes (env, db) · survives restart yes · Started 2027-01-15 08:00:00.0 UTC \
             · First all-off reading +6.2 s · Verified +21.4 s"
        );
    }

    #[test]
    fn cells_cannot_break_the_table_and_users_are_counted() {
        let text = markdown(&incident());
        assert!(text.contains("| a\\|b | done | 12 writes |"), "{text}");
        assert!(text.contains("on at 25 %, 2 white-listed, 0 black-listed"), "{text}");
        assert!(text.contains("25 % of the users by bucket and 2 white-listed."), "{text}");
    }

    #[test]
    fn what_is_open_is_listed_and_never_called_off() {
        let mut open = incident();
        let evidence = "hub-c: a process did not answer".to_owned();
        open.live = Running::Seen(Processes { agree: 11, of: Some(12), verdict: Word::Partial, evidence });
        open.outcome = Exit::Partial;
        open.not_done = vec!["not every process is off".to_owned()];
        let text = markdown(&open);
        assert!(text.contains("NOT verified off: 11/12 PARTIAL"), "{text}");
        assert!(text.contains("- not done: not every process is off"), "{text}");
        assert!(!text.contains("Off everywhere"), "{text}");
    }
}
