//! Changes that block or break a database in use, as squawk knows them: its hazards, and none of its matters of style.
//!
//! In: what rewrites or scans a table under a lock, blocks reads or writes while an index is made or dropped, fails on a table
//! that has rows, drops or renames what running programs use, or is cut short in silence. Out: types and naming (bigint, text,
//! identity, robust statements, schema names), timeouts (llmhub sets them), CONCURRENTLY in a transaction (llmhub runs it
//! alone), DROP NOT NULL, views, functions and the like. `adding-field-with-default` only speaks of volatile defaults and
//! generated columns, which still rewrite on PostgreSQL 13 and later. Left alone: downs, and what the same file has made.

use std::collections::BTreeMap;

use super::cursor::full;
use super::rules::{Check, Rule, examples, rule};
use super::unit::{Hit, Line, Unit};
use super::{Context, Severity};
use crate::domain::migrations::ObjectName;

macro_rules! hazard {
    ($id:literal, $name:literal, $summary:literal, $why:literal, $fix:literal) => {
        rule!($id, Warning, Check::Squawk($name), $summary, $why, $fix)
    };
}

/// The rules of squawk that are asked.
pub(super) const PROFILE: [&str; 19] = [
    "adding-field-with-default",
    "adding-foreign-key-constraint",
    "adding-not-nullable-field",
    "adding-serial-primary-key-field",
    "adding-required-field",
    "changing-column-type",
    "constraint-missing-not-valid",
    "disallowed-unique-constraint",
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
    "require-concurrent-partition-detach",
    "require-concurrent-reindex",
    "ban-truncate-cascade",
    "ban-drop-database",
    "ban-drop-table",
    "ban-drop-column",
    "renaming-column",
    "renaming-table",
    "identifier-too-long",
];

pub(super) const RULES: [Rule; 20] = [
    hazard!(
        "squawk-adding-field-with-default",
        "adding-field-with-default",
        "a new column is filled by a volatile default or an expression",
        "Every row is rewritten under a lock that blocks reads and writes.",
        "add the column without it, fill it in batches, then set the default"
    ),
    hazard!(
        "squawk-adding-foreign-key-constraint",
        "adding-foreign-key-constraint",
        "a foreign key is added and checked at once",
        "Both tables are locked against writes while every row is checked.",
        "add it NOT VALID, and VALIDATE CONSTRAINT in a later migration"
    ),
    hazard!(
        "squawk-adding-not-nullable-field",
        "adding-not-nullable-field",
        "SET NOT NULL scans the table",
        "Reads and writes wait while every row is looked at.",
        "add CHECK (c IS NOT NULL) NOT VALID, validate it in a later migration, then SET NOT NULL"
    ),
    hazard!(
        "squawk-adding-serial-primary-key-field",
        "adding-serial-primary-key-field",
        "a primary key is added to a table that is there",
        "Its index is built under a lock that blocks reads and writes.",
        "build a unique index CONCURRENTLY, then ADD PRIMARY KEY USING INDEX"
    ),
    hazard!(
        "squawk-adding-required-field",
        "adding-required-field",
        "a new column is NOT NULL and has no default",
        "It fails on a table with rows, and every writer that does not know the column fails after it.",
        "leave it nullable, or give it a constant default"
    ),
    hazard!(
        "squawk-changing-column-type",
        "changing-column-type",
        "a column changes its type",
        "The table is rewritten under a lock that blocks reads and writes, and running programs may not know the new type.",
        "add a new column, copy in batches, and move the programs over"
    ),
    hazard!(
        "squawk-constraint-missing-not-valid",
        "constraint-missing-not-valid",
        "a constraint is added and checked at once",
        "Writes wait while every row is checked.",
        "add it NOT VALID, and VALIDATE CONSTRAINT in a later migration"
    ),
    hazard!(
        "squawk-disallowed-unique-constraint",
        "disallowed-unique-constraint",
        "a UNIQUE constraint builds its index in place",
        "Reads and writes wait until the index is built.",
        "build a unique index CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX"
    ),
    hazard!(
        "squawk-require-concurrent-index-creation",
        "require-concurrent-index-creation",
        "an index is built on a table that is there",
        "Writes wait until it is built.",
        "CREATE INDEX CONCURRENTLY; llmhub runs it alone"
    ),
    hazard!(
        "squawk-require-concurrent-index-deletion",
        "require-concurrent-index-deletion",
        "an index is dropped in place",
        "It waits for every reader of the table, and everybody behind it waits too.",
        "DROP INDEX CONCURRENTLY; llmhub runs it alone"
    ),
    hazard!(
        "squawk-require-concurrent-partition-detach",
        "require-concurrent-partition-detach",
        "a partition is detached in place",
        "The whole partitioned table is locked against reads and writes.",
        "DETACH PARTITION … CONCURRENTLY; llmhub runs it alone"
    ),
    hazard!(
        "squawk-require-concurrent-reindex",
        "require-concurrent-reindex",
        "an index is rebuilt in place",
        "Writes wait, and reads that would use the index.",
        "REINDEX … CONCURRENTLY; llmhub runs it alone"
    ),
    hazard!(
        "squawk-ban-truncate-cascade",
        "ban-truncate-cascade",
        "TRUNCATE … CASCADE",
        "It empties every table that refers to this one, and those that refer to them.",
        "name the tables that shall be emptied"
    ),
    hazard!(
        "squawk-ban-drop-database",
        "ban-drop-database",
        "DROP DATABASE in a migration",
        "No transaction and no down can bring it back.",
        "leave it to an operator, outside migrations"
    ),
    hazard!(
        "squawk-ban-drop-table",
        "ban-drop-table",
        "a table is dropped on the way forward",
        "Its rows are lost, and programs that still run fail.",
        "move the programs off it first; then allow it with that as the reason"
    ),
    hazard!(
        "squawk-ban-drop-column",
        "ban-drop-column",
        "a column is dropped on the way forward",
        "Its values are lost, and programs that still run fail.",
        "move the programs off it first; then allow it with that as the reason"
    ),
    hazard!(
        "squawk-renaming-column",
        "renaming-column",
        "a column is renamed",
        "Programs that still run ask for the old name.",
        "add a column of the new name, and write both until the programs have moved"
    ),
    hazard!(
        "squawk-renaming-table",
        "renaming-table",
        "a table is renamed",
        "Programs that still run ask for the old name.",
        "leave a view with the old name until the programs have moved"
    ),
    hazard!(
        "squawk-identifier-too-long",
        "identifier-too-long",
        "a name has more than 63 bytes",
        "The server cuts it short, and two such names can become one.",
        "choose a shorter name"
    ),
    rule!(
        "not-checked",
        Warning,
        Check::Ours(not_checked),
        "the hazards of a statement or file could not be looked for",
        "It is too large or too deep for the parser, so nobody knows whether it holds a hazard.",
        "split the statement, or allow this with what you have looked at as the reason"
    ),
];

fn not_checked(context: &Context<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for unit in &context.units {
        let look = unit.look();
        if look.failed {
            hits.push(Hit::of_file(
                unit.file(),
                1,
                "the parser gave up on this file, so its hazards were not looked for",
            ));
        }
        let skipped = |offset: &usize| {
            unit.hit(*offset, "this statement is too large or too deep to be parsed; it was not checked")
        };
        hits.extend(look.skipped.iter().map(skipped));
    }
    hits
}

/// What one rule of squawk has found.
pub(super) fn hits(context: &Context<'_>, name: &str) -> Vec<Hit> {
    context.forward().flat_map(|unit| of(unit, name)).collect()
}

fn of(unit: &Unit<'_>, name: &str) -> Vec<Hit> {
    let found: Vec<_> = unit.look().hazards.iter().filter(|hazard| hazard.rule == name).collect();
    // Once for all of them: a script may hold thousands.
    let made = if found.is_empty() { BTreeMap::new() } else { all_made(unit) };
    let mut hits = Vec::new();
    for hazard in found {
        let place = unit.lines.partition_point(|line| line.start <= hazard.offset).saturating_sub(1);
        let own = |name: &ObjectName| made.get(&full(name)).is_some_and(|maker| *maker < place);
        let touched = unit.lines.get(place).map(touched).unwrap_or_default();
        if name != "identifier-too-long" && !touched.is_empty() && touched.iter().all(own) {
            continue;
        }
        let message = hazard.message.split_whitespace().collect::<Vec<_>>().join(" ");
        hits.push(unit.hit(hazard.offset, message));
    }
    hits
}

/// What the script makes, each with the number of the first statement that does.
fn all_made(unit: &Unit<'_>) -> BTreeMap<(String, String), usize> {
    let mut all = BTreeMap::new();
    for (number, line) in unit.lines.iter().enumerate().filter(|(_, line)| line.starts(&["create"])) {
        if let Some(name) = made(line) {
            all.entry(full(&name)).or_insert(number);
        }
    }
    all
}

/// The table or index that a statement makes.
fn made(line: &Line<'_>) -> Option<ObjectName> {
    let mut cursor = line.cursor();
    if !cursor.take("create") {
        return None;
    }
    cursor.skip_any(&["unlogged", "temp", "temporary", "local", "global", "unique", "materialized"]);
    let index = cursor.take("index");
    if !(index || cursor.take("table") || cursor.take("view")) {
        return None;
    }
    cursor.take("concurrently");
    cursor.take_all(&["if", "not", "exists"]);
    cursor.name()
}

/// The tables or indexes that a statement works on, as far as its words tell.
fn touched(line: &Line<'_>) -> Vec<ObjectName> {
    let mut cursor = line.cursor();
    if cursor.take("create") {
        cursor.take("unique");
        if !(cursor.take("index") && cursor.find("on")) {
            return Vec::new();
        }
        cursor.take("only");
    } else if cursor.take("alter") || cursor.take("drop") || cursor.take("reindex") {
        cursor.skip_any(&["table", "index", "materialized", "view"]);
        cursor.take_all(&["if", "exists"]);
        cursor.take("only");
    } else {
        return Vec::new();
    }
    let mut names = Vec::new();
    while let Some(name) = cursor.name() {
        names.push(name);
        if !cursor.take(",") {
            break;
        }
    }
    names
}
