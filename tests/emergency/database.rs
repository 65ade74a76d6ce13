//! `--with-db`: the database goes back only with a proven down, a backup, and a flag that is verified off.

use std::path::Path;

use super::{ALL, FLAG, Parts, Scene, sentences, step};
use crate::flags_hub::until;
use crate::support::postgres::block_on;

const HOOKS: &str = "migrations = \"m\"\n[profiles.prod.hooks]\nstop_writes = [\"sh\", \"-c\", \"echo stop >> hooks\"]\n\
                     allow_writes = [\"sh\", \"-c\", \"echo allow >> hooks\"]\n";

/// The shipped migrations and one more, which makes the feature's table.
struct Case {
    scene: Scene,
}

impl Case {
    fn new(profile: &'static str, down: &str) -> Self {
        let scene = Scene::new(Parts { workers: 1, profile, ..ALL });
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                let name = path.file_name().unwrap().to_str().unwrap();
                scene.home.file(&format!(".config/llmhub/m/{name}"), std::fs::read(&path).unwrap());
            }
        }
        scene.home.file(".config/llmhub/m/0004_hub.up.sql", "CREATE TABLE llm_hub_views (id int PRIMARY KEY);\n");
        scene.home.file(".config/llmhub/m/0004_hub.down.sql", down);
        scene.home.line("db apply").exits(0);
        let case = Self { scene };
        case.sql("INSERT INTO llm_hub_views SELECT generate_series(1, 7)");
        case
    }

    fn sql(&self, sql: &str) {
        block_on(self.scene.database.as_ref().unwrap().sql(sql));
    }

    fn tables(&self) -> Vec<String> {
        let sql = "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace \
                   AND relname LIKE 'llm%' ORDER BY 1";
        block_on(self.scene.database.as_ref().unwrap().lines(sql))
    }

    fn hooks(&self) -> String {
        std::fs::read_to_string(self.scene.home.path().join("hooks")).unwrap_or_default()
    }

    fn current(&self) -> String {
        self.scene.home.line("db status -o json").exits(0).json()["current"].as_str().unwrap().to_owned()
    }
}

const DROP: &str = "DROP TABLE llm_hub_views;\n";

#[test]
fn the_database_goes_back_with_a_backup_while_writes_are_stopped() {
    let case = Case::new(HOOKS, DROP);
    // It matches `llm_%` and is nobody's business.
    case.sql("CREATE TABLE llmx_foreign (id int); INSERT INTO llmx_foreign VALUES (1)");
    let before = case.tables();
    let done = case.scene.rollback("--with-db --to 0003").exits(0);
    case.scene.is_off();
    let document = done.json();
    let database = &document["database"];
    assert_eq!((&database["state"], &database["versions"]), (&"done".into(), &serde_json::json!(["0004_hub"])));
    assert!(std::fs::metadata(database["backup"].as_str().unwrap()).unwrap().len() > 0);
    let kept: Vec<String> = before.into_iter().filter(|table| table != "llm_hub_views").collect();
    assert_eq!((case.tables(), case.current()), (kept, "0003".to_owned()));
    assert_eq!(case.hooks(), "stop\nallow\n");
    assert!(done.stderr.contains("llm_hub_views") && done.stderr.contains("7 rows"), "{}", done.stderr);
    let undo = sentences(&document["commands"], "undo");
    assert!(undo[0].starts_with("llmhub db apply") && undo[1].starts_with("llmhub db restore "), "{undo:?}");
    // Again: nothing is there to go back, and no hook runs.
    let again = case.scene.rollback("--with-db --to 0003").exits(0).json();
    assert_eq!((step(&again, 7).0, case.hooks()), ("already_so".to_owned(), "stop\nallow\n".to_owned()));
}

#[track_caller]
fn refused(case: &Case, why: &str) {
    let tables = case.tables();
    let document = case.scene.rollback("--with-db --to 0003").exits(10).json();
    case.scene.is_off();
    let (result, evidence) = step(&document, 7);
    assert_eq!(result, "not_done");
    assert!(evidence.contains(why), "{evidence}");
    assert!(sentences(&document, "not_done").iter().any(|text| text.contains("was not rolled back")), "{document:#}");
    assert_eq!((case.tables(), case.current()), (tables, "0004".to_owned()));
    let finish = sentences(&document["commands"], "finish");
    assert!(finish.iter().any(|command| command.starts_with("llmhub db rollback --to 0003")), "{finish:?}");
}

#[test]
fn a_script_that_rolls_itself_back_is_refused_and_the_schema_is_as_it_was() {
    let case = Case::new(HOOKS, "BEGIN;\nDROP TABLE llm_hub_views;\nROLLBACK;\n");
    refused(&case, "");
    assert_eq!(case.hooks(), "", "nothing was stopped for a rollback that cannot be");
}

#[test]
fn a_down_that_does_not_give_the_schema_back_is_refused() {
    let case = Case::new(HOOKS, "ALTER TABLE llm_providers DROP COLUMN api_key_source; DROP TABLE llm_hub_views;\n");
    refused(&case, "it is not proven that this gives back the schema");
}

#[test]
fn without_a_backup_there_is_no_rollback_and_writes_are_allowed_again() {
    let case = Case::new(HOOKS, DROP);
    case.scene.home.file(".local/state/llmhub/backups", "a file where a folder should be");
    refused(&case, "there is no backup");
    assert_eq!(case.hooks(), "stop\nallow\n");
}

#[test]
fn without_a_hook_that_stops_writes_it_is_refused_and_said_before() {
    let case = Case::new("migrations = \"m\"\n", DROP);
    refused(&case, "no hook `stop_writes`");
    let line = format!("rollback {FLAG} --reason x --with-db --to 0003");
    case.scene.home.line(&line).exits(9).says("the database will not be rolled back");
}

#[test]
fn a_hook_that_fails_leaves_the_database_as_it_is() {
    let failing = "migrations = \"m\"\n[profiles.prod.hooks]\nstop_writes = [\"sh\", \"-c\", \"echo stop >> hooks; exit 3\"]\n\
                   allow_writes = [\"sh\", \"-c\", \"echo allow >> hooks\"]\n";
    let case = Case::new(failing, DROP);
    refused(&case, "writes could not be stopped");
    assert_eq!(case.hooks(), "stop\nallow\n");
}

#[test]
fn a_flag_that_is_not_verified_off_keeps_the_database_as_it_is() {
    let mut case = Case::new(HOOKS, DROP);
    case.scene.hubs.clear();
    refused(&case, "the flag is not verified off");
}

#[test]
fn a_hub_that_the_hooks_start_with_its_old_environment_is_switched_off_again() {
    const STARTS: &str = "migrations = \"m\"\n[profiles.prod.hooks]\nstop_writes = [\"true\"]\n\
                          allow_writes = [\"sh\", \"-c\", \"touch called; until [ -e go ]; do sleep 0.02; done\"]\n";
    let case = Case::new(STARTS, DROP);
    let run = case.scene.rollback("--with-db --to 0003").spawn();
    until("the hook", || case.scene.home.path().join("called").exists());
    case.scene.is_off();
    case.scene.hubs[0].restart();
    assert_eq!(case.scene.hubs[0].member(FLAG, "enabled"), vec![serde_json::json!(true)]);
    case.scene.home.file("go", "");
    let done = run.wait();
    assert_eq!(done.status, 0, "{}\n{}", done.stdout, done.stderr);
    case.scene.is_off();
    let (result, evidence) = step(&done.json(), 7);
    assert!(result == "done" && evidence.contains("after the hooks: 1/1 PROVED"), "{evidence}");
}

#[test]
fn writes_that_a_killed_run_has_stopped_are_allowed_by_the_next_one() {
    const WAITS: &str = "migrations = \"m\"\n[profiles.prod.hooks]\n\
                         stop_writes = [\"sh\", \"-c\", \"echo stop >> hooks; until [ -e go ]; do sleep 0.02; done\"]\n\
                         allow_writes = [\"sh\", \"-c\", \"echo allow >> hooks\"]\n";
    let case = Case::new(WAITS, DROP);
    // For people: a run that is killed leaves no document.
    let line = format!("rollback {FLAG} --reason errors -y --with-db --to 0003");
    let run = case.scene.home.line(&line).spawn();
    until("the hook", || case.hooks() == "stop\n");
    run.signal("KILL");
    run.wait();
    case.scene.home.file("go", "");
    case.scene.rollback("--resume").exits(0).says("they are allowed now");
    assert_eq!((case.hooks().as_str(), case.current().as_str()), ("stop\nallow\nstop\nallow\n", "0003"));
    case.scene.is_off();
}
