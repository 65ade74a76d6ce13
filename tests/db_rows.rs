//! Rows of our own in a scratch database: most tables take one, the rest are named, and a down that harms data is told.

use std::time::Instant;

use llmhub::domain::rows::examine;
use llmhub::store::database::Sentinels;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::postgres::Database;

const ZOO: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%.%'); CREATE DOMAIN share AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 1);
    CREATE TABLE plain (id serial PRIMARY KEY, a text NOT NULL, b varchar(3) UNIQUE, c char(2), d numeric(4, 2), e smallint);
    CREATE TABLE every_type (a bool, b uuid PRIMARY KEY, c date, d timestamp, e timestamptz, f time, g timetz, h interval, i json,
        j jsonb, k xml, l bytea, m inet, n cidr, o macaddr, p bit(4), q varbit, r point, s tsvector, t tsquery, u int4range,
        v tstzrange, w text[], x mood, y pair, z money, aa float8, ab int[], ac mood[], ad nummultirange, ae oid, af \"char\");
    CREATE TABLE checked (a text CHECK (a IN ('one', 'two')), b int CHECK (b BETWEEN 500 AND 510), c email, d share,
        e text CHECK (length(e) = 64), f text CHECK (f ~ '^[a-z0-9]+$'), s date NOT NULL, t date NOT NULL, CHECK (t > s));
    CREATE TABLE child (id int PRIMARY KEY REFERENCES plain (id), other int NOT NULL REFERENCES plain (id));
    CREATE TABLE tree (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, up bigint REFERENCES tree (id), n text);
    CREATE TABLE selfish (id int PRIMARY KEY, up int NOT NULL REFERENCES selfish (id));
    CREATE TABLE ring_a (id int PRIMARY KEY, b int); CREATE TABLE ring_b (id int PRIMARY KEY, a int NOT NULL REFERENCES ring_a (id));
    ALTER TABLE ring_a ADD FOREIGN KEY (b) REFERENCES ring_b (id);
    CREATE TABLE two_keys (a int, b text, PRIMARY KEY (a, b));
    CREATE TABLE two_refs (a int NOT NULL, b text NOT NULL, n int, FOREIGN KEY (a, b) REFERENCES two_keys (a, b));
    CREATE TABLE parts (at date, n int, PRIMARY KEY (at, n)) PARTITION BY RANGE (at);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
    CREATE TABLE listed (kind text, n int) PARTITION BY LIST (kind); CREATE TABLE listed_1 PARTITION OF listed FOR VALUES IN ('x');
    CREATE TABLE barren (a int) PARTITION BY RANGE (a);
    CREATE TABLE made (a int, b int GENERATED ALWAYS AS (a * 2) STORED);
    CREATE TABLE booked (span int4range, EXCLUDE USING gist (span WITH &&));
    CREATE TABLE quiet (a int); CREATE RULE quiet AS ON INSERT TO quiet DO INSTEAD NOTHING;
    CREATE TABLE refused (a int); CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;
    CREATE TRIGGER no BEFORE INSERT ON refused FOR EACH ROW EXECUTE FUNCTION no();
    CREATE TABLE swallowed (a int); CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER gone BEFORE INSERT ON swallowed FOR EACH ROW EXECUTE FUNCTION gone();
    CREATE TABLE nothing (); CREATE TABLE never (a int NOT NULL CHECK (a > 5 AND a < 5)); CREATE TABLE \"Odd 'name\" (\"A \"\"b\" int);
    CREATE UNLOGGED TABLE fleeting (a int)";

#[tokio::test]
async fn most_tables_take_a_row_and_the_rest_are_named() {
    let database = Database::empty();
    database.sql(ZOO).await;
    let mut sentinels = Sentinels::open(&database.target()).await.unwrap();
    sentinels.read().await.unwrap();
    let planted = sentinels.plant().await.unwrap();
    println!("{:#?}", planted.uncovered);
    let mut bare: Vec<&str> = planted.uncovered.iter().map(|line| line.split(' ').next().unwrap()).collect();
    bare.sort_unstable();
    assert_eq!(
        bare,
        ["public.barren", "public.fleeting", "public.never", "public.quiet", "public.refused", "public.swallowed"]
    );
    let before = sentinels.read().await.unwrap();
    assert_eq!(sentinels.plant().await.unwrap().tables, Vec::<String>::new());
    let more = sentinels.plant_more(&before).await.unwrap();
    assert_eq!(more.tables.len(), planted.tables.len(), "{:#?}", more.uncovered);
    println!("not edited: {:#?}", sentinels.edit(&before).await.unwrap().uncovered);
    sentinels.read().await.unwrap();
    assert_eq!(sentinels.unplant().await.unwrap(), Vec::<String>::new());
    assert_eq!(sentinels.forget().await.unwrap(), Vec::<String>::new());
    let empty = sentinels.read().await.unwrap();
    assert!(empty.tables.iter().all(|table| table.content == llmhub::domain::rows::Content::Rows(vec![])));
    sentinels.close().await;
}

const BASE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, a text, b int, at timestamptz DEFAULT now()); CREATE TABLE k (a text, b int);
    CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE m (id int PRIMARY KEY, mood mood, n varchar(20));
    CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t (id) ON DELETE CASCADE, n text);
    INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2); INSERT INTO k VALUES ('x', 1); INSERT INTO m VALUES (1, 'ok', 'n');
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at = clock_timestamp(); RETURN NEW; END $$;
    CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();";

async fn harm(up: &str, down: &str) -> Vec<String> {
    let database = Database::empty();
    database.sql(BASE).await;
    let mut sentinels = Sentinels::open(&database.target()).await.unwrap();
    sentinels.read().await.unwrap();
    assert_eq!(sentinels.plant().await.unwrap().uncovered, Vec::<String>::new());
    let before = sentinels.read().await.unwrap();
    database.sql(up).await;
    let after_up = sentinels.read().await.unwrap();
    sentinels.plant_more(&before).await.unwrap();
    sentinels.edit(&before).await.unwrap();
    let mut edited = sentinels.read().await.unwrap();
    if let Err(_misfit) = database.connect().await.execute(sqlx::raw_sql(AssertSqlSafe(down))).await {
        // What came in between does not fit the old shape: the down must work without it.
        assert_eq!(sentinels.unplant().await.unwrap(), Vec::<String>::new());
        edited = sentinels.read().await.unwrap();
        database.sql(down).await;
    }
    let after_down = sentinels.read().await.unwrap();
    sentinels.close().await;
    let found = examine(&before, &after_up, &edited, &after_down);
    found.iter().filter(|finding| finding.is_harm()).map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_pair_that_leaves_rows_alone_passes() {
    for (up, down) in [
        ("CREATE TYPE e AS ENUM ('a'); ALTER TABLE t ADD e e", "ALTER TABLE t DROP e; DROP TYPE e"),
        ("ALTER TABLE t RENAME TO u", "ALTER TABLE u RENAME TO t"),
        ("ALTER TABLE t RENAME a TO z", "ALTER TABLE t RENAME z TO a"),
        ("INSERT INTO t VALUES (7, 'seed', 7)", "DELETE FROM t WHERE id = 7"),
        ("INSERT INTO k VALUES ('seed', 7)", "DELETE FROM k WHERE a = 'seed'"),
        ("UPDATE t SET b = b * 100", "UPDATE t SET b = b / 100"),
        ("UPDATE k SET b = b * 100", "UPDATE k SET b = b / 100"),
        ("UPDATE t SET b = b", "UPDATE t SET b = b"),
        ("ALTER TABLE t ALTER b TYPE bigint", "ALTER TABLE t ALTER b TYPE int"),
        ("ALTER TABLE t ALTER b TYPE numeric(12, 2)", "ALTER TABLE t ALTER b TYPE int"),
        ("ALTER TABLE m ALTER mood TYPE text", "ALTER TABLE m ALTER mood TYPE mood USING mood::mood"),
        ("ALTER TABLE t DROP a", "ALTER TABLE t ADD a text"),
        ("CREATE TABLE n (id int PRIMARY KEY, t int REFERENCES t (id))", "DROP TABLE n"),
        ("CREATE TABLE p (a int) PARTITION BY RANGE (a); CREATE TABLE p1 PARTITION OF p DEFAULT", "DROP TABLE p"),
        (
            "CREATE TABLE x AS SELECT * FROM k; DROP TABLE k; ALTER TABLE x RENAME TO k",
            "CREATE TABLE y AS SELECT * FROM k; DROP TABLE k; ALTER TABLE y RENAME TO k",
        ),
        ("DROP TRIGGER touch ON t", "CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()"),
    ] {
        assert_eq!(harm(up, down).await, Vec::<String>::new(), "{up} / {down}");
    }
}

#[tokio::test]
async fn a_down_that_harms_rows_is_told() {
    let snapshot = "CREATE TABLE llmhub_old AS SELECT * FROM t";
    for (up, down) in [
        ("INSERT INTO t VALUES (7, 's', 7)", "DELETE FROM t WHERE id IN (1, 7)"),
        ("INSERT INTO t VALUES (7, 's', 7)", "DELETE FROM t"),
        ("INSERT INTO t VALUES (7, 's', 7)", "TRUNCATE t CASCADE"),
        ("INSERT INTO k VALUES ('s', 7)", "DELETE FROM k"),
        (snapshot, "UPDATE t SET a = o.a FROM llmhub_old o WHERE o.id = t.id; DROP TABLE llmhub_old"),
        (snapshot, "DELETE FROM t WHERE id NOT IN (SELECT id FROM llmhub_old); DROP TABLE llmhub_old"),
        (snapshot, "TRUNCATE t CASCADE; INSERT INTO t SELECT * FROM llmhub_old; DROP TABLE llmhub_old"),
        ("CREATE TABLE kb AS SELECT * FROM k", "TRUNCATE k; INSERT INTO k SELECT * FROM kb; DROP TABLE kb"),
        ("SELECT 1", "UPDATE t SET b = 0 WHERE id = 1"),
        ("SELECT 1", "UPDATE t SET a = NULL"),
        ("SELECT 1", "ALTER TABLE t DROP a; ALTER TABLE t ADD a text"),
        ("SELECT 1", "ALTER TABLE m ALTER n TYPE varchar(1) USING left(n, 1); ALTER TABLE m ALTER n TYPE varchar(20)"),
        ("ALTER TABLE t ALTER b TYPE text", "ALTER TABLE t ALTER b TYPE int USING NULL"),
        (
            "ALTER TABLE t RENAME TO t_old; CREATE TABLE t (LIKE t_old INCLUDING ALL); INSERT INTO t SELECT * FROM t_old",
            "DROP TABLE t; ALTER TABLE t_old RENAME TO t",
        ),
        ("SELECT 1", "DELETE FROM t WHERE id = 2"),
        ("SELECT 1", "DROP TABLE k; CREATE TABLE k (a text, b int)"),
    ] {
        assert_ne!(harm(up, down).await, Vec::<String>::new(), "{up} / {down}");
    }
}

#[tokio::test]
async fn hundreds_of_tables_are_read_and_planted_in_a_moment() {
    let database = Database::empty();
    let tables = "DO $$ BEGIN FOR i IN 1..285 LOOP EXECUTE format('CREATE TABLE t%s (id serial PRIMARY KEY, a text, b int, \
                  c jsonb, p int REFERENCES t%s (id))', i, greatest(i - 1, 1)); END LOOP; END $$";
    database.sql(tables).await;
    let mut sentinels = Sentinels::open(&database.target()).await.unwrap();
    sentinels.read().await.unwrap();
    let start = Instant::now();
    sentinels.plant().await.unwrap();
    println!("plant 285: {:?}", start.elapsed());
    let start = Instant::now();
    let rows = sentinels.read().await.unwrap();
    println!("read 285: {:?}", start.elapsed());
    let start = Instant::now();
    let more = sentinels.plant_more(&rows).await.unwrap();
    println!("plant_more 285: {:?}", start.elapsed());
    let start = Instant::now();
    let edited = sentinels.edit(&rows).await.unwrap();
    println!("edit 285: {:?}", start.elapsed());
    assert_eq!((rows.tables.len(), more.tables.len(), edited.tables.len()), (285, 285, 285));
    sentinels.close().await;
}
