//! How much of what can be wrong with a down is seen: good pairs, and each of them with one statement left out or changed.
//!
//! Every good pair must pass and at least 95 of 100 wrong ones must not (migrations.md 4.1). The score is printed.

use std::time::Duration;

use llmhub::domain::migrations::{Migration, Script};
use llmhub::domain::proof::Verdict;
use llmhub::store::database::{Examined, How, Rights, verify};

use crate::support::postgres::Database;

/// What was there before.
const BASE: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE users (id int PRIMARY KEY, name varchar(40) NOT NULL DEFAULT 'x', email text, age int, updated timestamptz,
    CONSTRAINT adult CHECK (age >= 0));
CREATE TABLE teams (id int PRIMARY KEY, title text COLLATE \"C\");
CREATE INDEX users_name ON users (name) WHERE age > 1;
CREATE SEQUENCE numbers INCREMENT 1 CACHE 1;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated := now(); RETURN NEW; END $$;
CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
CREATE VIEW names AS SELECT id FROM users;
CREATE RULE no_delete AS ON DELETE TO teams DO INSTEAD NOTHING;
CREATE POLICY own ON users FOR SELECT USING (id > 0);
CREATE STATISTICS users_stats (dependencies) ON name, email FROM users;
GRANT SELECT ON users TO PUBLIC;
COMMENT ON TABLE users IS 'people';
INSERT INTO users (id, name, email, age) VALUES (1, 'ada', 'ada@example.com', 36), (2, 'bob', 'bob@example.com', 40);
";

/// A good pair, and what makes its down wrong: each swap once.
struct Pair {
    up: &'static str,
    down: &'static str,
    swaps: &'static [(&'static str, &'static str)],
}

const PAIRS: &[Pair] = &[
    Pair {
        up: "ALTER TABLE users ALTER name TYPE text; ALTER TABLE users ALTER name SET DEFAULT 'y'; ALTER TABLE users ALTER name DROP NOT NULL;",
        down: "ALTER TABLE users ALTER name TYPE varchar(40); ALTER TABLE users ALTER name SET DEFAULT 'x'; ALTER TABLE users ALTER name SET NOT NULL;",
        swaps: &[
            ("varchar(40)", "varchar(41)"),
            ("varchar(40)", "char(40)"),
            ("'x'", "'z'"),
            ("SET DEFAULT 'x'", "DROP DEFAULT"),
        ],
    },
    Pair {
        up: "DROP INDEX users_name;",
        down: "CREATE INDEX users_name ON users (name) WHERE age > 1;",
        swaps: &[
            ("age > 1", "age > 2"),
            (" WHERE age > 1", ""),
            ("(name)", "(email)"),
            ("(name)", "(name DESC)"),
            ("users_name", "users_name_idx"),
            ("CREATE INDEX", "CREATE UNIQUE INDEX"),
        ],
    },
    Pair {
        up: "CREATE TYPE state AS ENUM ('new', 'old'); CREATE TABLE orders (id int, s state); \
             CREATE FUNCTION total() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE order_numbers; CREATE SCHEMA shop;",
        down: "DROP SCHEMA shop; DROP SEQUENCE order_numbers; DROP FUNCTION total(); DROP TABLE orders; DROP TYPE state;",
        swaps: &[("DROP TABLE orders", "DROP TABLE orders, teams"), ("DROP TYPE state", "DROP TYPE state, mood")],
    },
    Pair {
        up: "ALTER TABLE users DISABLE TRIGGER users_touch;",
        down: "ALTER TABLE users ENABLE TRIGGER users_touch;",
        swaps: &[("ENABLE", "ENABLE ALWAYS"), ("ENABLE", "ENABLE REPLICA")],
    },
    Pair {
        up: "REVOKE SELECT ON users FROM PUBLIC; GRANT INSERT ON teams TO PUBLIC;",
        down: "GRANT SELECT ON users TO PUBLIC; REVOKE INSERT ON teams FROM PUBLIC;",
        swaps: &[("GRANT SELECT", "GRANT INSERT"), ("GRANT SELECT ON users", "GRANT SELECT (id) ON users")],
    },
    Pair {
        up: "DROP TYPE mood; DROP DOMAIN positive;",
        down: "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);",
        swaps: &[
            ("'sad', 'ok', 'happy'", "'ok', 'sad', 'happy'"),
            ("'sad', 'ok', 'happy'", "'sad', 'ok'"),
            ("VALUE > 0", "VALUE >= 0"),
            ("AS int", "AS bigint"),
        ],
    },
    Pair {
        up: "DROP VIEW names; CREATE VIEW names AS SELECT id, name FROM users;",
        down: "DROP VIEW names; CREATE VIEW names AS SELECT id FROM users;",
        swaps: &[
            ("SELECT id FROM", "SELECT age AS id FROM"),
            ("VIEW names AS", "VIEW names WITH (security_barrier) AS"),
        ],
    },
    Pair {
        up: "ALTER TABLE users DROP CONSTRAINT adult; ALTER TABLE users ADD CONSTRAINT mail UNIQUE (email);",
        down: "ALTER TABLE users DROP CONSTRAINT mail; ALTER TABLE users ADD CONSTRAINT adult CHECK (age >= 0);",
        swaps: &[
            ("age >= 0", "age > 0"),
            ("CHECK (age >= 0)", "CHECK (age >= 0) NOT VALID"),
            ("ADD CONSTRAINT adult", "ADD CONSTRAINT grown"),
        ],
    },
    Pair {
        up: "ALTER SEQUENCE numbers INCREMENT 5 CACHE 10 MAXVALUE 100;",
        down: "ALTER SEQUENCE numbers INCREMENT 1 CACHE 1 NO MAXVALUE;",
        swaps: &[("INCREMENT 1", "INCREMENT 2"), (" CACHE 1", ""), (" NO MAXVALUE", "")],
    },
    Pair {
        up: "COMMENT ON TABLE users IS 'customers'; ALTER TABLE users SET (fillfactor = 70);",
        down: "COMMENT ON TABLE users IS 'people'; ALTER TABLE users RESET (fillfactor);",
        swaps: &[("'people'", "'peoples'"), ("'people'", "NULL"), ("RESET (fillfactor)", "SET (fillfactor = 80)")],
    },
    Pair {
        up: "ALTER TABLE users ENABLE ROW LEVEL SECURITY; DROP POLICY own ON users;",
        down: "CREATE POLICY own ON users FOR SELECT USING (id > 0); ALTER TABLE users DISABLE ROW LEVEL SECURITY;",
        swaps: &[("FOR SELECT", "FOR ALL"), ("id > 0", "id > 1"), ("DISABLE", "FORCE")],
    },
    Pair {
        up: "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;",
        down: "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated := now(); RETURN NEW; END $$;",
        swaps: &[
            (":= now()", ":= clock_timestamp()"),
            ("LANGUAGE plpgsql", "LANGUAGE plpgsql SECURITY DEFINER"),
            ("LANGUAGE plpgsql", "LANGUAGE plpgsql STABLE"),
        ],
    },
    Pair {
        up: "ALTER TABLE users RENAME COLUMN email TO mail; ALTER TABLE teams RENAME TO groups;",
        down: "ALTER TABLE groups RENAME TO teams; ALTER TABLE users RENAME COLUMN mail TO email;",
        swaps: &[("RENAME TO teams", "RENAME TO team"), ("TO email", "TO e_mail")],
    },
    Pair {
        up: "DROP TRIGGER users_touch ON users; DROP RULE no_delete ON teams; DROP STATISTICS users_stats;",
        down: "CREATE TRIGGER users_touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch(); \
               CREATE RULE no_delete AS ON DELETE TO teams DO INSTEAD NOTHING; \
               CREATE STATISTICS users_stats (dependencies) ON name, email FROM users;",
        swaps: &[
            ("BEFORE UPDATE", "AFTER UPDATE"),
            ("BEFORE UPDATE", "BEFORE INSERT OR UPDATE"),
            ("FOR EACH ROW", "FOR EACH ROW WHEN (OLD.id > 0)"),
            ("ON DELETE", "ON UPDATE"),
            ("(dependencies)", "(ndistinct)"),
        ],
    },
    Pair {
        up: "ALTER TABLE users ADD COLUMN team int REFERENCES teams; CREATE INDEX users_team ON users (team); ALTER TABLE teams ADD COLUMN open boolean;",
        down: "ALTER TABLE teams DROP COLUMN open; DROP INDEX users_team; ALTER TABLE users DROP COLUMN team, ALTER COLUMN age DROP DEFAULT;",
        swaps: &[
            ("DROP COLUMN open", "DROP COLUMN open, DROP COLUMN title"),
            ("DROP COLUMN team", "DROP COLUMN team, DROP COLUMN age"),
            ("age DROP DEFAULT", "age SET DEFAULT 1"),
        ],
    },
    Pair {
        up: "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC; ALTER TABLE teams ALTER title SET STORAGE EXTERNAL;",
        down: "ALTER TABLE teams ALTER title SET STORAGE EXTENDED; ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM PUBLIC;",
        swaps: &[("EXTENDED", "MAIN"), ("REVOKE SELECT", "REVOKE UPDATE")],
    },
    Pair {
        up: "ALTER TABLE teams ALTER id ADD GENERATED BY DEFAULT AS IDENTITY; ALTER TABLE users REPLICA IDENTITY FULL; ALTER TABLE users CLUSTER ON users_pkey;",
        down: "ALTER TABLE users SET WITHOUT CLUSTER; ALTER TABLE users REPLICA IDENTITY DEFAULT; ALTER TABLE teams ALTER id DROP IDENTITY;",
        swaps: &[("IDENTITY DEFAULT", "IDENTITY NOTHING"), ("DROP IDENTITY", "SET GENERATED ALWAYS")],
    },
    Pair {
        up: "INSERT INTO users (id, name) VALUES (100, 'seed'); ALTER TABLE users ADD COLUMN plan text;",
        down: "ALTER TABLE users DROP COLUMN plan; DELETE FROM users WHERE id = 100;",
        swaps: &[
            ("WHERE id = 100", "WHERE id > 0"),
            (" WHERE id = 100", ""),
            ("DELETE FROM users WHERE id = 100", "TRUNCATE users"),
            ("WHERE id = 100;", "WHERE id = 100; UPDATE users SET age = 1;"),
            ("WHERE id = 100;", "WHERE id = 100; ALTER TABLE users ALTER email TYPE text USING NULL;"),
            ("WHERE id = 100", "WHERE name <> 'ada'"),
        ],
    },
    Pair {
        up: "CREATE TABLE users_old AS SELECT * FROM users; UPDATE users SET name = upper(name);",
        down: "UPDATE users u SET name = o.name FROM users_old o WHERE o.id = u.id AND upper(o.name) = u.name; DROP TABLE users_old;",
        swaps: &[
            (
                "UPDATE users u SET name = o.name FROM users_old o WHERE o.id = u.id AND upper(o.name) = u.name",
                "DELETE FROM users; INSERT INTO users SELECT * FROM users_old",
            ),
            ("SET name = o.name", "SET name = o.name, email = NULL"),
        ],
    },
];

fn migration(version: &str, up: &str, down: &str) -> Migration {
    Migration {
        version: version.parse().unwrap(),
        name: "x".to_owned(),
        up: Script::new(up).named("up.sql"),
        down: Some(Script::new(down).named("down.sql")),
    }
}

/// Verify one pair on top of the base.
async fn examined(database: &Database, up: &str, down: &str) -> Examined {
    let migrations = [migration("1", BASE, ""), migration("2", up, down)];
    let how = How { rights: Rights::Contained, limit: Duration::from_secs(20), workers: 1, on_done: &|_, _, _| {} };
    let mut found = verify(&database.target(), &migrations, &how).await.unwrap();
    found.pop().unwrap()
}

/// The down without one of its statements, each in turn.
fn without_one(down: &str) -> Vec<String> {
    let script = Script::new(down);
    let texts: Vec<&str> = script.statements().unwrap().iter().map(|statement| statement.text()).collect();
    let without = |gone: usize| {
        let kept = texts.iter().enumerate().filter(|(number, _)| *number != gone).map(|(_, text)| format!("{text};"));
        kept.collect::<Vec<_>>().join("\n")
    };
    (0..texts.len()).map(without).collect()
}

#[tokio::test]
async fn every_good_pair_passes_and_nearly_every_wrong_one_does_not() {
    let database = Database::empty();
    let (mut all, mut missed) = (0, Vec::new());
    for pair in PAIRS {
        let good = examined(&database, pair.up, pair.down).await;
        let fine = matches!(good.verdict, Verdict::Reversible | Verdict::ReversibleExceptColumnOrder);
        assert!(fine && good.differences.is_empty(), "{}: {good:#?}", pair.up);
        let swapped = pair.swaps.iter().map(|(from, to)| {
            assert!(pair.down.contains(from), "{from}: {}", pair.down);
            pair.down.replacen(from, to, 1)
        });
        for wrong in without_one(pair.down).into_iter().chain(swapped) {
            all += 1;
            let found = examined(&database, pair.up, &wrong).await;
            if found.verdict.is_proven() {
                missed.push(format!("{} / {wrong}", pair.up));
            }
        }
    }
    println!("seen: {} of {all} wrong downs", all - missed.len());
    assert!(missed.len() * 100 <= all * 5, "missed {} of {all}:\n{}", missed.len(), missed.join("\n"));
}
