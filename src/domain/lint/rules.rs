//! The table of rules: each is data and a function, and its examples are its help, its documentation and its test.

use super::unit::Hit;
use super::{Context, Finding, Severity, cannot_run, downs, hazards, messages, shapes, transactions};

/// Something to look for.
#[derive(Clone, Copy)]
pub struct Rule {
    /// In kebab case; part of what files say, so it never changes.
    pub id: &'static str,
    /// How bad a finding is.
    pub severity: Severity,
    /// What it finds, in a line.
    pub summary: &'static str,
    /// Why that is bad.
    pub why: &'static str,
    /// What to write instead.
    pub fix: &'static str,
    /// A text with exactly this finding; `-- file: NAME` lines cut it into the files of a folder.
    pub bad: &'static str,
    /// The same without.
    pub good: &'static str,
    pub(super) look: Check,
}

/// How a rule looks.
#[derive(Clone, Copy)]
pub(super) enum Check {
    /// A function of the folder.
    Ours(fn(&Context<'_>) -> Vec<Hit>),
    /// A rule of squawk, by its name there.
    Squawk(&'static str),
    /// The pass over the comments that allow something.
    Allows,
}

impl Rule {
    pub(super) fn check(&self, context: &Context<'_>) -> Vec<Hit> {
        match self.look {
            Check::Ours(look) => look(context),
            Check::Squawk(name) => hazards::hits(context, name),
            Check::Allows => Vec::new(),
        }
    }

    pub(super) fn finding(&self, hit: Hit) -> Finding {
        Finding {
            file: hit.file,
            line: hit.line,
            column: hit.column,
            rule: self.id,
            severity: self.severity,
            message: hit.message,
            fix: hit.fix.unwrap_or_else(|| self.fix.to_owned()),
            source: hit.source,
            also: hit.also,
        }
    }
}

/// The examples of a rule.
macro_rules! examples {
    ($id:literal) => {
        (include_str!(concat!("examples/", $id, ".bad.sql")), include_str!(concat!("examples/", $id, ".good.sql")))
    };
}

macro_rules! rule {
    ($id:literal, $severity:ident, $look:expr, $summary:literal, $why:literal, $fix:literal) => {{
        let (bad, good) = examples!($id);
        Rule { id: $id, severity: Severity::$severity, summary: $summary, why: $why, fix: $fix, bad, good, look: $look }
    }};
}
pub(super) use {examples, rule};

const ALLOWS: [Rule; 3] = [
    rule!(
        "allow-without-reason",
        Warning,
        Check::Allows,
        "a finding is allowed without a reason",
        "Whoever reads it next cannot tell a decision from a slip.",
        "write why behind the rule: -- llmhub:allow RULE reason"
    ),
    rule!(
        "allow-unknown-rule",
        Warning,
        Check::Allows,
        "an allow names no rule",
        "It silences nothing, though it looks as if it did.",
        "llmhub db lint --rules lists them"
    ),
    rule!(
        "allow-unused",
        Note,
        Check::Allows,
        "an allow silences nothing",
        "It would silence a later finding that nobody has looked at.",
        "remove the comment"
    ),
];

const PARTS: [&[Rule]; 7] = [
    &cannot_run::RULES,
    &transactions::RULES,
    &shapes::RULES,
    &downs::RULES,
    &messages::RULES,
    &hazards::RULES,
    &ALLOWS,
];

/// All rules, in the order of their parts.
pub fn rules() -> Vec<&'static Rule> {
    PARTS.iter().flat_map(|part| part.iter()).collect()
}

/// The rule of this name.
pub fn find(id: &str) -> Option<&'static Rule> {
    PARTS.iter().flat_map(|part| part.iter()).find(|rule| rule.id == id)
}
