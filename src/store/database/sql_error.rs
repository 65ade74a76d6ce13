//! The server's complaint about a migration, as its author needs it: file, line, column, the line itself, and the state of
//! the database.
//!
//! The server counts characters in what it was sent, and lines in the block that it ran; both are turned into places of the
//! file. DETAIL is left out: it repeats stored values.

use crate::domain::migrations::{Position, Script, Statement};
use crate::store::StoreError;
use crate::store::postgres::{Failure, Place};

use super::watch::Blocked;

/// A statement that failed.
pub(super) struct Complaint<'a> {
    pub(super) script: &'a Script,
    pub(super) statement: &'a Statement<'a>,
    pub(super) failure: Failure,
    /// Who was in the way, where a lock was the matter.
    pub(super) blocked: Option<Blocked>,
    /// What stands, as a sentence without its full stop.
    pub(super) state: String,
}

impl Complaint<'_> {
    pub(super) fn into_error(self, place: &Place) -> StoreError {
        let Self { script, statement, failure, blocked, state } = self;
        let Failure::Server { sqlstate, message, position, hint, context, .. } = failure else {
            let lost = failure.into_store_error(place);
            return StoreError::Unreachable(format!("{}:{}: {lost}; {state}", script.file(), statement.position()));
        };
        let at = position.map(|character| statement.locate(character)).or_else(|| inner(statement, context.as_deref()));
        let at = at.unwrap_or_else(|| statement.position());
        let mut text = format!("{}:{at}: {message} ({sqlstate})", script.file());
        if let Some(blocked) = blocked.filter(|_| is_lock(&sqlstate)) {
            text.push_str(&format!("; in the way: {blocked}"));
        }
        text.push_str(&format!("; {state}"));
        text.push_str(&snippet(script, at));
        if let Some(advice) =
            advice(&sqlstate).map(str::to_owned).or(hint.map(|hint| format!("the server says: {hint}")))
        {
            text.push_str(&format!("\n  {advice}"));
        }
        match sqlstate.as_str() {
            "42501" => StoreError::Denied(text),
            _ if is_lock(&sqlstate) || sqlstate == "40001" => StoreError::Conflict(text),
            "57014" => StoreError::Unreachable(text),
            _ => StoreError::Refused(text),
        }
    }
}

/// Whether a lock could not be had: worth another try.
pub(super) fn is_lock(sqlstate: &str) -> bool {
    matches!(sqlstate, "55P03" | "40P01")
}

fn advice(sqlstate: &str) -> Option<&'static str> {
    match sqlstate {
        "25001" => Some("it cannot run in a transaction: give the file the first line `-- no-transaction`"),
        "55P04" => {
            Some("a new enum label can only be used by a later migration: move what uses it into one of its own")
        }
        "42P07" | "42710" => Some("if that is the schema from before llmhub, record it with `llmhub db baseline`"),
        _ => None,
    }
}

/// The place inside a DO block, from the server's "line n at …", which counts from the line of the opening quote.
fn inner(statement: &Statement<'_>, context: Option<&str>) -> Option<Position> {
    let line = context?.lines().find_map(|line| line.strip_prefix("PL/pgSQL function inline_code_block line "))?;
    let number: usize = line.split(' ').next()?.parse().ok()?;
    let text = statement.text();
    let body = text.find('$').or_else(|| text.find('\''))?;
    let before = text.get(..body)?;
    let wanted = before.matches('\n').count() + number.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(wanted).map(str::len).sum();
    let indent = text.get(start..)?.chars().take_while(|c| c.is_whitespace()).count();
    let start = text.get(..start)?.chars().count();
    // The opening line is shown from its start, where the statement itself may stand.
    (wanted > 0).then(|| statement.locate(start + indent + 1))
}

/// The line with a caret under the place.
fn snippet(script: &Script, at: Position) -> String {
    let text = script.text();
    let start = text.get(..at.offset).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    // A line that a program wrote can be very long; the window keeps the caret in sight.
    let skipped = at.column.saturating_sub(60).min(at.column - 1);
    let shown: String = line.chars().skip(skipped).take(100).map(|c| if c == '\t' { ' ' } else { c }).collect();
    let number = at.line.to_string();
    let (margin, blank) = (" ".repeat(number.len()), " ".repeat(at.column - 1 - skipped));
    format!("\n  {number} | {shown}\n  {margin} | {blank}^")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(position: Option<usize>, context: Option<&str>) -> Failure {
        Failure::Server {
            sqlstate: "42601".to_owned(),
            message: "syntax error at or near \"x\"".to_owned(),
            position,
            constraint: None,
            hint: None,
            context: context.map(str::to_owned),
        }
    }

    #[track_caller]
    fn case(text: &str, number: usize, failure: Failure, expected: &str) {
        let script = Script::new(text).named("7_a.up.sql");
        let statements = script.statements().unwrap();
        let complaint = Complaint {
            script: &script,
            statement: &statements[number],
            failure,
            blocked: None,
            state: "nothing of it stands".to_owned(),
        };
        let text = complaint.into_error(&Place::named("db")).to_string();
        assert_eq!(text, format!("7_a.up.sql:{expected}"));
    }

    #[test]
    fn the_place_is_that_of_the_file_with_the_line_and_a_caret() {
        case(
            "SELECT 1;\n\nSELECT é x;\n",
            1,
            server(Some(10), None),
            "3:10: syntax error at or near \"x\" (42601); nothing of it stands\n  3 | SELECT é x;\n    |          ^",
        );
    }

    #[test]
    fn without_a_position_it_is_the_statement() {
        case(
            "SELECT 1;\n  SELECT 2;",
            1,
            server(None, None),
            "2:3: syntax error at or near \"x\" (42601); nothing of it stands\n  2 |   SELECT 2;\n    |   ^",
        );
    }

    #[test]
    fn inside_a_block_it_is_the_line_of_the_block() {
        case(
            "DO $$\nBEGIN\n  PERFORM x;\nEND $$;",
            0,
            server(None, Some("SQL statement \"SELECT x\"\nPL/pgSQL function inline_code_block line 3 at PERFORM")),
            "3:3: syntax error at or near \"x\" (42601); nothing of it stands\n  3 |   PERFORM x;\n    |   ^",
        );
    }

    #[test]
    fn of_a_long_line_the_part_around_the_caret_is_shown() {
        let text = format!("SELECT '{}' x;", "a".repeat(5000));
        let script = Script::new(&text);
        let shown = snippet(&script, script.position(5010));
        assert!(shown.len() < 250 && shown.contains("' x;"), "{shown}");
    }
}
