//! Texts that no server runs as they are meant: no UTF-8, no end of a quote, psql's own language, a block's language outside a
//! block, and other servers' SQL.

use super::cursor::identifier;
use super::folder::TroubleKind;
use super::rules::{Check, Rule, examples, rule};
use super::unit::{Hit, Line};
use super::{Context, Severity};
use crate::domain::migrations::SplitError;

pub(super) const RULES: [Rule; 8] = [
    rule!(
        "not-utf8",
        Error,
        Check::Ours(not_utf8),
        "the text is not UTF-8",
        "The server would get other characters than the author wrote, or refuse them.",
        "save it as UTF-8"
    ),
    rule!(
        "unterminated",
        Error,
        Check::Ours(unterminated),
        "a quote, comment, parenthesis or COPY has no end",
        "Everything behind it is taken for a part of it.",
        "close it"
    ),
    rule!(
        "psql-command",
        Error,
        Check::Ours(psql_command),
        "a backslash command of psql",
        "Only psql knows it; a server and every other tool fail on it.",
        "write plain SQL; leave out what only prints"
    ),
    rule!(
        "block-statement",
        Error,
        Check::Ours(block_statement),
        "PL/pgSQL outside a block: a bare RAISE, IF, PERFORM",
        "To SQL it is a syntax error, and the transaction around it is lost. A down full of RAISE can never run.",
        "put it into DO $$ BEGIN … END $$, or leave it out"
    ),
    rule!(
        "select-into",
        Warning,
        Check::Ours(select_into),
        "SELECT … INTO outside a block makes a table",
        "In a block it sets a variable; here it leaves a table of that name behind.",
        "CREATE TABLE … AS, if a table is meant"
    ),
    rule!(
        "inline-index",
        Error,
        Check::Ours(inline_index),
        "an index inside CREATE TABLE",
        "That is another server's SQL. PostgreSQL reads a column of an unknown type.",
        "CREATE INDEX in a statement of its own"
    ),
    rule!(
        "enum-label-in-use",
        Error,
        Check::Ours(enum_label),
        "a new enum label is used in the migration that adds it",
        "The server refuses it (55P04) until the transaction that added it has committed.",
        "use it in a later migration"
    ),
    rule!(
        "syntax",
        Warning,
        Check::Ours(syntax),
        "the parser cannot read a statement",
        "A server will most likely refuse it. The parser may lag behind the newest PostgreSQL: db apply --dry-run asks the server.",
        "correct it, or allow it with the server's answer as the reason"
    ),
];

fn not_utf8(context: &Context<'_>) -> Vec<Hit> {
    let found = context.folder.troubles.iter().filter(|trouble| trouble.kind == TroubleKind::NotUtf8);
    found.map(super::folder::Trouble::hit).collect()
}

fn broken(context: &Context<'_>, psql: Psql) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        let Some(error) = &unit.error else { continue };
        if matches!(error, SplitError::PsqlCommand { .. }) == (psql == Psql::Yes) {
            hits.push(unit.hit(error.at().offset, error.to_string()));
        }
    }
    hits
}

#[derive(PartialEq, Eq)]
enum Psql {
    Yes,
    No,
}

fn unterminated(context: &Context<'_>) -> Vec<Hit> {
    broken(context, Psql::No)
}

fn psql_command(context: &Context<'_>) -> Vec<Hit> {
    broken(context, Psql::Yes)
}

/// Whether it starts like a statement of PL/pgSQL and not like one of SQL.
fn is_block_statement(line: &Line<'_>) -> bool {
    let head: Vec<&str> = line.head.iter().map(String::as_str).collect();
    match head.as_slice() {
        [
            "raise" | "if" | "elsif" | "elseif" | "else" | "loop" | "while" | "perform" | "return" | "exception"
            | "assert" | "foreach",
            ..,
        ]
        | ["end", "if" | "loop" | "case", ..]
        | ["get", "diagnostics" | "stacked" | "current", ..] => true,
        ["for", ..] => line.cursor().has("in"),
        ["declare", ..] => !line.cursor().has("cursor"),
        _ => false,
    }
}

/// The first of those that follow each other: the rest is the same mistake.
fn block_statement(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        let mut inside = false;
        for line in &unit.lines {
            let is = is_block_statement(line);
            if is && !inside {
                let word = line.head.first().map(|word| word.to_uppercase()).unwrap_or_default();
                hits.push(unit.hit(line.start, format!("{word} is PL/pgSQL and stands outside a block")));
            }
            inside = is;
        }
    }
    hits
}

fn select_into(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        for line in unit.lines.iter().filter(|line| line.starts(&["select"])) {
            let mut depth = 0_usize;
            for (offset, token) in line.cursor().rest() {
                match *token {
                    "(" => depth += 1,
                    ")" => depth = depth.saturating_sub(1),
                    token if depth == 0 && token.eq_ignore_ascii_case("into") => {
                        hits.push(unit.hit(line.start + offset, "outside a block this makes a table"));
                        break;
                    }
                    _ => {}
                }
            }
        }
    }
    hits
}

/// `INDEX name (column)` or `KEY name (column)` where a column is expected.
fn inline_index(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        for line in unit.lines.iter().filter(|line| line.starts(&["create"]) && line.cursor().has("table")) {
            let cursor = line.cursor();
            for window in cursor.rest().windows(5) {
                let [(_, before), (offset, word), (_, name), (_, open), (_, first)] = window else { continue };
                let is_start = matches!(*before, "(" | ",");
                let is_key = ["index", "key"].iter().any(|key| word.eq_ignore_ascii_case(key));
                if is_start && is_key && identifier(name).is_some() && *open == "(" && identifier(first).is_some() {
                    hits.push(unit.hit(line.start + offset, "PostgreSQL has no indexes inside CREATE TABLE"));
                }
            }
        }
    }
    hits
}

fn enum_label(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        let mut labels: Vec<&str> = Vec::new();
        for line in &unit.lines {
            let mut cursor = line.cursor();
            if cursor.take_all(&["alter", "type"]) {
                if cursor.find("add") && cursor.take("value") {
                    cursor.take_all(&["if", "not", "exists"]);
                    labels.extend(cursor.peek());
                }
                continue;
            }
            if labels.is_empty() {
                continue;
            }
            let used = cursor.rest().iter().find(|(_, token)| labels.contains(token));
            hits.extend(used.map(|(offset, label)| {
                unit.hit(line.start + offset, format!("the label {label} was added in the same migration"))
            }));
        }
    }
    hits
}

fn syntax(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        for (offset, message) in &unit.look().unparsed {
            let place = unit.lines.partition_point(|line| line.start <= *offset).saturating_sub(1);
            let told = unit.lines.get(place).is_some_and(is_block_statement);
            if !told {
                hits.push(unit.hit(*offset, format!("the parser says: {message}")));
            }
        }
    }
    hits
}
