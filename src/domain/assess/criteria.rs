//! The criteria of a rollback as data: classes in order, each with the rules that put an incident into it.
//!
//! The text is a TOML document, so that a number changes without a new program; a document that is wrong is refused by line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::rollout::condition::Condition;
use crate::domain::rollout::plan::Finding;

/// The criteria that are built in.
pub const BUILT_IN: &str = include_str!("criteria.toml");

/// How bad it is, the worst first. The words are those of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Roll back now.
    Immediate,
    /// Roll back soon.
    Urgent,
    /// A person decides.
    Consider,
    /// Repair it with a new release.
    FixForward,
}

impl Class {
    /// The word of the document.
    pub fn word(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Urgent => "urgent",
            Self::Consider => "consider",
            Self::FixForward => "fix_forward",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What puts an incident into a class.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// A measured number.
    Number {
        /// Its name, such as `error_rate`.
        name: String,
        /// When it is true.
        condition: Condition,
    },
    /// What a person knows, such as `data_loss`.
    Fact(String),
}

impl Rule {
    /// What it asks about.
    pub fn name(&self) -> &str {
        match self {
            Self::Number { name, .. } | Self::Fact(name) => name,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { name, condition } => write!(f, "{name} {condition}"),
            Self::Fact(name) => f.write_str(name),
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let (name, condition) = match text.trim().split_once(char::is_whitespace) {
            Some((name, condition)) => (name, Some(condition)),
            None => (text.trim(), None),
        };
        if !plain(name) {
            return Err("a rule is a fact such as `data_loss`, or a number such as `error_rate > 0.05`".to_owned());
        }
        Ok(match condition {
            Some(condition) => Self::Number {
                name: name.to_owned(),
                condition: condition.parse().map_err(|error| format!("`{name}`: {error}"))?,
            },
            None => Self::Fact(name.to_owned()),
        })
    }
}

/// The rules of one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The class.
    pub class: Class,
    /// How soon it has to be acted on, as the document writes it and as a span.
    pub within: Option<(String, Duration)>,
    /// Any of these puts an incident into it.
    pub any: Vec<Rule>,
}

/// All classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Criteria {
    /// Those with rules, the worst first.
    pub classes: Vec<Rules>,
    /// With any of these a rung is held, although nothing has to go back.
    pub holds: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    class: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: toml::Spanned<Class>,
    within: Option<toml::Spanned<String>>,
    #[serde(default)]
    any: Vec<toml::Spanned<String>>,
    #[serde(default)]
    otherwise: bool,
    #[serde(default)]
    holds: Vec<toml::Spanned<String>>,
}

/// Read criteria.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(text: &str) -> Result<Criteria, Finding> {
    let line = |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count().saturating_add(1);
    let wrong = |offset: usize, message: String| Finding { line: line(offset), message };
    let document: Document = toml::from_str(text)
        .map_err(|error| wrong(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    let rules = |texts: &[toml::Spanned<String>]| -> Result<Vec<Rule>, Finding> {
        texts.iter().map(|text| text.get_ref().parse().map_err(|error| wrong(text.span().start, error))).collect()
    };
    let mut criteria = Criteria { classes: Vec::new(), holds: Vec::new() };
    let mut last: Option<Class> = None;
    for entry in &document.class {
        let (class, at) = (*entry.name.get_ref(), entry.name.span().start);
        if last.is_some_and(|last| last >= class) {
            return Err(wrong(at, "the classes stand once each, the worst first".to_owned()));
        }
        last = Some(class);
        if entry.otherwise != (class == Class::FixForward) || entry.otherwise != entry.any.is_empty() {
            return Err(wrong(
                at,
                "fix_forward is what is left (`otherwise = true`), the others have rules".to_owned(),
            ));
        }
        if entry.otherwise {
            criteria.holds = rules(&entry.holds)?;
            continue;
        }
        let within = match &entry.within {
            None => None,
            Some(text) => {
                let span = text.get_ref().parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
                let refused = || wrong(text.span().start, "`within` is a time such as \"5m\"".to_owned());
                Some((text.get_ref().clone(), span.ok_or_else(refused)?))
            }
        };
        criteria.classes.push(Rules { class, within, any: rules(&entry.any)? });
    }
    if last != Some(Class::FixForward) {
        return Err(wrong(text.len(), "the last class is fix_forward, with `otherwise = true`".to_owned()));
    }
    Ok(criteria)
}

impl Criteria {
    /// Every fact that only a person knows, in the order of the document.
    pub fn facts(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for rule in self.classes.iter().flat_map(|rules| &rules.any) {
            if let Rule::Fact(name) = rule
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }
}
