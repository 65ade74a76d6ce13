//! What a rollback would destroy is counted right, on the live database, for everything that it takes with it.

use std::time::Duration;

use llmhub::domain::migrations::Script;
use llmhub::domain::schema::all_doomed;
use llmhub::store::database::{Loss, count_losses, fingerprint};

use crate::support::postgres::{CANARY_PASSWORD, Database, server, target};

/// A database to count in, and one on which the down is run for real.
struct Pair {
    live: Database,
    copy: Database,
}

impl Pair {
    fn new() -> Self {
        Self { live: Database::empty(), copy: Database::empty() }
    }

    /// What `down` would destroy of what `sql` makes.
    async fn losses(&self, sql: &str, down: &str) -> Vec<Loss> {
        for database in [&self.live, &self.copy] {
            // Emptied and not made anew: a database costs a hundred times as much as a schema.
            database
                .sql(&format!(
                    "SET client_min_messages = error; DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS \"My s\" CASCADE; \
                     CREATE SCHEMA public; {sql}"
                ))
                .await;
        }
        let before = fingerprint(&self.copy.target()).await.unwrap();
        self.copy.sql(down).await;
        let after = fingerprint(&self.copy.target()).await.unwrap();
        let doomed = all_doomed(&before, &after, &Script::new(down));
        count_losses(&self.live.target(), &doomed, Duration::from_secs(10)).await.unwrap()
    }
}

/// `object: rows`, with the values of a column behind a slash, `~` before what is no exact number.
fn line(loss: &Loss) -> String {
    let number = |number: Option<i64>| number.map_or("?".to_owned(), |number| number.to_string());
    let values = loss.non_null.map(|values| format!("/{values}")).unwrap_or_default();
    format!("{}: {}{}{values}", loss.object, if loss.exact { "" } else { "~" }, number(loss.rows))
}

#[tokio::test]
async fn every_thing_that_goes_is_counted_on_live() {
    let pair = Pair::new();
    let case = async |sql: &str, down: &str, expected: &[&str]| {
        let lines: Vec<String> = pair.losses(sql, down).await.iter().map(line).collect();
        assert_eq!(lines, expected, "{down}");
    };
    let t = "CREATE TABLE t (a int, b text, at timestamptz); INSERT INTO t SELECT i, CASE WHEN i < 4 THEN 'x' END, \
             '2026-01-01'::timestamptz + i * interval '1 day' FROM generate_series(1, 7) i;";
    case(t, "DROP TABLE t", &["public.t: 7"]).await;
    case(t, "DO $$ BEGIN DROP TABLE t; END $$", &["public.t: 7"]).await;
    case(t, "ALTER TABLE t DROP COLUMN b", &["public.t.b: 7/3"]).await;
    case(t, "ALTER TABLE t ALTER a TYPE smallint", &["public.t.a: 7/7"]).await;
    case(t, "ALTER TABLE t ALTER a TYPE bigint; ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME a TO z", &[]).await;
    case(t, "DELETE FROM t WHERE a > 5; UPDATE t SET b = 'y' WHERE b IS NULL", &["public.t: 2", "public.t: 4"]).await;
    case(t, "TRUNCATE t", &["public.t: 7"]).await;
    case(t, "DELETE FROM t; DROP TABLE t", &["public.t: 7"]).await;
    case(
        "CREATE SCHEMA \"My s\"; CREATE TABLE \"My s\".\"T\"\"q\" (\"A b\" int, c int); INSERT INTO \"My s\".\"T\"\"q\" VALUES (1), (NULL)",
        "ALTER TABLE \"My s\".\"T\"\"q\" DROP COLUMN \"A b\"",
        &["\"My s\".\"T\"\"q\".\"A b\": 2/1"],
    )
    .await;
    case(
        "CREATE TABLE p (a int, b int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5); \
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (5) TO (9); INSERT INTO p SELECT i, 1 FROM generate_series(0, 8) i",
        "DROP TABLE p",
        &["public.p: 9"],
    )
    .await;
    case(
        "CREATE TABLE p (a int, b int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5); \
         INSERT INTO p VALUES (1, 1), (2, NULL)",
        "ALTER TABLE p DROP COLUMN b",
        &["public.p.b: 2/1"],
    )
    .await;
    case(
        &format!("{t} CREATE VIEW v AS SELECT a FROM t; CREATE MATERIALIZED VIEW m AS SELECT a FROM v WHERE a > 4;"),
        "DROP TABLE t CASCADE",
        &["public.t: 7", "public.m: 3"],
    )
    .await;
    case(
        "CREATE TYPE e AS ENUM ('a', 'b'); CREATE TABLE t (e e, l e[]); INSERT INTO t VALUES ('a', '{a}'), ('b', '{a,b}'), ('b', NULL)",
        "ALTER TYPE e RENAME TO old; CREATE TYPE e AS ENUM ('a'); ALTER TABLE t DROP l; \
         DELETE FROM t WHERE e = 'b'; ALTER TABLE t ALTER e TYPE e USING e::text::e; DROP TYPE old",
        &["public.e.'b': 2/2", "public.e.'b': 1/1", "public.t.l: 3/2", "public.t: 2"],
    )
    .await;
    case("CREATE SEQUENCE s; SELECT nextval('s'), nextval('s')", "DROP SEQUENCE s", &["public.s: 1"]).await;
    case(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a ON DELETE CASCADE); INSERT INTO a VALUES (1); \
         INSERT INTO b VALUES (1), (1)",
        "TRUNCATE a CASCADE",
        &["public.a: 1", "public.b: 2"],
    )
    .await;
    case(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a ON DELETE CASCADE); INSERT INTO a VALUES (1)",
        "DELETE FROM a",
        &["public.a: 1", "public.b: ~?"],
    )
    .await;
}

#[tokio::test]
async fn an_empty_table_reads_nothing_lost_and_a_full_one_tells_its_newest_row() {
    let pair = Pair::new();
    let empty = pair.losses("CREATE TABLE t (a int)", "DROP TABLE t").await;
    assert!(empty.len() == 1 && empty[0].is_nothing() && empty[0].rows == Some(0));
    let unused = pair.losses("CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1)", "ALTER TABLE t DROP b").await;
    assert!(unused[0].is_nothing(), "{unused:?}");
    let full = pair
        .losses(
            "CREATE TABLE t (a date, created_at timestamp); INSERT INTO t VALUES ('2020-01-01', '2026-02-03 04:05:06')",
            "DROP TABLE t",
        )
        .await;
    assert_eq!((full[0].newest.as_deref(), full[0].is_nothing()), (Some("2026-02-03 04:05:06"), false));
}

#[tokio::test]
async fn what_cannot_be_counted_in_time_or_may_not_be_read_is_estimated_and_says_so() {
    let database = Database::empty();
    let server = server();
    let role = format!("{}_blind", database.name);
    database
        .sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'; CREATE TABLE t (a int); CREATE TABLE fresh (a int); \
             ALTER TABLE t SET (autovacuum_enabled = off); ALTER TABLE fresh SET (autovacuum_enabled = off); \
             INSERT INTO t SELECT generate_series(1, 1000); INSERT INTO fresh VALUES (1); ANALYZE t; \
             CREATE TABLE hidden (a int); INSERT INTO hidden VALUES (1), (2); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; \
             GRANT SELECT ON hidden TO {role}"
        ))
        .await;
    let before = fingerprint(&database.target()).await.unwrap();
    let mut after = before.clone();
    after.objects.clear();
    let doomed = all_doomed(&before, &after, &Script::new(""));
    let blind = target(&database.url_for(&role, CANARY_PASSWORD, &server.host, server.port));
    let losses = count_losses(&blind, &doomed, Duration::from_secs(10)).await.unwrap();
    let lines: Vec<String> = losses.iter().map(line).collect();
    assert_eq!(lines, ["public.fresh: ~?", "public.hidden: ~?", "public.t: ~1000"]);
    assert!(losses.iter().all(|loss| loss.note.is_some() && !loss.is_nothing()));
    let mut blocker = database.connect().await;
    let lock = "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE";
    sqlx::Executor::execute(&mut blocker, sqlx::raw_sql(lock)).await.unwrap();
    let losses = count_losses(&database.target(), &doomed, Duration::from_millis(300)).await.unwrap();
    let lines: Vec<String> = losses.iter().map(line).collect();
    assert_eq!(lines, ["public.fresh: 1", "public.hidden: 2", "public.t: ~1000"]);
    drop(blocker);
    database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
