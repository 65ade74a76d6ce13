//! Folders of migrations on a real disk: what is read and what is refused, and `db new` in every layout.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use llmhub::domain::migrations::{FileContent, FolderFile, Layout, MANIFEST, Set, Wrapping};
use llmhub::store::migrations_folder;
use proptest::prelude::*;
use serde::Deserialize;

use crate::support::cli::Home;
use crate::support::postgres::Database;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    version: String,
    name: String,
    files: Vec<String>,
    dry_run: Option<bool>,
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[track_caller]
fn refused(folder: &Path, words: &str) {
    let error = migrations_folder::read(folder).expect_err(words).to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn the_shipped_folder_reads_as_the_set_in_the_binary() {
    let read = migrations_folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).unwrap();
    let told = |set: &Set| {
        let one = |script: &llmhub::domain::migrations::Script| (script.file().to_owned(), script.checksum().unwrap());
        let migrations = set.migrations().iter();
        migrations.map(|it| (it.version.to_string(), one(&it.up), it.down.as_ref().map(one))).collect::<Vec<_>>()
    };
    assert_eq!(told(&read), told(&Set::embedded()));
    assert!(read.notes().is_empty());
}

#[test]
fn what_cannot_be_read_is_named() {
    refused(Path::new("/nowhere/migrations"), "/nowhere/migrations cannot be read: No such file");
    let place = folder(&[("1_a.sql", b"SELECT 1;"), ("file", b"")]);
    refused(&place.path().join("file"), "/file cannot be read: Not a directory");
    refused(folder(&[]).path(), "the folder holds no migrations; write the first one: llmhub db new NAME");
    let bad = folder(&[("1_a.sql", b"SELECT 1;\n-- \xff\n")]);
    refused(bad.path(), "1_a.sql:2: the text is not UTF-8");
    symlink("nowhere", place.path().join("2_b.sql")).unwrap();
    refused(place.path(), "2_b.sql cannot be read: No such file");
    fs::remove_file(place.path().join("2_b.sql")).unwrap();
    pipe(&place.path().join("2_b.sql"));
    refused(place.path(), "2_b.sql is not a regular file");
}

/// Opening a pipe would wait for ever.
fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn rights_that_are_missing_are_told_with_the_path() {
    for name in ["1_a.sql", "closed"] {
        let place = folder(&[("1_a.sql", b"SELECT 1;"), ("closed/x", b"")]);
        let path = place.path().join(name);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        // For the superuser nothing is closed, and everything is read.
        let closed = if name == "closed" { fs::read_dir(&path).is_err() } else { fs::File::open(&path).is_err() };
        let read = migrations_folder::read(place.path());
        fs::set_permissions(&path, before).unwrap();
        assert_eq!(read.is_err(), closed);
        assert!(read.err().is_none_or(|error| error.to_string().contains(name)));
    }
}

#[test]
fn links_are_followed_and_loops_are_refused() {
    let real = folder(&[("a.sql", b"SELECT 1;"), ("d/up.sql", b"SELECT 2;")]);
    let place = folder(&[("2_b.sql", b"SELECT 2;")]);
    symlink(real.path().join("a.sql"), place.path().join("1_a.sql")).unwrap();
    symlink("/etc/nowhere", place.path().join(".#2_b.sql")).unwrap();
    let set = migrations_folder::read(place.path()).unwrap();
    assert_eq!(set.find(&"1".parse().unwrap()).unwrap().up.text(), "SELECT 1;");
    assert_eq!(set.ignored().len(), 1);

    symlink("3_c.sql", place.path().join("3_c.sql")).unwrap();
    refused(place.path(), "3_c.sql cannot be read: Too many levels of symbolic links");
    fs::remove_file(place.path().join("3_c.sql")).unwrap();
    for target in [".", ".."] {
        symlink(target, place.path().join("again")).unwrap();
        refused(place.path(), "again is a link to a folder that it lies in; remove the link");
        fs::remove_file(place.path().join("again")).unwrap();
    }
    let diesel = folder(&[]);
    symlink(real.path().join("d"), diesel.path().join("2024-01-01-000000_d")).unwrap();
    assert_eq!(
        migrations_folder::read(diesel.path()).unwrap().find(&"20240101000000".parse().unwrap()).unwrap().name,
        "d"
    );
}

#[test]
fn ten_thousand_files_are_read_and_twenty_thousand_and_one_are_refused() {
    let place = folder(&[]);
    for number in 0..10_000 {
        fs::write(place.path().join(format!("{number:05}_näme {number}.sql")), "SELECT 1;").unwrap();
    }
    let started = std::time::Instant::now();
    let set = migrations_folder::read(place.path()).unwrap();
    assert_eq!((set.migrations().len(), set.layout()), (10_000, Layout::Paired));
    assert_eq!(set.find(&"9999".parse().unwrap()).unwrap().name, "näme 9999");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    for number in 0..10_001 {
        fs::write(place.path().join(format!("{number}.txt")), "").unwrap();
    }
    refused(place.path(), "holds more than 20000 entries");
}

#[test]
fn a_manifest_reaches_deeper_and_never_out() {
    let manifest = "[[migration]]\nversion = '1'\nup = 'x/y/z.sql'\n[[ignore]]\nfile = 'x/'\nreason = 'old'\n";
    let place = folder(&[(MANIFEST, manifest.as_bytes()), ("x/y/z.sql", b"SELECT 1;"), ("x/w.sql", b"\xff")]);
    let set = migrations_folder::read(place.path()).unwrap();
    assert_eq!(set.find(&"1".parse().unwrap()).unwrap().up.file(), "x/y/z.sql");
    fs::write(place.path().join(MANIFEST), manifest.replace("x/y/z.sql", "../z.sql")).unwrap();
    refused(place.path(), "llmhub.migrations.toml:3: `../z.sql` must be a path inside the folder");
    fs::write(place.path().join(MANIFEST), manifest.replace("x/y/z.sql", "x/y/gone.sql")).unwrap();
    refused(place.path(), "llmhub.migrations.toml:3: `x/y/gone.sql` does not exist");
    fs::write(place.path().join(MANIFEST), manifest.replace("'x/'", "'x/w.sql'")).unwrap();
    assert!(migrations_folder::read(place.path()).is_ok());
}

#[test]
fn the_example_manifest_reads() {
    let manifest = include_bytes!("../examples/llmhub.migrations.toml");
    let place = folder(&[
        (MANIFEST, manifest),
        ("create_users.sql", b"SELECT 1;"),
        ("drop_users.sql", b"SELECT 2;"),
        ("indexes/users_by_email.sql", b"SELECT 3;"),
        ("create_users_final.sql", b""),
        ("reports/daily.sql", b""),
    ]);
    let set = migrations_folder::read(place.path()).unwrap();
    let names: Vec<&str> = set.migrations().iter().map(|migration| migration.name.as_str()).collect();
    assert_eq!(names, ["create_users", "users_by_email"]);
    assert_eq!(set.migrations()[1].up.wrapping(), Wrapping::None);
}

#[track_caller]
fn new(home: &Home, name: &str, status: i32) -> New {
    let run = home.run(["db", "new", name, "--dir", "m", "-o", "json"]);
    serde_json::from_value(run.exits(status).json()).unwrap()
}

/// The newest migration of the folder, which must be that one, with nothing to run in either direction.
#[track_caller]
fn is_fresh(home: &Home, new: &New, layout: Layout) {
    let set = migrations_folder::read(&home.path().join("m")).unwrap();
    let newest = set.migrations().last().unwrap();
    assert_eq!((newest.version.to_string(), newest.name.as_str()), (new.version.clone(), new.name.as_str()));
    assert_eq!(set.layout(), layout);
    assert!(newest.up.statements().unwrap().is_empty());
    let down = newest.down.as_ref().unwrap();
    assert!(down.statements().unwrap().is_empty());
    assert!(down.text().contains("counts as empty"), "{}", down.text());
    assert!(new.files.iter().all(|file| home.path().join(file).is_file()), "{new:?}");
}

#[test]
fn a_new_migration_has_the_layout_of_its_folder() {
    #[track_caller]
    fn case(layout: Layout, before: &[(&str, &str)], version: &str, files: &[&str]) {
        let home = Home::new();
        for (path, text) in before {
            home.file(&format!("m/{path}"), text);
        }
        let made = new(&home, "add tenants-table", 0);
        assert_eq!((made.version.as_str(), made.name.as_str()), (version, "add_tenants_table"));
        let files: Vec<String> = files.iter().map(|file| format!("m/{file}")).collect();
        assert_eq!(made.files, files);
        is_fresh(&home, &made, layout);
        let again = new(&home, "add_tenants_table", 0);
        is_fresh(&home, &again, layout);
    }
    case(Layout::Paired, &[], "0001", &["0001_add_tenants_table.up.sql", "0001_add_tenants_table.down.sql"]);
    let one = [("009_a.sql", "SELECT 1;"), ("schema.sql", "")];
    case(Layout::Paired, &one, "010", &["010_add_tenants_table.up.sql", "010_add_tenants_table.down.sql"]);
    let loose = [("1_a.sql", "SELECT 1;"), ("rollback_a.sql", "SELECT 1;")];
    case(Layout::Loose, &loose, "2", &["2_add_tenants_table.sql", "rollback_2_add_tenants_table.sql"]);
    case(Layout::Dbmate, &[("01_a.sql", "-- migrate:up\n")], "02", &["02_add_tenants_table.sql"]);
    case(Layout::Goose, &[("9_a.sql", "-- +goose Up\n")], "10", &["10_add_tenants_table.sql"]);
    let diesel = [("0009_a/up.sql", "SELECT 1;")];
    case(Layout::Diesel, &diesel, "0010", &["0010_add_tenants_table/up.sql", "0010_add_tenants_table/down.sql"]);
    let manifest = [(MANIFEST, "# ours\n[[migration]]\nversion = '3'\nup = 'a.sql'\n"), ("a.sql", "SELECT 1;")];
    case(Layout::Manifest, &manifest, "4", &["4_add_tenants_table.up.sql", "4_add_tenants_table.down.sql"]);
    case(
        Layout::Manifest,
        &[(MANIFEST, "")],
        "0001",
        &["0001_add_tenants_table.up.sql", "0001_add_tenants_table.down.sql"],
    );
}

#[test]
fn a_folder_that_counts_in_moments_goes_on_with_the_present() {
    for (file, text) in [
        ("20240101000000_a.sql", "-- migrate:up\n"),
        ("20240101000000_a.up.sql", ""),
        ("2024-01-01-000000_a/up.sql", "SELECT 1;"),
    ] {
        let home = Home::new();
        home.file(&format!("m/{file}"), text);
        let made = new(&home, "x", 0);
        assert!(made.version.len() == 14 && made.version.as_str() > "20250101000000", "{made:?}");
        let second = new(&home, "x", 0);
        assert!(second.version > made.version, "{second:?}");
    }
}

#[test]
fn the_profiles_folder_is_used_and_without_one_the_command_says_how_to_name_it() {
    let home = Home::new();
    let done = home.line("db new x -o json").exits(3);
    assert_eq!(done.code(), "no_migrations_folder");
    assert_eq!(done.json()["error"]["hint"], "give --dir PATH, or write `migrations = \"PATH\"` into the profile");
    home.file(
        ".config/llmhub/config.toml",
        format!("[profiles.p]\nmigrations = '{}/made/here'\n", home.path().display()),
    );
    let made: New = serde_json::from_value(home.line("db new x --dry-run -o json").exits(0).json()).unwrap();
    assert_eq!((made.dry_run, made.files[0].as_str()), (Some(true), "made/here/0001_x.up.sql"));
    assert!(!home.path().join("made").exists());
    home.line("db new x").exits(0).prints("made/here/0001_x.up.sql");
    assert!(home.path().join("made/here/0001_x.down.sql").is_file());
}

#[test]
fn apply_runs_the_profiles_folder_in_its_order() {
    let database = Database::empty();
    let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
    home.file(".config/llmhub/config.toml", format!("[profiles.p]\nmigrations = '{}/m'\n", home.path().display()));
    home.file("m/20240101_a.sql", "-- migrate:up\nCREATE TABLE a (id int);\n-- migrate:down\nDROP TABLE a;\n");
    home.file("m/20240102_b.sql", "-- migrate:up\nALTER TABLE a ADD b int;\n-- migrate:down\n");
    let applied = home.line("db apply -o json").exits(0).json();
    let versions: Vec<&str> =
        applied["applied"].as_array().unwrap().iter().map(|one| one["version"].as_str().unwrap()).collect();
    assert_eq!(versions, ["20240101", "20240102"]);
    assert_eq!(home.line("db apply -o json").exits(0).json()["current"], "20240102");
    home.file("m/20240103_c.sql", "SELECT 1;\n");
    home.line("db apply").exits(7).says("20240103_c.sql is plain SQL");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_behind() {
    let home = Home::new();
    let list = "[[migration]]\nversion = '1'\nup = 'a.sql'\n[[ignore]]\nfile = '2_x.down.sql'\nreason = 'mine'\n";
    home.file(&format!("m/{MANIFEST}"), list);
    home.file("m/a.sql", "SELECT 1;");
    home.file("m/2_x.down.sql", "mine");
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(home.path().join("m")).unwrap().map(|it| it.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let done = home.line("db new x --dir m -o json").exits(5);
    assert!(done.json()["error"]["message"].as_str().unwrap().contains("2_x.down.sql exists already"));
    assert_eq!(names(), before);
    assert_eq!(fs::read_to_string(home.path().join("m").join(MANIFEST)).unwrap(), list);
    assert_eq!(fs::read_to_string(home.path().join("m/2_x.down.sql")).unwrap(), "mine");
    for (line, status) in [
        ("db new 'Über' --dir m", 2),
        ("db new ../x --dir m", 2),
        ("db new rollback_x --dir m", 2),
        ("db new x --dir m/a.sql", 3),
    ] {
        home.line(line).exits(status);
        assert_eq!(names(), before, "{line}");
    }
    home.file("mixed/1_a.sql", "-- migrate:up\n");
    home.file("mixed/2_b.sql", "-- +goose Up\n");
    home.line("db new x --dir mixed").exits(7).says("1_a.sql is dbmate, 2_b.sql is goose");
}

#[test]
fn ten_at_once_get_ten_numbers() {
    for (file, text) in [(MANIFEST, ""), ("0001_a.sql", "SELECT 1;")] {
        let home = Home::new();
        home.file(&format!("m/{file}"), text);
        let runs: Vec<_> = (0..10).map(|run| home.line(&format!("db new n{run} --dir m -o json")).spawn()).collect();
        let mut versions: Vec<String> = runs
            .into_iter()
            .map(|run| {
                let done = run.wait();
                assert_eq!(done.status, 0, "{}", done.stderr);
                done.json()["version"].as_str().unwrap().to_owned()
            })
            .collect();
        versions.sort();
        versions.dedup();
        assert_eq!(versions.len(), 10, "{versions:?}");
        let set = migrations_folder::read(&home.path().join("m")).unwrap();
        assert!(versions.iter().all(|version| set.find(&version.parse().unwrap()).is_some()));
    }
}

/// Names as people and tools give them: a number or none, words, an ending.
fn names_of_any_kind() -> impl Strategy<Value = String> {
    let folder = prop_oneof![8 => Just(""), 1 => Just("2024-01-01-000000_a/"), 1 => Just(".git/"), 1 => Just("old/")];
    let number = prop_oneof![4 => "[1-9]_", 1 => Just(String::new()), 1 => Just("2024-01-01_".to_owned())];
    let word = prop_oneof![
        4 => "[a-c]",
        1 => Just("rollback".to_owned()),
        1 => Just("ROLLBACK_a".to_owned()),
        1 => Just("a_rollback".to_owned()),
        1 => Just("rollback_1_a".to_owned()),
        1 => Just("é ü".to_owned()),
        1 => Just(String::new()),
    ];
    let ending = prop::sample::select(vec![
        ".sql",
        ".sql",
        ".sql",
        ".up.sql",
        ".up.sql",
        ".down.sql",
        ".Down.sql",
        ".SQL",
        ".sql.txt",
        ".sql~",
        ".go",
        "",
    ]);
    let diesel = prop::sample::select(vec!["1_a/up.sql", "1_a/down.sql", "2_b/up.sql", "2_b/metadata.toml", "up.sql"]);
    prop_oneof![
        9 => (folder, number, word, ending).prop_map(|(folder, number, word, ending)| format!("{folder}{number}{word}{ending}")),
        1 => diesel.prop_map(str::to_owned),
    ]
}

fn texts() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just("SELECT 1;\n"), 1 => Just(DBMATE), 1 => Just(GOOSE), 1 => Just("")]
}

const DBMATE: &str = "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;\n";
const GOOSE: &str = "-- +goose Up\nSELECT 1;\n";

/// Folders that somebody keeps in one layout, each with a few files that do not belong.
fn folders() -> impl Strategy<Value = BTreeMap<String, &'static str>> {
    let names = prop::collection::btree_map("[1-5]_[a-b]", prop::bool::ANY, 0..4);
    let kept = (0..5, names).prop_map(|(layout, names)| {
        let mut files = BTreeMap::new();
        for (name, goes_back) in names {
            let bare = name.split_once('_').unwrap().1;
            let (up, down, text) = match layout {
                0 => (format!("{name}.up.sql"), format!("{name}.down.sql"), "SELECT 1;\n"),
                1 => (format!("{name}.sql"), format!("{name}_rollback.sql"), "SELECT 1;\n"),
                2 => (format!("{name}/up.sql"), format!("{name}/down.sql"), "SELECT 1;\n"),
                3 => (format!("{name}.sql"), format!("{bare}.txt"), DBMATE),
                _ => (format!("{name}.sql"), format!("{bare}.SQL"), GOOSE),
            };
            files.insert(up, text);
            if goes_back {
                files.insert(down, text);
            }
        }
        files
    });
    let strange = prop_oneof![3 => Just(0..1), 1 => Just(0..2), 1 => Just(0..5)]
        .prop_flat_map(|count| prop::collection::btree_map(names_of_any_kind(), texts(), count));
    (kept, strange).prop_map(|(mut kept, strange)| {
        kept.extend(strange);
        kept
    })
}

fn is_way_back(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap().to_ascii_lowercase();
    let stem = name.trim_end_matches(".sql");
    let bare = stem.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches('_');
    let up = stem.ends_with(".up");
    stem.ends_with(".down") || stem == "down" || (!up && (bare.starts_with("rollback") || bare.ends_with("rollback")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_sql_file_is_in_one_migration_or_ignored_and_no_way_back_goes_forward(
        given in folders()
    ) {
        let mut files: Vec<FolderFile> = given
            .iter()
            .map(|(path, text)| FolderFile { path: path.clone(), content: FileContent::Text((*text).to_owned()) })
            .collect();
        let folders: BTreeSet<&str> =
            given.keys().filter_map(|path| Some(path.rsplit_once('/')?.0)).collect();
        files.extend(folders.into_iter().map(|path| FolderFile { path: path.to_owned(), content: FileContent::Folder }));
        if let Ok(set) = Set::read(files) {
            prop_assert!(!set.migrations().is_empty());
            for (path, text) in &given {
                let uses = |migration: &&llmhub::domain::migrations::Migration| {
                    migration.up.file() == path || migration.down.as_ref().is_some_and(|down| down.file() == path)
                };
                let used = set.migrations().iter().filter(uses).count();
                let ignored: Vec<_> = set.ignored().iter().filter(|ignored| ignored.file == *path).collect();
                prop_assert!(ignored.iter().all(|ignored| !ignored.reason.is_empty()));
                if path.to_ascii_lowercase().contains(".sql") {
                    prop_assert_eq!(used + ignored.len(), 1, "{}", path);
                }
                if is_way_back(path) && !text.starts_with("-- ") {
                    prop_assert!(set.migrations().iter().all(|migration| migration.up.file() != path), "{}", path);
                }
            }
        }
    }
}
