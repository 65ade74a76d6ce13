//! Folders of legacy scripts, adopted: the order that is found runs, what cannot run is told with its reason, and nothing but
//! the manifest is ever written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::support::cli::{Done, Home, rounds};
use crate::support::postgres::Database;

const MANIFEST: &str = "llmhub.migrations.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Adopted {
    #[allow(dead_code, reason = "pinned by name only")]
    manifest: String,
    state: String,
    basis: Option<String>,
    layout: Option<String>,
    migrations: Vec<Entry>,
    ignored: Vec<Ignored>,
    problems: Vec<Problem>,
    commented_rollbacks: Vec<Offer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    version: String,
    up: String,
    down: Option<String>,
    #[serde(default)]
    without_transaction: bool,
    #[serde(default)]
    needs: Vec<String>,
    seeds: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ignored {
    file: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Problem {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    problem: String,
    message: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Offer {
    file: String,
    line: usize,
    sql: String,
}

impl Adopted {
    fn ups(&self) -> Vec<&str> {
        self.migrations.iter().map(|entry| entry.up.as_str()).collect()
    }

    /// The problem of a file, as `kind line message`.
    #[track_caller]
    fn problem(&self, file: &str) -> String {
        let found = self.problems.iter().find(|problem| problem.file == file);
        let problem = found.unwrap_or_else(|| panic!("{file} has no problem: {:#?}", self.problems));
        let place = problem.line.map(|line| format!("{line}:{} ", problem.column.unwrap_or(0))).unwrap_or_default();
        format!("{} {place}{}", problem.problem, problem.message)
    }
}

fn parsed(done: &Done) -> Adopted {
    serde_json::from_value(done.json()).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

/// A database, and a home with these files below `m/`.
fn world(files: &[(&str, &str)]) -> (Database, Home) {
    let database = Database::empty();
    let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
    for (path, text) in files {
        home.file(&format!("m/{path}"), text);
    }
    (database, home)
}

#[track_caller]
fn adopt(home: &Home, options: &str, status: i32) -> Adopted {
    parsed(&home.line(&format!("db adopt m -o json {options}")).exits(status))
}

fn manifest(home: &Home) -> Option<String> {
    fs::read_to_string(home.path().join("m").join(MANIFEST)).ok()
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

/// A script that runs in some order, and what undoes it.
struct Made {
    name: String,
    up: String,
    down: String,
}

/// The way back under one of the habits.
fn back(habit: usize, name: &str) -> String {
    match habit % 9 {
        0 => format!("rollback_{name}.sql"),
        1 => format!("{name}_rollback.sql"),
        2 => format!("{name}_down.sql"),
        3 => format!("down_{name}.sql"),
        4 => format!("undo_{name}.sql"),
        5 => format!("{name}.down.sql"),
        6 => format!("{name}_revert.sql"),
        7 => format!("rollback/{name}.sql"),
        _ => format!("down/{name}.sql"),
    }
}

/// 48 scripts that have an order, under names that do not tell it.
fn scripts(dice: &mut Dice) -> Vec<Made> {
    let mut made = Vec::new();
    let mut add = |dice: &mut Dice, up: String, down: String| {
        let name =
            format!("{}{}_{}", ["fix", "do", "put", "x"][dice.roll(4)], dice.roll(1000), ["ab", "cd"][dice.roll(2)]);
        made.push(Made { name: format!("{name}q{}z", made.len()), up, down });
    };
    add(dice, "CREATE SCHEMA hub;".into(), "DROP SCHEMA hub;".into());
    for number in 0..3 {
        add(dice, format!("CREATE TYPE mood{number} AS ENUM ('a', 'b');"), format!("DROP TYPE mood{number};"));
    }
    for number in 0..18 {
        let parent =
            if number == 0 { String::new() } else { format!(", p int REFERENCES t{} (id)", dice.roll(number)) };
        let schema = if number % 6 == 5 { "hub." } else { "" };
        let mood = dice.roll(3);
        let up = format!("CREATE TABLE {schema}t{number} (id int PRIMARY KEY, m mood{mood}{parent});")
            .replace("t5 (id)", "hub.t5 (id)")
            .replace("t11 (id)", "hub.t11 (id)");
        add(dice, up, format!("DROP TABLE {schema}t{number};"));
    }
    for number in 0..6 {
        let table = if number == 5 { "hub.t5".to_owned() } else { format!("t{number}") };
        add(
            dice,
            format!("ALTER TABLE {table} ADD COLUMN c{number} text;"),
            format!("ALTER TABLE {table} DROP COLUMN c{number};"),
        );
    }
    for number in 0..5 {
        let sql = format!(
            "CREATE VIEW v{number} AS SELECT a.id, a.c{number} FROM t{number} a JOIN t{} b ON b.id = a.id;",
            number + 6
        );
        add(dice, sql, format!("DROP VIEW v{number};"));
    }
    add(dice, "CREATE VIEW vv AS SELECT * FROM v0, v1 w;".replace("*", "v0.id"), "DROP VIEW vv;".into());
    for number in 0..3 {
        let body = format!(
            "CREATE FUNCTION touch{number}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END; $$;"
        );
        add(dice, body, format!("DROP FUNCTION touch{number}();"));
        let trigger = format!(
            "CREATE TRIGGER g{number} BEFORE UPDATE ON t{number} FOR EACH ROW EXECUTE FUNCTION touch{number}();"
        );
        add(dice, trigger, format!("DROP TRIGGER g{number} ON t{number};"));
    }
    for number in 0..5 {
        let how = if number == 0 { "CONCURRENTLY " } else { "" };
        let drop = if number == 0 { "CONCURRENTLY " } else { "" };
        add(
            dice,
            format!("CREATE INDEX {how}i{number} ON t{number} (c{number});"),
            format!("DROP INDEX {drop}i{number};"),
        );
    }
    for number in 0..3 {
        let up = format!(
            "INSERT INTO t{number} (id, c{number}) SELECT 100, 'x;y' WHERE NOT EXISTS (SELECT FROM t{number} WHERE id = 100);"
        );
        add(dice, up, format!("DELETE FROM t{number} WHERE id = 100;"));
    }
    made
}

/// 12 files that must not become entries, with the kind of their problem; an empty kind is a reason without a problem.
const LOST: [(&str, &str, &str); 12] = [
    ("lost_view.sql", "CREATE VIEW nv AS SELECT * FROM nowhere;", "missing_object"),
    ("lost_syntax.sql", "CREATE TABLE sx (id int);\nCREATE TABEL sy (id int);", "never_runs"),
    ("lost_left.sql", "CREATE TABLE lft (id int PRIMARY KEY, r int REFERENCES rgt (id));", "cycle"),
    ("lost_right.sql", "CREATE TABLE rgt (id int PRIMARY KEY, l int REFERENCES lft (id));", "cycle"),
    ("lost_behind.sql", "ALTER TABLE lft ADD x int;", "never_runs"),
    ("lost_psql.sql", "\\set ON_ERROR_STOP on\nCREATE TABLE ps (id int);", "unreadable"),
    ("lost_role.sql", "CREATE ROLE llmhub_never;", "acts_outside"),
    ("lost_shape.sql", "CREATE TABLE IF NOT EXISTS t0 (id int, other text);", "conflict"),
    ("lost_index.sql", "CREATE INDEX IF NOT EXISTS i1 ON t2 (id);", "conflict"),
    ("lost_report.sql", "SELECT count(*) FROM t0;", ""),
    ("lost_loop.sql", "DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$;", "never_runs"),
    ("rollback_of_nobody.sql", "DROP TABLE t0;", "rollback_without_up"),
];

#[test]
fn sixty_shuffled_scripts_become_an_order_that_applies_and_rolls_back() {
    for seed in 0..rounds(2, 12) {
        let mut dice = Dice(seed * 7919 + 1);
        let (_scratch, home) = world(&[]);
        let made = scripts(&mut dice);
        assert_eq!(made.len() + LOST.len(), 60);
        for (place, one) in made.iter().enumerate() {
            let text = match place % 5 {
                0 => format!("\u{feff}{}\r\n-- done\r\n", one.up),
                1 => one.up.replace("; ", ";\r\n"),
                _ => format!("\\echo 'working'\n{}\n", one.up),
            };
            home.file(&format!("m/{}.sql", one.name), text);
            home.file(&format!("m/{}", back(place, &one.name)), &one.down);
        }
        for (file, text, _) in LOST {
            home.file(&format!("m/{file}"), text);
        }
        home.file("m/rival.sql", "CREATE TABLE rival (a int, b nowhere_type);");
        home.file("m/rival_fixed.sql", "CREATE TABLE rival (a int);");
        home.file("m/rival_fixed_rollback.sql", "DROP TABLE rival;");
        home.file("m/rival_final.sql", "CREATE TABLE rival (a int, b text) INHERITS (nowhere);");

        let adopted = adopt(&home, "--statement-timeout 1s", 1);
        assert_eq!((adopted.state.as_str(), adopted.basis.as_deref()), ("written", Some("tried")));
        let ups = adopted.ups();
        for one in &made {
            assert!(ups.contains(&format!("{}.sql", one.name).as_str()), "{}: {:#?}", one.up, adopted.problems);
        }
        assert_eq!(ups.len(), made.len() + 1, "{ups:?}");
        assert!(ups.contains(&"rival_fixed.sql"));
        for rival in ["rival.sql", "rival_final.sql"] {
            assert!(adopted.problem(rival).starts_with("rival "), "{}", adopted.problem(rival));
        }
        for (file, _, kind) in LOST {
            assert!(adopted.ignored.iter().any(|one| one.file == file && !one.reason.is_empty()), "{file}");
            if !kind.is_empty() {
                assert!(adopted.problem(file).starts_with(&format!("{kind} ")), "{}", adopted.problem(file));
            }
        }
        assert_eq!(adopted.migrations.iter().filter(|one| one.down.is_some()).count(), ups.len());
        assert_eq!(adopted.migrations.iter().filter(|one| one.seeds).count(), 3);

        // The manifest alone makes an empty database.
        let database = Database::empty();
        let home = home.variable("LLMHUB_DATABASE_URL", database.url());
        let before = manifest(&home).unwrap();
        let applied = home.line("db apply --dir m -o json").exits(0).json();
        assert_eq!(applied["applied"].as_array().unwrap().len(), ups.len());
        let status = home.line("db status --dir m -o json").exits(0).json();
        assert_eq!(status["pending"].as_array().unwrap().len(), 0);
        home.line("db rollback --dir m -y --no-backup -m 'a test'").exits(0);
        // Adopting again says the same, whatever stands in the database.
        let again = adopt(&home, "--statement-timeout 1s", 1);
        assert_eq!(again.state, "unchanged");
        assert_eq!(manifest(&home).unwrap(), before);
    }
}

#[test]
fn what_never_runs_is_told_with_place_reason_and_whoever_would_help() {
    let (database, home) = world(&[
        ("a.sql", "CREATE TABLE t (id int);\n"),
        ("b.sql", "SELECT f();\nCREATE VIEW v AS\n  SELECT * FROM gone;\n"),
        ("c.sql", "ALTER TABLE late ADD x int;"),
        ("d.sql", "CREATE TABLE late (id no_such_type);"),
        ("e.sql", "CREATE TABLE t (id int, more text);"),
        ("f.sql", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"),
        ("g.sql", "INSERT INTO t VALUES ('x');"),
    ]);
    let adopted = adopt(&home, "", 1);
    assert_eq!(adopted.ups(), ["a.sql", "f.sql"]);
    let problem = adopted.problem("b.sql");
    assert_eq!(
        problem,
        "missing_object 3:17 relation \"gone\" does not exist (42P01); no file here makes the table or view gone"
    );
    let problem = adopted.problem("c.sql");
    assert!(problem.ends_with("d.sql would make the table or view late, but does not run either"), "{problem}");
    assert_eq!(
        adopted.problem("d.sql"),
        "missing_object 1:23 type \"no_such_type\" does not exist (42704); no file here makes the type no_such_type"
    );
    assert_eq!(adopted.problem("e.sql"), "conflict 1:1 relation \"t\" already exists (42P07); a.sql makes it");
    assert!(
        adopted.problem("g.sql").starts_with("never_runs 1:23 invalid input syntax"),
        "{}",
        adopted.problem("g.sql")
    );
    home.line("db adopt m --replace").exits(1).prints("missing object  b.sql:3:17: relation").prints("unchanged");
    home.line("db adopt m -o markdown").exits(1).prints("| 0001 | a.sql |");
    // Neither the live database nor the server kept anything.
    let left = crate::support::postgres::block_on(database.lines(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace \
         UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname = 'llmhub'",
    ));
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_script_that_fails_half_way_outside_a_transaction_leaves_nothing_for_the_next() {
    let (_database, home) = world(&[
        ("a.sql", "CREATE TABLE half (id int);\nCREATE INDEX CONCURRENTLY hi ON half (id);\nALTER TABLE z ADD y int;"),
        ("b.sql", "-- no-transaction\nCREATE TABLE other (id int);\nSELECT * FROM half, z;\nVACUUM other;"),
        ("c.sql", "CREATE TABLE z (id int);"),
        ("d.sql", "BEGIN; CREATE TABLE d1 (); COMMIT;\nBEGIN; CREATE TABLE d2 (); COMMIT;"),
    ]);
    let adopted = adopt(&home, "", 0);
    assert_eq!(adopted.ups().len(), 4);
    let bare = |file: &str| adopted.migrations.iter().any(|one| one.up == file && one.without_transaction);
    assert!(bare("d.sql") && !bare("a.sql"));
    home.line("db apply --dir m").exits(0);
}

#[test]
fn every_habit_of_naming_finds_its_way_back() {
    for habit in 0..9 {
        let path = back(habit, "make_t");
        let (_database, home) = world(&[("make_t.sql", "CREATE TABLE t (id int);"), (path.as_str(), "DROP TABLE t;")]);
        let adopted = adopt(&home, "--replace", 0);
        assert_eq!(adopted.migrations[0].down.as_deref(), Some(path.as_str()));
        home.line("db apply --dir m").exits(0);
        home.line("db rollback --dir m -y --no-backup -m x").exits(0);
    }
}

#[test]
fn a_rollback_that_is_no_sql_and_one_that_stands_in_a_comment_are_never_a_way_back() {
    let (_database, home) = world(&[
        ("a.sql", "CREATE TABLE t (id int);"),
        ("a_rollback.sql", "DROP TABLE t;\nRAISE NOTICE 'done';"),
        ("b.sql", "CREATE TABLE u (id int);\n-- Rollback:\n-- DROP TABLE u;\n"),
    ]);
    let adopted = adopt(&home, "", 1);
    assert!(adopted.migrations.iter().all(|one| one.down.is_none()));
    assert!(adopted.problem("a_rollback.sql").starts_with("bad_rollback 2:1 it can never undo a.sql: syntax error"));
    let offer = &adopted.commented_rollbacks[0];
    assert_eq!((offer.file.as_str(), offer.line, offer.sql.as_str()), ("b.sql", 2, "DROP TABLE u;\n"));
}

#[test]
fn a_manifest_that_says_something_else_is_kept_unless_it_shall_go() {
    let (_database, home) = world(&[("a.sql", "CREATE TABLE t (id int);"), ("b.sql", "ALTER TABLE t ADD x int;")]);
    let tried = adopt(&home, "--dry-run", 0);
    assert_eq!((tried.state.as_str(), manifest(&home)), ("dry_run", None));
    assert_eq!(adopt(&home, "", 0).state, "written");
    let first = manifest(&home).unwrap();
    assert_eq!(adopt(&home, "", 0).state, "unchanged");
    home.file("m/c.sql", "CREATE TABLE u (id int);");
    let done = home.line("db adopt m -o json").exits(5);
    assert_eq!(done.code(), "conflict");
    let message = done.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("+up = \"c.sql\"") && message.contains("--- there"), "{message}");
    assert_eq!(manifest(&home).unwrap(), first);
    let replaced = adopt(&home, "--replace", 0);
    assert_eq!((replaced.state.as_str(), replaced.ups().len()), ("replaced", 3));
    // A manifest that nobody can read may be replaced as well.
    home.file(&format!("m/{MANIFEST}"), "no = [toml");
    home.line("db adopt m").exits(5);
    assert_eq!(adopt(&home, "--replace", 0).state, "replaced");
    home.line("db apply --dir m").exits(0);
}

#[test]
fn a_folder_with_a_layout_of_its_own_needs_no_adoption() {
    let (_database, home) = world(&[("1_a.up.sql", "CREATE TABLE a ();"), ("1_a.down.sql", "DROP TABLE a;")]);
    let adopted = adopt(&home, "", 0);
    assert_eq!((adopted.state.as_str(), adopted.layout.as_deref()), ("nothing_to_adopt", Some("paired")));
    home.line("db adopt m").exits(0).prints("nothing to adopt: it is a paired folder");
    assert_eq!(manifest(&home), None);
    let adopted = adopt(&home, "--replace", 0);
    assert_eq!((adopted.state.as_str(), adopted.migrations[0].version.as_str()), ("written", "1"));
    // One file too many, and it has none.
    home.file("m/1_b.sql", "CREATE TABLE b ();");
    fs::remove_file(home.path().join("m").join(MANIFEST)).unwrap();
    assert_eq!(adopt(&home, "", 0).ups(), ["1_a.up.sql", "1_b.sql"]);
}

#[test]
fn nothing_usable_and_no_database_have_statuses_of_their_own() {
    let (_database, home) = world(&[("report.sql", "SELECT 1 FROM pg_class;"), ("notes.txt", "")]);
    home.line("db adopt m").exits(7).says("report.sql: it only reads");
    fs::create_dir(home.path().join("empty")).unwrap();
    home.line("db adopt empty").exits(7).says("holds no script that could be a migration");
    home.line("db adopt nowhere").exits(3).says("nowhere cannot be read");
    let bare = Home::new();
    bare.file("m/a.sql", "CREATE VIEW v AS SELECT * FROM gone;");
    bare.line("db adopt m").exits(3).says("--database-url");
    assert!(!bare.path().join("m").join(MANIFEST).exists());
    let guessed = parsed(&bare.line("db adopt m --no-trial -o json").exits(1));
    assert_eq!((guessed.basis.as_deref(), guessed.ups()), (Some("guessed"), vec!["a.sql"]));
    assert_eq!(guessed.problem("a.sql"), "missing_object no file here makes the table or view gone");
    bare.line("db adopt m --no-trial").exits(1).prints("nothing was run").prints("nothing is proven");
}

#[test]
fn a_folder_of_which_nothing_runs_gets_no_manifest_that_would_pass_everywhere() {
    let (_database, home) = world(&[("a.sql", "this is no SQL;"), ("b.sql", "CREATE VIEW v AS SELECT * FROM gone;")]);
    let adopted = adopt(&home, "", 1);
    assert_eq!((adopted.state.as_str(), adopted.ups().len(), adopted.problems.len()), ("nothing_ran", 0, 2));
    let done = home.line("db adopt m --replace").exits(1).prints("nothing was written");
    assert!(!done.stdout.contains("every entry ran"), "{}", done.stdout);
    assert_eq!(manifest(&home), None);
}

#[test]
fn an_option_that_would_mean_nothing_is_a_usage_error() {
    let home = Home::new();
    home.file("m/a.sql", "CREATE TABLE a ();");
    for options in ["--table x", "--revisions x", "--unproven", "--dir x"] {
        home.line(&format!("db adopt m {options}")).exits(2);
        home.line(&format!("db adopt {options}")).exits(2);
    }
    home.line("db adopt --from sqlx --statement-timeout 5s").exits(2).says("--statement-timeout");
    let done = home.line("db adopt m").exits(3);
    assert!(!done.stderr.contains("note"), "no source, nothing to announce: {}", done.stderr);
}

#[test]
fn a_name_with_control_characters_is_listed_to_the_last_of_them() {
    let (_database, home) = world(&[("a\u{1b}[2J\n\".sql", "CREATE TABLE a ();"), ("b\u{7}.sql", "SELECT 1/0;")]);
    assert_eq!(adopt(&home, "", 1).ups(), ["a\u{1b}[2J\n\".sql"]);
    assert!(manifest(&home).unwrap().lines().all(|line| !line.contains(char::is_control)));
    home.line("db apply --dir m").exits(0);
}

#[test]
fn what_a_file_needs_is_the_file_that_ran_and_not_one_that_would_have_been_first() {
    let (_database, home) = world(&[
        ("1_other_shape.sql", "CREATE TABLE IF NOT EXISTS users (tenant int); CREATE INDEX ON users (missing);"),
        ("2_orders.sql", "CREATE TABLE orders (buyer int REFERENCES users (id));"),
        ("users.sql", "CREATE TABLE users (id int PRIMARY KEY);"),
        ("grants.sql", "GRANT SELECT ON users TO llmhub_nobody;"),
        ("slow.sql", "SELECT pg_sleep(60);"),
    ]);
    let adopted = adopt(&home, "--statement-timeout 500ms", 1);
    assert_eq!(adopted.ups(), ["users.sql", "2_orders.sql"]);
    assert_eq!(adopted.migrations[1].needs, ["0001"]);
    // A role is no object that a file could make.
    let problem = adopted.problem("grants.sql");
    assert_eq!(problem, "never_runs 1:1 role \"llmhub_nobody\" does not exist (42704)");
    let problem = adopted.problem("slow.sql");
    assert!(problem.ends_with("(57014); a longer --statement-timeout may let it run"), "{problem}");
}

#[test]
fn a_folder_that_cannot_be_written_is_told_and_stays_as_it_is() {
    let (_database, home) = world(&[("a.sql", "CREATE TABLE t (id int);")]);
    let folder = home.path().join("m");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    // For the superuser nothing is closed.
    let open = fs::write(folder.join(".probe"), "").is_ok();
    fs::remove_file(folder.join(".probe")).ok();
    let done = home.line("db adopt m");
    if open {
        done.exits(0);
    } else {
        done.exits(3).says("cannot be written");
        assert_eq!(manifest(&home), None);
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_that_dies_leaves_no_manifest_and_no_scratch_database() {
    // The killed one comes last: its database stays for an hour.
    for signal in ["TERM", "INT", "KILL"] {
        let (database, home) = world(&[
            ("a.sql", "CREATE TABLE t (id int);"),
            ("b.sql", "SELECT pg_sleep(20), f() FROM t;"),
            ("c.sql", "INSERT INTO t SELECT 1 FROM pg_sleep(20);"),
        ]);
        let run = home.line("db adopt m").spawn();
        let sleeping = "SELECT datname::text FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' \
                        AND datname LIKE 'llmhub_scratch_%' AND state = 'active'";
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut scratch = Vec::new();
        while scratch.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            scratch = crate::support::postgres::block_on(database.lines(sleeping));
        }
        run.signal(signal);
        let done = run.wait();
        assert_eq!(done.status, BTreeMap::from([("KILL", -9), ("TERM", 143), ("INT", 130)])[signal]);
        assert_eq!(names(&home.path().join("m")), ["a.sql", "b.sql", "c.sql"], "{signal}");
        if signal != "KILL" {
            let list = "SELECT datname::text FROM pg_database WHERE datname LIKE 'llmhub_scratch_%'";
            let there = crate::support::postgres::block_on(database.lines(list));
            assert!(scratch.iter().all(|name| !there.contains(name)), "{there:?}");
        }
    }
}

#[test]
fn entries_say_what_they_need_and_deep_folders_are_read() {
    let (_database, home) = world(&[
        ("tables/users.sql", "CREATE TABLE users (id int PRIMARY KEY);"),
        ("tables/deep/er/keys.sql", "CREATE TABLE keys (u int REFERENCES users (id));"),
        ("tables/rollback/users.sql", "DROP TABLE users;"),
        ("with space & 'quotes'.sql", "CREATE INDEX ON keys (u);"),
        ("old/users_copy.sql", "create table USERS (id int primary key)"),
        (".git/x.sql", "DROP TABLE users;"),
    ]);
    let adopted = adopt(&home, "", 0);
    assert_eq!(adopted.ups(), ["tables/users.sql", "tables/deep/er/keys.sql", "with space & 'quotes'.sql"]);
    assert_eq!(adopted.migrations[1].needs, ["0001"]);
    assert_eq!(adopted.migrations[2].version, "0003");
    assert_eq!(adopted.ignored.len(), 1, "{:?}", adopted.ignored);
    home.line("db apply --dir m").exits(0);
}

#[test]
fn of_two_definitions_that_fight_the_one_that_lets_more_files_run_is_kept() {
    let (_database, home) = world(&[
        ("a_users.sql", "CREATE TABLE users (name text);"),
        ("m_users_table.sql", "CREATE TABLE users (id int PRIMARY KEY, name text);"),
        ("n_orders.sql", "CREATE TABLE orders (u int REFERENCES users (id));"),
        ("p_less.sql", "CREATE TABLE IF NOT EXISTS users (id int);"),
        ("q_same.sql", "CREATE TABLE IF NOT EXISTS users (name text, id int);"),
        ("o_soft.sql", "CREATE TABLE IF NOT EXISTS users (id int, mail text);"),
    ]);
    let adopted = adopt(&home, "", 1);
    assert_eq!(adopted.ups(), ["m_users_table.sql", "n_orders.sql", "q_same.sql"]);
    assert!(adopted.problem("p_less.sql").contains("is there already with other columns: name; m_users_table.sql"));
    assert!(adopted.problem("a_users.sql").ends_with("already exists (42P07); m_users_table.sql makes it"));
    assert_eq!(
        adopted.problem("o_soft.sql"),
        "conflict 1:1 table or view users is there already without its columns mail; m_users_table.sql makes it"
    );
}
