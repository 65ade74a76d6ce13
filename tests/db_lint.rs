//! `db lint` through the binary: what it says in each form, when it exits 1, what is new, and that hostile files end well.

use std::path::Path;
use std::time::Duration;

use crate::support::cli::Home;

const DROP: &str = "DROP TABLE old;\n";

/// A folder with a warning and a note.
fn home() -> Home {
    let home = Home::new();
    home.file("m/0001_a.up.sql", "CREATE TABLE t (a int);\nSELECT 'done';\n");
    home.file("m/0001_a.down.sql", "DROP TABLE t;\n");
    home.file("m/0002_b.up.sql", "  DROP TABLE old;\n");
    home.file("m/0002_b.down.sql", "CREATE TABLE old (a int);\n");
    home
}

#[track_caller]
fn git(home: &Home, line: &str) {
    let words = crate::support::cli::words(line);
    let options = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
    let output = home.command("git", options.into_iter().map(str::to_owned).chain(words)).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

fn rules(home: &Home, line: &str) -> Vec<String> {
    let json = home.line(&format!("{line} -o json")).done().json();
    let findings = json["findings"].as_array().unwrap();
    findings.iter().map(|one| format!("{} {}", one["file"].as_str().unwrap(), one["rule"].as_str().unwrap())).collect()
}

#[test]
fn findings_are_a_document_with_stable_names() {
    let document = home().line("db lint m -o json").exits(1).json();
    assert_eq!(document["files"], 4);
    let drop = &document["findings"][1];
    assert_eq!(drop["file"], "m/0002_b.up.sql");
    assert_eq!((&drop["line"], &drop["column"]), (&1.into(), &3.into()));
    assert_eq!((&drop["rule"], &drop["severity"]), (&"squawk-ban-drop-table".into(), &"warning".into()));
    let mut names: Vec<&String> = drop.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["column", "file", "fix", "line", "message", "rule", "severity"]);
}

#[test]
fn the_page_shows_the_line_and_a_caret() {
    let done = home().line("db lint m").exits(1);
    assert!(done.stdout.contains("  1:3 warning squawk-ban-drop-table: "), "{}", done.stdout);
    assert!(done.stdout.contains("    1 |   DROP TABLE old;\n      |   ^\n    fix: "), "{}", done.stdout);
    done.prints("0 errors, 1 warning, 1 note in 4 files\n");
    home().line("db lint m -o markdown").exits(1).prints("**m/0002_b.up.sql**");
    home().line("db lint m -o yaml").exits(1).prints("rule: squawk-ban-drop-table");
}

#[test]
fn deny_decides_the_exit_status_and_nothing_else() {
    let home = home();
    for (level, status) in [("never", 0), ("error", 0), ("warning", 1), ("note", 1)] {
        home.line(&format!("db lint m --deny {level}")).exits(status).prints("1 warning");
    }
    home.line("db lint m/0001_a.up.sql").exits(0);
    home.line("db lint m/0001_a.up.sql --deny note").exits(1);
    home.line("db lint m/0001_a.down.sql --deny note").exits(0);
}

#[test]
fn programs_of_ci_get_their_forms() {
    let home = home();
    home.line("db lint m --format github")
        .exits(1)
        .prints("::warning file=m/0002_b.up.sql,line=1,col=3,title=squawk-ban-drop-table::");
    let sarif = home.line("db lint m --format sarif").exits(1).json();
    assert_eq!((&sarif["version"], &sarif["runs"][0]["tool"]["driver"]["name"]), (&"2.1.0".into(), &"llmhub".into()));
    let run = &sarif["runs"][0];
    let result = &run["results"][1];
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "m/0002_b.up.sql");
    assert_eq!((&place["region"]["startLine"], &place["region"]["startColumn"]), (&1.into(), &3.into()));
}

#[test]
fn rules_are_listed_and_explained() {
    let home = Home::new();
    home.line("db lint --rules").exits(0).prints("down-drop-cascade");
    home.line("db lint --explain temp-backup").exits(0).prints("CREATE TEMP TABLE kept");
    let done = home.line("db lint --explain temp-backups").exits(4);
    done.says("did you mean `temp-backup`?");
}

#[test]
fn what_ships_is_clean() {
    let home = Home::new();
    home.line("db lint --deny note").exits(0).prints("0 errors, 0 warnings, 0 notes in 6 files");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    home.run(["db", "lint", shipped.to_str().unwrap(), "--deny", "warning"]).exits(0).says("README.md");
}

#[test]
fn the_profiles_folder_is_linted_without_a_path() {
    let home = home();
    home.file("llmhub.toml", "default_profile = \"a\"\n[profiles.a]\nmigrations = \"m\"\n");
    home.line("db lint").exits(1).prints("in 4 files");
}

#[test]
fn six_layouts_are_read() {
    let home = Home::new();
    home.file("paired/1_a.up.sql", DROP);
    home.file("paired/1_a.down.sql", "DROP TABLE t CASCADE;\n");
    home.file("loose/1_a.sql", DROP);
    home.file("loose/a_rollback.sql", "DROP TABLE t CASCADE;\n");
    home.file("diesel/2026-01-01-000000_a/up.sql", DROP);
    home.file("diesel/2026-01-01-000000_a/down.sql", "DROP TABLE t CASCADE;\n");
    home.file("dbmate/1_a.sql", format!("-- migrate:up\n{DROP}-- migrate:down\nDROP TABLE t CASCADE;\n"));
    home.file("goose/1_a.sql", format!("-- +goose Up\n{DROP}-- +goose Down\nDROP TABLE t CASCADE;\n"));
    home.file("manifest/x.sql", DROP);
    home.file("manifest/y.sql", "DROP TABLE t CASCADE;\n");
    home.file("manifest/llmhub.migrations.toml", "[[migration]]\nversion = '1'\nup = 'x.sql'\ndown = 'y.sql'\n");
    for layout in ["paired", "loose", "diesel", "dbmate", "goose", "manifest"] {
        let mut found = rules(&home, &format!("db lint {layout}"));
        found.iter_mut().for_each(|one| *one = one.rsplit(' ').next().unwrap().to_owned());
        found.sort();
        assert_eq!(found, ["down-drop-cascade", "squawk-ban-drop-table"], "{layout}");
    }
    home.line("db lint paired loose diesel dbmate goose manifest").exits(1).prints("12 warnings");
}

#[test]
fn a_broken_folder_is_a_finding_and_its_other_files_are_linted() {
    let home = home();
    home.file("m/02_c.up.sql", DROP);
    home.file("m/02_c.down.sql", "SELECT 1;\n");
    home.file("m/0003_d.up.sql", b"SELECT 1;\n\xff\n");
    home.file("m/notes.txt", "x");
    home.file("m/4_e.SQL", "x");
    let found = rules(&home, "db lint m");
    for expected in [
        "m/02_c.up.sql duplicate-version",
        "m/02_c.up.sql squawk-ban-drop-table",
        "m/0003_d.up.sql not-utf8",
        "m/0002_b.up.sql squawk-ban-drop-table",
    ] {
        assert!(found.iter().any(|one| one == expected), "{expected}: {found:?}");
    }
    home.line("db lint m").exits(1).says("ignored m/notes.txt: it is no .sql file").says("m/4_e.SQL");
    home.file("mixed/1_a.up.sql", DROP);
    home.file("mixed/2_b.sql", format!("-- migrate:up\n{DROP}"));
    let found = rules(&home, "db lint mixed");
    let expected = ["mixed layout", "mixed/1_a.up.sql squawk-ban-drop-table", "mixed/2_b.sql squawk-ban-drop-table"];
    assert_eq!(found, expected);
}

#[test]
fn files_that_cannot_be_linted_end_in_a_true_status() {
    let home = Home::new();
    home.line("db lint nowhere").exits(3).says("nowhere");
    home.file("binary.sql", [0, 1, 2, 255, 254]);
    assert_eq!(rules(&home, "db lint binary.sql"), ["binary.sql not-utf8"]);
    home.file("nul.sql", "SELECT '\u{1b}[2J\0';\n");
    home.line("db lint nul.sql --deny note").done();
    let huge = std::fs::File::create(home.path().join("huge.sql")).unwrap();
    huge.set_len(65 * 1024 * 1024).unwrap();
    home.line("db lint huge.sql").exits(7).says("huge.sql").within(Duration::from_secs(20));
    std::os::unix::fs::symlink("nothing", home.path().join("gone.sql")).unwrap();
    home.line("db lint gone.sql").exits(3).says("gone.sql");
}

#[test]
fn ten_megabytes_take_a_bounded_time() {
    let home = Home::new();
    let rows = "INSERT INTO t (a, b) VALUES (1, 'some text; with -- marks');\n";
    home.file("rows.sql", rows.repeat(10 * 1024 * 1024 / rows.len()));
    home.line("db lint rows.sql").done().within(Duration::from_secs(240));
    let data = "1\tsome text\n".repeat(10 * 1024 * 1024 / 12);
    home.file("copy.sql", format!("COPY t FROM stdin;\n{data}\\.\n{DROP}"));
    home.line("db lint copy.sql").exits(1).within(Duration::from_secs(60));
}

#[test]
fn since_shows_what_is_new_and_still_sees_all() {
    let home = home();
    home.line("db lint m --since main").exits(7).says("is in no git repository");
    git(&home, "init -q -b main");
    git(&home, "add m");
    git(&home, "commit -q -m first");
    home.line("db lint m --since nothing").exits(7).says("git knows no commit `nothing`");
    home.line("db lint m --since --exec=x").exits(2);
    home.line("db lint m --since=--all").exits(7).says("git knows no commit `--all`");
    home.line("db lint m --since main").exits(0).prints("in 0 files");
    git(&home, "checkout -q -b work");
    home.file("m/0003_c.up.sql", DROP);
    home.file("m/0003_c.down.sql", "CREATE TABLE old (a int);\n");
    let new = ["m/0003_c.up.sql squawk-ban-drop-table"];
    assert_eq!(rules(&home, "db lint m --since main"), new, "not known to git yet");
    git(&home, "add m");
    git(&home, "commit -q -m second");
    assert_eq!(rules(&home, "db lint m --since main"), new);
    assert_eq!(rules(&home, "db lint m/0003_c.up.sql m/0002_b.up.sql --since main"), new);
    home.file("m/0000_first.up.sql", "SELECT 1;\n");
    home.file("m/0_second.up.sql", "SELECT 1;\n");
    git(&home, "add m/0_second.up.sql");
    git(&home, "commit -q -m third");
    git(&home, "mv m/0002_b.up.sql m/0004_b.up.sql");
    git(&home, "mv m/0002_b.down.sql m/0004_b.down.sql");
    let found = rules(&home, "db lint m --since work");
    for expected in ["m/0_second.up.sql duplicate-version", "m/0004_b.up.sql squawk-ban-drop-table"] {
        assert!(found.iter().any(|one| one == expected), "{expected}: {found:?}");
    }
    assert!(!found.iter().any(|one| one.starts_with("m/0003_c")), "{found:?}");
}
