//! `keys audit`: what is wrong with the stored keys, and where they stand in plain text. It only reads.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::list::KeyRow;
use super::target::refuse_keys;
use crate::app::{Answer, App};
use crate::commands::Globals;
use crate::domain::keys::audit::{Finding, Severity};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Find keys that are lost, old, doubled, masked by the hub's environment, or written down in plain text
///
/// Needs a database. Exit 1 means that there is a finding of level warning or error; 10 that some of what was to be searched could
/// not be: a file that cannot be read, a shallow clone, a history that git does not give to its end. Archives are listed, and do
/// not change the exit status. Nothing is written, no key is shown, and no provider is asked: keys test does that.
///
/// Example: llmhub keys audit --max-age 60 --scan .
#[derive(Debug, Args)]
pub struct Audit {
    /// The oldest that a key may be, in days since it was sealed
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    max_age: u32,
    /// Search a file or a folder for the keys, in plain text, base64, URLs and JSON; of a repository's folder its history too.
    /// Give it once for each
    #[arg(long, value_name = "PATH")]
    scan: Vec<PathBuf>,
}

/// `keys audit`; the members are pinned.
#[derive(Debug, Serialize)]
struct AuditView {
    keys: Vec<KeyRow>,
    findings: Vec<Finding>,
    scanned: u64,
    /// What could not be searched; left out where all could.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
    /// Archives, which nobody looked into; left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packed: Vec<String>,
}

impl View for AuditView {
    fn page(&self, page: &mut Page) {
        if !self.findings.is_empty() {
            page.table(&["level", "what", "name", "key", "where and what to do"], self.findings.iter().map(cells));
        }
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
        let tone = if errors > 0 || !self.unread.is_empty() {
            Tone::Bad
        } else if warnings > 0 {
            Tone::Warn
        } else {
            Tone::Good
        };
        let searched = match (self.scanned, self.unread.len()) {
            (0, 0) if self.packed.is_empty() => "nothing was searched for leaks".to_owned(),
            (files, 0) => format!("{} searched", total(files, "file")),
            (files, unread) => format!("{} searched, {unread} NOT", total(files, "file")),
        };
        let archives = match self.packed.len() {
            0 => String::new(),
            packed => format!(", {} not looked into", total(packed as u64, "archive")),
        };
        let findings = format!(
            "{}, {}, {} in {}; {searched}{archives}",
            total(errors as u64, "error"),
            total(warnings as u64, "warning"),
            total(notes as u64, "note"),
            total(self.keys.len() as u64, "provider")
        );
        page.toned(tone, findings);
    }
}

fn total(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn cells(finding: &Finding) -> [(Tone, String); 5] {
    let tone = match finding.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Note => Tone::Dim,
    };
    let dash = || "-".to_owned();
    let place = match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        (None, _) => String::new(),
    };
    [
        (tone, finding.severity.word().to_owned()),
        (Tone::Plain, finding.kind.word().to_owned()),
        (Tone::Strong, finding.name.clone().unwrap_or_else(dash)),
        (Tone::Plain, finding.fingerprint.clone().unwrap_or_else(dash)),
        (Tone::Plain, format!("{place}{}", finding.message)),
    ]
}

impl Audit {
    pub async fn run(self, app: &App, globals: &Globals) -> Result<Answer, Error> {
        let named: Vec<String> = self.scan.iter().map(|path| path.display().to_string()).collect();
        // A path of this shape that does exist is a path.
        let missing =
            named.iter().zip(&self.scan).filter(|(_, path)| !app.environment().directory().join(path).exists());
        refuse_keys(app, missing.map(|(name, _)| name.as_str()))?;
        let audited = app.audit_keys(&globals.via, self.max_age, &self.scan).await?;
        audited.notes.iter().for_each(|note| app.ui.note(note));
        audited.unread.iter().for_each(|unread| app.ui.warn(unread));
        audited.packed.iter().for_each(|packed| app.ui.note(packed));
        let partial = if audited.unread.is_empty() { Answer::Yes } else { Answer::Partial };
        let bad = audited.findings.iter().any(|finding| finding.severity >= Severity::Warning);
        app.show(&AuditView {
            keys: audited.keys.into_iter().map(KeyRow::from).collect(),
            findings: audited.findings,
            scanned: audited.scanned,
            unread: audited.unread,
            packed: audited.packed,
        })?;
        Ok(if bad { Answer::No } else { Answer::Yes }.worse(partial))
    }
}
