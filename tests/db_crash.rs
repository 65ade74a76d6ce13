//! `db apply` under fire: killed at every question it asks the server, it leaves nothing that a second run cannot finish, and
//! the end is that of a run that nobody disturbed.

mod signals;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use llmhub::domain::schema::{Fingerprint, Level, diff};
use llmhub::store::database::fingerprint;

use crate::support::cli::{Home, Run, Started, rounds};
use crate::support::postgres::{Database, block_on};
use crate::support::strike::{MOMENTS, Moment, Strike};

/// One of each kind that a run must survive.
const MIGRATIONS: [(&str, &str); 20] = [
    (
        "01_tables",
        "CREATE TABLE a (id int PRIMARY KEY, t text NOT NULL DEFAULT '');\nCREATE TABLE b (id bigint, a int REFERENCES a, n numeric);",
    ),
    (
        "02_seed",
        "INSERT INTO a SELECT n, 'row ' || n FROM generate_series(1, 500) n;\nINSERT INTO b SELECT id, id, id * 2 FROM a;",
    ),
    ("03_index", "CREATE INDEX CONCURRENTLY a_t_idx ON a (t);"),
    ("04_unnamed", "CREATE INDEX CONCURRENTLY ON b (a);"),
    ("05_two_unnamed", "CREATE INDEX CONCURRENTLY ON b (n);\nCREATE INDEX CONCURRENTLY ON b (n, a);"),
    (
        "06_copy",
        "CREATE TABLE c (k text, v text);\nCOPY c FROM stdin;\none\tit's; $$\ntwo\t\\N\n\\.\nALTER TABLE c ADD COLUMN w int DEFAULT 7;",
    ),
    (
        "07_mixed",
        "ALTER TABLE a ADD COLUMN u int;\nUPDATE a SET u = id;\nCREATE UNIQUE INDEX CONCURRENTLY a_u_idx ON a (u);\nALTER TABLE a ADD CONSTRAINT a_u_key UNIQUE USING INDEX a_u_idx;\nINSERT INTO c VALUES ('mixed', 'once');",
    ),
    ("08_vacuum", "VACUUM a;"),
    (
        "09_groups",
        "-- no-transaction\nINSERT INTO c VALUES ('alone', 'once');\nBEGIN;\nINSERT INTO c VALUES ('group', 'once');\nCREATE TABLE d (id int);\nCOMMIT;\nVACUUM ANALYZE c;\nINSERT INTO d VALUES (1);",
    ),
    ("10_drop_index", "DROP INDEX CONCURRENTLY a_t_idx;"),
    (
        "11_function",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.t := NEW.t || '!'; RETURN NEW; END $$;\nCREATE TRIGGER touch BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION touch();",
    ),
    ("12_type", "CREATE TYPE mood AS ENUM ('sad', 'ok');\nALTER TABLE d ADD COLUMN m mood DEFAULT 'ok';"),
    (
        "13_schema",
        "CREATE SCHEMA s;\nCREATE TABLE s.\"Odd name\" (\"a b\" int);\nSET search_path = '';\nINSERT INTO s.\"Odd name\" VALUES (1), (2);",
    ),
    (
        "14_quoted",
        "CREATE INDEX CONCURRENTLY \"Odd index\" ON s.\"Odd name\" (\"a b\");\nCREATE INDEX CONCURRENTLY ON s.\"Odd name\" ((\"a b\" + 1));",
    ),
    ("15_reindex", "REINDEX INDEX CONCURRENTLY b_a_idx;"),
    (
        "16_swap",
        "CREATE INDEX CONCURRENTLY b_new_idx ON b (a, n);\nDROP INDEX CONCURRENTLY b_a_idx;\nALTER INDEX b_new_idx RENAME TO b_a_idx;",
    ),
    ("17_view", "CREATE VIEW v AS SELECT a.id, b.n FROM a JOIN b ON b.a = a.id;\nCOMMENT ON VIEW v IS 'seen';"),
    (
        "18_if_not_exists",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS d_id_idx ON d (id);\nDROP INDEX CONCURRENTLY IF EXISTS never_was;",
    ),
    ("19_empty", "-- nothing to do here\n"),
    (
        "20_last",
        "UPDATE a SET u = u + 1 WHERE id = 1000;\nDELETE FROM c WHERE k = 'two';\nINSERT INTO c VALUES ('last', 'once');",
    ),
];

/// A home whose folder `m` holds these migrations.
pub fn home(migrations: &[(&str, &str)]) -> Home {
    let home = Home::new();
    for (name, up) in migrations {
        home.file(&format!("m/{name}.up.sql"), up);
    }
    home
}

/// `db apply` of the folder `m` through this port.
pub fn apply(home: &Home, database: &Database, port: u16, options: &str) -> Run {
    home.line(&format!("db apply --dir m --database-url {} {options}", database.url_through(port)))
}

/// Everything that a run leaves, in a form that can be compared.
#[derive(Debug)]
struct Outcome {
    schema: Fingerprint,
    rows: BTreeMap<String, String>,
    ledger: Vec<String>,
    applied: Vec<String>,
    invalid: Vec<String>,
}

impl Outcome {
    async fn of(database: &Database) -> Self {
        let schema = fingerprint(&database.target()).await.unwrap();
        let tables = database
            .lines(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname !~ '^pg_' \
                 AND schemaname NOT IN ('information_schema', 'llmhub') ORDER BY 1",
            )
            .await;
        let mut rows = BTreeMap::new();
        for table in tables {
            let sum = format!("SELECT concat_ws(' ', count(*), sum(hashtext(t::text))) FROM {table} t");
            rows.insert(table, database.lines(&sum).await.concat());
        }
        Self {
            schema,
            rows,
            ledger: database.lines("SELECT concat_ws(' ', version, name, up_checksum, up_raw_hash) FROM llmhub.migration ORDER BY position").await,
            applied: database.lines("SELECT version FROM llmhub.migration_event WHERE kind = 'applied' ORDER BY id").await,
            invalid: database.lines("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT (indisvalid AND indisready AND indislive)").await,
        }
    }

    #[track_caller]
    fn equals(&self, other: &Self, story: &str) {
        let differences: Vec<String> =
            diff(&self.schema, &other.schema, Level::Logical).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(differences, [] as [&str; 0], "{story}");
        assert_eq!(
            (&self.rows, &self.ledger, &self.applied, &self.invalid),
            (&other.rows, &other.ledger, &other.applied, &other.invalid),
            "{story}"
        );
    }
}

/// What holds a migration lock, and what still works, in this database.
pub async fn remains(database: &Database) -> Vec<String> {
    database
        .lines(
            "SELECT 'lock ' || pid FROM pg_locks WHERE locktype = 'advisory' AND database = \
             (SELECT oid FROM pg_database WHERE datname = current_database()) UNION ALL \
             SELECT concat_ws(' ', 'session', application_name, state, query) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'llmhub%'",
        )
        .await
}

/// Wait until nothing of a run is left; how long that took.
pub fn gone(database: &Database) -> Duration {
    let started = Instant::now();
    loop {
        let left = block_on(remains(database));
        if left.is_empty() {
            return started.elapsed();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_run_that_is_killed_at_any_question_is_finished_by_the_next_one() {
    let home = home(&MIGRATIONS);
    let database = Database::empty();
    let counting = Strike::counting(database.server.port);
    apply(&home, &database, counting.port(), "").exits(0);
    let expected = block_on(Outcome::of(&database));
    assert_eq!((expected.ledger.len(), &expected.invalid), (20, &Vec::new()));
    let questions = counting.questions();
    assert!(questions > 100, "{questions}");

    // Each number and each moment in a long run; a spread of both in a short one.
    let long = rounds(0, 1) == 1;
    let rounds: Vec<(u64, Moment)> = if long {
        // In strides, so that one that is cut short has seen all of it.
        let strided = (0..37).flat_map(|first| (1 + first..=questions).step_by(37));
        strided.flat_map(|at| MOMENTS.map(|moment| (at, moment))).collect()
    } else {
        let spread = (0..40).map(|n| (1 + n * (questions - 1) / 39, MOMENTS[usize::try_from(n % 3).unwrap()]));
        spread.collect()
    };
    let next = AtomicUsize::new(0);
    let kills = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(&(at, moment)) = rounds.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let round = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        let database = Database::empty();
                        let strike = Strike::killing(database.server.port, at, moment);
                        let started = apply(&home, &database, strike.port(), "").spawn();
                        strike.aim(started.id());
                        let story = format!("question {at} of {questions}, {moment:?}");
                        let killed = started.wait();
                        kills.fetch_add(usize::from(killed.status == -9), Ordering::SeqCst);
                        assert!(matches!(killed.status, -9 | 0), "{story}: {}", killed.stderr);
                        let again = apply(&home, &database, database.server.port, "").done();
                        assert_eq!(again.status, 0, "{story}: {}{}", again.stdout, again.stderr);
                        block_on(Outcome::of(&database)).equals(&expected, &story);
                    }));
                    if let Err(panic) = round {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failures.lock().unwrap().push(format!("{at} {moment:?}: {text}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} rounds failed:\n{}", failures.len(), rounds.len(), failures.join("\n"));
    // The number of questions varies a little with the looks at slow statements; most rounds must have met theirs.
    assert!(kills.load(Ordering::SeqCst) * 10 >= rounds.len() * 8, "{kills:?} of {}", rounds.len());
}

#[test]
fn a_commit_whose_answer_is_lost_is_settled_and_reported_as_applied() {
    let migrations = [
        ("1_a", "CREATE TABLE a (id int);"),
        ("2_b", "ALTER TABLE a ADD COLUMN b int;\nCREATE INDEX CONCURRENTLY ON a (b);\nINSERT INTO a VALUES (1, 1);"),
        ("3_c", "CREATE TABLE c ();"),
    ];
    let home = home(&migrations);
    let database = Database::empty();
    let counting = Strike::counting(database.server.port);
    apply(&home, &database, counting.port(), "").exits(0);
    let commits = counting.commits();
    assert!(commits >= 6, "{commits}");
    for at in 1..=commits {
        let database = Database::empty();
        let proxy = Strike::losing_commit(database.server.port, at);
        let done = apply(&home, &database, proxy.port(), "-o json").exits(0);
        assert!(proxy.has_struck());
        assert_eq!(done.json()["applied"].as_array().unwrap().len(), 3, "commit {at}");
        let rows = block_on(database.lines("SELECT count(*)::text FROM a"));
        assert_eq!(rows, ["1"], "commit {at}");
        let applied =
            block_on(database.lines("SELECT version FROM llmhub.migration_event WHERE kind = 'applied' ORDER BY id"));
        assert_eq!(applied, ["1", "2", "3"], "commit {at}");
    }
}

/// A run of one migration, begun and caught while the server works at a statement that holds `word`.
pub fn caught(home: &Home, database: &Database, word: &str) -> Started {
    let started = apply(home, database, database.server.port, "").spawn();
    reached(database, word);
    started
}

/// Wait until a worker's statement that holds `word` is under way.
pub fn reached(database: &Database, word: &str) {
    let begun = Instant::now();
    let query = format!(
        "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
         AND application_name LIKE 'llmhub-db worker%' AND query ~ '^(SELECT|CREATE INDEX)' \
         AND query LIKE '%{word}%'"
    );
    while block_on(database.lines(&query)).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "`{word}` is never reached");
        std::thread::sleep(Duration::from_millis(20));
    }
}
