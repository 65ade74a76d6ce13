//! The documents of `db status`, `db plan`, `db history` and `db apply`, member by member.

#![allow(dead_code, reason = "a member is declared because it must be there, also where no test looks at its value")]

use serde::Deserialize;

use super::{apply, home};
use crate::support::postgres::Database;
use crate::support::shapes::{Failure, present};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    database: String,
    #[serde(deserialize_with = "present")]
    current: Option<String>,
    applied: Vec<Recorded>,
    pending: Vec<Named>,
    problems: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    version: String,
    name: String,
    applied_at: String,
    applied_by: String,
    proven: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    version: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    database: String,
    #[serde(deserialize_with = "present")]
    current: Option<String>,
    steps: Vec<Step>,
    problems: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    version: String,
    name: String,
    file: String,
    parts: Vec<Part>,
    down: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    kind: String,
    statements: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: String,
    sql: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    at: String,
    kind: String,
    #[serde(deserialize_with = "present")]
    version: Option<String>,
    #[serde(deserialize_with = "present")]
    name: Option<String>,
    #[serde(deserialize_with = "present")]
    part: Option<i32>,
    by: String,
    role: String,
    #[serde(deserialize_with = "present")]
    duration_ms: Option<i64>,
    run: String,
    tool_version: String,
    #[serde(deserialize_with = "present")]
    reason: Option<String>,
    #[serde(deserialize_with = "present")]
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ran {
    version: String,
    name: String,
    duration_ms: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Applied {
    applied: Vec<Ran>,
    #[serde(deserialize_with = "present")]
    current: Option<String>,
    #[serde(default)]
    failed: Option<Failed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failed {
    version: String,
    name: String,
    error: Failure,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tried {
    applied: Vec<Ran>,
    skipped: Vec<Skipped>,
    #[serde(deserialize_with = "present")]
    current: Option<String>,
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Skipped {
    version: String,
    name: String,
    reason: String,
}

#[test]
fn the_documents_of_db_have_the_declared_members_and_no_others() {
    let database = Database::empty();
    let home = home(&[
        ("1_a", "CREATE TABLE a (id int);"),
        ("2_i", "CREATE INDEX CONCURRENTLY i ON a (id);\nINSERT INTO a VALUES (1);"),
        ("3_bad", "SELECT nothing;"),
        ("4_c", "CREATE TABLE c ();"),
    ]);
    let look = |command: &str| home.line(&format!("db {command} --dir m -o json --database-url {}", database.url()));
    let tried: Tried = apply(&home, &database, database.server.port, "-o json --dry-run --to 2").exits(0).read();
    assert_eq!((tried.applied.len(), tried.skipped.len(), tried.dry_run, tried.current), (1, 1, true, None));
    let plan: Plan = look("plan").exits(0).read();
    let kinds: Vec<&str> = plan.steps.iter().flat_map(|step| &step.parts).map(|part| part.kind.as_str()).collect();
    assert_eq!(kinds, ["transaction", "alone", "transaction", "transaction", "transaction"]);
    assert_eq!(
        (plan.steps[0].down.as_str(), plan.steps[1].parts[1].statements[0].at.as_str()),
        ("missing", "2_i.up.sql:2:1")
    );

    let applied: Applied = apply(&home, &database, database.server.port, "-o json").exits(10).read();
    let failed = applied.failed.unwrap();
    assert_eq!((applied.applied.len(), applied.current.as_deref(), failed.version.as_str()), (2, Some("2"), "3"));
    assert_eq!(failed.error.code, "refused");

    let status: Status = look("status").exits(0).read();
    assert_eq!((status.applied.len(), status.pending.len(), status.current.as_deref()), (2, 2, Some("2")));
    assert!(!status.database.contains('@') || !status.database.contains(':') || !status.database.contains("CANARY"));
    look("status --exit-code").exits(1);
    let events: Vec<Event> =
        home.line(&format!("db history -o json --database-url {}", database.url())).exits(0).read();
    let kinds: Vec<&str> = events.iter().rev().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["applied", "started", "statement_done", "statement_done", "applied", "failed"]);
    assert!(events[0].error.as_deref().unwrap().contains("3_bad.up.sql:1:8"));
}
