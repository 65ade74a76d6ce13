//! `keys rotate`: discovery, the steps, the way back, refusals, and a run that is killed at every question it asks.

mod meanwhile;
mod processes;

use std::path::Path;

use llmhub::domain::fernet::{MasterKey, sealed_at};

use crate::support::cli::{CANARIES, Home, Run, rounds};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{CANARY_PASSWORD, Database, block_on};
use crate::support::strike::{MOMENTS, Strike};

const OLD: &str = "YTK9q5ncgzsYSAM_BnCGWwSuFWXkoT_aVJHxpbVPNzQ=";
const OLDER: &str = "0M8PJqEMvG5TEQeomi0hFB0ttNiLWpAcw1joRTJBfvY=";
const NEW: &str = "k4k0ZVSJtbalhf8LzR-S3Szxdagp_mawo4j7mh1evsM=";
const STRANGE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn key(text: &str) -> MasterKey {
    MasterKey::parse(text).ok().unwrap()
}

/// A token of its own for each number.
fn token(master: &str, number: u64) -> String {
    let mut iv = [0; 16];
    iv[..8].copy_from_slice(&number.to_be_bytes());
    key(master).seal(format!("sk-secret-{number}").as_bytes(), 1_700_000_000 + number, iv)
}

/// Text and bytea columns, another one with an odd name, JSON, and a table of somebody else's.
const TABLES: &str = "CREATE TABLE keys (id int PRIMARY KEY, name text, sealed text); \
     CREATE SCHEMA other; CREATE TABLE other.\"User Keys\" (id int, \"The Key\" bytea); \
     CREATE TABLE settings (id int, doc jsonb);";

/// A home with the ring, and a database whose `keys` holds `rows` tokens: two thirds of the current key, a third of an older one.
fn scene(rows: u64) -> (Home, Database) {
    let database = Database::empty();
    let home = Home::new()
        .variable("BYOK_ENCRYPTION_KEY", OLD)
        .variable("BYOK_ENCRYPTION_KEYS_OLD", OLDER)
        .variable("NEW_KEY", NEW);
    let master = |number: u64| if number.is_multiple_of(3) { OLDER } else { OLD };
    let values: Vec<String> =
        (1..=rows).map(|number| format!("({number}, 'n{number}', '{}')", token(master(number), number))).collect();
    let sql = format!(
        "{TABLES} INSERT INTO keys VALUES {}; INSERT INTO keys VALUES (0, 'empty', NULL), (-1, 'plain', 'sk-plain'); \
         INSERT INTO other.\"User Keys\" VALUES (1, convert_to('{}', 'UTF8')), (2, NULL)",
        values.join(", "),
        token(OLD, 900_001)
    );
    block_on(database.sql(&sql));
    (home, database)
}

fn rotate(home: &Home, database: &Database, options: &str) -> Run {
    rotate_through(home, database, database.server.port, options)
}

fn rotate_through(home: &Home, database: &Database, port: u16, options: &str) -> Run {
    let url = database.url_through(port);
    home.line(&format!("keys rotate --new-key-env NEW_KEY --database-url {url} {options}"))
}

/// All rows, as they stand.
fn dump(database: &Database) -> Vec<String> {
    block_on(database.lines(
        "SELECT 'keys ' || concat_ws(' ', id, name, sealed) FROM keys UNION ALL \
         SELECT 'user ' || concat_ws(' ', id, encode(\"The Key\", 'escape')) FROM other.\"User Keys\" ORDER BY 1",
    ))
}

/// The tokens of both columns, each opened by this key and by no other, with text and time.
#[track_caller]
fn opened_by(database: &Database, master: &[&str]) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = dump(database)
        .iter()
        .filter_map(|line| line.split(' ').find(|word| word.starts_with("gAAAA")))
        .map(|token| {
            let plain = master.iter().find_map(|master| key(master).open(token)).expect("one of the keys opens it");
            (plain.as_str().unwrap().to_owned(), sealed_at(token).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_rotation_is_planned_applied_swapped_verified_and_finished() {
    let (home, database) = scene(30);
    let env = home.file("hub.env", format!("# hub\nOTHER=1\nBYOK_ENCRYPTION_KEY='{OLD}' # key\n"));
    let before = dump(&database);
    let texts = opened_by(&database, &[OLD, OLDER]);
    let options = format!("--env-file {}", env.display());

    let plan = rotate(&home, &database, &format!("{options} --dry-run --json")).exits(0).json();
    assert_eq!(plan["state"], "planned");
    assert_eq!(plan["rows"], 31);
    assert_eq!(plan["columns"][0]["column"], "other.\"User Keys\".\"The Key\"");
    assert_eq!(plan["columns"][1]["column"], "public.keys.sealed");
    assert_eq!(plan["columns"][1]["opened_by"]["current"], 20);
    assert_eq!(plan["columns"][1]["opened_by"]["old:BYOK_ENCRYPTION_KEYS_OLD"], 10);
    assert_eq!(dump(&database), before);
    assert_eq!(block_on(database.lines("SELECT nspname::text FROM pg_namespace WHERE nspname = 'llmhub'")), [""; 0]);

    rotate(&home, &database, &options).exits(9);
    assert_eq!(dump(&database), before);

    let done = rotate(&home, &database, &format!("{options} -y --json")).exits(10).says("cannot open its keys");
    assert_eq!((done.json()["state"].as_str(), done.json()["rows"].as_u64()), (Some("swapped"), Some(31)));
    assert_eq!(opened_by(&database, &[NEW]), texts);
    let swapped = format!("# hub\nOTHER=1\nBYOK_ENCRYPTION_KEY='{NEW}' # key\n");
    assert_eq!(std::fs::read_to_string(&env).unwrap(), swapped);

    // The hub saves with the old key until it is recreated.
    let late = token(OLD, 77);
    block_on(database.sql(&format!("INSERT INTO keys VALUES (500, 'late', '{late}')")));
    let done = rotate(&home, &database, &format!("{options} -y --json")).exits(0);
    assert_eq!((done.json()["state"].as_str(), done.json()["rows"].as_u64()), (Some("finished"), Some(1)));
    assert_eq!(opened_by(&database, &[NEW]).len(), 32);
    let left = "SELECT relname::text FROM pg_class WHERE relname = 'rotation_backup'";
    assert_eq!(block_on(database.lines(left)), [""; 0]);
    let states = "SELECT state || ' ' || string_agg(step, ' ' ORDER BY intent_at) FROM llmhub.rotation r \
                  JOIN llmhub.rotation_step s ON s.rotation = r.id AND done_at IS NOT NULL GROUP BY state";
    assert_eq!(block_on(database.lines(states)), ["finished apply swap verify finish"]);

    let again = rotate(&home, &database, &format!("{options} -y --json")).exits(0);
    assert_eq!(again.json()["state"], "unchanged");
}

#[test]
fn an_abort_gives_back_every_byte_at_any_stage() {
    for runs in [1, 2] {
        let (home, database) = scene(12);
        let text = format!("A=1\nBYOK_ENCRYPTION_KEY={OLD}\n");
        let env = home.file("hub.env", &text);
        let before = dump(&database);
        let options = format!("--env-file {} -y", env.display());
        rotate(&home, &database, &options).exits(10);
        let mut expected = before.clone();
        if runs == 2 {
            // Saved by the recreated hub, under the new key.
            block_on(database.sql(&format!("INSERT INTO keys VALUES (600, 'saved', '{}')", token(NEW, 600))));
            expected.push("saved".to_owned());
        }
        rotate(&home, &database, &format!("{options} --abort")).exits(0).prints("keep the new master key until");
        let after: Vec<String> = dump(&database).into_iter().filter(|line| !line.contains("saved")).collect();
        assert_eq!(after, before);
        assert_eq!(std::fs::read_to_string(&env).unwrap(), text);
        assert_eq!(opened_by(&database, &[OLD, OLDER]).len(), if runs == 2 { 14 } else { 13 });
        let again = rotate(&home, &database, &format!("{options} --abort --json")).exits(0);
        assert_eq!(again.json()["state"], "unchanged");
        assert_eq!(block_on(database.lines("SELECT state FROM llmhub.rotation")), ["aborted"]);
    }
}

#[test]
fn without_an_env_file_it_says_what_to_put_where() {
    let (home, database) = scene(3);
    rotate(&home, &database, "-y")
        .exits(10)
        .prints("BYOK_ENCRYPTION_KEY of the hub's environment")
        .prints("recreate the hub");
    rotate(&home, &database, "-y").exits(0).prints("finished");
    assert_eq!(opened_by(&database, &[NEW]).len(), 4);
    rotate(&home, &database, "-y").exits(0).prints("nothing to do");
}

#[test]
fn an_env_file_without_the_variable_gets_it_and_loses_it_again() {
    let (home, database) = scene(3);
    let env = home.file("hub.env", "A=1\n");
    let options = format!("--env-file {} -y", env.display());
    rotate(&home, &database, &options).exits(10);
    assert_eq!(std::fs::read_to_string(&env).unwrap(), format!("A=1\nBYOK_ENCRYPTION_KEY={NEW}\n"));
    rotate(&home, &database, &format!("{options} --abort")).exits(0);
    assert_eq!(std::fs::read_to_string(&env).unwrap(), "A=1\n");
}

#[test]
fn a_row_that_no_key_opens_is_a_no_and_stops_everything() {
    let (home, database) = scene(6);
    block_on(database.sql(&format!("INSERT INTO keys VALUES (700, 'lost', '{}')", token(STRANGE, 700))));
    let before = dump(&database);
    let plan = rotate(&home, &database, "--dry-run --json").exits(1).json();
    assert_eq!(plan["columns"][1]["opened_by"]["none"], 1);
    assert!(plan["obstacle"].as_str().unwrap().contains("public.keys.sealed"));
    rotate(&home, &database, "-y").exits(7).says("1 of 7 rows of public.keys.sealed");
    assert_eq!(dump(&database), before);
}

#[test]
fn a_column_of_another_key_and_tokens_inside_json_are_listed_and_left_alone() {
    let (home, database) = scene(3);
    let (strange, inside) = (token(STRANGE, 1), token(OLD, 2));
    block_on(database.sql(&format!(
        "CREATE TABLE foreign_keys (k varchar(300)); INSERT INTO foreign_keys VALUES ('{strange}'); \
         INSERT INTO settings VALUES (1, '{{\"a\": [{{\"k\": \"{inside}\"}}]}}')"
    )));
    let plan = rotate(&home, &database, "-y --json").exits(10).json();
    assert_eq!(plan["json"][0]["column"], "public.settings.doc");
    assert_eq!(plan["json"][0]["path"], "$.a[0].k");
    let treatments: Vec<&str> =
        plan["columns"].as_array().unwrap().iter().map(|column| column["treatment"].as_str().unwrap()).collect();
    assert_eq!(treatments, ["rotate", "untouched", "rotate"]);
    assert_eq!(block_on(database.lines("SELECT k::text FROM foreign_keys")), [strange]);
}

#[test]
fn a_column_that_was_not_there_when_the_list_was_confirmed_stops_the_plan() {
    let (home, database) = scene(3);
    rotate(&home, &database, "-y").exits(10);
    block_on(database.sql(&format!("CREATE TABLE more (k text); INSERT INTO more VALUES ('{}')", token(OLD, 5))));
    rotate(&home, &database, "-y").exits(7).says("public.more.k").says("--new-columns");
    rotate(&home, &database, "--dry-run --json").exits(1);
    rotate(&home, &database, "-y --new-columns").exits(0);
    assert_eq!(block_on(database.lines("SELECT name FROM llmhub.rotation_column ORDER BY 1")).len(), 3);
}

#[test]
fn a_row_that_a_policy_hides_stops_the_rotation_and_is_not_left_behind() {
    let (home, database) = scene(6);
    let role = format!("rotor_{}", std::process::id());
    block_on(database.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'; GRANT ALL ON SCHEMA public, other TO {role}; \
         GRANT ALL ON ALL TABLES IN SCHEMA public, other TO {role}; \
         GRANT CREATE ON DATABASE {} TO {role}; \
         ALTER TABLE keys ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON keys USING (id < 3)",
        database.name
    )));
    let before = dump(&database);
    let url = database.url_for(&role, CANARY_PASSWORD, &database.server.host, database.server.port);
    let line = format!("keys rotate --new-key-env NEW_KEY --database-url {url} -y");
    let done = home.line(&line).done();
    let after = dump(&database);
    block_on(database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")));
    assert_eq!(done.status, 7, "{}", done.stderr);
    assert!(done.stderr.contains("row-level security"), "{}", done.stderr);
    assert_eq!(after, before);
}

#[test]
fn a_domain_of_a_domain_is_rotated_and_lists_and_texts_of_documents_are_told() {
    let (home, database) = scene(3);
    let token = |number| token(OLD, number);
    block_on(database.sql(&format!(
        "CREATE DOMAIN sealed AS text; CREATE DOMAIN twice AS sealed; \
         CREATE TABLE more (a twice, b text[], c jsonb); \
         INSERT INTO more VALUES ('{}', ARRAY['x', '{}'], to_jsonb('{{\"k\": \"{}\"}}'::text))",
        token(1),
        token(2),
        token(3)
    )));
    let plan = rotate(&home, &database, "--dry-run --json").exits(0).json();
    let names: Vec<&str> =
        plan["columns"].as_array().unwrap().iter().map(|column| column["column"].as_str().unwrap()).collect();
    assert!(names.contains(&"public.more.a"), "{names:?}");
    let inside: Vec<String> =
        plan["json"].as_array().unwrap().iter().map(|hit| format!("{} {}", hit["column"], hit["path"])).collect();
    assert_eq!(inside, ["\"public.more.b\" \"$\"", "\"public.more.c\" \"$.k\""]);
    rotate(&home, &database, "-y").exits(10).says("public.more.b");
    let kept = block_on(database.lines("SELECT a::text FROM more"));
    assert!(key(NEW).open(&kept[0]).is_some());
}

#[test]
fn what_a_trigger_takes_back_at_the_commit_is_seen_over_another_connection() {
    let (home, database) = scene(3);
    let env = home.file("hub.env", format!("BYOK_ENCRYPTION_KEY={OLD}\n"));
    block_on(database.sql(
        "CREATE FUNCTION back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.id = 2 AND current_setting('t.back', true) IS DISTINCT FROM 'done' THEN \
         PERFORM set_config('t.back', 'done', true); UPDATE public.keys SET sealed = OLD.sealed WHERE id = 2; END IF; \
         RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER back AFTER UPDATE ON keys DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION back()",
    ));
    let options = format!("-y --env-file {}", env.display());
    rotate(&home, &database, &options).exits(11).says("public.keys.sealed hold their old tokens again");
    assert_eq!(std::fs::read_to_string(&env).unwrap(), format!("BYOK_ENCRYPTION_KEY={OLD}\n"), "the hub keeps its key");
    block_on(database.sql("DROP TRIGGER back ON keys"));
    rotate(&home, &database, &format!("{options} --abort")).exits(0);
    assert!(opened_all(&database, &[OLD, OLDER]));
}

#[test]
fn what_a_trigger_makes_of_a_row_at_once_is_seen_before_the_commit() {
    let (home, database) = scene(3);
    block_on(database.sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.sealed := OLD.sealed; RETURN NEW; END $$; \
         CREATE TRIGGER keep BEFORE UPDATE ON keys FOR EACH ROW WHEN (OLD.id = 2) EXECUTE FUNCTION keep()",
    ));
    let before = dump(&database);
    rotate(&home, &database, "-y").exits(7).says("do not read back as written");
    assert_eq!(dump(&database), before);
    assert_eq!(block_on(database.lines("SELECT nspname::text FROM pg_namespace WHERE nspname = 'llmhub'")), [""; 0]);
}

#[test]
fn neither_a_rotation_nor_a_change_of_the_schema_runs_beside_a_rotation() {
    let (home, database) = scene(3);
    let before = dump(&database);
    // The locks of a rotation and of `llmhub db`, as another session holds them.
    for lock in [0x6c6c_6d68_7562_0001_i64, 6_768_006_697_297_428_022] {
        let holder = block_on(async {
            let mut holder = database.connect().await;
            sqlx::query("SELECT pg_advisory_lock($1)").bind(lock).execute(&mut holder).await.unwrap();
            holder
        });
        rotate(&home, &database, "-y").exits(5).says("another operation works");
        drop(holder);
    }
    assert_eq!(dump(&database), before);
}

#[test]
fn bad_keys_and_wrong_places_are_refused_before_anything_is_read() {
    let (home, database) = scene(3);
    let before = dump(&database);
    rotate(&home, &database, "-y").env("NEW_KEY", "").exits(2).says("NEW_KEY");
    for (bad, word) in [("short", "length"), (&NEW[..43], "padding"), (&NEW.replace('k', "!"), "alphabet")] {
        let done = rotate(&home, &database, "-y").env("NEW_KEY", bad).exits(3).says(word);
        assert!(!done.stderr.contains(bad), "{}", done.stderr);
    }
    rotate(&home, &database, "-y")
        .env("BYOK_ENCRYPTION_KEY", STRANGE)
        .env("BYOK_ENCRYPTION_KEYS_OLD", "")
        .exits(7)
        .says("no stored token opens");
    let env = home.file("hub.env", format!("BYOK_ENCRYPTION_KEY={STRANGE}\n"));
    rotate(&home, &database, &format!("-y --env-file {}", env.display())).exits(7).says("neither the new master key");
    home.line("keys rotate --new-key-env NEW_KEY -y --hub http://127.0.0.1:9").exits(7).says("only a database");
    let pooler = PgBouncer::start(database.server);
    rotate_through(&home, &database, pooler.port, "-y").exits(7).says("pooler");
    assert_eq!(dump(&database), before);
}

#[test]
fn a_rotation_under_way_takes_no_other_key_and_no_step_forward_while_it_is_aborted() {
    let (home, database) = scene(3);
    rotate(&home, &database, "-y").exits(10);
    rotate(&home, &database, "-y").env("NEW_KEY", STRANGE).exits(5).says("fp:");
    block_on(database.sql("UPDATE llmhub.rotation SET state = 'aborting'"));
    rotate(&home, &database, "-y").exits(7).says("--abort");
    rotate(&home, &database, "-y --abort")
        .env("BYOK_ENCRYPTION_KEY", NEW)
        .env("BYOK_ENCRYPTION_KEYS_OLD", OLD)
        .exits(0);
}

#[test]
fn the_way_back_needs_the_old_key() {
    let (home, database) = scene(3);
    rotate(&home, &database, "-y").exits(10);
    let before = dump(&database);
    rotate(&home, &database, "-y --abort")
        .env("BYOK_ENCRYPTION_KEY", OLDER)
        .env("BYOK_ENCRYPTION_KEYS_OLD", "")
        .exits(7)
        .says("way back");
    assert_eq!(dump(&database), before);
}

#[test]
fn two_operators_at_once_rotate_once() {
    let (home, database) = scene(200);
    let texts = opened_by(&database, &[OLD, OLDER]);
    let runs: Vec<_> = (0..2).map(|_| rotate(&home, &database, "-y").spawn()).collect();
    let mut statuses: Vec<i32> = runs.into_iter().map(|run| run.wait().status).collect();
    statuses.sort_unstable();
    // Who comes second finds that the journal has moved, or goes on from it.
    assert!([[5, 10], [0, 10]].iter().any(|expected| statuses == expected), "{statuses:?}");
    assert_eq!(opened_by(&database, &[NEW]), texts);
    assert_eq!(block_on(database.lines("SELECT count(*)::text FROM llmhub.rotation")), ["1"]);
}

/// Which run is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The one that applies and swaps.
    First,
    /// The one that verifies and finishes.
    Second,
    /// The one that goes back.
    Abort,
}

/// A scene as the run of this stage finds it, with the text of its env file.
struct Found {
    home: Home,
    database: Database,
    env: std::path::PathBuf,
    before: Vec<String>,
    texts: Vec<(String, u64)>,
    options: String,
}

fn found(stage: Stage, rows: u64) -> Found {
    let (home, database) = scene(rows);
    let env = home.file("hub.env", format!("BYOK_ENCRYPTION_KEY={OLD}\n"));
    let (before, texts) = (dump(&database), opened_by(&database, &[OLD, OLDER]));
    let options = format!("-y --env-file {}", env.display());
    if stage != Stage::First {
        rotate(&home, &database, &options).exits(10);
    }
    Found { home, database, env, before, texts, options }
}

impl Found {
    fn run(&self, stage: Stage, port: u16) -> Run {
        let abort = if stage == Stage::Abort { "--abort" } else { "" };
        rotate_through(&self.home, &self.database, port, &format!("{} {abort}", self.options))
    }

    #[track_caller]
    fn has_gone_on(&self, story: &str) {
        let port = self.database.server.port;
        let statuses: Vec<i32> = (0..3).map(|_| self.run(Stage::First, port).done().status).collect();
        assert_eq!(statuses.last(), Some(&0), "{story} {statuses:?}");
        assert_eq!(opened_by(&self.database, &[NEW]), self.texts, "{story}");
        let text = std::fs::read_to_string(&self.env).unwrap();
        assert_eq!(text, format!("BYOK_ENCRYPTION_KEY={NEW}\n"), "{story}");
    }

    #[track_caller]
    fn has_gone_back(&self, story: &str) {
        self.run(Stage::Abort, self.database.server.port).exits(0);
        assert_eq!(dump(&self.database), self.before, "{story}");
        let text = std::fs::read_to_string(&self.env).unwrap();
        assert_eq!(text, format!("BYOK_ENCRYPTION_KEY={OLD}\n"), "{story}");
    }
}

/// Kill the runs of a stage at their questions; `long` kills at every single one, of a thousand rows.
fn killed_at_every_question(stage: Stage) {
    let rows = rounds(40, 1000);
    let counting = found(stage, rows);
    let strike = Strike::counting(counting.database.server.port);
    counting.run(stage, strike.port()).done();
    let step = usize::try_from(rounds(7, 1)).unwrap();
    for (turn, at) in (1..=strike.questions()).step_by(step).enumerate() {
        let moment = MOMENTS[turn % MOMENTS.len()];
        let story = format!("{stage:?} killed at {at} {moment:?}");
        let found = found(stage, rows);
        let strike = Strike::killing(found.database.server.port, at, moment);
        let run = found.run(stage, strike.port()).spawn();
        strike.aim(run.id());
        assert_eq!(run.wait().status, -9, "{story}");
        // All rows open with the same side.
        let new = opened_all(&found.database, &[NEW]);
        assert!(new || opened_all(&found.database, &[OLD, OLDER]), "{story}");
        match stage {
            Stage::First if turn % 2 == 0 => found.has_gone_on(&story),
            Stage::Second => found.has_gone_on(&story),
            Stage::First | Stage::Abort => found.has_gone_back(&story),
        }
        leaks_nothing(found.home.path());
    }
}

#[test]
fn a_rotation_killed_while_it_applies_or_swaps_goes_on_or_back() {
    killed_at_every_question(Stage::First);
}

#[test]
fn a_rotation_killed_while_it_verifies_or_finishes_goes_on() {
    killed_at_every_question(Stage::Second);
}

#[test]
fn a_rotation_killed_while_it_goes_back_gets_there() {
    killed_at_every_question(Stage::Abort);
}

fn opened_all(database: &Database, masters: &[&str]) -> bool {
    let dump = dump(database);
    let mut tokens = dump.iter().filter_map(|line| line.split(' ').find(|word| word.starts_with("gAAAA")));
    tokens.all(|token| masters.iter().any(|master| key(master).open(token).is_some()))
}

/// No file but the env file holds a key, and no temporary one is left.
fn leaks_nothing(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            leaks_nothing(&path);
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let allowed = path.ends_with("hub.env");
        assert!(
            allowed || ![OLD, OLDER, NEW].iter().chain(&CANARIES).any(|secret| text.contains(secret)),
            "{}",
            path.display()
        );
        assert!(!path.to_string_lossy().ends_with("-tmp"), "{}", path.display());
    }
}

#[test]
fn no_key_and_no_text_of_one_is_said_or_sent() {
    let (home, database) = scene(5);
    let mut said = String::new();
    for options in ["--dry-run", "-y -vv", "-y -vv --json", "-y --abort -vv"] {
        let done = rotate(&home, &database, options).done();
        said.push_str(&done.stdout);
        said.push_str(&done.stderr);
    }
    for secret in [OLD, OLDER, NEW, "sk-secret-"] {
        assert!(!said.contains(secret), "{said}");
    }
    let kept = "SELECT to_jsonb(r)::text FROM llmhub.rotation r UNION ALL SELECT to_jsonb(s)::text FROM llmhub.rotation_step s";
    let kept = block_on(database.lines(kept)).concat();
    assert!(![OLD, OLDER, NEW, "sk-secret-"].iter().any(|secret| kept.contains(secret)), "{kept}");
}

#[test]
fn ten_thousand_rows_go_there_and_back_and_there_again() {
    let (home, database) = scene(10_000);
    let before = dump(&database);
    for (options, status) in [("-y", 10), ("-y --abort", 0), ("-y", 10)] {
        rotate(&home, &database, options).exits(status);
        if status == 0 {
            assert!(dump(&database) == before, "every byte is as before");
        }
    }
    assert_eq!(opened_by(&database, &[NEW]).len(), 10_001);
}
