//! What only shows when all files of a folder are seen together: one version twice, one table in two shapes, one index name on
//! two tables.
//!
//! Tables are followed through the files in their order, so a table that was dropped, or grown by ALTER TABLE, is what it is
//! then. What the words do not tell for certain is not compared.

use std::collections::BTreeMap;

use super::cursor::{Cursor, folded, full, identifier};
use super::folder::TroubleKind;
use super::rules::{Check, Rule, examples, rule};
use super::unit::{Hit, Line, Unit};
use super::{Context, Severity};

pub(super) const RULES: [Rule; 4] = [
    rule!(
        "duplicate-version",
        Error,
        Check::Ours(duplicate_version),
        "two migrations have one version",
        "The second would fail at the ledger after the first has run.",
        "give one of them a new version"
    ),
    rule!(
        "layout",
        Error,
        Check::Ours(layout),
        "the folder cannot be read as migrations",
        "db apply refuses it before anything runs.",
        "correct what the message names"
    ),
    rule!(
        "shape-conflict",
        Error,
        Check::Ours(shape_conflict),
        "IF NOT EXISTS hides a different shape of the same table",
        "The server prints a notice, keeps the table as it is, and everything behind expects other columns.",
        "keep one definition, and change the table with ALTER TABLE"
    ),
    rule!(
        "index-name-collision",
        Error,
        Check::Ours(index_collision),
        "one index name for two indexes",
        "Names of indexes are shared by all tables of a schema. The second fails, or IF NOT EXISTS skips it; a down then drops the other's.",
        "put the table's name into the index's"
    ),
];

fn duplicate_version(context: &Context<'_>) -> Vec<Hit> {
    troubles(context, TroubleKind::DuplicateVersion)
}

fn layout(context: &Context<'_>) -> Vec<Hit> {
    troubles(context, TroubleKind::Layout)
}

fn troubles(context: &Context<'_>, kind: TroubleKind) -> Vec<Hit> {
    context.folder.troubles.iter().filter(|trouble| trouble.kind == kind).map(super::folder::Trouble::hit).collect()
}

type Name = (String, String);

/// A table as the files have made it so far.
struct Table<'u> {
    /// The type of each column.
    columns: BTreeMap<String, String>,
    unit: &'u Unit<'u>,
    offset: usize,
}

fn shape_conflict(context: &Context<'_>) -> Vec<Hit> {
    let mut tables: BTreeMap<Name, Table<'_>> = BTreeMap::new();
    let mut hits = Vec::new();
    for unit in context.forward() {
        for line in &unit.lines {
            if line.starts(&["create"]) {
                let Some((name, guarded, columns)) = created(line) else { continue };
                match tables.get(&name) {
                    Some(known) if guarded => {
                        if let Some(difference) = difference(&known.columns, &columns) {
                            let place = known.unit.named(known.offset);
                            let message = format!("{} was made in another shape in {place}: {difference}", name.1);
                            hits.push(unit.hit(line.start, message).with(known.unit.file()));
                        }
                    }
                    // Without the guard the server tells, so nothing is hidden.
                    Some(_) => {}
                    None => drop(tables.insert(name, Table { columns, unit, offset: line.start })),
                }
            } else {
                follow(line, &mut tables);
            }
        }
    }
    hits
}

/// The table, whether IF NOT EXISTS guards it, and its columns.
fn created(line: &Line<'_>) -> Option<(Name, bool, BTreeMap<String, String>)> {
    let mut cursor = line.cursor();
    cursor.take("create");
    cursor.take("unlogged");
    if !cursor.take("table") {
        return None;
    }
    let guarded = cursor.take_all(&["if", "not", "exists"]);
    let name = cursor.name()?;
    if !cursor.take("(") {
        return None;
    }
    let columns = columns(&mut cursor)?;
    Some((full(&name), guarded, columns))
}

/// The columns between the parentheses; nothing where another table lends its columns.
fn columns(cursor: &mut Cursor<'_>) -> Option<BTreeMap<String, String>> {
    const OTHER: [&str; 6] = ["constraint", "primary", "unique", "check", "foreign", "exclude"];
    let mut columns = BTreeMap::new();
    loop {
        let first = cursor.peek()?;
        if first.eq_ignore_ascii_case("like") {
            return None;
        }
        let is_other = OTHER.iter().any(|word| first.eq_ignore_ascii_case(word));
        let name = if is_other { None } else { Some(cursor.identifier()?) };
        let kind = column_type(cursor);
        columns.extend(name.map(|name| (name, kind)));
        let mut depth = 0_usize;
        loop {
            match cursor.step()? {
                "(" => depth += 1,
                ")" if depth == 0 => return Some(columns),
                ")" => depth -= 1,
                "," if depth == 0 => break,
                _ => {}
            }
        }
    }
}

/// The tokens of a type, up to what a column says besides.
fn column_type(cursor: &mut Cursor<'_>) -> String {
    const ENDS: [&str; 13] = [
        "not",
        "null",
        "default",
        "primary",
        "unique",
        "references",
        "check",
        "constraint",
        "generated",
        "collate",
        "storage",
        "compression",
        "deferrable",
    ];
    let (mut words, mut depth) = (Vec::new(), 0_usize);
    while let Some(token) = cursor.peek() {
        let ends = depth == 0 && (matches!(token, "," | ")") || ENDS.iter().any(|end| token.eq_ignore_ascii_case(end)));
        if ends {
            break;
        }
        depth = match token {
            "(" => depth + 1,
            ")" => depth.saturating_sub(1),
            _ => depth,
        };
        words.push(folded(token));
        cursor.step();
    }
    synonym(&words.join(" ")).to_owned()
}

/// Types that the server stores as one.
fn synonym(name: &str) -> &str {
    match name {
        "int" | "int4" | "serial" | "serial4" => "integer",
        "int8" | "bigserial" | "serial8" => "bigint",
        "int2" | "smallserial" => "smallint",
        "bool" => "boolean",
        "float8" => "double precision",
        "float4" => "real",
        "decimal" => "numeric",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "character varying" => "varchar",
        other => other.strip_prefix("pg_catalog . ").unwrap_or(other),
    }
}

fn difference(known: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> Option<String> {
    for (name, kind) in wanted {
        match known.get(name) {
            None => return Some(format!("without the column {name}")),
            Some(other) if other != kind => return Some(format!("{name} is {other} there and {kind} here")),
            Some(_) => {}
        }
    }
    known.keys().find(|name| !wanted.contains_key(*name)).map(|name| format!("with the column {name}"))
}

/// What other statements do to the tables.
fn follow(line: &Line<'_>, tables: &mut BTreeMap<Name, Table<'_>>) {
    for name in dropped(line) {
        tables.remove(&name);
    }
    let mut cursor = line.cursor();
    if !cursor.take_all(&["alter", "table"]) {
        return;
    }
    cursor.take_all(&["if", "exists"]);
    cursor.take("only");
    let Some(name) = cursor.name().map(|name| full(&name)) else { return };
    loop {
        let known = actions(&mut cursor, tables.get_mut(&name));
        if known.is_none() {
            tables.remove(&name);
            return;
        }
        let mut depth = 0_usize;
        loop {
            match cursor.step() {
                None => return,
                Some("(") => depth += 1,
                Some(")") => depth = depth.saturating_sub(1),
                Some(",") if depth == 0 => break,
                Some(_) => {}
            }
        }
    }
}

/// One action of ALTER TABLE; nothing where the shape is not known after it.
fn actions(cursor: &mut Cursor<'_>, table: Option<&mut Table<'_>>) -> Option<()> {
    let table = table?;
    if cursor.take_all(&["add", "column"]) {
        cursor.take_all(&["if", "not", "exists"]);
        let name = cursor.identifier()?;
        let kind = column_type(cursor);
        table.columns.entry(name).or_insert(kind);
        return Some(());
    }
    if cursor.take_all(&["drop", "column"]) {
        cursor.take_all(&["if", "exists"]);
        table.columns.remove(&cursor.identifier()?);
        return Some(());
    }
    let harmless = [
        &["add", "constraint"][..],
        &["drop", "constraint"],
        &["validate"],
        &["add", "primary"],
        &["add", "unique"],
        &["add", "check"],
        &["add", "foreign"],
        &["owner"],
        &["enable"],
        &["disable"],
        &["set"],
    ];
    harmless.iter().any(|words| cursor.take_all(words)).then_some(())
}

/// The tables and indexes that a statement drops or renames away.
fn dropped(line: &Line<'_>) -> Vec<Name> {
    let mut cursor = line.cursor();
    let renames = cursor.take("alter");
    if !(renames || cursor.take("drop")) || !(cursor.take("table") || cursor.take("index")) {
        return Vec::new();
    }
    cursor.take("concurrently");
    cursor.take_all(&["if", "exists"]);
    let mut names = Vec::new();
    while let Some(name) = cursor.name() {
        names.push(full(&name));
        if !cursor.take(",") {
            break;
        }
    }
    if renames && !cursor.take_all(&["rename", "to"]) {
        return Vec::new();
    }
    names
}

/// An index as the files have made it so far.
struct Index<'u> {
    table: Name,
    definition: String,
    unit: &'u Unit<'u>,
    offset: usize,
}

fn index_collision(context: &Context<'_>) -> Vec<Hit> {
    let mut indexes: BTreeMap<Name, Index<'_>> = BTreeMap::new();
    let mut hits = Vec::new();
    for unit in context.forward() {
        for line in &unit.lines {
            if !line.starts(&["create"]) {
                for name in dropped(line) {
                    indexes.remove(&name);
                    indexes.retain(|_, index| index.table != name);
                }
                continue;
            }
            let Some((name, index)) = indexed(unit, line) else { continue };
            let Some(known) = indexes.get(&name) else {
                indexes.insert(name, index);
                continue;
            };
            let other = if known.table != index.table {
                format!("on {}", known.table.1)
            } else if known.definition != index.definition {
                "with another definition".to_owned()
            } else {
                continue;
            };
            let place = known.unit.named(known.offset);
            hits.push(
                unit.hit(line.start, format!("{} is an index {other} in {place}", name.1)).with(known.unit.file()),
            );
        }
    }
    hits
}

fn indexed<'u>(unit: &'u Unit<'u>, line: &Line<'_>) -> Option<(Name, Index<'u>)> {
    let mut cursor = line.cursor();
    cursor.take("create");
    let unique = cursor.take("unique");
    if !cursor.take("index") {
        return None;
    }
    cursor.take("concurrently");
    cursor.take_all(&["if", "not", "exists"]);
    let name = cursor.peek().filter(|word| !word.eq_ignore_ascii_case("on")).and_then(identifier)?;
    cursor.step();
    if !cursor.take("on") {
        return None;
    }
    cursor.take("only");
    let table = full(&cursor.name()?);
    let rest: Vec<String> = cursor.rest().iter().map(|(_, token)| folded(token)).collect();
    let definition = format!("{unique} {}", rest.join(" ").trim_start_matches("using btree "));
    Some(((table.0.clone(), name), Index { table, definition, unit, offset: line.start }))
}
