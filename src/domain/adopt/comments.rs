//! A rollback that stands in its file as a comment: found, and offered as text. It is never run.

use serde::Serialize;

use super::super::migrations::Script;

/// Words by which a comment announces a way back.
const HEADINGS: [&str; 7] = ["rollback", "down", "undo", "revert", "to undo", "to rollback", "to revert"];

/// How a statement of a way back begins.
const VERBS: [&str; 9] = ["alter", "create", "delete", "drop", "insert", "revoke", "grant", "truncate", "update"];

/// A rollback that was found in comments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// The file.
    pub file: String,
    /// The line of the heading, from 1.
    pub line: usize,
    /// The SQL, ready for a file of its own.
    pub sql: String,
}

/// The way back that the comments of a script hold, if it is SQL from end to end.
pub(super) fn offer(script: &Script) -> Option<Offer> {
    let mut lines = script.text().lines().enumerate().map(|(number, line)| (number + 1, line)).peekable();
    while let Some((number, line)) = lines.next() {
        let Some(heading) = commented(line) else { continue };
        if !announces(heading) {
            continue;
        }
        let block = line.trim_start().starts_with("/*");
        let mut sql = String::new();
        while let Some((_, line)) = lines.peek() {
            let text = if block { inside_block(line) } else { commented(line).map(|text| (text, false)) };
            let Some((text, last)) = text else { break };
            sql.push_str(text.trim_end());
            sql.push('\n');
            lines.next();
            if last {
                break;
            }
        }
        let sql = sql.trim().to_owned();
        if is_sql(&sql) {
            return Some(Offer { file: script.file().to_owned(), line: number, sql: format!("{sql}\n") });
        }
    }
    None
}

fn commented(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("--").or_else(|| line.strip_prefix("/*"))?;
    Some(text.strip_prefix(' ').unwrap_or(text))
}

/// A line of a block comment, and whether the comment ends with it.
fn inside_block(line: &str) -> Option<(&str, bool)> {
    Some(match line.split_once("*/") {
        Some((text, _)) => (text, true),
        None => (line, false),
    })
}

fn announces(heading: &str) -> bool {
    let words: Vec<String> =
        heading.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let first = words.first().map(String::as_str).unwrap_or_default();
    let two = words.iter().take(2).map(String::as_str).collect::<Vec<_>>().join(" ");
    words.len() <= 6 && (HEADINGS.contains(&first) || HEADINGS.contains(&two.as_str()))
}

fn is_sql(text: &str) -> bool {
    let script = Script::new(text);
    let Ok(statements) = script.statements() else { return false };
    let begins = |words: Vec<String>| words.first().is_some_and(|word| VERBS.contains(&word.as_str()));
    !statements.is_empty() && text.ends_with(';') && statements.iter().all(|statement| begins(statement.words(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_back_in_comments_is_offered_and_prose_is_not() {
        #[track_caller]
        fn case(text: &str, expected: Option<(usize, &str)>) {
            let found = offer(&Script::new(text).named("a.sql"));
            assert_eq!(found.as_ref().map(|offer| (offer.line, offer.sql.as_str())), expected, "{text}");
        }
        case("CREATE TABLE t ();\n-- ROLLBACK:\n-- DROP TABLE t;\n", Some((2, "DROP TABLE t;\n")));
        case("-- to undo this:\n--   ALTER TABLE t\n--   DROP c;\nSELECT 1;", Some((1, "ALTER TABLE t\n  DROP c;\n")));
        case("/* Down\nDROP VIEW v;\nDROP TABLE t;\n*/\nSELECT 1;", Some((1, "DROP VIEW v;\nDROP TABLE t;\n")));
        case("-- rollback: ask the team first\n-- then drop it by hand\n", None);
        case("-- down\n", None);
        case("-- creates the table\n-- DROP TABLE t;\n", None);
        case("DROP TABLE t;", None);
    }
}
