//! Which table and which column of one moment is which of another.
//!
//! By identity first, so that a rename is followed; what was made anew is found by its name.

use super::{Column, Rows, Source, Table};

/// One table at the four moments: before the up, after it, after more was written, and after the down.
#[derive(Clone, Copy)]
pub(super) struct Story<'a> {
    pub(super) before: &'a Table,
    pub(super) after_up: &'a Table,
    pub(super) edited: &'a Table,
    pub(super) after_down: &'a Table,
}

/// The story of each table that is there at all four moments. A table that the up moved aside and replaced has two.
pub(super) fn stories<'a>(
    before: &'a Rows,
    after_up: &'a Rows,
    edited: &'a Rows,
    after_down: &'a Rows,
) -> Vec<Story<'a>> {
    let mut found = Vec::new();
    for old in &before.tables {
        let named = by_name(after_up, &old.name).filter(|table| by_oid(before, table.oid).is_none());
        for up in [by_oid(after_up, old.oid), named].into_iter().flatten() {
            let Some(edited) = by_oid(edited, up.oid) else { continue };
            let same = by_oid(after_down, old.oid).or_else(|| by_oid(after_down, up.oid));
            // One that was made twice has its name only.
            if let Some(down) = same.or_else(|| by_name(after_down, &old.name)) {
                found.push(Story { before: old, after_up: up, edited, after_down: down });
            }
        }
    }
    found
}

fn by_oid(rows: &Rows, oid: u32) -> Option<&Table> {
    rows.tables.iter().find(|table| table.oid == oid)
}

fn by_name<'a>(rows: &'a Rows, name: &str) -> Option<&'a Table> {
    rows.tables.iter().find(|table| table.name == name)
}

/// Where a column of the table before the up stands at the other moments.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) column: &'a Column,
    pub(super) before: usize,
    /// `None` for one that the up took.
    pub(super) up: Option<usize>,
    pub(super) edited: Option<usize>,
    pub(super) down: usize,
    /// Whether its type is the same at all moments.
    pub(super) one_type: Typing,
    pub(super) stamp: Stamping,
}

/// Whether a column had one type throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typing {
    Same,
    Changed,
}

/// Whether a trigger sets the column on each update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamping {
    Stamp,
    Free,
}

impl<'a> Story<'a> {
    /// The columns from before the up that are there after the down, without generated ones.
    pub(super) fn places(&self) -> Vec<Place<'a>> {
        let columns = self.before.columns.iter().enumerate().filter(|(_, column)| column.source != Source::Generated);
        columns
            .filter_map(|(index, column)| {
                let up = find(self.before, column, self.after_up);
                let edited = find(self.before, column, self.edited);
                let down = find(self.before, column, self.after_down)?;
                let at = |table: &'a Table, index: Option<usize>| index.and_then(|index| table.columns.get(index));
                let others = [at(self.after_up, up), at(self.edited, edited), at(self.after_down, Some(down))]
                    .into_iter()
                    .flatten();
                let (mut one_type, mut stamp) = (Typing::Same, Stamping::Free);
                for one in others.chain([column]) {
                    if one.data_type != column.data_type {
                        one_type = Typing::Changed;
                    }
                    if one.source == Source::Stamp {
                        stamp = Stamping::Stamp;
                    }
                }
                Some(Place { column, before: index, up, edited, down, one_type, stamp })
            })
            .collect()
    }
}

/// The place of `column` of `from` in `to`.
pub(super) fn find(from: &Table, column: &Column, to: &Table) -> Option<usize> {
    if from.oid == to.oid
        && let Some(index) = to.columns.iter().position(|other| other.number == column.number)
    {
        return Some(index);
    }
    to.columns.iter().position(|other| {
        // A column of that name that was there before under another name is a different one.
        let known = from.oid == to.oid && from.columns.iter().any(|old| old.number == other.number);
        other.name == column.name && !known
    })
}
