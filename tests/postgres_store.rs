//! The Postgres source through the library: guarded edits, proof by reading back, history, and every way to lose a server.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use llmhub::domain::flags::change::{Change, DateEdit, changed_members};
use llmhub::domain::flags::{Flag, FlagKey, ListName, Member, StoredPercent};
use llmhub::store::postgres::{Identity, PostgresFlags, UserCount};
use llmhub::store::{Depth, Edit, FlagCatalog, FlagHistory, FlagStore, Note, Source, Stance, StoreError};
use tokio::net::TcpListener;

use crate::support::cut::{self, Loss};
use crate::support::postgres::{CANARY_PASSWORD, Database, server, target};

fn key(name: &str) -> FlagKey {
    name.parse().unwrap()
}

fn hub() -> FlagKey {
    key("unified_llm_hub")
}

fn note(operation: &'static str) -> Note {
    Note { actor: "alice@ops".to_owned(), reason: Some("drill".to_owned()), operation }
}

fn edit(seen: &Flag, change: &Change) -> Edit {
    let wanted = change.apply(seen);
    let members = changed_members(seen, &wanted);
    Edit { seen: seen.clone(), wanted, members, also_seen: Vec::new(), stance: Stance::Careful }
}

fn percent(value: i64) -> Change {
    Change::Percentage(value.try_into().unwrap())
}

#[track_caller]
fn clean(error: &StoreError) -> String {
    let text = error.to_string();
    assert!(!format!("{error:?}{text}").contains(CANARY_PASSWORD), "{text}");
    assert!(!text.contains(" at line "), "{text}");
    text
}

#[tokio::test]
async fn the_hubs_three_flags_start_off_for_everybody() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    let listed = flags.list().await.unwrap();
    let names: Vec<&str> = listed.iter().map(|flag| flag.key.as_str()).collect();
    assert_eq!(names, ["advanced_analytics", "model_recommendations", "unified_llm_hub"]);
    for flag in &listed {
        assert_eq!((flag.is_enabled(), &flag.percentage, flag.revision), (false, &StoredPercent::Number(0), Some(1)));
    }
    let flag = flags.get(&hub()).await.unwrap();
    assert_eq!(flag.tags, ["llm", "ui", "admin"]);
    assert_eq!(flag.owner.as_deref(), Some("platform-team"));
    let survey = flags.survey(Depth::Glance).await.unwrap();
    assert_eq!((survey.variants.len(), survey.live, flags.source()), (1, None, Source::Db));
    assert_eq!(survey.variants[0].flags, listed);
    assert!(!survey.variants[0].addresses[0].contains(CANARY_PASSWORD));
}

#[tokio::test]
async fn an_edit_is_read_back_through_another_connection_and_remembered() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    let mut seen = flags.get(&hub()).await.unwrap();
    let schedule = Change::Schedule {
        start: DateEdit::Set("2026-03-01T09:30:00".to_owned()),
        end: DateEdit::Set("2026-04-01T00:00:00.250000".to_owned()),
    };
    let users = vec!["ünï@example.com".to_owned(), "a\"b,{}\\".to_owned(), String::new()];
    let changes = [
        Change::Enable,
        percent(25),
        Change::Add(ListName::White, users),
        Change::Add(ListName::Black, vec!["mallory".to_owned()]),
        schedule,
        Change::Schedule { start: DateEdit::Clear, end: DateEdit::Keep },
    ];
    for change in &changes {
        let wanted = change.apply(&seen);
        let saved = flags.save(&edit(&seen, change), &note("test")).await.unwrap();
        assert!(saved.changed && saved.persisted && saved.live.is_none() && saved.notes.is_empty());
        assert_eq!(saved.after.revision, seen.revision.map(|revision| revision + 1));
        assert_eq!(Flag { revision: seen.revision, ..saved.after.clone() }, wanted);
        assert_eq!(flags.get(&hub()).await.unwrap(), saved.after);
        seen = saved.after;
    }
    let events = flags.history(&hub(), 100).await.unwrap();
    assert_eq!(events.iter().map(|event| event.revision).collect::<Vec<_>>(), [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(events[0].after.as_ref(), Some(&seen));
    for pair in events.windows(2) {
        assert_eq!(pair[0].before, pair[1].after);
        assert_eq!((pair[0].actor.as_str(), pair[0].reason.as_deref()), ("alice@ops", Some("drill")));
    }
    let creation = events.last().unwrap();
    assert_eq!((creation.operation.as_str(), &creation.before), ("create", &None));
    assert!(events[0].at.ends_with('Z') && events[0].at.contains('T'), "{}", events[0].at);
    assert_eq!(flags.history(&hub(), 2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_edit_that_changes_nothing_writes_nothing() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    let seen = flags.get(&hub()).await.unwrap();
    let same = Edit {
        seen: seen.clone(),
        wanted: seen.clone(),
        members: Member::ALL.to_vec(),
        also_seen: Vec::new(),
        stance: Stance::Careful,
    };
    let saved = flags.save(&same, &note("test")).await.unwrap();
    assert!(!saved.changed && saved.persisted);
    assert_eq!((saved.after, flags.history(&hub(), 9).await.unwrap().len()), (seen, 1));
}

#[tokio::test]
async fn only_the_members_of_an_edit_are_written() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    let seen = flags.get(&hub()).await.unwrap();
    let mut wanted = seen.clone();
    wanted.percentage = StoredPercent::Number(5);
    wanted.owner = Some("somebody else".to_owned());
    wanted.whitelist = None;
    let partly =
        Edit { seen, wanted, members: vec![Member::Percentage], also_seen: Vec::new(), stance: Stance::Careful };
    let saved = flags.save(&partly, &note("test")).await.unwrap();
    assert_eq!(saved.after.percentage, StoredPercent::Number(5));
    assert_eq!(saved.after.owner.as_deref(), Some("platform-team"));
}

#[tokio::test]
async fn stale_save_conflicts_and_names_who_was_faster() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    let seen = flags.get(&hub()).await.unwrap();
    flags.save(&edit(&seen, &percent(10)), &note("rollout")).await.unwrap();
    let error = flags.save(&edit(&seen, &percent(20)), &note("rollout")).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
    let text = clean(&error);
    assert!(text.contains("alice@ops") && text.contains("revision 1 then, 2 now"), "{text}");
    assert_eq!(flags.get(&hub()).await.unwrap().percentage, StoredPercent::Number(10));
    assert_eq!(flags.history(&hub(), 9).await.unwrap().len(), 2);

    let unread = Flag { revision: None, ..flags.get(&hub()).await.unwrap() };
    let error = flags.save(&edit(&unread, &percent(20)), &note("rollout")).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
}

#[tokio::test]
async fn concurrent_writers_lose_nothing() {
    let database = Database::migrated();
    let flags = Arc::new(PostgresFlags::new(database.target()));
    let writers = (0..4).map(|writer| {
        let flags = flags.clone();
        tokio::spawn(async move {
            let mut conflicts = 0;
            for round in 0..5 {
                let change = Change::Add(ListName::White, vec![format!("user-{writer}-{round}")]);
                loop {
                    let seen = flags.get(&hub()).await.unwrap();
                    match flags.save(&edit(&seen, &change), &note("whitelist")).await {
                        Ok(saved) => break assert!(saved.changed && saved.persisted),
                        Err(StoreError::Conflict(_)) => conflicts += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            conflicts
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let flag = flags.get(&hub()).await.unwrap();
    assert_eq!((flag.white().len(), flag.revision), (20, Some(21)));
    let events = flags.history(&hub(), 100).await.unwrap();
    assert_eq!(events.len(), 21);
    assert!(events.windows(2).all(|pair| pair[0].before == pair[1].after));
}

#[tokio::test]
async fn an_unknown_flag_is_not_found_and_the_known_ones_are_named() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    #[track_caller]
    fn check<T: std::fmt::Debug>(result: Result<T, StoreError>) {
        match result {
            Err(StoreError::NotFound { known, source_word: Source::Db, .. }) => assert_eq!(known.len(), 3),
            other => panic!("{other:?}"),
        }
    }
    check(flags.get(&key("nope")).await);
    check(flags.history(&key("nope"), 5).await);
    check(flags.save(&edit(&Flag::off(key("nope")), &Change::Enable), &note("test")).await);
    check(flags.delete(&Flag::off(key("nope")), &note("test")).await);
}

#[tokio::test]
async fn flags_are_created_and_deleted_and_their_history_stays() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    let mut wanted = Flag::off(key("флаг: a b"));
    wanted.percentage = StoredPercent::Number(7);
    wanted.tags = vec!["x".to_owned()];
    wanted.start = Some("2026-01-01T00:00:00".to_owned());
    let created = flags.create(&wanted, &note("create")).await.unwrap();
    assert_eq!(created, Flag { revision: Some(1), ..wanted.clone() });
    let error = flags.create(&wanted, &note("create")).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
    assert!(clean(&error).contains("there is a flag"), "{error}");

    let stale = Flag { revision: Some(9), ..created.clone() };
    assert!(matches!(flags.delete(&stale, &note("delete")).await, Err(StoreError::Conflict(_))));
    flags.delete(&created, &note("delete")).await.unwrap();
    assert!(matches!(flags.get(&wanted.key).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(flags.delete(&created, &note("delete")).await, Err(StoreError::Conflict(_))));
    assert!(matches!(flags.save(&edit(&created, &Change::Enable), &note("test")).await, Err(StoreError::Conflict(_))));

    let again = flags.create(&wanted, &note("create")).await.unwrap();
    assert_eq!(again.revision, Some(3), "a revision of the deleted flag must not fit the new one");
    let operations: Vec<String> =
        flags.history(&wanted.key, 9).await.unwrap().into_iter().map(|event| event.operation).collect();
    assert_eq!(operations, ["create", "delete", "create"]);
}

#[tokio::test]
async fn values_that_no_column_can_hold_are_refused_before_anything_is_sent() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    let seen = flags.get(&hub()).await.unwrap();
    let mut wanted = seen.clone();
    wanted.percentage = StoredPercent::Number(150);
    let error =
        flags.save(&edit(&seen, &Change::Take(vec![Member::Percentage], Box::new(wanted))), &note("sync")).await;
    assert!(matches!(error, Err(StoreError::Refused(_))), "{error:?}");
    let mut created = Flag::off(key("x"));
    created.end = Some("2026-01-01T00:00:00Z".to_owned());
    assert!(matches!(flags.create(&created, &note("create")).await, Err(StoreError::Refused(_))));
    assert_eq!(flags.list().await.unwrap().len(), 3);
}

#[tokio::test]
async fn dates_are_naive_utc_whatever_the_servers_zone() {
    let database = Database::migrated();
    database.sql(&format!("ALTER DATABASE {} SET timezone = 'Asia/Kolkata'", database.name)).await;
    database
        .sql("UPDATE feature_flags SET start_date = '2026-03-01 12:00:00+02', end_date = '2026-03-01 00:00:00.5+00'")
        .await;
    let flag = PostgresFlags::new(database.target()).get(&hub()).await.unwrap();
    assert_eq!(flag.start.as_deref(), Some("2026-03-01T10:00:00"));
    assert_eq!(flag.end.as_deref(), Some("2026-03-01T00:00:00.500000"));
}

#[tokio::test]
async fn the_history_and_the_audit_log_are_append_only() {
    let database = Database::migrated();
    database.sql("INSERT INTO audit_log (actor, action) VALUES ('a', 'b')").await;
    for table in ["feature_flag_events", "audit_log"] {
        for sql in ["DELETE FROM", "TRUNCATE", "UPDATE"] {
            let rest = if sql == "UPDATE" { " SET actor = 'x'" } else { "" };
            let attempt = format!(
                "DO $$ BEGIN {sql} {table}{rest}; RAISE 'went through'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
            );
            database.sql(&attempt).await;
        }
    }
}

#[tokio::test]
async fn users_are_handed_out_one_by_one_and_those_without_identity_are_counted() {
    let database = Database::migrated();
    database
        .sql(
            "INSERT INTO users (email, username) SELECT 'user' || n || '@example.com', \
             CASE WHEN n % 4 = 0 THEN NULL ELSE 'u' || n END FROM generate_series(1, 20000) n",
        )
        .await;
    let flags = PostgresFlags::new(database.target());
    let mut seen = std::collections::BTreeSet::new();
    let count = flags
        .users(Identity::Username, |name| {
            assert!(seen.insert(name.to_owned()));
            ControlFlow::Continue(())
        })
        .await;
    assert_eq!(count.unwrap(), UserCount { identified: 15_000, unidentified: 5_000 });
    for (identity, expected) in [(Identity::Email, 20_000), (Identity::Id, 20_000), (Identity::KeycloakId, 0)] {
        let count = flags.users(identity, |_| ControlFlow::Continue(())).await.unwrap();
        assert_eq!(count, UserCount { identified: expected, unidentified: 20_000 - expected });
    }
    let stopped = flags.users(Identity::Email, |_| ControlFlow::Break(())).await.unwrap();
    assert_eq!(stopped.identified, 1);
}

#[tokio::test]
async fn a_database_without_the_schema_names_the_command_that_makes_it() {
    let database = Database::empty();
    let flags = PostgresFlags::new(database.target());
    let error = flags.list().await.unwrap_err();
    assert!(matches!(error, StoreError::NoSchema(_)), "{error:?}");
    assert!(clean(&error).contains("llmhub db apply"), "{error}");
    database.sql("CREATE TABLE feature_flags (name text, on_or_off boolean)").await;
    assert!(matches!(flags.get(&hub()).await, Err(StoreError::NoSchema(_))));
    database.sql("DROP TABLE feature_flags; DROP SCHEMA public").await;
    assert!(matches!(flags.get(&hub()).await, Err(StoreError::NoSchema(_))));
}

#[tokio::test]
async fn logins_that_fail_are_credentials_and_never_show_the_password() {
    let database = Database::migrated();
    let server = server();
    let role = format!("{}_role", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'")).await;
    let wrong_password = database.url_for(&role, "not-the-password", &server.host, server.port);
    let no_role = database.url_for("nobody_knows_me", CANARY_PASSWORD, &server.host, server.port);
    let no_password = format!("postgres://{role}@{}:{}/{}", server.host, server.port, database.name);
    let no_database =
        format!("postgres://{role}:{CANARY_PASSWORD}@{}:{}/{}_not", server.host, server.port, database.name);
    for (url, word) in [(wrong_password, "28P01"), (no_role, "28P01"), (no_password, "28P01"), (no_database, "3D000")] {
        let error = PostgresFlags::new(target(&url)).list().await.unwrap_err();
        assert!(matches!(error, StoreError::Credentials(_)), "{error:?}");
        let text = clean(&error);
        assert!(text.contains(word) && !text.contains("not-the-password"), "{text}");
    }
    database.sql(&format!("DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_role_without_rights_is_denied_and_writes_nothing() {
    let database = Database::migrated();
    let server = server();
    let role = format!("{}_role", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'")).await;
    let url = database.url_for(&role, CANARY_PASSWORD, &server.host, server.port);
    let flags = PostgresFlags::new(target(&url));
    let error = flags.list().await.unwrap_err();
    assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
    clean(&error);

    database.sql(&format!("GRANT SELECT, UPDATE ON feature_flags TO {role}")).await;
    let seen = flags.get(&hub()).await.unwrap();
    let error = flags.save(&edit(&seen, &Change::Enable), &note("enable")).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied(_)), "no history, no edit: {error:?}");
    assert_eq!(flags.get(&hub()).await.unwrap(), seen);

    database.sql(&format!("GRANT INSERT, SELECT ON feature_flag_events TO {role}")).await;
    database.sql(&format!("ALTER ROLE {role} SET default_transaction_read_only = on")).await;
    let error = flags.save(&edit(&seen, &Change::Enable), &note("enable")).await.unwrap_err();
    assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
    database.sql(&format!("ALTER ROLE {role} RESET default_transaction_read_only")).await;
    assert!(flags.save(&edit(&seen, &Change::Enable), &note("enable")).await.unwrap().changed);
    database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_dead_port_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("postgres://u:{CANARY_PASSWORD}@127.0.0.1:{port}/d");
    let error = PostgresFlags::new(target(&url)).list().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert!(clean(&error).contains("127.0.0.1"), "{error}");
    let socket = format!("postgres://u:{CANARY_PASSWORD}@/d?host=/nonexistent");
    let error = PostgresFlags::new(target(&socket)).list().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_costs_five_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let started = Instant::now();
    let url = format!("postgres://u:{CANARY_PASSWORD}@127.0.0.1:{port}/d");
    let error = PostgresFlags::new(target(&url)).list().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    clean(&error);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    let started = Instant::now();
    let error = PostgresFlags::new(target(&format!("{url}?connect_timeout=1"))).list().await.unwrap_err();
    assert!(clean(&error).contains("within 1 s"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_stranger_on_the_port_is_no_database() {
    use tokio::io::AsyncWriteExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.ok();
        }
    });
    let error = PostgresFlags::new(target(&format!("postgres://u@127.0.0.1:{port}/d"))).list().await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid(_) | StoreError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_refuses_tls_is_told_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        client.read_exact(&mut request).await.unwrap();
        client.write_all(b"N").await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.ok();
        rest
    });
    let url = format!("postgres://u:{CANARY_PASSWORD}@127.0.0.1:{port}/d?sslmode=verify-full");
    let error = PostgresFlags::new(target(&url)).list().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert!(clean(&error).contains("TLS"), "{error}");
    assert_eq!(heard.await.unwrap(), b"", "not even the user's name in clear text");
}

#[tokio::test]
async fn a_certificate_is_verified_as_the_url_says() {
    let database = Database::migrated();
    let Some(folder) = &database.server.socket else { return };
    let certificate = folder.join("certificate").display().to_string();
    let url = |host: &str, parameters: &str| {
        let url = database.url_for("postgres", CANARY_PASSWORD, host, database.server.port);
        PostgresFlags::new(target(&format!("{url}?{parameters}")))
    };
    let trusted = |mode: &str| format!("sslmode={mode}&sslrootcert={certificate}");
    assert_eq!(url("localhost", &trusted("verify-full")).list().await.unwrap().len(), 3);
    assert_eq!(url("127.0.0.1", &trusted("verify-ca")).list().await.unwrap().len(), 3);
    for refused in [
        url("127.0.0.1", &trusted("verify-full")),
        url("localhost", "sslmode=verify-full"),
        url("localhost", "sslmode=verify-ca"),
    ] {
        let error = refused.list().await.unwrap_err();
        assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
        assert!(clean(&error).contains("certificate"), "{error}");
    }
    let error = url("localhost", "sslmode=verify-ca&sslrootcert=/nonexistent.pem").list().await.unwrap_err();
    assert!(matches!(error, StoreError::Local(_)), "{error:?}");
}

#[tokio::test]
async fn a_unix_socket_works_like_an_address() {
    let database = Database::migrated();
    let Some(folder) = &database.server.socket else { return };
    let folder = folder.display().to_string();
    let (port, name) = (database.server.port, &database.name);
    for url in [
        format!("postgres://postgres@/{name}?host={folder}&port={port}"),
        format!("postgres://postgres@{}:{port}/{name}", folder.replace('/', "%2F")),
    ] {
        assert_eq!(PostgresFlags::new(target(&url)).list().await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_backend_that_is_killed_leaves_nothing_written() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    let seen = flags.get(&hub()).await.unwrap();
    let mut blocker = database.connect().await;
    lock_row(&mut blocker).await;
    let saving = tokio::spawn({
        let (flags, seen) = (flags.clone(), seen.clone());
        async move { flags.save(&edit(&seen, &Change::Enable), &note("enable")).await }
    });
    let waiting = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'llmhub' AND wait_event_type = 'Lock'";
    while database.lines(waiting).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = saving.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert!(clean(&error).contains("57P01"), "{error}");
    drop(blocker);
    assert_eq!(flags.get(&hub()).await.unwrap(), seen);
}

#[tokio::test]
async fn a_row_that_stays_locked_is_a_conflict_in_bounded_time() {
    let database = Database::migrated();
    let flags = PostgresFlags::new(database.target());
    let seen = flags.get(&hub()).await.unwrap();
    let mut blocker = database.connect().await;
    lock_row(&mut blocker).await;
    let started = Instant::now();
    let error = flags.save(&edit(&seen, &Change::Enable), &note("enable")).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
    assert!(clean(&error).contains("55P03"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}

async fn lock_row(connection: &mut sqlx::PgConnection) {
    use sqlx::Executor;
    connection
        .execute(sqlx::raw_sql("BEGIN; SELECT 1 FROM feature_flags WHERE name = 'unified_llm_hub' FOR UPDATE"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_settled_by_asking() {
    let database = Database::migrated();
    let direct = PostgresFlags::new(database.target());
    let seen = direct.get(&hub()).await.unwrap();
    let port = cut::start(database.server.port, Loss::Answer).await;
    let flags = PostgresFlags::new(database.target_through(port));
    let saved = flags.save(&edit(&seen, &Change::Enable), &note("enable")).await.unwrap();
    assert!(saved.changed && saved.persisted && saved.after.is_enabled());
    assert_eq!(direct.get(&hub()).await.unwrap(), saved.after);
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_known_not_to_stand() {
    let database = Database::migrated();
    let direct = PostgresFlags::new(database.target());
    let seen = direct.get(&hub()).await.unwrap();
    let port = cut::start(database.server.port, Loss::Commit).await;
    let flags = PostgresFlags::new(database.target_through(port));
    let error = flags.save(&edit(&seen, &Change::Enable), &note("enable")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    assert!(clean(&error).contains("rolled it back"), "{error}");
    assert_eq!(direct.get(&hub()).await.unwrap(), seen);
    assert!(flags.save(&edit(&seen, &Change::Enable), &note("enable")).await.unwrap().changed);
}

#[tokio::test]
async fn a_commit_that_nobody_can_tell_of_is_an_unknown_outcome() {
    let database = Database::migrated();
    let direct = PostgresFlags::new(database.target());
    let seen = direct.get(&hub()).await.unwrap();
    let port = cut::start(database.server.port, Loss::AnswerAndServer).await;
    let flags = PostgresFlags::new(database.target_through(port));
    let error = flags.save(&edit(&seen, &Change::Enable), &note("enable")).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
    clean(&error);
    assert!(direct.get(&hub()).await.unwrap().is_enabled(), "this one stood");
}
