//! The sandbox keeps its data, whatever ends the process, and is never shared.
//!
//! Tests that kill run this same binary again as a child with a cache folder of its own, so that a first start really
//! unpacks everything. Needs the cargo feature `sandbox`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use llmhub::store::StoreError;
use llmhub::store::sandbox::{ConnectionSlot, Sandbox};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{Connection, Executor};

const NO_WAIT: Duration = Duration::ZERO;
/// Longer than any start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

async fn open(dir: &Path) -> Sandbox {
    Sandbox::open(dir, NO_WAIT, || {}).await.expect("the sandbox opens")
}

async fn connect(slot: &ConnectionSlot) -> PgConnection {
    let at = slot.endpoint();
    let options = PgConnectOptions::new_without_pgpass()
        .socket(&at.socket_dir)
        .port(at.port)
        .username(at.user)
        .database(at.database)
        .ssl_mode(PgSslMode::Disable);
    tokio::time::timeout(PATIENCE, PgConnection::connect_with(&options)).await.expect("in time").expect("connects")
}

async fn rows(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from kept").fetch_one(connection).await.expect("the table is there")
}

/// This binary again, running `role` on `dir`, with a cache folder of its own.
fn child(role: &str, dir: &Path, cache: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", "--nocapture", role])
        .env("LLMHUB_TEST_SANDBOX", dir)
        .env("XDG_CACHE_HOME", cache)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

fn kill(mut child: Child) {
    child.kill().expect("SIGKILL");
    child.wait().expect("reaped");
}

fn child_dir() -> std::path::PathBuf {
    std::env::var_os("LLMHUB_TEST_SANDBOX").expect("set by the parent test").into()
}

#[tokio::test]
#[ignore = "a child of the tests that kill"]
async fn child_adds_a_row() {
    let sandbox = open(&child_dir()).await;
    let slot = sandbox.slot(PATIENCE).await.expect("free");
    let mut connection = connect(&slot).await;
    connection.execute("create table if not exists kept (n int)").await.expect("creates");
    connection.execute("insert into kept values (1)").await.expect("inserts");
    println!("rows {}", rows(&mut connection).await);
    connection.close().await.expect("closes");
    drop(slot);
    sandbox.close().await.expect("stops");
}

#[tokio::test]
#[ignore = "a child of the tests that kill"]
async fn child_commits_and_hangs() {
    let sandbox = open(&child_dir()).await;
    let slot = sandbox.slot(PATIENCE).await.expect("free");
    let mut connection = connect(&slot).await;
    connection.execute("create table kept (n int)").await.expect("creates");
    connection.execute("insert into kept select generate_series(1, 1000)").await.expect("inserts");
    connection.execute("begin; insert into kept values (0)").await.expect("inserts");
    println!("committed");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_table_written_in_one_run_is_there_in_the_next() {
    let folder = tempfile::tempdir().expect("folder");
    for run in 1..=2 {
        let sandbox = open(folder.path()).await;
        for connection_of_run in 1..=2 {
            let slot = sandbox.slot(PATIENCE).await.expect("free");
            let mut connection = connect(&slot).await;
            connection.execute("create table if not exists kept (n int)").await.expect("creates");
            connection.execute("insert into kept values (1)").await.expect("inserts");
            assert_eq!(rows(&mut connection).await, (run - 1) * 2 + connection_of_run);
            connection.close().await.expect("closes");
        }
        sandbox.close().await.expect("stops");
    }
}

#[tokio::test]
async fn a_killed_process_keeps_what_it_committed_and_nothing_else() {
    let folder = tempfile::tempdir().expect("folder");
    let cache = tempfile::tempdir().expect("folder");
    let mut hanging = child("child_commits_and_hangs", folder.path(), cache.path());
    let output = BufReader::new(hanging.stdout.take().expect("piped"));
    let told = output.lines().map_while(Result::ok).any(|line| line.contains("committed"));
    kill(hanging);
    assert!(told, "the child got as far as its transaction");

    let sandbox = open(folder.path()).await;
    let slot = sandbox.slot(PATIENCE).await.expect("free");
    assert_eq!(rows(&mut connect(&slot).await).await, 1000);
}

#[test]
fn an_interrupted_first_start_does_not_harm_the_next() {
    // Early, the shared cache is being unpacked; the last ones wait until the cluster itself is being written.
    let moments = [(20, None), (100, None), (0, Some("cluster.new")), (5, Some("cluster.new/tmp/pglite/base/base"))];
    for (milliseconds, after) in moments {
        let folder = tempfile::tempdir().expect("folder");
        let cache = tempfile::tempdir().expect("folder");
        let doomed = child("child_adds_a_row", folder.path(), cache.path());
        let since = Instant::now();
        while after.is_some_and(|name| !folder.path().join(name).exists()) {
            assert!(since.elapsed() < PATIENCE, "{after:?} never came");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        assert!(
            !folder.path().join("cluster").exists(),
            "{after:?} + {milliseconds} ms is before the end of the first start"
        );
        kill(doomed);

        let mut again = child("child_adds_a_row", folder.path(), cache.path());
        let mut output = String::new();
        again.stdout.take().expect("piped").read_to_string(&mut output).expect("text");
        assert!(again.wait().expect("ends").success(), "{after:?} + {milliseconds} ms: {output}");
        assert!(output.contains("rows 1\n"), "{output}");
        assert!(!folder.path().join("cluster.new").exists());
    }
}

#[tokio::test]
async fn a_second_owner_waits_says_so_once_and_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let first = open(folder.path()).await;
    let mut told = 0;
    let refused = Sandbox::open(folder.path(), Duration::from_millis(350), || told += 1).await;
    assert_eq!(told, 1);
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");

    let waiting = Sandbox::open(folder.path(), PATIENCE, || {});
    let (second, closed) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        first.close().await
    });
    closed.expect("stops");
    second.expect("opens once the first is gone").close().await.expect("stops");
}

#[tokio::test]
async fn a_second_slot_is_refused_while_the_first_is_out() {
    let folder = tempfile::tempdir().expect("folder");
    let sandbox = open(folder.path()).await;
    let slot = sandbox.slot(PATIENCE).await.expect("free");
    assert!(matches!(sandbox.slot(PATIENCE).await, Err(StoreError::Conflict(_))));
    drop(slot);
    let slot = sandbox.slot(PATIENCE).await.expect("free again");
    assert!(matches!(sandbox.close().await, Err(StoreError::Conflict(_))));
    drop(slot);
}

#[tokio::test]
async fn a_sandbox_dropped_before_its_connection_stops_when_that_ends() {
    let folder = tempfile::tempdir().expect("folder");
    let sandbox = open(folder.path()).await;
    let slot = sandbox.slot(PATIENCE).await.expect("free");
    let mut connection = connect(&slot).await;
    drop(sandbox);
    connection.execute("create table kept (n int)").await.expect("the engine still serves");
    connection.close().await.expect("closes");
    drop(slot);

    let sandbox = Sandbox::open(folder.path(), PATIENCE, || {}).await.expect("free once the engine stopped");
    assert_eq!(rows(&mut connect(&sandbox.slot(PATIENCE).await.expect("free")).await).await, 0);
}

#[tokio::test]
async fn an_abandoned_statement_costs_the_next_connection_only_a_wait() {
    let folder = tempfile::tempdir().expect("folder");
    let sandbox = open(folder.path()).await;
    let slot = sandbox.slot(PATIENCE).await.expect("free");
    let mut connection = connect(&slot).await;
    connection.execute("create table kept (n int)").await.expect("creates");
    let given_up = tokio::time::timeout(Duration::from_millis(200), connection.execute("select pg_sleep(2)")).await;
    assert!(given_up.is_err());
    drop(connection);
    drop(slot);

    let refused = sandbox.slot(Duration::from_millis(200)).await;
    assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    let slot = sandbox.slot(PATIENCE).await.expect("free once the statement ended");
    assert_eq!(rows(&mut connect(&slot).await).await, 0);
}

#[tokio::test]
async fn a_sandbox_dropped_in_mid_statement_does_not_wait_for_its_end() {
    let folder = tempfile::tempdir().expect("folder");
    let sandbox = open(folder.path()).await;
    let slot = sandbox.slot(PATIENCE).await.expect("free");
    let mut connection = connect(&slot).await;
    let statement = connection.execute("select pg_sleep(8)");
    assert!(tokio::time::timeout(Duration::from_millis(200), statement).await.is_err());
    drop(connection);
    drop(slot);
    let since = Instant::now();
    drop(sandbox);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test]
async fn others_can_reach_neither_files_nor_socket() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("folder");
    let inner = folder.path().join("deep/sandbox");
    let sandbox = open(&inner).await;
    let mode = inner.metadata().expect("exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    sandbox.close().await.expect("stops");
}

#[tokio::test]
async fn a_folder_too_long_for_a_socket_is_refused_untouched() {
    let folder = tempfile::tempdir().expect("folder");
    let long = folder.path().join("x".repeat(120));
    let refused = Sandbox::open(&long, NO_WAIT, || {}).await;
    assert!(matches!(refused, Err(StoreError::Local(_))), "{refused:?}");
    assert!(!long.exists());
}

/// `llmhub --sandbox …` with a home of its own.
fn llmhub(home: &Path, line: &str) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_llmhub"))
        .args(line.split(' '))
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .expect("llmhub runs")
}

#[test]
fn the_first_command_of_the_readme_works_on_an_empty_machine_and_the_next_one_finds_its_work() {
    let home = tempfile::tempdir().expect("a folder");
    let first = llmhub(home.path(), "--sandbox flags rollout unified_llm_hub 10 -o json");
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    assert_eq!(first.status.code(), Some(0), "{said}");
    assert!(said.contains("preparing the sandbox"), "{said}");
    let written: serde_json::Value = serde_json::from_slice(&first.stdout).expect("one document");
    assert_eq!(written["results"][0]["persisted"], true);
    let shown = llmhub(home.path(), "--sandbox flags show unified_llm_hub -o json");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("one document");
    assert_eq!((&shown["rollout_percentage"], &shown["source"]), (&10.into(), &"db".into()));
    let history = llmhub(home.path(), "--sandbox flags history unified_llm_hub -o json");
    let history: serde_json::Value = serde_json::from_slice(&history.stdout).expect("one document");
    assert_eq!(history.as_array().map(Vec::len), Some(2));
}

#[test]
fn two_commands_at_once_take_turns() {
    let home = tempfile::tempdir().expect("a folder");
    assert_eq!(llmhub(home.path(), "--sandbox db apply").status.code(), Some(0));
    std::thread::scope(|scope| {
        let runs: Vec<_> = ["ana", "ben"]
            .map(|user| {
                let line = format!("--sandbox flags whitelist add unified_llm_hub {user}");
                let home = home.path();
                scope.spawn(move || llmhub(home, &line).status.code())
            })
            .into_iter()
            .collect();
        for run in runs {
            assert_eq!(run.join().expect("it ran"), Some(0));
        }
    });
    let list = llmhub(home.path(), "--sandbox flags whitelist list unified_llm_hub");
    let mut users: Vec<String> = String::from_utf8_lossy(&list.stdout).lines().map(str::to_owned).collect();
    users.sort();
    assert_eq!(users, ["ana", "ben"]);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A line, its exit status and what it says on either stream.
#[track_caller]
fn case(home: &Path, line: &str, status: i32, says: &str) {
    let output = llmhub(home, line);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{line}: {said}");
    assert!(said.contains(says), "{line}: {said}");
}

/// The shipped migrations in a folder of their own, for others to be added.
fn shipped(folder: &Path) {
    std::fs::create_dir(folder).expect("a folder");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).expect("the shipped ones") {
        let from = entry.expect("a file").path();
        if from.extension().is_some_and(|ending| ending == "sql") {
            std::fs::copy(&from, folder.join(from.file_name().expect("a name"))).expect("copied");
        }
    }
}

fn add(folder: &Path, name: &str, up: &str) {
    std::fs::write(folder.join(format!("{name}.up.sql")), up).expect("written");
    std::fs::write(folder.join(format!("{name}.down.sql")), "SELECT 1;\n").expect("written");
}

#[test]
fn every_verb_of_db_works_in_the_sandbox_or_says_what_to_use_instead() {
    let home = tempfile::tempdir().expect("a folder");
    let at = home.path();
    std::fs::write(at.join("x.dump"), "no dump").expect("written");
    // Its first use puts the shipped schema and the shipped rows there.
    case(at, "--sandbox db status", 0, "0003");
    case(at, "--sandbox db seed -o json", 0, r#""inserted": 0"#);
    case(at, "--sandbox db seed --dry-run", 0, "nothing was written");
    case(at, "--sandbox db plan", 0, "nothing to apply");
    case(at, "--sandbox db apply --dry-run", 0, "nothing was written");
    case(at, "--sandbox db apply", 0, "nothing to apply");
    case(at, "--sandbox db history", 0, "feature_flags");
    case(at, "--sandbox db baseline 0003", 5, "this is for a database that has none");
    case(at, &format!("--sandbox db new notes --dir {}/new", at.display()), 0, "0001_notes.up.sql");
    case(at, "--sandbox db setup-test", 7, "llmhub --sandbox db seed");
    case(at, &format!("--sandbox db restore {}/x.dump -y", at.display()), 7, "--database-url");
    // One connection leaves no room for a scratch copy, so nothing can be proven there.
    case(at, "--sandbox db rollback -y", 7, "no room for a scratch copy");
    case(at, "--sandbox db rollback -y --unproven --no-backup --reason toy", 0, "0003");
    case(at, "--sandbox db apply", 0, "0003");
    let dump = at.join("hub.dump");
    let backup = llmhub(at, &format!("--sandbox db backup {}", dump.display()));
    // The sandbox is newer than the tools that many systems bring.
    match backup.status.code() {
        Some(0) => assert!(dump.exists()),
        Some(7) => assert!(text(&backup.stderr).contains("version 17 or newer"), "{}", text(&backup.stderr)),
        other => panic!("{other:?}: {}", text(&backup.stderr)),
    }
}

#[test]
fn a_folder_of_migrations_goes_on_top_of_the_shipped_schema_and_stays_there() {
    let home = tempfile::tempdir().expect("a folder");
    let at = home.path();
    let (own, full) = (at.join("own"), at.join("full"));
    std::fs::create_dir(&own).expect("a folder");
    add(&own, "0001_own", "CREATE TABLE own (n int);\n");
    std::fs::create_dir_all(at.join(".config/llmhub")).expect("a folder");
    let profile = format!("[profiles.dev]\nmigrations = \"{}\"\n", own.display());
    std::fs::write(at.join(".config/llmhub/config.toml"), profile).expect("written");
    // The profile's folder is not what the first use puts there, and does not take its place later.
    case(at, "-p dev --sandbox flags list", 0, "unified_llm_hub");
    case(at, "-p dev --sandbox db apply", 5, "0002_llm_management, which is not among the files");

    shipped(&full);
    add(&full, "0004_notes", "CREATE TABLE notes (n int);\nINSERT INTO notes SELECT generate_series(1, 1000);\n");
    add(&full, "0005_index", "-- llmhub: transaction=none\nCREATE INDEX CONCURRENTLY notes_n ON notes (n);\n");
    let apply = format!("--sandbox db apply --dir {}", full.display());
    case(at, &apply, 0, "0005");
    case(at, "--sandbox flags list", 0, "unified_llm_hub");
    case(at, "--sandbox db status", 0, "0004_notes, which is not among the files");

    // What fails is rolled back and remembered, and nothing comes after it.
    add(&full, "0006_bad", "INSERT INTO notes VALUES (0);\nSELECT nonsense FROM nowhere;\n");
    add(&full, "0007_next", "CREATE TABLE next (n int);\n");
    case(at, &apply, 7, "0006_bad.up.sql:2:22");
    case(at, "--sandbox db history", 0, "0006_bad was rolled back");
    let sum = "DO $$ BEGIN IF (SELECT count(*) FROM notes) <> 1000 THEN RAISE 'not rolled back'; END IF; END $$;\n";
    add(&full, "0006_bad", sum);
    case(at, &apply, 0, "0007");
}

#[test]
fn ctrl_c_during_a_long_statement_ends_the_command_within_seconds_and_the_next_one_works() {
    let home = tempfile::tempdir().expect("a folder");
    let (at, full) = (home.path(), home.path().join("full"));
    case(at, "--sandbox db status", 0, "0003");
    shipped(&full);
    let apply = format!("--sandbox db apply --dir {}", full.display());
    let cases = [
        ("0004_long", "CREATE TABLE long (n int);\nSELECT pg_sleep(100);\n"),
        ("0005_alone", "-- llmhub: transaction=none\nSELECT pg_sleep(100);\n"),
    ];
    for (name, up) in cases {
        add(&full, name, up);
        let running = Command::new(env!("CARGO_BIN_EXE_llmhub"))
            .args(apply.split(' '))
            .env_clear()
            .env("HOME", at)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("llmhub runs");
        // Its start takes a second; where it takes longer the signal comes before the statement, with the same end.
        std::thread::sleep(Duration::from_secs(6));
        let pid = running.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
        let since = Instant::now();
        let output = running.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(130), "{name}: {}", text(&output.stderr));
        assert!(since.elapsed() < Duration::from_secs(10), "{name}: {:?}", since.elapsed());
        case(
            at,
            &format!("--sandbox db status --dir {}", full.display()),
            0,
            name.split('_').next().expect("a version"),
        );
        // A statement in a transaction left nothing; of one outside nobody can tell, so the operator is asked.
        let again = format!("{apply} --undecided redo");
        add(&full, name, &up.replace("100", "0"));
        let edited = llmhub(at, &again);
        assert_eq!(edited.status.code(), Some(0), "{name}: {}", text(&edited.stderr));
    }
}
