//! Rehearsals: each way in which a down can be wrong has its word, and the live database stays as it is.

use async_trait::async_trait;
use llmhub::domain::migrations::{Script, embedded};
use llmhub::domain::proof::Verdict;
use llmhub::domain::schema::Fingerprint;
use llmhub::store::StoreError;
use llmhub::store::database::{Rehearsal, Restore, Schema, Step, fingerprint, rehearse};
use llmhub::store::postgres::Target;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::postgres::Database;

const BASE: &str = "CREATE TABLE t (a int, b text, c int); CREATE INDEX ON t (c); CREATE TABLE other (id int); CREATE TYPE kept AS ENUM ('x');";

async fn one(database: &Database, up: &str, down: Option<&str>) -> Rehearsal {
    let applied = up.trim_start_matches("-- no-transaction\n");
    // Emptied and not made anew: that is faster, and the schema keeps the owner that a new database gives it.
    let clean = "DROP TABLE IF EXISTS t, other, n; DROP TYPE IF EXISTS kept, e";
    database.sql(&format!("{clean}; {BASE} {applied}")).await;
    let live = fingerprint(&database.target()).await.unwrap();
    let base = Script::new(BASE).named("1_base.up.sql");
    let up = Script::new(up).named("2_test.up.sql");
    let down = down.map(|down| Script::new(down).named("2_test.down.sql"));
    let step = Step { version: "2", up: &up, down: down.as_ref(), before: None };
    let rehearsal = rehearse(&database.target(), Schema::Replay(&[&base]), &[step]).await.unwrap();
    assert_eq!(fingerprint(&database.target()).await.unwrap(), live);
    let left = "SELECT datname::text FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE '%of ' || \
                current_database() || ';%'";
    assert!(database.lines(left).await.is_empty());
    rehearsal
}

#[tokio::test]
async fn every_kind_of_down_gets_its_word() {
    use Verdict::{DownEmpty, DownFailed, Irreversible, Residue, Reversible, ReversibleExceptColumnOrder};
    let database = Database::empty();
    let case = async |up: &str, down: Option<&str>, verdict: Verdict, says: &str| {
        let rehearsal = one(&database, up, down).await;
        let [step] = rehearsal.steps.as_slice() else { panic!("{:?}", rehearsal.steps) };
        let mut said: Vec<String> = step.failure.iter().cloned().collect();
        for list in [&step.residue, &step.again, &step.never_applied] {
            said.extend(list.iter().map(ToString::to_string));
        }
        let said = said.join(" | ");
        assert!(step.verdict == verdict && said.contains(says), "{up} / {down:?}: {:?} {said}", step.verdict);
        assert!(verdict == Verdict::UpFailed || rehearsal.drift.is_empty(), "{:?}", rehearsal.drift);
    };
    case("CREATE TYPE e AS ENUM ('a'); CREATE TABLE n (e e);", Some("DROP TABLE n; DROP TYPE e;"), Reversible, "")
        .await;
    case("ALTER TABLE t RENAME a TO z", Some("ALTER TABLE t RENAME z TO a"), Reversible, "").await;
    case("ALTER TABLE t ADD d int", Some("ALTER TABLE t DROP d"), Reversible, "").await;
    case("GRANT SELECT ON t TO PUBLIC", Some("REVOKE SELECT ON t FROM PUBLIC"), Reversible, "").await;
    case(
        "-- no-transaction\nCREATE INDEX i ON t (a);",
        Some("-- no-transaction\nDROP INDEX CONCURRENTLY i;"),
        Reversible,
        "",
    )
    .await;
    case("INSERT INTO t VALUES (1)", Some("DELETE FROM t WHERE a = 1"), Reversible, "").await;
    case("ALTER TABLE t DROP a", Some("ALTER TABLE t ADD a int"), ReversibleExceptColumnOrder, "").await;
    case("DROP INDEX t_c_idx", Some("CREATE INDEX ON t (c)"), Reversible, "index public.t_c_idx1: added").await;
    case("CREATE TABLE n ()", None, Irreversible, "no down").await;
    case("CREATE TABLE n ()", Some("-- nothing\n;"), DownEmpty, "no statement").await;
    case("CREATE TABLE n ()", Some("SELECT 1;\n DROP TABLE m;"), DownFailed, "2_test.down.sql:2:2: table \"m\"").await;
    case("CREATE TABLE n ()", Some("DROP TABLE (n;"), DownFailed, "never closed").await;
    case("CREATE TABLE n ()", Some("DROP TABLE n; COMMIT;"), DownFailed, "transaction control").await;
    case(
        "CREATE TABLE n (a serial); CREATE TYPE e AS ENUM ('a')",
        Some("DROP TABLE n"),
        Residue,
        "enum public.e: added",
    )
    .await;
    case("CREATE TABLE IF NOT EXISTS other (id int)", Some("DROP TABLE other"), Residue, "table public.other: removed")
        .await;
    case("CREATE TABLE n ()", Some("SELECT 'done'"), Residue, "table public.n: added").await;
    case(
        "CREATE INDEX i ON t (a) WHERE a > 1",
        Some("DROP INDEX i; DROP TYPE IF EXISTS kept;"),
        Residue,
        "enum public.kept: removed",
    )
    .await;
    case(
        "ALTER TABLE t ALTER a SET DEFAULT 1, ALTER b SET NOT NULL",
        Some("ALTER TABLE t ALTER a DROP DEFAULT"),
        Residue,
        "column public.t.b: changed: not null none → yes",
    )
    .await;
}

#[tokio::test]
async fn an_up_that_needs_what_nobody_makes_is_named() {
    let database = Database::empty();
    let (up, down) = (Script::new("ALTER TABLE hub_users ADD a int").named("9_x.up.sql"), Script::new("SELECT 1"));
    let step = Step { version: "9", up: &up, down: Some(&down), before: None };
    let rehearsal = rehearse(&database.target(), Schema::Replay(&[]), &[step]).await.unwrap();
    assert_eq!(rehearsal.steps[0].verdict, Verdict::UpFailed);
    let failure = rehearsal.steps[0].failure.clone().unwrap();
    assert!(failure.starts_with("9_x.up.sql:") && failure.contains("hub_users"), "{failure}");
    let error = rehearse(&database.target(), Schema::Replay(&[&up]), &[]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(text) if text.contains("9_x.up.sql:1:")), "{error}");
}

#[tokio::test]
async fn what_would_act_on_the_live_server_is_refused_before_anything_runs() {
    let database = Database::empty();
    let up = Script::new(&format!("CREATE TABLE a ();\nALTER DATABASE {} SET work_mem = '9MB'", database.name))
        .named("1.up.sql");
    let step = Step { version: "1", up: &up, down: None, before: None };
    let error = rehearse(&database.target(), Schema::Replay(&[]), &[step]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Refused(text) if text.starts_with("1.up.sql:2:1: ")), "{error}");
}

#[tokio::test]
async fn the_shipped_migrations_are_reversible_and_a_live_database_that_drifted_is_told() {
    let database = Database::migrated();
    let migrations = embedded();
    let steps: Vec<Step<'_>> = migrations
        .iter()
        .rev()
        .map(|migration| Step {
            version: migration.version.as_str(),
            up: &migration.up,
            down: migration.down.as_ref(),
            before: None,
        })
        .collect();
    let started = std::time::Instant::now();
    let rehearsal = rehearse(&database.target(), Schema::Replay(&[]), &steps).await.unwrap();
    println!("rehearsal of the three shipped migrations: {} ms", started.elapsed().as_millis());
    let verdicts: Vec<Verdict> = rehearsal.steps.iter().map(|step| step.verdict).collect();
    assert_eq!((verdicts, rehearsal.drift), (vec![Verdict::Reversible; 3], vec![]));
    database
        .sql("CREATE TABLE by_hand (a int); ALTER TABLE users DISABLE TRIGGER ALL; ALTER TABLE users ADD note text")
        .await;
    let rehearsal = rehearse(&database.target(), Schema::Replay(&[&migrations[0].up, &migrations[1].up]), &steps[..1])
        .await
        .unwrap();
    let drift: Vec<String> = rehearsal.drift.iter().map(ToString::to_string).collect();
    assert!(drift.contains(&"table public.by_hand: added".to_owned()), "{drift:?}");
    assert!(drift.contains(&"column public.users.note: added".to_owned()), "{drift:?}");
}

/// A dump whose archive is plain SQL, so that the test needs no client program.
struct Plain;

#[async_trait]
impl Restore for Plain {
    async fn restore(&self, archive: &[u8], into: &Target) -> Result<(), StoreError> {
        let name = into.to_string().rsplit_once('/').unwrap().1.to_owned();
        let database = std::mem::ManuallyDrop::new(Database { name, server: crate::support::postgres::server() });
        let sql = String::from_utf8(archive.to_vec()).unwrap();
        let done = database.connect().await.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        done.map(drop).map_err(|error| StoreError::Refused(error.to_string()))
    }
}

#[tokio::test]
async fn a_copy_of_live_is_compared_with_what_the_ledger_remembers() {
    let database = Database::empty();
    database.sql(BASE).await;
    let past: Fingerprint = fingerprint(&database.target()).await.unwrap();
    let (up, down) = (Script::new("CREATE TABLE n (a int)"), Script::new("DROP TABLE n"));
    database.sql(up.text()).await;
    let archive = format!("{BASE} {}", up.text());
    let dump = Schema::Dump { archive: archive.as_bytes(), restore: &Plain };
    let step = |before| Step { version: "2", up: &up, down: Some(&down), before };
    let known = rehearse(&database.target(), dump, &[step(Some(&past))]).await.unwrap();
    assert_eq!(
        (known.steps[0].verdict, &known.steps[0].unchecked[..], &known.drift[..]),
        (Verdict::Reversible, &[][..], &[][..])
    );
    let unknown = rehearse(&database.target(), dump, &[step(None)]).await.unwrap();
    assert_eq!(unknown.steps[0].verdict, Verdict::Reversible);
    assert!(unknown.steps[0].unchecked[0].contains("does not know"), "{:?}", unknown.steps[0].unchecked);
}
