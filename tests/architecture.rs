//! The import direction, and the small rules that keep the tree readable.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file as (path below src, text before its own tests).
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
            (path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), code)
        })
        .collect()
}

/// The top-level modules that a layer may import from; its own is always allowed.
fn allowed(layer: &str) -> &'static [&'static str] {
    match layer {
        "commands" => &["app", "domain", "ui", "error"],
        "app" => &["store", "ui", "config", "error", "domain"],
        "store" => &["domain", "config"],
        "error" => &["store", "domain", "config", "ui"],
        "domain" | "ui" | "config" => &[],
        _ => &["app", "commands", "config", "domain", "error", "store", "ui"],
    }
}

#[test]
fn imports_follow_the_arrow() {
    let mut wrong = Vec::new();
    for (path, code) in files() {
        let layer = path.split(['/', '.']).next().unwrap_or_default().to_owned();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for reference in line.split("crate::").skip(1) {
                let module: String = reference.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if module != layer && !allowed(&layer).contains(&module.as_str()) {
                    wrong.push(format!("src/{path}:{}: {layer} must not import {module}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    for (path, code) in files() {
        assert!(code.starts_with("//!"), "src/{path} does not open with what it is and what it promises");
        let lines = code.lines().count();
        assert!(lines <= 400, "src/{path} has {lines} lines before its tests: split it by meaning");
    }
}

#[test]
fn commands_hold_neither_sql_nor_urls() {
    for (path, code) in files().into_iter().filter(|(path, _)| path.starts_with("commands/")) {
        for (number, line) in code.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in ["SELECT ", "INSERT ", "UPDATE ", "DELETE FROM", "/api/"] {
                assert!(!code.contains(word), "src/{path}:{}: `{word}` belongs into store", number + 1);
            }
        }
    }
}

#[test]
fn nothing_is_left_open_and_nothing_is_called_util() {
    for (path, code) in files() {
        for word in ["TODO", "FIXME", "XXX", "dbg!", "todo!", "unimplemented!"] {
            assert!(!code.contains(word), "src/{path} holds {word}");
        }
        for name in ["util", "common", "misc", "helpers", "manager"] {
            assert!(!path.contains(name), "src/{path}: `{name}` says nothing");
        }
    }
}
