//! A rollback on a database that others live in: it is rehearsed on a copy, which went through a dump, and a dump changes how
//! definitions are printed. That must stop nothing, and a difference that means something must still be seen.

use super::{Case, T};
use crate::support::cli::Home;
use crate::support::postgres::Database;

/// What somebody else has made, with conditions that a dump prints in another way.
const STRANGER: &str = "CREATE TABLE stranger (id int, n varchar(9), \
     CONSTRAINT odd CHECK (id BETWEEN 1 AND 9 AND n IN ('a', 'b')));";

const THINGS: &str =
    "CREATE DOMAIN short AS varchar(9) DEFAULT 'a' CHECK (VALUE IN ('a', 'b') AND length(VALUE) BETWEEN 1 AND 5);
CREATE TABLE u (id int PRIMARY KEY, n varchar(20) DEFAULT 'a', x text, k numeric(8, 2), b bigint, s short,
    f boolean DEFAULT (1 BETWEEN 0 AND 2 AND true),
    g int GENERATED ALWAYS AS (CASE WHEN b BETWEEN 1 AND 5 AND b > 2 OR n IN ('a', 'b') THEN 1 ELSE -2 END) STORED,
    CHECK (length(x) BETWEEN 1 AND 100 AND x ~ 'q'), CHECK (x ~ 'q' AND length(x) BETWEEN 1 AND 100),
    CHECK (n NOT IN ('a', 'it''s (') OR x IN ('a') OR k IN (1, 2.5)), CHECK (id NOT BETWEEN 1 AND 2 OR b > 1),
    CHECK (n = ANY (ARRAY[ARRAY['a', 'b'], ARRAY['c', 'd']]::varchar[])));
CREATE INDEX u_some ON u (lower(n), (id BETWEEN 1 AND 2 AND b > 1)) WHERE n IN ('a', 'b') AND id BETWEEN 1 AND 5;
CREATE STATISTICS u_stats ON (id BETWEEN 1 AND 2 AND b > 1), lower(n) FROM u;
CREATE VIEW u_view AS SELECT id, n IN ('a', 'b') AS z, CASE WHEN id BETWEEN 1 AND 2 AND b > 1 THEN 'x' ELSE n END AS w,
    sum(b) FILTER (WHERE id BETWEEN 1 AND 2 AND b > 1)
        OVER (PARTITION BY n ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS y
    FROM u WHERE id BETWEEN 1 AND 4 AND x ~ 'q' AND n IN ('a', 'b');
CREATE MATERIALIZED VIEW u_filled AS SELECT id FROM u WHERE id BETWEEN 1 AND 2 AND n IN ('a', 'b');
ALTER TABLE u ENABLE ROW LEVEL SECURITY;
CREATE POLICY u_mine ON u USING (n IN ('a', 'b') AND id BETWEEN 1 AND 2) WITH CHECK (id BETWEEN 1 AND 2 AND x ~ 'q');
CREATE RULE u_odd AS ON INSERT TO u WHERE new.id BETWEEN 1 AND 2 AND new.n IN ('a', 'b')
    DO INSTEAD UPDATE u SET b = 3 WHERE u.id BETWEEN 1 AND 2 AND u.n = new.n;
CREATE FUNCTION u_is(a int, v varchar, z boolean DEFAULT (1 BETWEEN 0 AND 1 AND 2 > 1)) RETURNS boolean
    RETURN a BETWEEN 1 AND 2 AND v IN ('a', 'b');
CREATE FUNCTION u_touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER u_touched BEFORE UPDATE ON u FOR EACH ROW
    WHEN (new.id BETWEEN 1 AND 2 AND new.n IN ('a', 'b') AND old.n IS DISTINCT FROM new.n) EXECUTE FUNCTION u_touch();
CREATE TABLE u_parts (id int, n varchar(9)) PARTITION BY LIST ((id BETWEEN 1 AND 2 AND n IN ('a', 'b')));
CREATE TABLE u_parts_1 PARTITION OF u_parts FOR VALUES IN (true);
CREATE VIEW t_view AS SELECT id FROM t WHERE id BETWEEN 1 AND 5 AND id <> 3;";

const NO_THINGS: &str = "DROP VIEW t_view, u_view; DROP MATERIALIZED VIEW u_filled; DROP TABLE u, u_parts;
DROP FUNCTION u_touch; DROP FUNCTION u_is; DROP DOMAIN short;";

/// Replaces what 2 made, and puts it back.
const REPLACED: &str = "CREATE OR REPLACE VIEW t_view AS SELECT id FROM t WHERE id BETWEEN 2 AND 4 AND id <> 3;
ALTER TABLE u DROP CONSTRAINT u_x_check, DROP COLUMN f, ADD CONSTRAINT u_x_check CHECK (x <> 'q');
ALTER POLICY u_mine ON u USING (true);";

const PUT_BACK: &str = "CREATE OR REPLACE VIEW t_view AS SELECT id FROM t WHERE id BETWEEN 1 AND 5 AND id <> 3;
ALTER TABLE u DROP CONSTRAINT u_x_check, ADD COLUMN f boolean DEFAULT (1 BETWEEN 0 AND 2 AND true),
    ADD CONSTRAINT u_x_check CHECK (length(x) BETWEEN 1 AND 100 AND x ~ 'q');
ALTER POLICY u_mine ON u USING (n IN ('a', 'b') AND id BETWEEN 1 AND 2);";

#[tokio::test]
async fn the_shipped_migrations_go_back_beside_a_table_of_somebody_else() {
    let database = Database::empty();
    let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
    home.line("db apply").exits(0);
    database.sql(STRANGER).await;
    home.line("db rollback --dry-run").exits(0).says("PROVEN").says("rehearsed on a copy");
    home.line("db rollback -y").exits(0).says("PROVEN");
    let versions = "SELECT version FROM llmhub.migration ORDER BY position";
    assert_eq!(database.lines(versions).await.len(), 2);
    home.line("db apply").exits(0);
    home.line("db rollback --steps 3 -y").exits(0).says("PROVEN");
    assert_eq!(database.lines(versions).await, [] as [&str; 0]);
    assert_eq!(database.lines("SELECT relname::text FROM pg_class WHERE relname = 'stranger'").await, ["stranger"]);
}

#[tokio::test]
async fn what_a_dump_prints_in_another_way_stops_no_rollback() {
    let case = Case::applied(&[T, ("2", THINGS, Some(NO_THINGS)), ("3", REPLACED, Some(PUT_BACK))]);
    case.database.sql(STRANGER).await;
    case.line("db rollback --steps 2 --dry-run").exits(0).says("rehearsed on a copy");
    // One by one, so that the second step meets what the first one has made again.
    case.rollback("", 0);
    case.rollback("", 0);
    let proofs = "SELECT proof->>'on' FROM llmhub.migration_event WHERE kind = 'reverted'";
    assert_eq!(case.database.lines(proofs).await, ["copy", "copy"]);
    assert_eq!(
        (case.ledger().await, case.tables().await),
        (vec!["1".to_owned()], vec!["stranger".to_owned(), "t".to_owned()])
    );
    case.line("db apply").exits(0);
    case.rollback("--steps 2", 0);
    assert_eq!(case.ledger().await, ["1"]);
}

#[tokio::test]
async fn a_down_that_gives_back_another_meaning_is_refused_on_a_copy_as_well() {
    let down = "ALTER TABLE t ADD CONSTRAINT c CHECK (id > 1 AND (id < 5 OR id = 7))";
    let up = "ALTER TABLE t DROP CONSTRAINT c";
    let first = "CREATE TABLE t (id int, CONSTRAINT c CHECK ((id > 1 AND id < 5) OR id = 7))";
    let case = Case::applied(&[("1", first, None), ("2", up, Some(down))]);
    case.database.sql(STRANGER).await;
    let done = case.rollback("", 7);
    assert_eq!(done.code(), "unproven");
    assert!(done.json()["error"]["message"].as_str().unwrap().contains("public.t.c"), "{}", done.stdout);
    assert_eq!(case.ledger().await, ["1", "2"]);
}

#[tokio::test]
async fn a_down_that_changes_what_others_made_is_refused() {
    let odd = "ALTER TABLE stranger DROP CONSTRAINT odd, \
               ADD CONSTRAINT odd CHECK (id BETWEEN 1 AND 9 OR n IN ('a', 'b'))";
    let down = format!("DROP TABLE u; DO $$ BEGIN IF to_regclass('stranger') IS NOT NULL THEN {odd}; END IF; END $$;");
    let case = Case::applied(&[T, ("2", "CREATE TABLE u (id int);", Some(&down))]);
    case.database.sql(STRANGER).await;
    let done = case.rollback("", 7);
    assert_eq!(done.code(), "unproven");
    let message = done.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("public.stranger.odd"), "{message}");
    assert_eq!(case.ledger().await, ["1", "2"]);
}

#[tokio::test]
async fn a_down_that_does_something_else_on_live_than_on_the_copy_is_undone() {
    // The copy has no rows; the live database has.
    let odd = "ALTER TABLE stranger DROP CONSTRAINT odd, \
               ADD CONSTRAINT odd CHECK ((id BETWEEN 1 AND 9) IS NOT FALSE AND n IN ('a', 'b'))";
    let down = format!("DROP TABLE u; DO $$ BEGIN IF EXISTS (SELECT FROM t) THEN {odd}; END IF; END $$;");
    let case = Case::applied(&[T, ("2", "CREATE TABLE u (id int);", Some(&down))]);
    case.database.sql(STRANGER).await;
    case.database.sql("INSERT INTO t VALUES (1)").await;
    let done = case.rollback("", 7);
    let message = done.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("in another way than in its rehearsal") && message.contains("public.stranger.odd"),
        "{message}"
    );
    assert_eq!((case.tables().await.len(), case.ledger().await.len()), (3, 2));
}
