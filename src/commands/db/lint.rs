//! `db lint`: hold SQL files against the rules, before any database sees them.

mod github;
mod help;
mod sarif;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::app::{Answer, App};
use crate::domain::lint::{Finding, Severity};
use crate::error::Error;
use crate::ui::{Page, Tone, View};

/// Find what is wrong with SQL files before they run: what cannot run, hides a conflict, blocks a table or loses data
///
/// A comment `-- llmhub:allow RULE reason` before a statement, or `-- llmhub:allow-file RULE reason` for the whole file, accepts
/// a finding. No database is contacted. Exit 1 means that there are findings at --deny or above.
///
/// Example: llmhub db lint migrations --since origin/main
#[derive(Debug, Args)]
pub struct Lint {
    /// Folders of migrations in any layout, or SQL files; else the profile's folder, or the built-in migrations
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Exit 1 from this severity on
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    deny: Deny,
    /// Only what is new since HEAD left this commit or branch
    #[arg(long, value_name = "GITREF")]
    since: Option<String>,
    /// For a program of CI, instead of -o
    #[arg(long, value_enum, value_name = "FORM")]
    format: Option<Form>,
    /// Explain a rule with its examples
    #[arg(long, value_name = "RULE", conflicts_with_all = ["paths", "since", "format", "rules"])]
    explain: Option<String>,
    /// List the rules
    #[arg(long, conflicts_with_all = ["paths", "since", "format"])]
    rules: bool,
}

/// `--deny`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Deny {
    Error,
    #[default]
    Warning,
    Note,
    Never,
}

impl Deny {
    fn denies(self, severity: Severity) -> bool {
        match self {
            Self::Error => severity >= Severity::Error,
            Self::Warning => severity >= Severity::Warning,
            Self::Note => true,
            Self::Never => false,
        }
    }
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Annotations of GitHub Actions
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// `db lint`
#[derive(Debug, Serialize)]
struct LintView {
    findings: Vec<Finding>,
    files: usize,
}

impl View for LintView {
    fn page(&self, page: &mut Page) {
        let mut file = "";
        for finding in &self.findings {
            if finding.file != file {
                file = &finding.file;
                page.toned(Tone::Strong, file);
            }
            let tone = match finding.severity {
                Severity::Error => Tone::Bad,
                Severity::Warning => Tone::Warn,
                Severity::Note => Tone::Dim,
            };
            let place = format!("  {}:{} ", finding.line, finding.column);
            let said = format!(" {}: {}", finding.rule, finding.message);
            page.spans(&[(Tone::Plain, &place), (tone, finding.severity.word()), (Tone::Plain, &said)]);
            if let Some(source) = &finding.source {
                snippet(page, finding, source);
            }
            page.spans(&[(Tone::Dim, "    fix: "), (Tone::Plain, &finding.fix)]);
        }
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
        let total = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
        page.line(format!(
            "{}, {}, {} in {}",
            total(errors, "error"),
            total(warnings, "warning"),
            total(notes, "note"),
            total(self.files, "file")
        ));
    }
}

/// The line with a caret under the place.
fn snippet(page: &mut Page, finding: &Finding, source: &str) {
    // A line that a program wrote can be very long; the window keeps the caret in sight.
    let skipped = finding.column.saturating_sub(60);
    let plain = |c: char| if c == '\t' || c.is_control() { ' ' } else { c };
    let shown: String = source.chars().skip(skipped).take(100).map(plain).collect();
    let number = finding.line.to_string();
    let blank = " ".repeat(finding.column.saturating_sub(1 + skipped));
    page.toned(Tone::Plain, format!("    {number} | {shown}"));
    page.toned(Tone::Dim, format!("    {} | {blank}^", " ".repeat(number.len())));
}

impl Lint {
    pub async fn run(self, app: &App) -> Result<Answer, Error> {
        if let Some(id) = &self.explain {
            return help::explain(app, id);
        }
        if self.rules {
            return help::list(app);
        }
        let linted = app.lint(&self.paths, self.since.as_deref()).await?;
        linted.ignored.iter().for_each(|ignored| app.ui.note(&format!("ignored {ignored}")));
        let denied = linted.findings.iter().any(|finding| self.deny.denies(finding.severity));
        match self.format {
            Some(Form::Github) => app.document(&github::annotations(&linted.findings))?,
            Some(Form::Sarif) => app.document(&sarif::document(&linted.findings))?,
            None => app.show(&LintView { findings: linted.findings, files: linted.files })?,
        }
        Ok(if denied { Answer::No } else { Answer::Yes })
    }
}
