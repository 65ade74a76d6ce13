//! Columns: what is changed in place, and how one is written where it is made anew.

use super::super::doomed::holds;
use super::lists::{foreign, storage};
use super::{Kind, Object, Repairs, Script, Steps, alter};

impl Repairs<'_> {
    pub(super) fn alter_column(
        &self,
        now: &Object,
        goal: &Object,
        what: &str,
        (from, value): (Option<&str>, Option<&str>),
    ) -> Steps {
        let (name, of) = (&goal.name, goal.of.as_deref().unwrap_or_default());
        let column = format!("ALTER TABLE {of} ALTER COLUMN {name}");
        let kind = goal.fact("type").unwrap_or_default();
        let collated = goal.fact("collation").map(|collation| format!(" COLLATE {collation}")).unwrap_or_default();
        Ok(match what {
            "type" if holds(from.unwrap_or_default(), kind) => {
                Script::of(format!("{column} TYPE {kind}{collated}")).but("it may rewrite the table")
            }
            "type" => return Err(format!("{kind} may not hold every value that is in it now")),
            "collation" => Script::of(format!("{column} TYPE {kind}{collated}")).but("its indexes are built again"),
            "default" => match value {
                Some(default) => Script::of(format!("{column} SET DEFAULT {default}")),
                None => Script::of(format!("{column} DROP DEFAULT")),
            },
            "not null" => match value {
                Some(_) => Script::of(format!("{column} SET NOT NULL")).but("it fails while a row has no value"),
                None => Script::of(format!("{column} DROP NOT NULL")),
            },
            "identity" => match (from, value) {
                (Some(_), Some(how)) => Script::of(format!("{column} SET GENERATED {}", how.to_ascii_uppercase())),
                (Some(_), None) => {
                    Script::of(format!("{column} DROP IDENTITY")).but("the position of its sequence goes with it")
                }
                _ => Script::of(format!("{column} ADD{}", self.identity(goal)))
                    .but("its sequence starts anew: set it past the largest value"),
            },
            "generated" if value.is_none() => Script::of(format!("{column} DROP EXPRESSION")),
            "generated" => {
                return Err("a plain column becomes a generated one only by dropping it and adding it again".to_owned());
            }
            "storage" => match value.or_else(|| usual_storage(kind)) {
                Some(storage) => Script::of(format!("{column} SET STORAGE {}", storage.to_ascii_uppercase())),
                None if self.major >= 16 => Script::of(format!("{column} SET STORAGE DEFAULT")),
                None => return Err("the usual storage of its type is not known".to_owned()),
            },
            "compression" => Script::of(format!("{column} SET COMPRESSION {}", value.unwrap_or("default"))),
            "statistics target" => Script::of(format!("{column} SET STATISTICS {}", value.unwrap_or("-1"))),
            "options" => Script { sql: storage(&column, "", from, value)?, caveats: Vec::new() },
            "server options" => {
                let column = format!("ALTER FOREIGN TABLE {of} ALTER COLUMN {name}");
                Script::of(foreign(&column, from, value)?)
            }
            "inherited" => {
                let word = if now.fact("inherited").is_some() { "leaves" } else { "comes back to" };
                return Err(format!("it {word} what it inherits from with its table"));
            }
            _ => return Err(format!("the {what} of a column is not changed by one simple statement")),
        })
    }

    /// The column as CREATE TABLE and ADD COLUMN read it, and the properties that this says.
    pub(super) fn column_definition(&self, column: &Object) -> String {
        let mut text = format!("{} {}", column.name, column.fact("type").unwrap_or_default());
        if let Some(collation) = column.fact("collation") {
            text.push_str(&format!(" COLLATE {collation}"));
        }
        if let Some(generated) = column.fact("generated") {
            let (expression, how) = generated.rsplit_once(' ').unwrap_or((generated, "stored"));
            text.push_str(&format!(" GENERATED ALWAYS AS ({expression}) {}", how.to_ascii_uppercase()));
        }
        if column.fact("identity").is_some() {
            text.push_str(&self.identity(column));
        }
        if let Some(default) = column.fact("default") {
            text.push_str(&format!(" DEFAULT {default}"));
        }
        if column.fact("not null").is_some() {
            text.push_str(" NOT NULL");
        }
        text
    }

    /// ` GENERATED … AS IDENTITY`, with the sequence that it had.
    fn identity(&self, column: &Object) -> String {
        let how = column.fact("identity").unwrap_or("by default").to_ascii_uppercase();
        let sequence = self.sequences_of(column).next();
        let sequence = sequence
            .map(|one| {
                let parameters = alter::sequence_parameters(one);
                // Its type follows the column's.
                let parameters = parameters.split_once(" INCREMENT ").map_or("", |(_, rest)| rest);
                format!(" (SEQUENCE NAME {} INCREMENT {parameters})", one.name)
            })
            .unwrap_or_default();
        format!(" GENERATED {how} AS IDENTITY{sequence}")
    }

    /// The sequences that belong to a column.
    pub(super) fn sequences_of(&self, column: &Object) -> impl Iterator<Item = &Object> {
        let path = column.path();
        let own = move |one: &&&Object| one.kind == Kind::Sequence && one.fact("belongs to") == Some(path.as_str());
        self.goal.values().filter(own).copied()
    }
}

/// How the server stores a type unless told otherwise; 16 and later can be asked for it.
fn usual_storage(kind: &str) -> Option<&'static str> {
    let base = kind.split(['(', ' ']).next().unwrap_or_default();
    match base {
        _ if kind.ends_with("[]") => Some("extended"),
        "text" | "bytea" | "json" | "jsonb" | "xml" | "tsvector" | "character" => Some("extended"),
        "numeric" => Some("main"),
        "smallint" | "integer" | "bigint" | "boolean" | "uuid" | "real" | "date" | "double" => Some("plain"),
        _ => None,
    }
}
