//! The rules are held against their own examples, and the pass against places, allows and hostile texts.

use super::rules::{find, rules};
use super::*;
use crate::domain::migrations::{FileContent, FolderFile};

/// The files of an example: a folder where it is cut by `-- file:` lines, else one loose file.
fn example(id: &str, text: &str) -> Folder {
    let mut files: Vec<FolderFile> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix("-- file: "), files.last_mut()) {
            (Some(path), _) => {
                files.push(FolderFile { path: path.trim().to_owned(), content: FileContent::Text(String::new()) });
            }
            (None, Some(FolderFile { content: FileContent::Text(text), .. })) => text.push_str(line),
            (None, _) => return loose(&[("0001_example.sql", text)]),
        }
    }
    if id == "not-utf8" && text.contains("not UTF-8") {
        files[0].content = FileContent::NotUtf8 { line: 1 };
    }
    Folder::read("", files)
}

fn loose(given: &[(&str, &str)]) -> Folder {
    let file = |(path, text): &(&str, &str)| FolderFile {
        path: (*path).to_owned(),
        content: FileContent::Text((*text).to_owned()),
    };
    Folder::loose(given.iter().map(file).collect())
}

/// Findings as `file:line:column rule`.
fn told(folder: Folder) -> Vec<String> {
    let line = |finding: Finding| format!("{}:{}:{} {}", finding.file, finding.line, finding.column, finding.rule);
    lint(&[folder]).into_iter().map(line).collect()
}

#[test]
fn every_bad_example_yields_exactly_its_rule_and_every_good_one_nothing() {
    let mut wrong = Vec::new();
    for rule in rules() {
        let found: Vec<_> =
            lint(&[example(rule.id, rule.bad)]).into_iter().map(|finding| (finding.rule, finding.message)).collect();
        if !(found.len() == 1 && found[0].0 == rule.id) {
            wrong.push(format!("{} bad: {found:?}", rule.id));
        }
        let found: Vec<_> =
            lint(&[example("", rule.good)]).into_iter().map(|finding| (finding.rule, finding.message)).collect();
        if !found.is_empty() {
            wrong.push(format!("{} good: {found:?}", rule.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ids_are_kebab_case_and_stand_once() {
    let ids: BTreeSet<&str> = rules().iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), rules().len());
    assert!(ids.iter().all(|id| id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')));
    assert!(find("squawk-ban-drop-table").is_some() && find("nothing").is_none());
}

#[test]
fn what_ships_is_clean() {
    assert_eq!(lint(&[Folder::embedded()]), []);
}

#[test]
fn places_are_those_of_the_file() {
    #[track_caller]
    fn case(text: &str, expected: &[&str]) {
        assert_eq!(told(loose(&[("1_a.sql", text)])), expected, "{text:?}");
    }
    let rule = "squawk-ban-drop-table";
    case("DROP TABLE t;", &[&format!("1_a.sql:1:1 {rule}")]);
    case("\u{feff}SELECT 1;\r\n\r\n  DROP TABLE t;\r\n", &[&format!("1_a.sql:3:3 {rule}")]);
    case("SELECT 1 AS \"ñé\"; DROP TABLE t;", &[&format!("1_a.sql:1:19 {rule}")]);
    case("COPY t FROM stdin;\n-- llmhub:allow x y\n\\.\nDROP TABLE t;", &[&format!("1_a.sql:4:1 {rule}")]);
    case("-- migrate:up\nSELECT 1;\n-- migrate:down\n  DROP TABLE t CASCADE;\n", &["1_a.sql:4:16 down-drop-cascade"]);
    case("SELECT 'é\n", &["1_a.sql:1:8 unterminated"]);
}

#[test]
fn an_allow_covers_its_statement_or_its_file() {
    #[track_caller]
    fn case(text: &str, expected: &[&str]) {
        assert_eq!(told(loose(&[("1_a.sql", text)])), expected, "{text:?}");
    }
    let allow = "-- llmhub:allow squawk-ban-drop-table old";
    case(&format!("{allow}\n\nDROP TABLE t;\nDROP TABLE u;"), &["1_a.sql:4:1 squawk-ban-drop-table"]);
    case(&format!("DROP TABLE t; {allow}\nDROP TABLE u;"), &["1_a.sql:2:1 squawk-ban-drop-table"]);
    case(&format!("DROP TABLE\n{allow}\nt;"), &[]);
    case("DROP TABLE t;\n-- llmhub:allow-file squawk-ban-drop-table old\nDROP TABLE u;", &[]);
    case(&format!("DROP TABLE t;\n{allow}\n"), &["1_a.sql:1:1 squawk-ban-drop-table", "1_a.sql:2:1 allow-unused"]);
    case(&format!("SELECT '{allow}' FROM t;"), &[]);
    case(&format!("{allow}\n-- migrate:up\nDROP TABLE t;\n-- migrate:down\nSELECT 1;"), &[]);
}

#[test]
fn one_bad_file_of_a_folder_leaves_the_others_linted() {
    let text = "-- file: 0001_a.up.sql\nDROP TABLE t;\n-- file: 0001_a.down.sql\n\n-- file: 1_b.up.sql\nDROP TABLE u;\n-- file: 1_b.down.sql\nSELECT 1;\n-- file: x2_c.down.sql\nSELECT 1;\n";
    assert_eq!(
        told(example("", text)),
        [
            "0001_a.down.sql:1:1 empty-down",
            "0001_a.up.sql:1:1 squawk-ban-drop-table",
            "1_b.up.sql:1:1 duplicate-version",
            "1_b.up.sql:1:1 squawk-ban-drop-table",
        ]
    );
}

#[test]
fn texts_that_are_too_deep_or_too_long_end_in_not_checked() {
    for text in [
        format!("SELECT {}1{};", "(".repeat(50_000), ")".repeat(50_000)),
        format!("SELECT 1{};", " + 1".repeat(15_000)),
        format!("SELECT 1{};", " OR a".repeat(50_000)),
    ] {
        let found: Vec<_> = lint(&[loose(&[("1_a.sql", &text)])]).iter().map(|finding| finding.rule).collect();
        assert_eq!(found, ["not-checked"]);
    }
    let chain = format!("SELECT 1{};", " + 1".repeat(1_990));
    assert_eq!(told(loose(&[("1_a.sql", &chain)])), [""; 0]);
}

#[test]
fn what_the_same_file_made_is_no_hazard() {
    let text = "CREATE TABLE t (a int);\nALTER TABLE t ADD COLUMN b int NOT NULL;\nCREATE INDEX i ON t (b);\nDROP INDEX i;\nALTER TABLE t RENAME TO u;\n";
    assert_eq!(told(loose(&[("1_a.sql", text)])), [""; 0]);
}
