//! Statements that cannot change what is in a table that stays, as far as their words tell for certain.
//!
//! They take things away as a whole, which the schema shows, or change what is around the rows. Whatever could put a table or a
//! column back under its old name, run code or write rows is not among them; what is not known is not either.

use super::conduct::Words;
use super::script::Script;
use super::split::Statement;

impl Script {
    /// Whether none of its statements can change a row of a table that is there before and after it. One that cannot be split
    /// is not known.
    pub fn leaves_rows_alone(&self) -> bool {
        self.statements().is_ok_and(|statements| statements.iter().all(Statement::leaves_rows_alone))
    }
}

impl Statement<'_> {
    fn leaves_rows_alone(&self) -> bool {
        let mut words = Words::of(self.text());
        match words.word().as_deref() {
            Some("drop" | "comment" | "grant" | "revoke" | "reindex") => true,
            Some("create") => {
                words.take("or");
                words.take("replace");
                words.take("unique");
                const AROUND: [&str; 10] = [
                    "index",
                    "view",
                    "function",
                    "procedure",
                    "trigger",
                    "policy",
                    "type",
                    "domain",
                    "sequence",
                    "statistics",
                ];
                words.word().is_some_and(|kind| AROUND.contains(&kind.as_str()))
            }
            Some("alter") => words.take("table") && around(&mut words),
            _ => false,
        }
    }
}

/// Whether every part of an ALTER TABLE takes something away or changes what is around the rows.
fn around(words: &mut Words<'_>) -> bool {
    if words.take("if") {
        words.take("exists");
    }
    words.take("only");
    if words.name().is_none() {
        return false;
    }
    words.skip("*");
    loop {
        let fine = match words.word().as_deref() {
            Some("drop" | "enable" | "disable" | "owner" | "validate" | "cluster" | "replica" | "reset") => true,
            Some("add") => words.take("constraint"),
            Some("alter") => {
                words.take("column");
                let named = words.identifier().is_some();
                let what = words.word();
                named && (what.as_deref() == Some("drop") || what.as_deref() == Some("set") && !words.take("data"))
            }
            _ => false,
        };
        if !fine {
            return false;
        }
        while !words.is_at_end() && words.peek() != Some(",") {
            words.step();
        }
        if !words.skip(",") {
            return words.is_at_end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_away_or_works_around_rows_is_told_from_what_may_change_them() {
        #[track_caller]
        fn case(sql: &str, expected: bool) {
            assert_eq!(Script::new(sql).leaves_rows_alone(), expected, "{sql}");
        }
        case("DROP TABLE t; DROP TYPE e CASCADE; DROP FUNCTION f(int, int);", true);
        case("ALTER TABLE t DROP COLUMN a, DROP CONSTRAINT c;", true);
        case("ALTER TABLE IF EXISTS ONLY t ALTER COLUMN \"A\" SET DEFAULT f(1, 2), ALTER a DROP NOT NULL;", true);
        case("ALTER TABLE t ADD CONSTRAINT c CHECK (a IN (1, 2)), ENABLE ROW LEVEL SECURITY;", true);
        case("CREATE UNIQUE INDEX i ON t (a, b); COMMENT ON TABLE t IS 'x'; GRANT SELECT ON t TO r;", true);
        case("CREATE OR REPLACE VIEW v AS SELECT 1;", true);
        case("", true);
        // The same table or column, made anew.
        case("DROP TABLE t; CREATE TABLE t (a int);", false);
        case("ALTER TABLE t DROP COLUMN a, ADD COLUMN a int;", false);
        case("ALTER TABLE t DROP COLUMN a, ADD a int;", false);
        case("DROP TABLE t; ALTER TABLE u RENAME TO t;", false);
        case("ALTER TABLE t ALTER a TYPE int USING 0;", false);
        case("ALTER TABLE t ALTER a SET DATA TYPE int USING 0;", false);
        case("ALTER TABLE p ATTACH PARTITION t DEFAULT;", false);
        case("DELETE FROM t;", false);
        case("TRUNCATE t;", false);
        case("SELECT f();", false);
        case("DO $$ BEGIN END $$;", false);
        case("WITH x AS (DELETE FROM t RETURNING 1) SELECT 1;", false);
        case("ALTER SEQUENCE s RESTART;", false);
        case("CREATE MATERIALIZED VIEW v AS SELECT f();", false);
        case("COPY t FROM '/x';", false);
        case("CREATE TABLE x AS SELECT f();", false);
    }
}
