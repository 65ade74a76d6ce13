//! What is wrong with SQL files before anything runs: a table of rules, and the pass that holds files against them.
//!
//! Pure: files are read elsewhere, and no database is asked. Each rule carries a bad and a good example, which are its help,
//! its documentation and its test. What could not be checked is itself a finding, never silence (migrations.md 0).

mod allow;
mod cannot_run;
mod cursor;
mod downs;
mod folder;
mod hazards;
mod messages;
mod rules;
mod shapes;
mod squawk;
mod transactions;
mod unit;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

pub use folder::Folder;
pub use rules::{Rule, find, rules};

use unit::Unit;

/// How bad it is. The order is that of `--deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It runs, and can do harm.
    Warning,
    /// It cannot run, or does something else than it says.
    Error,
}

impl Severity {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Something that a rule has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The rule's id.
    pub rule: &'static str,
    /// The rule's severity.
    pub severity: Severity,
    /// What is wrong here.
    pub message: String,
    /// What to write instead.
    pub fix: String,
    /// The line itself, where the finding has one.
    #[serde(skip)]
    pub source: Option<String>,
    /// Other files that are part of it: it is new when any of them is.
    #[serde(skip)]
    pub also: Vec<String>,
}

/// What a folder looks like to a rule.
struct Context<'a> {
    folder: &'a Folder,
    units: Vec<Unit<'a>>,
}

impl<'a> Context<'a> {
    /// The scripts that make something, in the order in which they run.
    fn forward(&self) -> impl Iterator<Item = &Unit<'a>> {
        self.units.iter().filter(|unit| unit.way != Way::Down)
    }

    /// The scripts that take something back.
    fn backward(&self) -> impl Iterator<Item = &Unit<'a>> {
        self.units.iter().filter(|unit| unit.way == Way::Down)
    }
}

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It makes a change.
    Up,
    /// It takes one back.
    Down,
}

/// Everything that the rules find in these folders, by file and place. Each folder stands for itself.
pub fn lint(folders: &[Folder]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = folders.iter().flat_map(lint_folder).collect();
    findings.sort_by(|one, other| {
        let key = |finding: &Finding| (finding.line, finding.column, finding.rule);
        one.file.cmp(&other.file).then_with(|| key(one).cmp(&key(other)))
    });
    findings
}

fn lint_folder(folder: &Folder) -> Vec<Finding> {
    let context = Context { folder, units: folder.pieces.iter().map(Unit::of).collect() };
    let mut allows = allow::collect(&context);
    let mut findings = Vec::new();
    for rule in rules() {
        let hits = rule.check(&context);
        findings.extend(
            hits.into_iter().filter(|hit| !allow::silences(&mut allows, rule.id, hit)).map(|hit| rule.finding(hit)),
        );
    }
    findings.extend(allow::complaints(&allows));
    findings
}

/// The names of all SQL files in these folders.
pub fn files(folders: &[Folder]) -> BTreeSet<&str> {
    folders.iter().flat_map(Folder::files).collect()
}

#[cfg(test)]
mod tests;
