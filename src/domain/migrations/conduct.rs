//! How a statement behaves: together with others in a transaction, or only alone, and what it leaves in the catalog.
//!
//! The list is that of migrations.md 2.7. What it misses the server refuses with 25001; nothing is guessed.

use squawk_lexer::TokenKind;

use super::split::{Statement, is_blank, lexemes};

/// The name of an object as the server stores it: unquoted words in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// The schema, where the statement names one.
    pub schema: Option<String>,
    /// The object.
    pub name: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What a statement that runs alone does, as far as the catalog can tell afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alone {
    /// `CREATE INDEX CONCURRENTLY`; without a name the server makes one up.
    BuildIndex {
        /// Its name, if the statement gives one.
        index: Option<ObjectName>,
        /// The table that it belongs to.
        table: ObjectName,
    },
    /// `DROP INDEX CONCURRENTLY`.
    DropIndex {
        /// The index.
        index: ObjectName,
    },
    /// Harmless to run once more: VACUUM, REINDEX, CLUSTER, DISCARD.
    Repeatable,
    /// Nobody can tell from outside whether it ran.
    Undecidable,
}

/// How a statement is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// In a transaction, with others.
    Together,
    /// In no transaction, with nothing before or after it.
    Alone(Alone),
}

impl Statement<'_> {
    /// How it must be run.
    pub fn conduct(&self) -> Conduct {
        let mut words = Words::of(self.text());
        match words.word().as_deref() {
            Some("create") => create(&mut words),
            Some("drop") => drop_(&mut words),
            Some("reindex") => reindex(&words),
            Some("vacuum") => Conduct::Alone(Alone::Repeatable),
            Some("cluster") if words.is_at_end() || words.remaining() == ["verbose"] => {
                Conduct::Alone(Alone::Repeatable)
            }
            Some("discard") if words.take("all") => Conduct::Alone(Alone::Repeatable),
            Some("alter") => alter(&mut words),
            _ => Conduct::Together,
        }
    }

    /// The table that it creates, if it is a plain CREATE TABLE.
    pub fn creates_table(&self) -> Option<ObjectName> {
        let mut words = Words::of(self.text());
        if !words.take("create") {
            return None;
        }
        words.take("unlogged");
        if !words.take("table") {
            return None;
        }
        if words.take("if") {
            words.take("not");
            words.take("exists");
        }
        words.name()
    }

    /// Whether a PL/pgSQL block reads it with the grammar of SQL: its first word is none of PL/pgSQL's own, no INTO could be
    /// taken for an assignment, and no `;` inside could be taken for its end.
    pub fn stands_in_a_block(&self) -> bool {
        const PLAIN: [&str; 10] =
            ["alter", "comment", "create", "delete", "drop", "grant", "insert", "revoke", "truncate", "update"];
        let mut words = Words::of(self.text());
        let Some(first) = words.word().filter(|word| PLAIN.contains(&word.as_str())) else { return false };
        if first == "insert" {
            words.take("into");
        }
        let rest = words.tokens.get(words.next..).unwrap_or_default();
        rest.iter().all(|(kind, text)| *kind != TokenKind::Semi && !text.eq_ignore_ascii_case("into"))
    }

    /// Whether it may commit by itself where no transaction is open: CALL, or a DO whose text speaks of it.
    pub(super) fn may_commit(&self) -> bool {
        match self.words(1).first().map(String::as_str) {
            Some("call") => true,
            Some("do") => {
                let text = self.text().to_ascii_lowercase();
                let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                words.any(|word| word == "commit" || word == "rollback")
            }
            _ => false,
        }
    }
}

fn create(words: &mut Words<'_>) -> Conduct {
    if words.take("database") || words.take("tablespace") || words.take("subscription") {
        return Conduct::Alone(Alone::Undecidable);
    }
    words.take("unique");
    if !(words.take("index") && words.take("concurrently")) {
        return Conduct::Together;
    }
    let index = if words.take("on") {
        None
    } else {
        if words.take("if") {
            words.take("not");
            words.take("exists");
        }
        let index = words.name();
        words.take("on");
        index
    };
    words.take("only");
    match words.name() {
        // An index lives in the schema of its table, and cannot be given another.
        Some(table) => Conduct::Alone(Alone::BuildIndex {
            index: index.map(|index| ObjectName { schema: table.schema.clone(), ..index }),
            table,
        }),
        None => Conduct::Alone(Alone::Undecidable),
    }
}

fn drop_(words: &mut Words<'_>) -> Conduct {
    if words.take("database") || words.take("tablespace") || words.take("subscription") {
        return Conduct::Alone(Alone::Undecidable);
    }
    if !(words.take("index") && words.take("concurrently")) {
        return Conduct::Together;
    }
    if words.take("if") {
        words.take("exists");
    }
    words.name().map_or(Conduct::Alone(Alone::Undecidable), |index| Conduct::Alone(Alone::DropIndex { index }))
}

fn reindex(words: &Words<'_>) -> Conduct {
    let rest = words.remaining();
    let whole = rest.iter().any(|word| matches!(word.as_str(), "database" | "system" | "schema"));
    if whole || rest.iter().any(|word| word == "concurrently") {
        Conduct::Alone(Alone::Repeatable)
    } else {
        Conduct::Together
    }
}

fn alter(words: &mut Words<'_>) -> Conduct {
    if words.take("system") {
        return Conduct::Alone(Alone::Repeatable);
    }
    let rest = words.remaining();
    let has = |word: &str| rest.iter().any(|other| other == word);
    match rest.first().map(String::as_str) {
        Some("database") if has("tablespace") => Conduct::Alone(Alone::Repeatable),
        Some("subscription") if has("refresh") || has("publication") => Conduct::Alone(Alone::Repeatable),
        Some("table") if has("detach") && has("partition") && (has("concurrently") || has("finalize")) => {
            Conduct::Alone(Alone::Undecidable)
        }
        _ => Conduct::Together,
    }
}

/// The tokens of a statement that say something, read from the front.
struct Words<'a> {
    tokens: Vec<(TokenKind, &'a str)>,
    next: usize,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let tokens = lexemes(text).filter(|(kind, ..)| !is_blank(*kind)).map(|(kind, text, _)| (kind, text));
        Self { tokens: tokens.collect(), next: 0 }
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.next).map(|(_, text)| *text)
    }

    fn is_at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    /// The next token in lower case, if it is an unquoted word.
    fn word(&mut self) -> Option<String> {
        let (kind, text) = self.tokens.get(self.next)?;
        if *kind != TokenKind::Ident {
            return None;
        }
        self.next += 1;
        Some(text.to_ascii_lowercase())
    }

    /// Step over this word, if it comes next.
    fn take(&mut self, word: &str) -> bool {
        let matches = self
            .tokens
            .get(self.next)
            .is_some_and(|(kind, text)| *kind == TokenKind::Ident && text.eq_ignore_ascii_case(word));
        self.next += usize::from(matches);
        matches
    }

    /// The unquoted words that are left, in lower case.
    fn remaining(&self) -> Vec<String> {
        let rest = self.tokens.get(self.next..).unwrap_or_default();
        rest.iter().filter(|(kind, _)| *kind == TokenKind::Ident).map(|(_, text)| text.to_ascii_lowercase()).collect()
    }

    /// A name with or without its schema.
    fn name(&mut self) -> Option<ObjectName> {
        let first = self.identifier()?;
        if self.peek() == Some(".") {
            self.next += 1;
            let name = self.identifier()?;
            return Some(ObjectName { schema: Some(first), name });
        }
        Some(ObjectName { schema: None, name: first })
    }

    fn identifier(&mut self) -> Option<String> {
        let (kind, text) = self.tokens.get(self.next)?;
        let name = match kind {
            TokenKind::Ident => text.to_lowercase(),
            TokenKind::QuotedIdent { .. } => text.strip_prefix('"')?.strip_suffix('"')?.replace("\"\"", "\""),
            _ => return None,
        };
        self.next += 1;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Script;
    use super::*;

    fn conduct(text: &str) -> Conduct {
        Script::new(text).statements().unwrap()[0].conduct()
    }

    fn name(text: &str) -> ObjectName {
        match text.split_once('.') {
            Some((schema, name)) => ObjectName { schema: Some(schema.to_owned()), name: name.to_owned() },
            None => ObjectName { schema: None, name: text.to_owned() },
        }
    }

    #[test]
    fn an_index_that_is_built_concurrently_is_known_by_name_and_table() {
        #[track_caller]
        fn case(text: &str, index: Option<&str>, table: &str) {
            let expected = Alone::BuildIndex { index: index.map(name), table: name(table) };
            assert_eq!(conduct(text), Conduct::Alone(expected), "{text}");
        }
        case("CREATE INDEX CONCURRENTLY i ON t (a)", Some("i"), "t");
        case("create unique index concurrently if not exists I on only S.T using btree (a)", Some("s.i"), "s.t");
        case("CREATE INDEX /* x */ CONCURRENTLY ON t (a)", None, "t");
        case("CREATE INDEX CONCURRENTLY \"a \"\" B\" ON \"S\".\"T t\" (a)", Some("S.a \" B"), "S.T t");
        case("CREATE INDEX CONCURRENTLY \"on\" ON t (a)", Some("on"), "t");
    }

    #[test]
    fn what_cannot_run_in_a_transaction_runs_alone() {
        #[track_caller]
        fn case(text: &str, expected: Alone) {
            assert_eq!(conduct(text), Conduct::Alone(expected), "{text}");
        }
        case("DROP INDEX CONCURRENTLY IF EXISTS s.i", Alone::DropIndex { index: name("s.i") });
        for text in [
            "VACUUM",
            "vacuum (analyze) t",
            "REINDEX TABLE CONCURRENTLY t",
            "REINDEX (VERBOSE, CONCURRENTLY) INDEX i",
            "REINDEX DATABASE d",
            "REINDEX SCHEMA s",
            "CLUSTER",
            "CLUSTER VERBOSE",
            "DISCARD ALL",
            "ALTER SYSTEM SET work_mem = '1MB'",
            "ALTER DATABASE d SET TABLESPACE x",
            "ALTER SUBSCRIPTION s REFRESH PUBLICATION",
        ] {
            case(text, Alone::Repeatable);
        }
        for text in [
            "CREATE DATABASE d",
            "DROP DATABASE d",
            "CREATE TABLESPACE x LOCATION '/x'",
            "DROP TABLESPACE x",
            "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
            "ALTER TABLE p DETACH PARTITION c CONCURRENTLY",
            "ALTER TABLE p DETACH PARTITION c FINALIZE",
        ] {
            case(text, Alone::Undecidable);
        }
    }

    #[test]
    fn everything_else_runs_with_others() {
        for text in [
            "CREATE INDEX concurrently_not ON t (a)",
            "CREATE UNIQUE INDEX i ON t (a)",
            "DROP INDEX i",
            "REINDEX TABLE t",
            "CLUSTER t USING i",
            "DISCARD TEMP",
            "ALTER TYPE e ADD VALUE 'x'",
            "ALTER TABLE p DETACH PARTITION c",
            "ALTER DATABASE d SET work_mem = '1MB'",
            "ALTER TABLE t SET TABLESPACE x",
            "SELECT 'VACUUM'",
            "\"vacuum\"",
            "(SELECT 1)",
        ] {
            assert_eq!(conduct(text), Conduct::Together, "{text}");
        }
    }

    #[test]
    fn a_block_reads_only_what_it_cannot_misread() {
        for (text, expected) in [
            ("CREATE TABLE t (a int)", true),
            ("insert into t values (1)", true),
            ("INSERT INTO t SELECT 1", true),
            ("COMMENT ON TABLE t IS 'a;b into'", true),
            ("SELECT 1 INTO t", false),
            ("CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO u VALUES (1)", false),
            ("CREATE RULE r AS ON DELETE TO t DO ALSO (DELETE FROM u; DELETE FROM v)", false),
            ("RAISE NOTICE 'x'", false),
            ("IF x THEN", false),
            ("\"create\"", false),
        ] {
            assert_eq!(Script::new(text).statements().unwrap()[0].stands_in_a_block(), expected, "{text}");
        }
    }

    #[test]
    fn a_created_table_is_known_by_name() {
        #[track_caller]
        fn case(text: &str, expected: Option<&str>) {
            assert_eq!(Script::new(text).statements().unwrap()[0].creates_table(), expected.map(name), "{text}");
        }
        case("CREATE TABLE t (a int)", Some("t"));
        case("create unlogged table if not exists S.\"T\" (a int)", Some("s.T"));
        case("CREATE TEMP TABLE t (a int)", None);
        case("CREATE VIEW t AS SELECT 1", None);
        case("ALTER TABLE t ADD a int", None);
    }

    #[test]
    fn a_call_and_a_block_that_speaks_of_it_may_commit_by_themselves() {
        for (text, expected) in [
            ("CALL p()", true),
            ("DO $$ BEGIN COMMIT; END $$", true),
            ("DO $$ BEGIN PERFORM committed(); END $$", false),
            ("SELECT 'commit'", false),
        ] {
            assert_eq!(Script::new(text).statements().unwrap()[0].may_commit(), expected, "{text}");
        }
    }
}
