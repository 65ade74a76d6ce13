//! The way back: whether there is one, and what it takes along that its migration did not bring.

use std::collections::BTreeSet;

use super::cursor::full;
use super::rules::{Check, Rule, examples, rule};
use super::unit::{Hit, Unit};
use super::{Context, Severity, Way};
use crate::domain::migrations::Dropped;

pub(super) const RULES: [Rule; 5] = [
    rule!(
        "missing-down",
        Warning,
        Check::Ours(missing),
        "a migration has no down",
        "It cannot be rolled back, and neither can anything before it.",
        "write its down, or allow it with the reason why there is no way back"
    ),
    rule!(
        "empty-down",
        Warning,
        Check::Ours(empty),
        "a down holds no statement",
        "It counts as a way back and gives nothing back.",
        "write the statements, or remove the down"
    ),
    rule!(
        "down-drop-cascade",
        Warning,
        Check::Ours(cascade),
        "DROP … CASCADE in a down",
        "It takes along what other migrations made on top: views, foreign keys, columns.",
        "drop what the migration made, in reverse order, without CASCADE"
    ),
    rule!(
        "down-deletes-data",
        Warning,
        Check::Ours(deletes),
        "a down deletes rows that its migration did not add",
        "A rollback of the schema shall not lose what was there before, or what came since.",
        "delete the rows of the migration only, by their keys"
    ),
    rule!(
        "temp-backup",
        Warning,
        Check::Ours(temporary),
        "a copy of data that is about to go is kept in a TEMP table",
        "It is gone with the session, and through a pooler at once. There is no copy.",
        "copy into a table that stays, or leave the backup to llmhub"
    ),
];

fn missing(context: &Context<'_>) -> Vec<Hit> {
    let without = context.folder.steps.iter().filter(|step| step.down.is_none());
    let ups = without.filter_map(|step| context.units.get(step.up));
    ups.map(|unit| Hit::of_file(unit.file(), 1, "this migration has no way back")).collect()
}

fn empty(context: &Context<'_>) -> Vec<Hit> {
    let empty = context.backward().filter(|unit| unit.error.is_none() && unit.lines.is_empty());
    empty.map(|unit| Hit::of_file(unit.file(), unit.place(0).0, "this down holds no statement")).collect()
}

fn cascade(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in context.backward() {
        for line in unit.lines.iter().filter(|line| line.starts(&["drop"]) || line.starts(&["alter", "table"])) {
            let mut dropped = line.starts(&["drop"]);
            for (offset, token) in line.cursor().rest() {
                dropped |= token.eq_ignore_ascii_case("drop");
                if dropped && token.eq_ignore_ascii_case("cascade") {
                    hits.push(unit.hit(line.start + offset, "CASCADE drops what hangs on it, whoever made it"));
                    break;
                }
            }
        }
    }
    hits
}

fn deletes(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (place, unit) in context.units.iter().enumerate().filter(|(_, unit)| unit.way == Way::Down) {
        let step = context.folder.steps.iter().find(|step| step.down == Some(place));
        let up = step.and_then(|step| context.units.get(step.up));
        let seeded = up.map(inserted);
        for line in &unit.lines {
            let mut cursor = line.cursor();
            if cursor.take("truncate") {
                hits.push(unit.hit(line.start, "TRUNCATE empties the table, whoever filled it"));
            } else if cursor.take_all(&["delete", "from"]) {
                cursor.take("only");
                let Some(table) = cursor.name() else { continue };
                if !cursor.has("where") {
                    hits.push(unit.hit(line.start, format!("every row of {table} is deleted")));
                } else if seeded.as_ref().is_some_and(|seeded| !seeded.contains(&full(&table))) {
                    hits.push(unit.hit(line.start, format!("rows of {table} are deleted, and the up adds none there")));
                }
            }
        }
    }
    hits
}

/// The tables that a script adds rows to.
fn inserted(unit: &Unit<'_>) -> BTreeSet<(String, String)> {
    let table = |line: &super::unit::Line<'_>| {
        let mut cursor = line.cursor();
        let into = cursor.find("insert") && cursor.take("into");
        if !into {
            cursor = line.cursor();
        }
        (into || cursor.take("copy")).then(|| cursor.name()).flatten()
    };
    unit.lines.iter().filter_map(table).map(|name| full(&name)).collect()
}

fn temporary(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        for (number, line) in unit.lines.iter().enumerate() {
            let mut cursor = line.cursor();
            if !cursor.take("create") {
                continue;
            }
            cursor.skip_any(&["local", "global"]);
            if !(cursor.take("temp") || cursor.take("temporary")) || !cursor.find("from") {
                continue;
            }
            let Some(source) = cursor.name() else { continue };
            let later = unit.lines.get(number + 1..).unwrap_or_default();
            if later.iter().any(|line| destroys(line, &full(&source))) {
                hits.push(unit.hit(line.start, format!("this copy of {source} is gone with the session")));
            }
        }
    }
    hits
}

/// Whether a statement takes data of the table away.
fn destroys(line: &super::unit::Line<'_>, table: &(String, String)) -> bool {
    let drops = line.statement.drops().iter().any(|dropped| match dropped {
        Dropped::Object(name) | Dropped::Column(name, _) => full(name) == *table,
        Dropped::Schema(schema) => *schema == table.0,
    });
    let mut cursor = line.cursor();
    let empties =
        cursor.take_all(&["delete", "from"]) || cursor.take_all(&["truncate", "table"]) || cursor.take("truncate");
    drops || empties && cursor.name().is_some_and(|name| full(&name) == *table)
}
