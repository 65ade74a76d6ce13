//! What the statements of a down do to rows, as far as their words tell: TRUNCATE, DELETE and UPDATE.
//!
//! A plain form is turned into the query that counts its rows. Whatever else may change rows is listed as uncountable with its
//! place; nothing is left out because it is hard to read.

use std::collections::BTreeSet;

use super::super::migrations::{Script, Statement, tokens};
use super::{Doomed, Fate, Fingerprint, Kind, Loses, doomed};

/// Functions that a condition may call without doing anything but answer. Others are not called before the operator agreed.
const PURE: [&str; 24] = [
    "lower",
    "upper",
    "length",
    "btrim",
    "trim",
    "coalesce",
    "nullif",
    "now",
    "count",
    "min",
    "max",
    "sum",
    "avg",
    "date",
    "greatest",
    "least",
    "exists",
    "abs",
    "round",
    "substr",
    "left",
    "right",
    "to_char",
    "date_trunc",
];
/// Words before a parenthesis that call nothing.
const KEYWORDS: [&str; 22] = [
    "and", "or", "not", "in", "any", "all", "some", "where", "from", "as", "on", "values", "case", "when", "then",
    "else", "between", "like", "is", "select", "by", "using",
];
/// Functions that a migration may select without changing rows.
const HARMLESS: [&str; 6] =
    ["setval", "nextval", "set_config", "current_setting", "pg_notify", "pg_advisory_xact_lock"];

/// The rows that the statements of `script` remove or change, in the schema `before` it runs.
pub fn doomed_by(script: &Script, before: &Fingerprint) -> Vec<Doomed> {
    // A script that cannot be split cannot be run.
    let statements = script.statements().unwrap_or_default();
    statements.iter().flat_map(|statement| Reading::new(statement, before).doomed()).collect()
}

/// What a down destroys: by the schemas before and after it, and by its own words. Rows of a table that goes as a whole are not
/// listed twice.
pub fn all_doomed(before: &Fingerprint, after: &Fingerprint, down: &Script) -> Vec<Doomed> {
    let mut all = doomed(before, after);
    let whole: BTreeSet<String> = all
        .iter()
        .filter(|doomed| matches!(doomed.loses, Loses::Table { .. }))
        .map(|doomed| doomed.object.clone())
        .collect();
    all.extend(doomed_by(down, before).into_iter().filter(|doomed| !whole.contains(&doomed.object)));
    all
}

struct Reading<'a> {
    statement: &'a Statement<'a>,
    before: &'a Fingerprint,
    tokens: Vec<(usize, &'a str)>,
    /// The same in lower case; what is quoted never looks like a word.
    words: Vec<String>,
}

impl<'a> Reading<'a> {
    fn new(statement: &'a Statement<'a>, before: &'a Fingerprint) -> Self {
        let tokens = tokens(statement.text());
        let words = tokens.iter().map(|(_, text)| text.to_ascii_lowercase()).collect();
        Self { statement, before, tokens, words }
    }

    fn doomed(&self) -> Vec<Doomed> {
        match self.word(0) {
            "truncate" => self.truncate(),
            "delete" => self.delete(),
            "update" => self.update(),
            "merge" | "execute" | "call" => vec![self.uncounted("may change any row")],
            "do" => self.block(),
            "with" | "insert" | "explain" | "create" | "copy" if self.writes() && self.word(1) != "function" => {
                vec![self.uncounted("may change rows that its own query finds")]
            }
            "with" | "select" | "values" | "insert" if self.calls_unknown(0, &HARMLESS) => {
                vec![self.uncounted("calls functions that may change rows")]
            }
            _ => Vec::new(),
        }
    }

    fn truncate(&self) -> Vec<Doomed> {
        let mut at = if self.word(1) == "table" { 2 } else { 1 };
        let mut tables = Vec::new();
        loop {
            at += usize::from(self.word(at) == "only");
            let (table, next) = self.name(at);
            at = next + usize::from(self.word(next) == "*");
            tables.push(table);
            if self.word(at) != "," || tables.last().is_some_and(String::is_empty) {
                break;
            }
            at += 1;
        }
        if self.words.iter().skip(at).any(|word| word == "cascade") {
            let mut known: BTreeSet<String> = tables.iter().cloned().collect();
            let mut next = 0;
            while let Some(table) = tables.get(next).cloned() {
                let more = self.referring(&table, &[""]).into_iter().filter(|table| known.insert(table.clone()));
                tables.extend(more);
                next += 1;
            }
        }
        let rows = |table: String| Doomed { loses: rows(Fate::Truncated, table.clone()), object: table };
        tables.into_iter().map(rows).collect()
    }

    fn delete(&self) -> Vec<Doomed> {
        let start = 1 + usize::from(self.word(1) == "from");
        let (table, next) = self.name(start + usize::from(self.word(start) == "only"));
        let end = self.outer("returning", next).unwrap_or(self.words.len());
        let plain = self.outer("using", next).is_none() && self.is_countable(next);
        let first = if plain {
            Doomed { object: table.clone(), loses: rows(Fate::Deleted, self.text(start, end)) }
        } else {
            self.uncounted_in(&table, "deletes rows by a condition that cannot be counted")
        };
        let mut doomed = vec![first];
        let actions = ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON DELETE SET DEFAULT"];
        for referring in self.referring(&table, &actions).into_iter().filter(|other| *other != table) {
            doomed.push(self.uncounted_in(
                &referring,
                &format!("also acts on the rows that refer to those it deletes from {table}"),
            ));
        }
        doomed
    }

    fn update(&self) -> Vec<Doomed> {
        let (table, next) = self.name(1 + usize::from(self.word(1) == "only"));
        let set = self.outer("set", next).unwrap_or(next);
        let condition = self.outer("where", set);
        let end = self.outer("returning", set).unwrap_or(self.words.len());
        let joined = self.outer("from", set).is_some_and(|from| condition.is_none_or(|condition| from < condition));
        if joined || condition.is_some_and(|condition| !self.is_countable(condition)) {
            return vec![self.uncounted_in(&table, "changes rows by a condition that cannot be counted")];
        }
        let condition = condition.map(|condition| format!(" {}", self.text(condition, end))).unwrap_or_default();
        let from = format!("{}{condition}", self.text(1, set));
        vec![Doomed { object: table, loses: rows(Fate::Changed, from) }]
    }

    /// A `DO` block: what it drops is seen in the schema, what it does to rows is not.
    fn block(&self) -> Vec<Doomed> {
        let body = self.tokens.iter().map(|(_, text)| *text).find(|text| text.starts_with(['$', '\'']));
        let inner = body.map(|body| body.trim_matches('\'')).unwrap_or_default();
        let inner = inner.split_once('$').and_then(|(_, rest)| rest.split_once('$')).map_or(inner, |(_, rest)| rest);
        const WRITES: [&str; 7] = ["delete", "update", "truncate", "merge", "execute", "call", "perform"];
        let writes = tokens(inner).iter().any(|(_, text)| WRITES.contains(&text.to_ascii_lowercase().as_str()));
        if writes { vec![self.uncounted("may change rows inside a DO block")] } else { Vec::new() }
    }

    /// Whether it holds a statement that changes rows.
    fn writes(&self) -> bool {
        self.words.iter().skip(1).any(|word| matches!(word.as_str(), "delete" | "update" | "merge"))
            // FOR UPDATE and ON DELETE change nothing.
            && self.words.windows(2).any(|pair| matches!(pair, [before, word]
                if matches!(word.as_str(), "delete" | "update" | "merge") && !matches!(before.as_str(), "for" | "key" | "on" | "or" | ",")))
    }

    fn is_countable(&self, from: usize) -> bool {
        let current = self.words.windows(2).any(|pair| pair == ["current", "of"]);
        !current && !self.calls_unknown(from, &[])
    }

    fn calls_unknown(&self, from: usize, also: &[&str]) -> bool {
        let pairs = self.words.windows(2).skip(from);
        pairs.into_iter().any(|pair| match pair {
            [name, open] if open == "(" => {
                let word = name.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"');
                let name = name.as_str();
                word && !PURE.contains(&name) && !KEYWORDS.contains(&name) && !also.contains(&name)
            }
            _ => false,
        })
    }

    /// The tables with a foreign key to `table` whose text holds one of `actions`.
    fn referring(&self, table: &str, actions: &[&str]) -> Vec<String> {
        let needle = format!("REFERENCES {table}(");
        let mut found: Vec<String> = Vec::new();
        for object in self.before.objects.iter().filter(|object| object.kind == Kind::Constraint) {
            let definition = object.fact("definition").unwrap_or_default();
            if definition.contains(&needle) && actions.iter().any(|action| definition.contains(action)) {
                found.extend(object.of.clone().filter(|of| !found.contains(of)));
            }
        }
        found
    }

    /// The relation named at token `at`, as the schema spells it if it knows it, and the token behind the name.
    fn name(&self, at: usize) -> (String, usize) {
        let mut next = at + 1;
        while self.word(next) == "." {
            next += 2;
        }
        let parts = self.tokens.get(at..next).unwrap_or_default().iter().filter(|(_, text)| *text != ".");
        let parts: Vec<String> = parts
            .map(|(_, text)| match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                Some(quoted) => quoted.to_owned(),
                None => text.to_ascii_lowercase(),
            })
            .collect();
        let bare = parts.join(".");
        let wanted = [bare.clone(), format!("public.{bare}")];
        let tables = self.before.objects.iter().filter(|object| object.kind == Kind::Table);
        let known = tables.map(|object| &object.name).find(|name| wanted.contains(&name.replace('"', "")));
        let written = || self.text(at, next);
        (known.cloned().unwrap_or_else(written), next)
    }

    fn word(&self, at: usize) -> &str {
        self.words.get(at).map(String::as_str).unwrap_or_default()
    }

    /// The first token `word` outside parentheses, from token `from`.
    fn outer(&self, word: &str, from: usize) -> Option<usize> {
        let mut depth = 0_usize;
        self.words.iter().enumerate().skip(from).find_map(|(at, token)| {
            match token.as_str() {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                token if depth == 0 && token == word => return Some(at),
                _ => {}
            }
            None
        })
    }

    /// The SQL from one token to before another.
    fn text(&self, from: usize, to: usize) -> String {
        let start = self.tokens.get(from).map(|(offset, _)| *offset);
        let last = to.checked_sub(1).and_then(|last| self.tokens.get(last));
        let end = last.map(|(offset, text)| offset + text.len());
        let slice = start.zip(end).and_then(|(start, end)| self.statement.text().get(start..end));
        slice.unwrap_or_default().to_owned()
    }

    fn uncounted(&self, why: &str) -> Doomed {
        self.uncounted_in("rows", why)
    }

    fn uncounted_in(&self, object: &str, why: &str) -> Doomed {
        let word = self.word(0).to_ascii_uppercase();
        let why = format!("the {word} in line {} {why}", self.statement.position().line);
        Doomed { object: object.to_owned(), loses: Loses::Uncounted { why } }
    }
}

fn rows(fate: Fate, from: String) -> Loses {
    Loses::Rows { fate, from }
}

#[cfg(test)]
mod tests {
    use super::super::{FORMAT, Object};
    use super::*;

    fn before() -> Fingerprint {
        let table = |name: &str| Object::new(Kind::Table, name);
        let key = |of: &str, definition: &str| {
            let mut key = Object::new(Kind::Constraint, "fk");
            (key.of, key.facts) = (Some(of.to_owned()), [("definition".to_owned(), definition.to_owned())].into());
            key
        };
        Fingerprint::new(
            FORMAT,
            150_004,
            vec![
                table("public.t"),
                table("public.\"T t\""),
                table("s.child"),
                table("s.grandchild"),
                key("s.child", "FOREIGN KEY (a) REFERENCES public.t(id) ON DELETE CASCADE"),
                key("s.grandchild", "FOREIGN KEY (a) REFERENCES s.child(id)"),
            ],
        )
    }

    #[track_caller]
    fn case(sql: &str, expected: &[&str]) {
        let found: Vec<String> = doomed_by(&Script::new(sql), &before())
            .into_iter()
            .map(|doomed| match doomed.loses {
                Loses::Rows { fate, from } => format!("{}: {fate:?} {from}", doomed.object),
                Loses::Uncounted { why } => format!("{}: {why}", doomed.object),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, expected, "{sql}");
    }

    #[test]
    fn plain_statements_become_the_query_that_counts_their_rows() {
        case("TRUNCATE public.\"T t\"", &["public.\"T t\": Truncated public.\"T t\""]);
        case(
            "truncate table only s.grandchild *, nowhere restart identity",
            &["s.grandchild: Truncated s.grandchild", "nowhere: Truncated nowhere"],
        );
        case(
            "TRUNCATE T CASCADE",
            &["public.t: Truncated public.t", "s.child: Truncated s.child", "s.grandchild: Truncated s.grandchild"],
        );
        case(
            "DELETE FROM s.grandchild AS g WHERE g.a = 1 -- c\n AND lower(b) IN ('x;', 'y') RETURNING *",
            &["s.grandchild: Deleted s.grandchild AS g WHERE g.a = 1 -- c\n AND lower(b) IN ('x;', 'y')"],
        );
        case("DELETE FROM \"T t\"", &["public.\"T t\": Deleted \"T t\""]);
        case(
            "UPDATE \"T t\" SET a = (SELECT 1 FROM x WHERE y), b = 2 WHERE c IS NULL",
            &["public.\"T t\": Changed \"T t\" WHERE c IS NULL"],
        );
        case("UPDATE ONLY s.child x SET a = 2", &["s.child: Changed ONLY s.child x"]);
    }

    #[test]
    fn what_cannot_be_counted_is_listed() {
        let child = "s.child: the DELETE in line 1 also acts on the rows that refer to those it deletes from public.t";
        case("DELETE FROM t", &["public.t: Deleted t", child]);
        let cannot = "s.grandchild: the DELETE in line 1 deletes rows by a condition that cannot be counted";
        case("DELETE FROM s.grandchild USING x WHERE x.a = b", &[cannot]);
        case("DELETE FROM s.grandchild WHERE spend(a)", &[cannot]);
        case("DELETE FROM s.grandchild WHERE s.spend (a) > 1", &[cannot]);
        case("DELETE FROM s.grandchild WHERE CURRENT OF c", &[cannot]);
        case(
            "SELECT 1;\nUPDATE s.child SET a = 2 FROM x",
            &["s.child: the UPDATE in line 2 changes rows by a condition that cannot be counted"],
        );
        let own = "may change rows that its own query finds";
        case("WITH x AS (DELETE FROM t RETURNING *) SELECT 1", &[&format!("rows: the WITH in line 1 {own}")]);
        case(
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1",
            &[&format!("rows: the INSERT in line 1 {own}")],
        );
        case(
            "MERGE INTO t USING s ON a = b WHEN MATCHED THEN DELETE",
            &["rows: the MERGE in line 1 may change any row"],
        );
        case("CALL p()", &["rows: the CALL in line 1 may change any row"]);
        case("DO $a$ BEGIN DELETE FROM t; END $a$", &["rows: the DO in line 1 may change rows inside a DO block"]);
        case("DO 'BEGIN UPDATE t SET a = 1; END'", &["rows: the DO in line 1 may change rows inside a DO block"]);
        case("SELECT clean_up()", &["rows: the SELECT in line 1 calls functions that may change rows"]);
    }

    #[test]
    fn what_changes_no_rows_is_not_listed() {
        case("DO $$ BEGIN DROP TABLE IF EXISTS t; END $$", &[]);
        case("DROP TABLE t; ALTER TABLE s.child DROP COLUMN a", &[]);
        case("SELECT setval('s', 1)", &[]);
        case("CREATE TABLE x (a int REFERENCES t ON DELETE CASCADE)", &[]);
        case("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ DELETE FROM t $$", &[]);
        case("CREATE TRIGGER g BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()", &[]);
        case("INSERT INTO x SELECT a FROM t FOR UPDATE", &[]);
    }
}
