//! Everything that touches squawk's parser and linter, which promise no stable interface.
//!
//! A script is parsed once, with COPY data, psql lines and what is too large or too deep for a recursive parser blanked out,
//! so that offsets stay. A panic in there is caught and becomes "not checked". A linter keeps state: each script has its own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use squawk_linter::{Linter, Rule};
use squawk_syntax::SourceFile;

use super::hazards::PROFILE;
use super::unit::{Line, Unit};

/// The longest statement that is parsed, in bytes: longer ones are data.
const LENGTH_LIMIT: usize = 64 * 1024;

/// Scripts above this size are read for their other statements only: their INSERTs are data, and no hazard is an INSERT.
const SCRIPT_LIMIT: usize = 1024 * 1024;

/// How deep brackets may nest, and how many operators may follow each other: the parser calls itself for each.
const DEPTH_LIMIT: usize = 200;

/// How many operators a statement may hold.
const CHAIN_LIMIT: usize = 2000;

/// What squawk makes of a script.
#[derive(Default)]
pub(super) struct Look {
    pub hazards: Vec<Hazard>,
    /// Offsets and messages of what does not parse.
    pub unparsed: Vec<(usize, String)>,
    /// Offsets of the statements that were left out.
    pub skipped: Vec<usize>,
    /// Whether it ended in a panic: then nothing of the above is known.
    pub failed: bool,
}

/// A finding of squawk.
pub(super) struct Hazard {
    /// Its name there.
    pub rule: String,
    pub offset: usize,
    pub message: String,
}

/// Parse and lint a script.
pub(super) fn look(unit: &Unit<'_>) -> Look {
    guarded(|| examine(unit)).unwrap_or_else(|| Look { failed: true, ..Look::default() })
}

/// What the work returns, or nothing if it panicked.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    // Nothing that it touched is used afterwards.
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn examine(unit: &Unit<'_>) -> Look {
    let mut look = Look::default();
    let mut text = String::with_capacity(unit.script.text().len());
    for line in &unit.lines {
        let (_, after) = line.statement.span();
        blank(&mut text, unit.script.text(), line.start);
        if is_data(unit, line) {
            blank(&mut text, unit.script.text(), after);
        } else if is_too_much(line) {
            look.skipped.push(line.start);
            blank(&mut text, unit.script.text(), after);
        } else {
            text.push_str(line.text());
            text.push(';');
        }
    }
    let parse = SourceFile::parse(&text);
    if !parse.errors().is_empty() {
        // The parser may run on across a `;`, so only the statement alone is asked where it ends.
        for line in unit.lines.iter().filter(|line| !is_data(unit, line) && !is_too_much(line)) {
            let alone = SourceFile::parse(line.text());
            let first = alone.errors().into_iter().next();
            look.unparsed.extend(
                first.map(|error| (line.start + usize::from(error.range().start()), error.message().to_owned())),
            );
        }
    }
    let rules = PROFILE.iter().filter_map(|name| name.parse::<Rule>().ok());
    let mut linter = Linter::from(rules);
    linter.settings.assume_in_transaction = true;
    let hazard = |violation: squawk_linter::Violation| Hazard {
        rule: violation.code.to_string(),
        offset: usize::from(violation.text_range.start()),
        message: violation.message,
    };
    look.hazards = linter.lint(&parse, &text).into_iter().map(hazard).collect();
    look
}

/// Fill up with blanks to the offset, keeping the lines.
fn blank(text: &mut String, original: &str, to: usize) {
    let gap = original.get(text.len()..to).unwrap_or_default();
    text.extend(gap.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
}

fn is_data(unit: &Unit<'_>, line: &Line<'_>) -> bool {
    let is_long = line.text().len() > LENGTH_LIMIT || unit.script.text().len() > SCRIPT_LIMIT;
    line.statement.copy_data().is_some() || (is_long && line.starts(&["insert"]))
}

fn is_too_much(line: &Line<'_>) -> bool {
    let text = line.text();
    if text.len() > LENGTH_LIMIT {
        return true;
    }
    let (mut depth, mut deepest, mut chain) = (0_usize, 0, 0);
    for (_, token) in line.cursor().rest() {
        match *token {
            "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "," => chain = 0,
            token if !token.starts_with(|c: char| c.is_alphanumeric() || "'\"$_.".contains(c)) => chain += 1,
            token if ["and", "or", "not", "case", "select"].iter().any(|word| token.eq_ignore_ascii_case(word)) => {
                chain += 1;
            }
            _ => {}
        }
        deepest = deepest.max(depth);
        if deepest > DEPTH_LIMIT || chain > CHAIN_LIMIT {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_the_profile_is_known_to_squawk() {
        for name in PROFILE {
            assert!(name.parse::<Rule>().is_ok_and(|rule| rule.to_string() == name), "{name}");
        }
    }

    #[test]
    fn a_panic_inside_is_caught() {
        assert_eq!(guarded(|| 7), Some(7));
        assert_eq!(guarded(|| -> u8 { panic!("inside") }), None);
    }
}
