//! The statements that plant rows: one block for all tables, in which each fails alone and says why.

use std::collections::HashMap;

use serde::Deserialize;
use sqlx::Row as _;

use crate::store::StoreError;
use crate::store::database::literal::quote;
use crate::store::postgres::Session;

use super::fill::candidates;
use super::shape::{Column, Shapes, Table};

/// A row that shall be planted.
pub(super) struct Wish<'a> {
    pub(super) table: &'a Table,
    pub(super) number: u32,
    /// Which candidate each column takes.
    pub(super) choice: HashMap<i16, usize>,
}

/// What became of one statement of a block.
#[derive(Debug, Deserialize)]
pub(super) struct Outcome {
    /// The place of the statement in the block.
    pub(super) at: usize,
    /// The row as it was stored.
    pub(super) row: Option<Vec<Option<String>>>,
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) rule: Option<String>,
}

/// Run statements that each end in `RETURNING … INTO r`, each for itself, in the transaction that is open.
pub(super) async fn block(session: &mut Session, statements: &[String]) -> Result<Vec<Outcome>, StoreError> {
    let mut body = String::new();
    for (at, statement) in statements.iter().enumerate() {
        body.push_str(&format!(
            "BEGIN r := NULL; {statement}; a := a || jsonb_build_object('at', {at}, 'row', to_jsonb(r));\n\
             EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS s = RETURNED_SQLSTATE, m = MESSAGE_TEXT, c = CONSTRAINT_NAME;\n\
             a := a || jsonb_build_object('at', {at}, 'code', s, 'message', m, 'rule', c); END;\n"
        ));
    }
    let declare = "DECLARE a jsonb := '[]'; r text[]; s text; m text; c text;";
    let tag = "$llmhub_sentinels$";
    session
        .send(&format!(
            "DO {tag} #variable_conflict use_column\n{declare} BEGIN {body} PERFORM pg_catalog.set_config('llmhub.sentinels', a::text, true); END {tag}"
        ))
        .await?;
    let row = session.row(sqlx::query("SELECT current_setting('llmhub.sentinels')")).await?;
    let text: Option<String> = row.and_then(|row| row.try_get(0).ok());
    let outcomes = text.and_then(|text| serde_json::from_str(&text).ok());
    outcomes.ok_or_else(|| StoreError::Invalid("the server did not say what became of the planted rows".to_owned()))
}

/// All columns of a row, as text.
pub(super) fn returning(table: &Table) -> String {
    let column = |column: &Column| format!("t.{}::text", quote(&column.name));
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    format!("RETURNING ARRAY[{}]::text[] INTO r", columns.join(", "))
}

/// The statement for a row. A foreign key takes a row of `own` values, the least used and newest one.
pub(super) fn insert(shapes: &Shapes, wish: &Wish<'_>, own: &HashMap<(u32, String), Vec<String>>) -> String {
    let table = wish.table;
    let mut values: HashMap<i16, String> = HashMap::new();
    for column in &table.columns {
        let choices = candidates(shapes, table, column, wish.number);
        let chosen = wish.choice.get(&column.number).copied().unwrap_or_default();
        let value = choices.get(chosen % choices.len().max(1)).cloned().unwrap_or_else(|| "DEFAULT".to_owned());
        values.insert(column.number, value);
    }
    let mut from = String::from("(SELECT 1) AS one");
    for (at, reference) in table.references.iter().enumerate() {
        let pairs: Vec<(&Column, &String)> = reference
            .columns
            .iter()
            .zip(&reference.keys)
            .filter_map(|(n, key)| Some((table.column(*n)?, key)))
            .collect();
        if reference.table == table.oid {
            for (column, key) in pairs {
                let own_key = table.columns.iter().find(|other| other.name == *key && !other.always);
                let own_key = own_key.and_then(|other| values.get(&other.number).cloned());
                let value = if column.required { own_key } else { None };
                values.insert(column.number, value.unwrap_or_else(|| "NULL".to_owned()));
            }
            continue;
        }
        let used: Vec<String> =
            pairs.iter().map(|(column, key)| format!("u.{} = p.{}", quote(&column.name), quote(key))).collect();
        let ours = pairs.first().and_then(|(_, key)| {
            let values = own.get(&(reference.table, (*key).clone()))?;
            let list: Vec<String> =
                values.iter().map(|value| crate::store::database::literal::literal(value)).collect();
            Some(format!("p.{}::text IN ({})", quote(key), list.join(", ")))
        });
        let ours = ours.unwrap_or_else(|| "false".to_owned());
        // A row of a seed may be taken back by its own down: only a column that needs a parent leans on one.
        let only = if pairs.iter().any(|(column, _)| column.required) { "true" } else { ours.as_str() };
        from.push_str(&format!(
            " LEFT JOIN LATERAL (SELECT p.* FROM {} p WHERE {only} ORDER BY NOT ({ours}), \
             EXISTS (SELECT FROM {} u WHERE {}), p.ctid DESC LIMIT 1) f{at} ON true",
            reference.name,
            table.name,
            used.join(" AND ")
        ));
        for (column, key) in pairs {
            values.insert(column.number, format!("f{at}.{}", quote(key)));
        }
    }
    let written = table.columns.iter().filter(|column| !column.generated && !column.always);
    let written = written.filter_map(|column| Some((column, values.get(&column.number)?)));
    let (names, values): (Vec<String>, Vec<&str>) = written
        .filter(|(_, value)| value.as_str() != "DEFAULT")
        .map(|(column, value)| (quote(&column.name), value.as_str()))
        .unzip();
    if names.is_empty() {
        return format!("INSERT INTO {} AS t DEFAULT VALUES {}", table.name, returning(table));
    }
    let (names, values) = (names.join(", "), values.join(", "));
    format!("INSERT INTO {} AS t ({names}) SELECT {values} FROM {from} {}", table.name, returning(table))
}
