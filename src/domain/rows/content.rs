//! Rows by their key, and values by what they say.

use std::collections::HashMap;

use super::{Row, Table};

/// The values of a row's key; `None` for a row that lacks one of them.
pub(super) type Key<'a> = Vec<&'a str>;

/// The rows of a table by the values at these places. `None` if two have the same or one has none.
pub(super) fn by_key<'a>(rows: &'a [Row], places: &[usize]) -> Option<HashMap<Key<'a>, &'a Row>> {
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let key: Option<Key<'a>> = places.iter().map(|place| cell(row, *place)).collect();
        if found.insert(key?, row).is_some() {
            return None;
        }
    }
    Some(found)
}

/// How many rows have the same values at these places. Numbers that are equal are the same however they are written.
pub(super) fn multiset(rows: &[Row], places: &[usize]) -> HashMap<Vec<Option<String>>, u64> {
    let mut counts = HashMap::new();
    for row in rows {
        let values = places.iter().map(|place| cell(row, *place).map(plain)).collect();
        *counts.entry(values).or_default() += 1;
    }
    counts
}

/// The value at a place.
pub(super) fn cell(row: &Row, place: usize) -> Option<&str> {
    row.get(place)?.as_deref()
}

/// Whether two values say the same: equal in form, or equal as numbers.
pub(super) fn same(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other || plain(one) == plain(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// A decimal number without the zeros that only its type adds; any other text as it is.
fn plain(text: &str) -> String {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match digits.split_once('.') {
        Some((whole, part)) if number && !whole.is_empty() && !part.contains('.') => {
            let part = part.trim_end_matches('0');
            let sign = if text.starts_with('-') && (!part.is_empty() || whole != "0") { "-" } else { "" };
            if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
        }
        _ => text.to_owned(),
    }
}

/// The places of the columns with these numbers.
pub(super) fn places_of(table: &Table, numbers: &[i16]) -> Option<Vec<usize>> {
    numbers.iter().map(|number| table.columns.iter().position(|column| column.number == *number)).collect()
}
