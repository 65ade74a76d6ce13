//! How a row of ours is known again: by the values of its key, or of all its columns where there is none.

use std::collections::BTreeMap;

use crate::domain::rows::{Content, Rows};
use crate::store::database::literal::{literal, quote};

use super::shape::Table;

/// A row of ours: the columns that tell it, by their numbers, with their values.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) table: u32,
    pub(super) told_by: Vec<(i16, Option<String>)>,
    pub(super) row: BTreeMap<i16, Option<String>>,
    pub(super) late: Late,
}

/// When a row was planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// It belongs to the state before an up.
    No,
    /// Between an up and its down.
    Yes,
}

pub(super) fn own_row(table: &Table, row: &[Option<String>], late: Late) -> Own {
    let row: BTreeMap<i16, Option<String>> =
        table.columns.iter().map(|column| column.number).zip(row.iter().cloned()).collect();
    let told_by = row.iter().filter(|(number, _)| table.key.is_empty() || table.key.contains(number));
    Own { table: table.oid, told_by: told_by.map(|(number, value)| (*number, value.clone())).collect(), row, late }
}

/// What finds the row again, in the columns that are still there.
pub(super) fn condition(table: &Table, own: &Own) -> String {
    let told = own.told_by.iter().filter_map(|(number, value)| {
        let name = quote(&table.column(*number)?.name);
        Some(match value {
            Some(value) => format!("t.{name}::text = {}", literal(value)),
            None => format!("t.{name} IS NULL"),
        })
    });
    let told: Vec<String> = told.collect();
    if own.told_by.is_empty() {
        // Rows without columns are all alike.
        return format!("t.ctid = (SELECT any_row.ctid FROM {} any_row LIMIT 1)", table.name);
    }
    // A row of which nothing is left to tell it is nobody's.
    if told.is_empty() { "false".to_owned() } else { told.join(" AND ") }
}

pub(super) fn is_there(own: &Own, rows: &Rows) -> bool {
    let Some(table) = rows.tables.iter().find(|table| table.oid == own.table) else { return false };
    let Content::Rows(rows) = &table.content else { return true };
    if !own.told_by.is_empty()
        && own.told_by.iter().all(|(number, _)| table.columns.iter().all(|c| c.number != *number))
    {
        return false;
    }
    let told: Vec<(usize, &Option<String>)> = own
        .told_by
        .iter()
        .filter_map(|(number, value)| Some((table.columns.iter().position(|c| c.number == *number)?, value)))
        .collect();
    rows.iter().any(|row| told.iter().all(|(place, value)| row.get(*place) == Some(*value)))
}
