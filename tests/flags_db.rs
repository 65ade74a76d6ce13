//! Flags in a database, through the real binary: what is remembered, what takes a change back, and every way to be refused.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::support::cli::{Done, Home};
use crate::support::places::{FLAG, Place, runtime};
use crate::support::postgres::{CANARY_PASSWORD, Database};
use crate::support::shapes::{Event, Shown, Written};

#[track_caller]
fn show(place: &Place) -> Shown {
    place.flags(&format!("show {FLAG}"), 0).read()
}

#[track_caller]
fn history(place: &Place, flag: &str) -> Vec<Event> {
    place.flags(&format!("history {flag}"), 0).read()
}

/// The same but for the number, which counts every write.
fn same(one: &Shown, other: &Shown) -> bool {
    *one == Shown { revision: one.revision, ..other.clone() }
}

/// What a run says about taking its change back, as a shell runs it.
#[track_caller]
fn undo_line(done: &Done) -> String {
    let line = done.stderr.lines().find_map(|line| line.split_once("undo: ").map(|(_, command)| command.to_owned()));
    line.unwrap_or_else(|| panic!("no undo command: {}", done.stderr))
}

#[track_caller]
fn in_a_shell(place: &Place, line: &str) -> Output {
    let output = place.home.command("/bin/sh", ["-c", line]).stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn every_change_is_remembered_with_who_and_why() {
    let place = Place::database();
    place.flags(&format!("enable {FLAG}"), 0);
    place.flags(&format!("rollout {FLAG} 10 -m 'ticket 7: Ünï'"), 0);
    place.flags(&format!("rollout {FLAG} 10 -m 'nothing to do'"), 0);
    place.flags(&format!("whitelist add {FLAG} ana"), 0);
    let events = history(&place, FLAG);
    let told: Vec<(i64, &str, Option<&str>)> =
        events.iter().map(|event| (event.revision, event.operation.as_str(), event.reason.as_deref())).collect();
    let expected =
        [(4, "whitelist", None), (3, "rollout", Some("ticket 7: Ünï")), (2, "enable", None), (1, "create", None)];
    assert_eq!(told, expected);
    assert!(events.iter().take(3).all(|event| event.actor.starts_with("tester@")), "{events:?}");
    let rollout = events[1].changes.first().expect("a change");
    assert_eq!(
        (&rollout["member"], &rollout["before"], &rollout["after"]),
        (&"rollout_percentage".into(), &0.into(), &10.into())
    );
    assert_eq!(place.flags(&format!("history {FLAG} --limit 1"), 0).read::<Vec<Event>>().len(), 1);
    place.line(&format!("flags history {FLAG}")).exits(0).prints("ticket 7: Ünï").prints("white list + ana");
    assert_eq!(place.flags("history nobody_knows", 4).code(), "flag_not_found");
}

#[test]
fn nobody_can_rewrite_the_history() {
    let place = Place::database();
    place.flags(&format!("enable {FLAG} -m true"), 0);
    for sql in [
        "UPDATE feature_flag_events SET reason = 'other'",
        "DELETE FROM feature_flag_events",
        "TRUNCATE feature_flag_events",
    ] {
        let refused = runtime().block_on(async {
            let mut connection = place.database.as_ref().unwrap().connect().await;
            connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.is_err()
        });
        assert!(refused, "{sql} went through");
    }
    assert_eq!(history(&place, FLAG).len(), 2);
}

#[test]
fn undo_takes_back_the_newest_change_or_all_since_a_revision() {
    let place = Place::database();
    let start = show(&place);
    place.flags(&format!("enable {FLAG}"), 0);
    place.flags(&format!("rollout {FLAG} 10"), 0);
    place.flags(&format!("whitelist add {FLAG} ana"), 0);
    let before = show(&place);
    place.flags(&format!("schedule {FLAG} --start 2031-01-01"), 0);

    assert_eq!(place.flags(&format!("undo {FLAG}"), 9).code(), "not_confirmed");
    let undone: Written = place.flags(&format!("undo {FLAG} -y"), 0).read();
    assert!(undone.changed && same(&before, &undone.after), "{undone:?}");
    // Undoing an undo is a redo: the newest change is the undo itself.
    let redone: Written = place.flags(&format!("undo {FLAG} -y"), 0).read();
    assert_eq!(redone.after.start_date.as_deref(), Some("2031-01-01T00:00:00"));

    let back: Written = place.flags(&format!("undo {FLAG} --to 1 -y -m back"), 0).read();
    assert!(same(&start, &back.after), "{back:?}");
    assert_eq!(back.after.revision, Some(8), "a way back is a step forward in the history");
    let newest = history(&place, FLAG).remove(0);
    assert_eq!((newest.operation.as_str(), newest.reason.as_deref()), ("undo", Some("back")));
    assert_eq!(place.flags(&format!("undo {FLAG} --to 99 -y"), 4).code(), "not_found");
    assert_eq!(place.flags("undo advanced_analytics -y", 4).code(), "not_found");
}

#[test]
fn the_undo_command_that_is_printed_restores_the_flag() {
    for prepare in ["disable", "enable"] {
        let place = Place::database();
        place.flags(&format!("{prepare} {FLAG}"), 0);
        place.flags(&format!("rollout {FLAG} 25 --skip-steps -m start"), 0);
        place.flags(&format!("whitelist add {FLAG} ana \"o'hara $HOME\""), 0);
        for change in [
            format!("enable {FLAG}"),
            format!("rollout {FLAG} 50"),
            format!("rollout {FLAG} 0"),
            format!("whitelist add {FLAG} x \"it's\""),
            format!("whitelist remove {FLAG} \"o'hara $HOME\""),
            format!("blacklist add {FLAG} eve"),
            format!("schedule {FLAG} --start 2031-01-01 --end 2031-02-01"),
        ] {
            let before = show(&place);
            let done = place.flags(&change, 0);
            if done.read::<Written>().changed {
                in_a_shell(&place, &format!("{} -y", undo_line(&done)));
            }
            assert!(same(&before, &show(&place)), "{change}: {:?}\n{:?}", before, show(&place));
        }
    }
}

#[test]
fn the_undo_command_names_the_database_that_was_typed_without_its_password() {
    let place = Place::database();
    let url = place.database.as_ref().unwrap().url();
    let home = Home::new();
    let done = home.run(["flags", "enable", FLAG, "--database-url", &url]).exits(0);
    let line = undo_line(&done);
    assert!(line.contains("--database-url \"$LLMHUB_DATABASE_URL\""), "{line}");
    let before = Shown { enabled: false, ..show(&place) };
    in_a_shell(&place, &format!("{line} -y"));
    assert!(same(&before, &show(&place)));
}

#[test]
fn a_flag_is_created_and_deleted_and_its_history_stays() {
    let place = Place::database();
    let line = "create 'new search' --description 'Sémantique' --tag llm --tag beta --owner team";
    let would: Shown = place.flags(&format!("{line} --dry-run"), 0).read();
    assert_eq!(place.flags("show 'new search'", 4).code(), "flag_not_found");
    let made: Shown = place.flags(line, 0).read();
    assert_eq!(Shown { revision: None, ..made.clone() }, Shown { revision: None, ..would });
    assert_eq!((made.enabled, made.rollout_percentage, made.revision), (false, 0, Some(1)));
    assert_eq!((made.tags.as_slice(), made.owner.as_deref()), (&["llm".to_owned(), "beta".into()][..], Some("team")));
    assert_eq!(place.flags(line, 5).code(), "conflict");

    assert_eq!(place.flags("delete 'new search'", 9).code(), "not_confirmed");
    place.flags("delete 'new search' --dry-run", 0);
    place.flags("show 'new search'", 0);
    let gone = place.flags("delete 'new search' -y -m shipped", 0).json();
    assert_eq!((&gone["deleted"], &gone["before"]["owner"]), (&true.into(), &"team".into()));
    assert_eq!(place.flags("delete 'new search' -y", 4).code(), "flag_not_found");
    let kept = history(&place, "'new search'");
    assert_eq!(kept.iter().map(|event| event.operation.as_str()).collect::<Vec<_>>(), ["delete", "create"]);
    assert_eq!(kept[0].reason.as_deref(), Some("shipped"));

    place.flags("create 'new search'", 0);
    assert_eq!(history(&place, "'new search'").len(), 3, "a second life continues the first one's history");
}

#[test]
fn the_undo_of_a_create_is_the_delete_that_is_printed() {
    let place = Place::database();
    let done = place.flags("create \"it's new\"", 0);
    in_a_shell(&place, &format!("{} -y", undo_line(&done)));
    place.flags("show \"it's new\"", 4);
}

/// Hold the flag's row, as another session in the middle of its transaction does, while `work` runs.
fn while_locked<T>(place: &Place, statement: &str, end: &str, work: impl FnOnce() -> T) -> T {
    let runtime = runtime();
    let mut session = runtime.block_on(async {
        let mut session = place.database.as_ref().unwrap().connect().await;
        session.execute("BEGIN").await.unwrap();
        session.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
        session
    });
    let result = work();
    runtime.block_on(async {
        session.execute(sqlx::raw_sql(AssertSqlSafe(end))).await.unwrap();
        session.close().await.unwrap();
    });
    result
}

/// Wait until this many sessions of llmhub stand at a lock.
#[track_caller]
fn until_blocked(place: &Place, count: usize) {
    let sql = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(20);
    while place.query(sql).len() < count {
        assert!(Instant::now() < deadline, "{count} sessions should stand at the lock");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn of_two_steps_at_once_one_moves_and_the_other_is_told() {
    let place = Place::database();
    let line = format!("flags rollout {FLAG} --next -o json");
    let touch = format!("SELECT 1 FROM feature_flags WHERE name = '{FLAG}' FOR UPDATE");
    // Both have read the same revision by the time both stand at the row.
    let started = while_locked(&place, &touch, "COMMIT", || {
        let started = [place.line(&line).spawn(), place.line(&line).spawn()];
        until_blocked(&place, 2);
        started
    });
    let mut ends: Vec<Done> = started.into_iter().map(crate::support::cli::Started::wait).collect();
    ends.sort_by_key(|done| done.status);
    assert_eq!((ends[0].status, ends[1].status), (0, 5), "{}{}", ends[0].stdout, ends[1].stdout);
    assert_eq!(ends[1].code(), "conflict");
    assert_eq!(show(&place).rollout_percentage, 10, "one rung, not two");
    assert_eq!(history(&place, FLAG).len(), 2);
}

#[test]
fn a_signal_during_a_blocked_write_ends_it_with_the_truth_and_no_change() {
    for (signal, status, code) in [("TERM", 143, "terminated"), ("INT", 130, "interrupted")] {
        let place = Place::database();
        let before = show(&place);
        let touch = format!("UPDATE feature_flags SET owner = 'held' WHERE name = '{FLAG}'");
        let done = while_locked(&place, &touch, "ROLLBACK", || {
            let run = place.line(&format!("flags enable {FLAG} -o json")).spawn();
            until_blocked(&place, 1);
            run.signal(signal);
            let done = run.wait();
            // The server must not keep waiting on behalf of somebody who left.
            let waiting = "SELECT pid::text FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            let deadline = Instant::now() + Duration::from_secs(5);
            while !place.query(waiting).is_empty() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            done
        });
        assert_eq!((done.status, done.code().as_str()), (status, code), "{}", done.stdout);
        assert!(done.stdout.contains("db"), "it says where it was: {}", done.stdout);
        assert_eq!(show(&place), before, "{signal}: the write came through after its end was reported");
        assert_eq!(history(&place, FLAG).len(), 1, "{signal}");
    }
}

#[test]
fn a_database_without_the_schema_names_the_command_and_stays_virgin() {
    let place = Place { database: Some(Database::empty()), ..Place::several(None, false, None) };
    let url = place.database.as_ref().unwrap().url();
    for line in ["list", "enable unified_llm_hub", "history unified_llm_hub", "create x", "undo unified_llm_hub -y"] {
        let done = place.line(&format!("flags {line} -o json")).env("LLMHUB_DATABASE_URL", &url).exits(3);
        assert_eq!(done.code(), "schema_missing", "{line}");
        assert_eq!(done.json()["error"]["hint"], "llmhub db apply", "{line}");
    }
    place.line("db apply --dry-run").env("LLMHUB_DATABASE_URL", &url).exits(0).prints("nothing was written");
    let created = "SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
                   WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
                   UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname = 'llmhub'";
    assert_eq!(place.query(created), [""; 0], "a read or a refusal created something");
}

#[test]
fn apply_twice_applies_once() {
    let place = Place { database: Some(Database::empty()), ..Place::several(None, false, None) };
    let url = place.database.as_ref().unwrap().url();
    let apply = |status| place.line("db apply -o json").env("LLMHUB_DATABASE_URL", &url).exits(status).json();
    let versions = |document: &serde_json::Value| document["applied"].as_array().map(Vec::len);
    let first = apply(0);
    assert_eq!((versions(&first), first["current"].as_str()), (Some(3), Some("0003")), "{first}");
    let second = apply(0);
    assert_eq!((versions(&second), second["current"].as_str()), (Some(0), Some("0003")), "{second}");
}

/// A run against a database that cannot be used: exit status and code.
#[track_caller]
fn fails(url: &str, line: &str, status: i32, code: &str) -> Done {
    let home = Home::new().variable("LLMHUB_DATABASE_URL", url);
    let done = home.line(&format!("flags {line} -o json --timeout 20s")).exits(status);
    assert_eq!(done.code(), code, "{}", done.stdout);
    done
}

#[test]
fn a_login_that_is_refused_is_a_matter_of_credentials() {
    let database = Database::migrated();
    let (host, port) = (database.server.host.as_str(), database.server.port);
    let wrong = database.url_for(&database.server.superuser, "canary-password-9a55", host, port);
    fails(&wrong, "list", 3, "credentials");
    fails(&wrong, &format!("enable {FLAG}"), 3, "credentials");
    fails(&database.url_for("nobody_here", "canary-password-9a55", host, port), "list", 3, "credentials");
}

#[test]
fn a_server_that_is_not_there_is_unreachable_and_nothing_was_written() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let database = Database::migrated();
    let url = database.url_for(&database.server.superuser, CANARY_PASSWORD, "127.0.0.1", port);
    for line in ["list".to_owned(), format!("rollout {FLAG} 10")] {
        let done = fails(&url, &line, 6, "unreachable").within(Duration::from_secs(20));
        assert!(done.stdout.contains(&port.to_string()), "it names the address: {}", done.stdout);
    }
}

#[test]
fn a_role_without_rights_may_not_write() {
    let place = Place::database();
    let database = place.database.as_ref().unwrap();
    let role = format!("reader_{}", database.name);
    place.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'; GRANT SELECT ON feature_flags, feature_flag_events TO {role}"
    ));
    let url = database.url_for(&role, CANARY_PASSWORD, &database.server.host, database.server.port);
    let home = Home::new().variable("LLMHUB_DATABASE_URL", url.as_str());
    home.line("flags list").exits(0);
    for line in [format!("enable {FLAG}"), "create x".to_owned(), format!("delete {FLAG} -y")] {
        fails(&url, &line, 7, "denied");
    }
    place.sql(&format!("REVOKE ALL ON feature_flags, feature_flag_events FROM {role}"));
    fails(&url, "list", 7, "denied");
    place.sql(&format!("DROP ROLE {role}"));
    assert_eq!(history(&place, FLAG).len(), 1);
}
