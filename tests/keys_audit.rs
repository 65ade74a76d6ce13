//! `keys audit` through the real binary: what is wrong with rows, and where keys stand in plain text. The harness searches every
//! output for the canaries, so that each of these runs also shows that no key is said.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use llmhub::domain::fernet::MasterKey;
use serde_json::{Value, json};

use crate::support::cli::{Done, Home, MASTER_KEY, PROVIDER_KEY, Run, words};
use crate::support::postgres::{Database, block_on};

/// A key that only opens old rows, and one that nobody has any more.
const OLD_KEY: &str = "OldMasterKeyThatOnlyOpensRowsOfLastYear0000=";
const LOST_KEY: &str = "ThirdMasterKeyThatNobodyHasAnyMoreAtAll1110=";
const OTHER_KEY: &str = "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";

struct World {
    database: Database,
    home: Home,
}

impl World {
    fn new() -> Self {
        let database = Database::migrated();
        let home =
            Home::new().variable("LLMHUB_DATABASE_URL", database.url()).variable("BYOK_ENCRYPTION_KEY", MASTER_KEY);
        Self { database, home }
    }

    /// With one good row.
    fn good() -> Self {
        let world = Self::new();
        world.insert("OpenAI", "openai", &seal(MASTER_KEY, PROVIDER_KEY, 1), "");
        world
    }

    fn audit(&self, rest: &str) -> Run {
        self.home.run(words(&format!("keys audit -o json {rest}")))
    }

    /// A row, and what else is set in it.
    fn insert(&self, name: &str, kind: &str, token: &str, more: &str) {
        block_on(self.database.sql(&format!(
            "INSERT INTO llm_providers (name, type, api_key_encrypted) VALUES ('{name}', '{kind}', '{token}')"
        )));
        if !more.is_empty() {
            block_on(self.database.sql(&format!("UPDATE llm_providers SET {more} WHERE name = '{name}'")));
        }
    }

    fn table(&self) -> Vec<String> {
        block_on(self.database.lines("SELECT to_jsonb(p)::text FROM llm_providers p ORDER BY id"))
    }

    fn git(&self, folder: &str, arguments: &[&str]) {
        let done = Command::new("git")
            .arg("-C")
            .arg(self.home.path().join(folder))
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgSign=false"])
            .args(arguments)
            .env("HOME", self.home.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

fn seal(key: &str, plain: &str, days_ago: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    MasterKey::parse(key).ok().unwrap().seal(plain.as_bytes(), now - days_ago * 86_400, [7; 16])
}

/// `severity kind name` of each finding, in order.
fn findings(done: &Done) -> Vec<String> {
    let member = |finding: &Value, name: &str| finding[name].as_str().unwrap_or("-").to_owned();
    let document = done.json();
    let all = document["findings"].as_array().unwrap().iter();
    all.map(|one| format!("{} {} {}", member(one, "severity"), member(one, "kind"), member(one, "name"))).collect()
}

/// `kind file:line` of each finding, in order.
fn places(done: &Done) -> Vec<String> {
    let document = done.json();
    let all = document["findings"].as_array().unwrap().iter();
    all.map(|one| {
        let file = one["file"].as_str().unwrap_or("-");
        let line = one["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
        format!("{} {file}{line}", one["kind"].as_str().unwrap())
    })
    .collect()
}

/// A key in base64, as `base64` prints it.
fn base64(text: &str) -> String {
    let mut child = Command::new("base64")
        .args(["-w", "0"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn good_rows_are_no_finding_and_the_document_is_pinned() {
    let world = World::good();
    let done = world.audit("").exits(0);
    let document = done.json();
    let members: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(members, ["keys", "findings", "scanned"]);
    assert_eq!((&document["findings"], &document["scanned"]), (&json!([]), &json!(0)));
    assert_eq!(document["keys"][0]["master_key"], "current");
    let list = world.home.line("keys list -o json").exits(0).json();
    assert_eq!(document["keys"], list);
    world.home.line("keys audit").exits(0).prints("0 errors, 0 warnings, 0 notes in 1 provider; nothing was searched");
}

#[test]
fn every_fault_of_a_row_is_found_the_worst_first_and_nothing_is_written() {
    let world = World::good();
    world.insert("aged", "cohere", &seal(MASTER_KEY, "cohere-0123456789abcdef", 91), "");
    world.insert("double", "openai", &seal(MASTER_KEY, PROVIDER_KEY, 2), "");
    world.insert("lost", "mistral", &seal(LOST_KEY, "lost-0123456789abcdef", 4), "");
    world.insert("masked", "groq", &seal(LOST_KEY, "mask-0123456789abcdef", 4), "");
    world.insert("off", "together", &seal(MASTER_KEY, "together-0123456789abcdef", 4), "enabled = false");
    world.insert(
        "off-dead",
        "together",
        &seal(MASTER_KEY, "together-dead-0123456789", 4),
        "enabled = false, api_key_test_status = 'failed'",
    );
    world.insert("old", "google", &seal(OLD_KEY, "AIza-0123456789abcdef", 4), "");
    world.insert("open", "custom", PROVIDER_KEY, "");
    world.home.file(".env.auth", "MASKED_API_KEY=x\nDOUBLE_API_KEY=y\n");
    let before = world.table();
    let unused = "FourthMasterKeyThatOpensNothingAnywhere0000=";
    let run =
        world.audit("--env-file .env.auth --via db").env("BYOK_ENCRYPTION_KEYS_OLD", format!("{OLD_KEY},{unused}"));
    let done = run.exits(1);
    assert_eq!(
        findings(&done),
        [
            "error none lost",
            "error none masked",
            "error not_fernet open",
            "warning old_key old",
            "warning masked masked",
            "warning duplicate OpenAI, double, open",
            "warning aged aged",
            "warning disabled_live off",
            "note unused_master_key BYOK_ENCRYPTION_KEYS_OLD[2]",
        ]
    );
    assert!(done.stdout.contains("MASKED_API_KEY") && !done.stdout.contains("DOUBLE_API_KEY"), "{}", done.stdout);
    let members: Vec<String> = done.json()["findings"][0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["severity", "kind", "name", "message", "file", "line", "fingerprint"]);
    assert_eq!(world.table(), before);
    let only_notes = World::good();
    only_notes.audit("").env("BYOK_ENCRYPTION_KEYS_OLD", unused).exits(0).prints("unused_master_key");
    world.audit("--max-age 120 --env-file .env.auth --via db").exits(1).prints("none");
}

#[test]
fn a_limit_of_age_is_the_operators() {
    let world = World::new();
    world.insert("aged", "cohere", &seal(MASTER_KEY, "cohere-0123456789abcdef", 50), "");
    world.audit("").exits(0);
    assert_eq!(findings(&world.audit("--max-age 49").exits(1)), ["warning aged aged"]);
    world.audit("--max-age 0").exits(2);
}

#[test]
fn keys_are_found_in_files_in_every_form_by_line_and_never_shown() {
    let world = World::good();
    let half = format!("tail -f\nOPENAI_API_KEY={PROVIDER_KEY}\n");
    world.home.file("tree/.env", &half);
    world.home.file(
        "tree/deep/hub.log",
        format!("{}\nAuthorization: Basic {}\n", "x".repeat(10_000_000), base64(&format!("u:{PROVIDER_KEY}"))),
    );
    world.home.file("tree/secret.yaml", format!("key: {}\n", base64(MASTER_KEY)));
    world.home.file("tree/master", MASTER_KEY.trim_end_matches('='));
    world.home.file("tree/core", [&[0_u8; 5000][..], PROVIDER_KEY.as_bytes()].concat());
    world
        .home
        .file("tree/other.env", format!("GROQ={OTHER_KEY}\nNOT=gsk_your_key_goes_here_0123456789012345678901234\n"));
    world.home.file("tree/fine.txt", "nothing\n");
    let done = world.audit("--scan tree").exits(1);
    assert_eq!(
        places(&done),
        [
            "leak tree/.env:2",
            "leak tree/core",
            "leak tree/deep/hub.log:2",
            "leak tree/master:1",
            "leak tree/secret.yaml:1",
            "key_shape tree/other.env:1"
        ]
    );
    let document = done.json();
    assert_eq!((&document["scanned"], &document["findings"][5]["name"]), (&json!(7), &json!("groq")));
    let print = document["keys"][0]["fingerprint"].as_str().unwrap().split(' ').next_back().unwrap().to_owned();
    assert_eq!(document["findings"][0]["fingerprint"], json!(print));
    assert!(!done.stdout.contains(OTHER_KEY) && !done.stderr.contains(OTHER_KEY));
    let table = world.home.line("keys audit --scan tree").exits(1);
    table.prints("tree/.env:2").prints("5 errors, 1 warning, 0 notes in 1 provider; 7 files searched");
}

#[test]
fn links_pipes_packed_and_closed_files_do_not_hold_the_search_up() {
    let world = World::good();
    let tree = world.home.path().join("tree");
    let outside = world.home.file("outside.env", PROVIDER_KEY);
    world.home.file("tree/a.txt", "x\n");
    symlink(&tree, tree.join("loop")).unwrap();
    symlink("../nowhere", tree.join("dangling")).unwrap();
    symlink(&outside, tree.join("linked")).unwrap();
    symlink(&outside, tree.join("linked-again")).unwrap();
    assert!(Command::new("mkfifo").arg(tree.join("pipe")).status().unwrap().success());
    world.home.file("tree/old.log.gz", b"\x1f\x8b\x08\x00rest");
    let done = world.audit("--scan tree --scan tree/a.txt").exits(1).says("old.log.gz is packed (gzip)");
    assert_eq!(places(&done), ["leak tree/linked:1"]);
    let document = done.json();
    assert_eq!((&document["scanned"], &document["unread"]), (&json!(2), &Value::Null));
    assert_eq!(document["packed"], json!(["tree/old.log.gz is packed (gzip) and cannot be searched"]));
}

#[test]
fn an_archive_alone_does_not_change_the_answer() {
    let world = World::good();
    world.home.file("tree/old.zip", b"PK\x03\x04rest");
    world.audit("--scan tree").exits(0).says("old.zip is packed (zip)");
    world.home.line("keys audit --scan tree").exits(0).prints("0 files searched, 1 archive not looked into");
}

#[test]
fn a_search_that_could_not_see_everything_is_partial_whatever_it_found() {
    let world = World::good();
    for turn in ["one", "two"] {
        world.home.file("tree/origin/a.txt", format!("{turn}\n"));
        world.git("tree/origin", &["init", "-q", "-b", "main"]);
        world.git("tree/origin", &["add", "-A"]);
        world.git("tree/origin", &["commit", "-q", "-m", turn]);
    }
    world.audit("--scan tree/origin").exits(0);
    let origin = format!("file://{}", world.home.path().join("tree/origin").display());
    world.git("tree", &["clone", "-q", "--depth", "1", &origin, "shallow"]);
    let done = world.audit("--scan tree/shallow").exits(10).says("shallow clone");
    let document = done.json();
    assert_eq!((document["unread"].as_array().unwrap().len(), &document["findings"]), (1, &json!([])));
    world.home.line("keys audit --scan tree/shallow").exits(10).prints("1 NOT");
    // A leak is found all the same, and the list says what is missing.
    world.home.file("tree/shallow/leak.env", format!("KEY={PROVIDER_KEY}\n"));
    let done = world.audit("--scan tree/shallow").exits(10);
    assert_eq!(places(&done), ["leak tree/shallow/leak.env:1"]);
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_partial() {
    let world = World::good();
    // The memory of a process: its first byte is never mapped, whoever asks.
    let done = world.audit("--scan /proc/self/mem").exits(10);
    assert!(done.json()["unread"][0].as_str().unwrap().starts_with("/proc/self/mem cannot be read"), "{}", done.stdout);
}

#[test]
fn a_file_that_is_named_by_a_key_is_reported_without_its_name() {
    let world = World::good();
    world.home.file(&format!("tree/{}.txt", base64(PROVIDER_KEY).replace('/', "_")), format!("{PROVIDER_KEY}\n"));
    let done = world.audit("--scan tree").exits(1);
    assert_eq!(places(&done), ["leak (a path that holds a key):1"]);
    assert!(!done.stdout.contains(base64(PROVIDER_KEY).trim_end_matches('=')), "{}", done.stdout);
}

#[test]
fn the_history_of_a_repository_is_searched_to_its_first_commit_and_other_branches() {
    let world = World::good();
    let repository = "tree/repository";
    world.home.file("tree/repository/.env", format!("A=1\nKEY={PROVIDER_KEY}\n"));
    world.git(repository, &["init", "-q", "-b", "main"]);
    world.git(repository, &["add", "-A"]);
    world.git(repository, &["commit", "-q", "-m", "first"]);
    world.home.file("tree/repository/.env", "A=1\n");
    world.git(repository, &["commit", "-q", "-a", "-m", "the key is out"]);
    world.git(repository, &["checkout", "-q", "-b", "other"]);
    world.home.file("tree/repository/a b.txt", format!("x\n{OTHER_KEY}\n"));
    world.git(repository, &["add", "-A"]);
    world.git(repository, &["commit", "-q", "-m", &format!("why: {PROVIDER_KEY}")]);
    world.git(repository, &["checkout", "-q", "main"]);
    let before = state(&world.home.path().join(repository).join(".git"));
    // What the environment says of another repository is not about this one.
    let done = world.audit(&format!("--scan {repository}")).env("GIT_DIR", "/nonexistent").exits(1);
    let places = places(&done);
    let history: Vec<&str> = places.iter().filter_map(|place| place.split_once('@')).map(|(_, place)| place).collect();
    let files: Vec<&str> = history.iter().map(|place| place.get(12..).unwrap()).collect();
    assert_eq!(files.iter().filter(|file| **file == ":.env:2").count(), 1, "{places:?}");
    assert_eq!(files.iter().filter(|file| **file == ":a b.txt:2").count(), 1, "{places:?}");
    // The message of a commit, as git keeps it: behind its header.
    assert_eq!(history.iter().filter(|place| !place[12..].contains(".env") && !place.contains("a b")).count(), 1);
    assert!(!done.stdout.contains(OTHER_KEY));
    assert_eq!(state(&world.home.path().join(repository).join(".git")), before);
    // The folder above finds it too, and one below has no history of its own.
    assert!(world.audit("--scan tree").exits(1).stdout.contains(":.env"));
    world.home.file("tree/repository/src/lib.rs", "// nothing\n");
    world.audit("--scan tree/repository/src").exits(0);
}

fn state(folder: &Path) -> Vec<String> {
    let list = Command::new("find").arg(folder).args(["-type", "f", "-printf", "%p %s %T@\n"]).output().unwrap();
    let mut lines: Vec<String> = String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_hubs_own_env_file_may_hold_the_master_key_and_no_other_file_may() {
    let world = World::good();
    world.home.file("env/.env.auth", format!("BYOK_ENCRYPTION_KEY={MASTER_KEY}\n"));
    world.audit("--scan env --env-file env/.env.auth --via db").exits(0).says("where the master key belongs");
    world.home.file("env/copy", format!("BYOK_ENCRYPTION_KEY={MASTER_KEY}\n"));
    let done = world.audit("--scan env --env-file env/.env.auth --via db").exits(1);
    assert_eq!(findings(&done), ["error leak BYOK_ENCRYPTION_KEY"]);
    assert_eq!(places(&done), ["leak env/copy:1"]);
}

#[test]
fn an_audit_needs_a_database_its_master_key_and_paths_that_exist() {
    let world = World::good();
    let over_http = Home::new().variable("LLMHUB_HUB_URL", "http://127.0.0.1:9");
    assert_eq!(over_http.line("keys audit -o json").exits(7).code(), "unsupported");
    Home::new().line("keys audit").exits(3);
    assert_eq!(world.audit("").env("BYOK_ENCRYPTION_KEY", "c2hvcnQ=").exits(3).code(), "credentials");
    assert_ne!(world.audit("--scan nowhere").done().status, 0);
    world.audit(&format!("--scan {OTHER_KEY}")).exits(2);
}
