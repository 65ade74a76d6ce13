//! What must not run even on a scratch database, since the scratch stands on somebody's server.
//!
//! Beyond the plain statements also what a `DO` block speaks of and the functions that reach out. A word too many refuses a
//! harmless file; a word too few would act on a live server.

use super::super::migrations::{Position, Script, Statement, tokens};
use super::super::schema::reaches_outside;

/// Functions that act on other sessions, servers or files.
const REACHING: [&str; 14] = [
    "dblink",
    "dblink_connect",
    "dblink_exec",
    "dblink_send_query",
    "lo_export",
    "lo_import",
    "pg_cancel_backend",
    "pg_create_physical_replication_slot",
    "pg_create_logical_replication_slot",
    "pg_drop_replication_slot",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_switch_wal",
    "pg_terminate_backend",
];

/// Where a script acts beyond its database, and how.
pub(super) fn outside(script: &Script) -> Option<(Position, &'static str)> {
    let statements = script.statements().unwrap_or_default();
    statements.iter().find_map(|statement| reason(statement).map(|why| (statement.position(), why)))
}

fn reason(statement: &Statement<'_>) -> Option<&'static str> {
    if let Some(why) = reaches_outside(statement) {
        return Some(why);
    }
    let first = statement.words(1);
    if first.first().map(String::as_str) == Some("do") {
        return block(statement.text());
    }
    let calls = tokens(statement.text()).iter().any(|(_, text)| REACHING.contains(&text.to_ascii_lowercase().as_str()));
    calls.then_some("it calls a function that acts on other sessions, servers or files")
}

/// The words of a block, its strings included: they may be run as statements.
fn block(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    if words.iter().any(|word| REACHING.contains(word)) {
        return Some("its block calls a function that acts on other sessions, servers or files");
    }
    let acts = words.windows(3).any(|three| {
        let [verb, object, next] = three else { return false };
        let verb = matches!(*verb, "create" | "alter" | "drop");
        verb && match *object {
            "role" | "group" | "database" | "tablespace" | "system" | "subscription" | "owned" => true,
            "user" => *next != "mapping",
            _ => false,
        }
    });
    acts.then_some("its block acts on roles, whole databases or the server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_beyond_its_database_never_runs() {
        #[track_caller]
        fn case(text: &str, line: Option<usize>) {
            assert_eq!(outside(&Script::new(text)).map(|(at, _)| at.line), line, "{text}");
        }
        case("SELECT 1;\nCREATE ROLE x;", Some(2));
        case("DO $$ BEGIN EXECUTE 'CREATE USER x'; END $$;", Some(1));
        case("DO $$ BEGIN ALTER DATABASE x SET a = 1; END $$;", Some(1));
        case("SELECT pg_terminate_backend(pid) FROM pg_stat_activity;", Some(1));
        case("DO $$ BEGIN PERFORM dblink_exec('x', 'y'); END $$;", Some(1));
        case("DO $$ BEGIN CREATE USER MAPPING FOR x SERVER y; END $$;", None);
        case("DO $$ BEGIN CREATE TABLE role_database (a int); END $$;", None);
        case("CREATE TABLE t (role text);", None);
    }
}
