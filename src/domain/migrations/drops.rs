//! What a statement drops by name, as far as its words tell. What hangs on it by CASCADE, and what a block hides, only a rehearsal
//! shows.

use super::conduct::{ObjectName, Words};
use super::split::Statement;

/// Something that is dropped by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A table, view, materialised view, sequence or type.
    Object(ObjectName),
    /// A column of a table.
    Column(ObjectName, String),
    /// A schema with what is in it.
    Schema(String),
}

impl Statement<'_> {
    /// What it drops.
    pub fn drops(&self) -> Vec<Dropped> {
        let mut words = Words::of(self.text());
        match words.word().as_deref() {
            Some("drop") => dropped(&mut words),
            Some("alter") if words.take("table") => columns(&mut words),
            _ => Vec::new(),
        }
    }
}

fn dropped(words: &mut Words<'_>) -> Vec<Dropped> {
    words.take("materialized");
    words.take("foreign");
    let kind = words.word();
    if !matches!(kind.as_deref(), Some("table" | "view" | "sequence" | "type" | "schema")) {
        return Vec::new();
    }
    if words.take("if") {
        words.take("exists");
    }
    let mut found = Vec::new();
    while let Some(name) = words.name() {
        found.push(if kind.as_deref() == Some("schema") { Dropped::Schema(name.name) } else { Dropped::Object(name) });
        if !words.skip(",") {
            break;
        }
    }
    found
}

/// `ALTER TABLE t DROP COLUMN a, DROP b`; constraints are no data.
fn columns(words: &mut Words<'_>) -> Vec<Dropped> {
    if words.take("if") {
        words.take("exists");
    }
    words.take("only");
    let Some(table) = words.name() else { return Vec::new() };
    let mut found = Vec::new();
    let mut starts = true;
    while !words.is_at_end() {
        if starts && words.take("drop") {
            let column = words.take("column");
            if words.take("if") {
                words.take("exists");
            }
            let other = matches!(
                words.peek().map(str::to_ascii_lowercase).as_deref(),
                Some("constraint" | "expression" | "identity")
            );
            if let (true, Some(name)) = (column || !other, words.identifier()) {
                found.push(Dropped::Column(table.clone(), name));
                starts = false;
                continue;
            }
        }
        starts = words.skip(",");
        if !starts {
            words.step();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Script;
    use super::*;

    #[test]
    fn what_is_dropped_by_name_is_found() {
        #[track_caller]
        fn case(text: &str, expected: &[&str]) {
            let found = Script::new(text).statements().unwrap()[0].drops();
            let found: Vec<String> = found
                .iter()
                .map(|dropped| match dropped {
                    Dropped::Object(name) => name.to_string(),
                    Dropped::Column(table, column) => format!("{table}({column})"),
                    Dropped::Schema(name) => format!("{name}.*"),
                })
                .collect();
            assert_eq!(found, expected, "{text}");
        }
        case("DROP TABLE t", &["t"]);
        case("drop table if exists A, s.\"B b\" cascade", &["a", "s.B b"]);
        case("DROP MATERIALIZED VIEW v", &["v"]);
        case("DROP TYPE e", &["e"]);
        case("DROP SCHEMA s CASCADE", &["s.*"]);
        case("DROP INDEX i", &[]);
        case("DROP FUNCTION f(int)", &[]);
        case("ALTER TABLE t DROP COLUMN a, DROP IF EXISTS b CASCADE, ADD c int, DROP CONSTRAINT d", &["t(a)", "t(b)"]);
        case("ALTER TABLE ONLY s.t ALTER a DROP DEFAULT", &[]);
        case("ALTER TABLE t ALTER a TYPE numeric(1, 2), DROP \"B\"", &["t(B)"]);
        case("DELETE FROM t", &[]);
    }
}
