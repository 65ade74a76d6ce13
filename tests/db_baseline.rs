//! `db baseline` through the real binary: a schema from before llmhub comes onto the ledger, and only what is there.

use crate::support::cli::Home;
use crate::support::postgres::Database;

#[tokio::test]
async fn what_is_there_is_recorded_without_being_run_and_the_rest_is_applied() {
    let database = Database::empty();
    let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
    for (number, up) in [
        (1, "CREATE TABLE t (id int); CREATE TABLE scratchpad (id int);"),
        (2, "DROP TABLE scratchpad; ALTER TABLE t ADD a int;"),
        (3, "CREATE TABLE u (id int);"),
    ] {
        home.file(&format!("m/{number}_x.up.sql"), up);
    }
    database.sql("CREATE TABLE t (id int, a int)").await;
    home.line("db apply --dir m").exits(7).says("llmhub db baseline");
    home.line("db baseline 9 --dir m").exits(4);
    home.line("db baseline 3 --dir m").exits(7).says("public.u of 3_x.up.sql");
    home.line("db baseline 3 --dir m --unproven").exits(7).says("--reason");
    let looked = home.line("db baseline 2 --dir m --dry-run --json").exits(0).json();
    assert_eq!((looked["current"].as_str(), looked["dry_run"].as_bool()), (Some("2"), Some(true)));
    home.line("db baseline 2 --dir m --reason 'from before'").exits(0).prints("recorded, not run");
    home.line("db apply --dir m").exits(0);
    let events =
        "SELECT concat_ws(' ', kind, version, reason) FROM llmhub.migration_event WHERE kind <> 'failed' ORDER BY id";
    assert_eq!(database.lines(events).await, ["adopted 1 from before", "adopted 2 from before", "applied 3"]);
    home.line("db baseline 3 --dir m").exits(5);
}

#[test]
fn a_reason_goes_on_where_a_table_is_absent() {
    let database = Database::empty();
    let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url());
    home.file("m/1_x.up.sql", "CREATE TABLE t (id int); ALTER TABLE t RENAME TO u;");
    home.line("db baseline 1 --dir m --unproven --reason 'it was renamed'").exits(0).says("public.t of 1_x.up.sql");
}
