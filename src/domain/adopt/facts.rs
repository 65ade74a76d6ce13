//! What a statement makes and what must be there before it, as far as its words tell.
//!
//! Read from tokens, so strings, comments and the bodies of functions say nothing. It decides in which order files are tried;
//! whether a file runs is never decided here.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::migrations::{Statement, tokens};

/// The kinds of objects that files share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A table, a view or a sequence.
    Relation,
    /// A column, as `table.column`.
    Column,
    /// An index.
    Index,
    /// A function or a procedure.
    Function,
    /// A type or a domain.
    Type,
    /// A schema.
    Schema,
}

/// An object by its name: unquoted words in lower case, the schema only where it is not `public`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// How it is called.
    pub name: String,
}

impl Object {
    /// An object of this kind and name.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Relation => "table or view",
            Kind::Column => "column",
            Kind::Index => "index",
            Kind::Function => "function",
            Kind::Type => "type",
            Kind::Schema => "schema",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// What becomes of a CREATE whose name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// An error.
    Fails,
    /// It is skipped in silence: IF NOT EXISTS.
    Skipped,
    /// It takes the place: OR REPLACE.
    Replaces,
}

/// An object that a statement makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The object.
    pub object: Object,
    /// What happens where it is there already.
    pub taken: Taken,
    /// The columns that a CREATE TABLE spells out.
    pub columns: Option<BTreeSet<String>>,
    /// The table of an index.
    pub on: Option<String>,
}

/// What a statement makes, and what it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What is there after it.
    pub makes: Vec<Made>,
    /// What must be there before it.
    pub needs: BTreeSet<Object>,
    /// Every name in it, for types and functions, which stand anywhere.
    pub mentions: BTreeSet<String>,
}

/// Read a statement.
pub fn facts(statement: &Statement<'_>) -> Facts {
    let mut reader = Reader::new(statement.text());
    reader.made();
    reader.needed();
    reader.facts
}

/// The name at a byte of a statement, as the server points to it in its errors.
pub fn name_at(statement: &Statement<'_>, offset: usize) -> Option<String> {
    let reader = Reader::new(statement.text());
    let place = reader.offsets.iter().position(|start| *start == offset)?;
    reader.name(place).map(|(name, _)| name)
}

struct Reader<'a> {
    texts: Vec<&'a str>,
    /// The same in lower case; what is quoted never looks like a word.
    words: Vec<String>,
    offsets: Vec<usize>,
    facts: Facts,
}

fn identifier(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('"') {
        return Some(inner.strip_suffix('"')?.replace("\"\"", "\""));
    }
    let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let word = text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$'));
    (starts && word).then(|| text.to_lowercase())
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let tokens = tokens(text);
        let words = tokens.iter().map(|(_, text)| text.to_ascii_lowercase()).collect();
        let mentions = tokens.iter().filter_map(|(_, text)| identifier(text)).collect();
        let (offsets, texts) = tokens.into_iter().unzip();
        Self { texts, words, offsets, facts: Facts { mentions, ..Facts::default() } }
    }

    fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    fn is(&self, at: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(step, word)| self.word(at + step) == *word)
    }

    /// A name with or without its schema, and where it ends.
    fn name(&self, at: usize) -> Option<(String, usize)> {
        let first = identifier(self.texts.get(at)?)?;
        if self.word(at + 1) == "."
            && let Some(second) = self.texts.get(at + 2).and_then(|text| identifier(text))
        {
            let name = if first == "public" { second } else { format!("{first}.{second}") };
            return Some((name, at + 3));
        }
        Some((first, at + 1))
    }

    /// Step over `IF [NOT] EXISTS`.
    fn condition(&self, at: usize) -> (usize, Taken) {
        match () {
            () if self.is(at, &["if", "not", "exists"]) => (at + 3, Taken::Skipped),
            () if self.is(at, &["if", "exists"]) => (at + 2, Taken::Skipped),
            () => (at, Taken::Fails),
        }
    }

    fn make(&mut self, kind: Kind, name: String, taken: Taken) {
        self.facts.makes.push(Made { object: Object::new(kind, name), taken, columns: None, on: None });
    }

    fn need(&mut self, kind: Kind, at: usize) {
        if let Some((name, _)) = self.name(at) {
            let system = ["pg_", "information_schema."].iter().any(|prefix| name.starts_with(prefix));
            if !system {
                self.facts.needs.insert(Object::new(kind, name));
            }
        }
    }

    fn made(&mut self) {
        match self.word(0) {
            "create" => self.created(),
            "alter" if self.word(1) == "table" => self.added(),
            _ => {}
        }
    }

    fn created(&mut self) {
        const BEFORE: [&str; 10] = [
            "or",
            "replace",
            "unlogged",
            "unique",
            "recursive",
            "materialized",
            "foreign",
            "constraint",
            "global",
            "local",
        ];
        let mut at = 1;
        while BEFORE.contains(&self.word(at)) {
            at += 1;
        }
        let (kind, mut at) = (self.word(at).to_owned(), at + 1);
        at += usize::from(kind == "index" && self.word(at) == "concurrently");
        let (at, mut taken) = self.condition(at);
        if self.is(1, &["or", "replace"]) {
            taken = Taken::Replaces;
        }
        if kind == "index" {
            return self.index(at, taken);
        }
        let Some((name, end)) = self.name(at) else { return };
        match kind.as_str() {
            "table" => {
                let columns = (self.word(end) == "(").then(|| self.columns(end + 1));
                let object = Object::new(Kind::Relation, name);
                self.facts.makes.push(Made { object, taken, columns, on: None });
            }
            "view" | "sequence" => self.make(Kind::Relation, name, taken),
            "function" | "procedure" | "aggregate" => self.make(Kind::Function, name, taken),
            "type" | "domain" => self.make(Kind::Type, name, taken),
            "schema" => self.make(Kind::Schema, name, taken),
            _ => {}
        }
    }

    fn index(&mut self, at: usize, taken: Taken) {
        let (name, end) = match self.word(at) {
            "on" => (None, at),
            _ => self.name(at).map_or((None, at), |(name, end)| (Some(name), end)),
        };
        let table = end + 1 + usize::from(self.word(end + 1) == "only");
        let on = self.name(table).map(|(table, _)| table);
        self.need(Kind::Relation, table);
        if let Some(name) = name {
            self.facts.makes.push(Made { object: Object::new(Kind::Index, name), taken, columns: None, on });
        }
    }

    /// The names at the start of each element of the parenthesis that begins before `at`.
    fn columns(&self, at: usize) -> BTreeSet<String> {
        const OTHER: [&str; 7] = ["constraint", "primary", "unique", "foreign", "check", "exclude", "like"];
        let (mut depth, mut starts, mut found) = (0_usize, true, BTreeSet::new());
        for (word, text) in self.words.iter().zip(&self.texts).skip(at) {
            match word.as_str() {
                "(" => depth += 1,
                ")" if depth == 0 => break,
                ")" => depth -= 1,
                "," if depth == 0 => {
                    starts = true;
                    continue;
                }
                word if starts && !OTHER.contains(&word) => found.extend(identifier(text)),
                _ => {}
            }
            starts = false;
        }
        found
    }

    /// `ALTER TABLE t ADD [COLUMN] c …`, and the new name of what is renamed.
    fn added(&mut self) {
        let (at, _) = self.condition(2);
        let at = at + usize::from(self.word(at) == "only");
        let Some((table, end)) = self.name(at) else { return };
        const OTHER: [&str; 6] = ["constraint", "primary", "unique", "foreign", "check", "exclude"];
        for at in end..self.words.len() {
            if self.word(at) == "add" && (at == end || self.word(at - 1) == ",") {
                let column = at + 1 + usize::from(self.word(at + 1) == "column");
                let (column, taken) = self.condition(column);
                if !OTHER.contains(&self.word(column))
                    && let Some(name) = self.texts.get(column).and_then(|text| identifier(text))
                {
                    self.make(Kind::Column, format!("{table}.{name}"), taken);
                }
            }
            if self.is(at, &["rename", "to"])
                && let Some((name, _)) = self.name(at + 2)
            {
                self.make(Kind::Relation, name, Taken::Fails);
            }
        }
    }

    fn needed(&mut self) {
        match self.word(0) {
            "alter" if matches!(self.word(1), "table" | "view" | "sequence") => {
                let (at, taken) = self.condition(2);
                if taken == Taken::Fails {
                    self.need(Kind::Relation, at + usize::from(self.word(at) == "only"));
                }
            }
            "alter" if self.word(1) == "type" => self.need(Kind::Type, 2),
            "truncate" | "copy" => self.need(Kind::Relation, 1 + usize::from(self.word(1) == "table")),
            "comment" if matches!(self.word(2), "table" | "view") => self.need(Kind::Relation, 3),
            "comment" if self.word(2) == "column" => self.need_of_column(3),
            "create" => self.needed_by_create(),
            "grant" | "revoke" => {
                let on = self.words.iter().position(|word| word == "on");
                if let Some(on) = on.filter(|on| self.word(on + 2) != "schema") {
                    let table = on + 1 + usize::from(self.word(on + 1) == "table");
                    if !matches!(self.word(table), "schema" | "all" | "sequence" | "function" | "type" | "database") {
                        self.need(Kind::Relation, table);
                    }
                }
            }
            _ => {}
        }
        for at in 0..self.words.len() {
            self.needed_at(at);
        }
        // What a statement makes or names for itself it does not need from others.
        let own: BTreeSet<String> = (0..self.words.len())
            .filter(|at| self.is(at + 1, &["as", "("]) || self.is(at + 1, &["as", "materialized", "("]))
            .filter_map(|at| self.name(at).map(|(name, _)| name))
            .collect();
        let makes = &self.facts.makes;
        self.facts.needs.retain(|need| !own.contains(&need.name) && !makes.iter().any(|made| made.object == *need));
    }

    fn need_of_column(&mut self, at: usize) {
        if let Some((_, end)) = self.name(at) {
            // `schema.table.column` or `table.column`: the last part is the column.
            if self.word(end) == "." {
                self.need(Kind::Relation, at);
            } else if let Some(table) = self.texts.get(at).and_then(|text| identifier(text)) {
                self.facts.needs.insert(Object::new(Kind::Relation, table));
            }
        }
    }

    fn needed_by_create(&mut self) {
        if let Some(at) = (1..4).find(|at| matches!(self.word(*at), "trigger" | "policy")) {
            let on = (at..self.words.len()).find(|at| self.word(*at) == "on");
            if let Some(on) = on {
                self.need(Kind::Relation, on + 1);
            }
        }
        if self.word(1) != "schema"
            && let Some((name, _)) = self.facts.makes.first().map(|made| (made.object.name.clone(), ()))
            && let Some((schema, _)) = name.split_once('.')
            && !matches!(self.facts.makes.first(), Some(made) if made.object.kind == Kind::Column)
        {
            self.facts.needs.insert(Object::new(Kind::Schema, schema));
        }
    }

    fn needed_at(&mut self, at: usize) {
        let before = if at == 0 { "" } else { self.word(at - 1) };
        match self.word(at) {
            "references" => self.need(Kind::Relation, at + 1),
            "inherits" => self.need(Kind::Relation, at + 2),
            "of" if before == "partition" => self.need(Kind::Relation, at + 1),
            "like" if self.word(0) == "create" && matches!(before, "(" | ",") => self.need(Kind::Relation, at + 1),
            "join" => self.need_source(at + 1),
            "from" if before != "distinct" && !self.is_inside_a_call(at) => self.need_source(at + 1),
            "into" if matches!(before, "insert" | "merge") => self.need(Kind::Relation, at + 1),
            "update" if at == 0 || before == ")" => {
                self.need(Kind::Relation, at + 1 + usize::from(self.word(at + 1) == "only"));
            }
            "function" | "procedure" if before == "execute" => self.need(Kind::Function, at + 1),
            _ => {}
        }
    }

    /// A table behind FROM or JOIN, and those behind its commas; a call or a subquery is none.
    fn need_source(&mut self, at: usize) {
        let mut at = at + usize::from(matches!(self.word(at), "only" | "lateral"));
        while let Some((_, end)) = self.name(at) {
            if matches!(self.word(at), "stdin" | "select" | "values" | "lateral") || self.word(end) == "(" {
                return;
            }
            self.need(Kind::Relation, at);
            let alias = end + usize::from(self.word(end) == "as");
            let end = if self.word(alias + 1) == "," { alias + 1 } else { end };
            if self.word(end) != "," {
                return;
            }
            at = end + 1;
        }
    }

    /// `extract(year FROM x)` and its like take no table.
    fn is_inside_a_call(&self, at: usize) -> bool {
        const CALLS: [&str; 5] = ["extract", "substring", "trim", "overlay", "position"];
        let mut depth = 0_usize;
        for place in (0..at).rev() {
            match self.word(place) {
                ")" => depth += 1,
                "(" if depth == 0 => return place > 0 && CALLS.contains(&self.word(place - 1)),
                "(" => depth -= 1,
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::migrations::Script;
    use super::*;

    fn read(text: &str) -> Facts {
        facts(&Script::new(text).statements().unwrap()[0])
    }

    #[test]
    fn needs_stand_where_a_name_is_looked_up() {
        #[track_caller]
        fn case(text: &str, expected: &[&str]) {
            let needs: Vec<String> = read(text).needs.iter().map(ToString::to_string).collect();
            assert_eq!(needs, expected, "{text}");
        }
        case("CREATE TABLE a (id int REFERENCES b (id), c int REFERENCES a)", &["table or view b"]);
        case("ALTER TABLE ONLY s.t ADD c int", &["table or view s.t"]);
        case("ALTER TABLE IF EXISTS t ADD c int", &[]);
        case("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON public.T (a)", &["table or view t"]);
        case("CREATE INDEX ON t (a)", &["table or view t"]);
        case(
            "CREATE VIEW v AS SELECT extract(year FROM d) FROM a x, b JOIN c ON x.i = c.i",
            &["table or view a", "table or view b", "table or view c"],
        );
        case("WITH q AS (SELECT 1 FROM a) SELECT * FROM q", &["table or view a"]);
        case("SELECT * FROM generate_series(1, 2)", &[]);
        case("SELECT a IS DISTINCT FROM b", &[]);
        case("INSERT INTO t SELECT 1 ON CONFLICT DO UPDATE SET a = 1", &["table or view t"]);
        case("UPDATE t SET a = 1 FROM u", &["table or view t", "table or view u"]);
        case("DELETE FROM t", &["table or view t"]);
        case(
            "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()",
            &["table or view t", "function f"],
        );
        case("GRANT SELECT ON t TO x", &["table or view t"]);
        case("GRANT USAGE ON SCHEMA s TO x", &[]);
        case("COMMENT ON COLUMN t.c IS 'x'", &["table or view t"]);
        case("CREATE TABLE s.t (a int)", &["schema s"]);
        case("CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)", &["table or view p"]);
        case("ALTER TYPE e ADD VALUE 'x'", &["type e"]);
        case("SELECT 1 FROM pg_class", &[]);
        case("DROP TABLE t", &[]);
        case("DO $$ BEGIN DELETE FROM t; END $$", &[]);
    }

    #[test]
    fn what_is_made_has_a_kind_columns_and_a_table() {
        #[track_caller]
        fn case(text: &str, expected: &[(&str, Taken)]) {
            let made = read(text).makes;
            let made: Vec<(String, Taken)> = made.iter().map(|one| (one.object.to_string(), one.taken)).collect();
            let expected: Vec<(String, Taken)> =
                expected.iter().map(|(name, taken)| ((*name).to_owned(), *taken)).collect();
            assert_eq!(made, expected, "{text}");
        }
        case("CREATE TABLE IF NOT EXISTS \"A b\" (x int)", &[("table or view A b", Taken::Skipped)]);
        case("CREATE TEMP TABLE t (x int)", &[]);
        case("CREATE OR REPLACE VIEW v AS SELECT 1", &[("table or view v", Taken::Replaces)]);
        case("CREATE MATERIALIZED VIEW v AS SELECT 1", &[("table or view v", Taken::Fails)]);
        case("CREATE TYPE mood AS ENUM ('a')", &[("type mood", Taken::Fails)]);
        case(
            "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            &[("function f", Taken::Replaces)],
        );
        case(
            "ALTER TABLE t ADD a int, ADD COLUMN IF NOT EXISTS b int, ADD CONSTRAINT c CHECK (true)",
            &[("column t.a", Taken::Fails), ("column t.b", Taken::Skipped)],
        );
        let table = read("CREATE TABLE t (id int, n numeric(3, 2), PRIMARY KEY (id), \"X\" text)");
        let columns: Vec<&str> = table.makes[0].columns.as_ref().unwrap().iter().map(String::as_str).collect();
        assert_eq!(columns, ["X", "id", "n"]);
        assert_eq!(read("CREATE INDEX i ON ONLY t (a)").makes[0].on.as_deref(), Some("t"));
        assert_eq!(read("CREATE TABLE t AS SELECT 1").makes[0].columns, None);
    }

    #[test]
    fn a_place_in_a_statement_has_the_name_that_starts_there() {
        let script = Script::new("SELECT 1 FROM Public.\"A\"");
        let statement = script.statements().unwrap()[0];
        assert_eq!(name_at(&statement, 14).as_deref(), Some("A"));
        assert_eq!(name_at(&statement, 15), None);
    }
}
