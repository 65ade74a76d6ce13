//! A scratch database is like the live one, says what it is, and does not stay.

use llmhub::store::StoreError;
use llmhub::store::database::{Scratch, fingerprint};

use crate::support::postgres::{CANARY_PASSWORD, Database, server, target};

async fn scratches(database: &Database) -> Vec<String> {
    database.lines("SELECT datname::text FROM pg_database WHERE datname ~ '^llmhub_scratch_' ORDER BY 1").await
}

#[tokio::test]
async fn a_scratch_database_is_empty_and_like_the_live_one_and_is_dropped_at_the_end() {
    let database = Database::empty();
    let scratch = Scratch::create(&database.target()).await.unwrap();
    let (here, there) = (fingerprint(&database.target()).await.unwrap(), fingerprint(scratch.target()).await.unwrap());
    assert_eq!(here.portable().objects, there.portable().objects);
    let like =
        "SELECT concat_ws(' ', pg_encoding_to_char(encoding), datcollate, datctype) FROM pg_database WHERE datname = ";
    let name = scratch.name().to_owned();
    assert_eq!(
        database.lines(&format!("{like} '{name}'")).await,
        database.lines(&format!("{like} current_database()")).await
    );
    let comment = format!("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'");
    let comment = database.lines(&comment).await.concat();
    assert!(comment.contains("scratch copy that llmhub made at 20") && comment.contains(&database.name), "{comment}");
    scratch.close().await.unwrap();
    assert!(!scratches(&database).await.contains(&name));
}

#[tokio::test]
async fn what_a_dead_run_left_is_dropped_by_the_next_one_and_nothing_else_is() {
    let database = Database::empty();
    let alive = Scratch::create(&database.target()).await.unwrap();
    let number = format!("{:08x}", std::process::id());
    let left = format!("llmhub_scratch_00000001{number}");
    let other = format!("llmhub_scratch_x{number}");
    for name in [&left, &other] {
        database.sql(&format!("CREATE DATABASE {name} TEMPLATE template0")).await;
    }
    database.sql(&format!("CREATE ROLE {left}; CREATE ROLE {other}")).await;
    let scratch = Scratch::create(&database.target()).await.unwrap();
    let there = scratches(&database).await;
    assert!(!there.contains(&left), "{there:?}");
    assert!(there.contains(&other) && there.iter().any(|name| name == alive.name()), "{there:?}");
    let roles = format!("SELECT rolname::text FROM pg_roles WHERE rolname IN ('{left}', '{other}')");
    assert_eq!(database.lines(&roles).await, [other.as_str()]);
    scratch.close().await.unwrap();
    alive.close().await.unwrap();
    database.sql(&format!("DROP DATABASE {other}")).await;
    database.sql(&format!("DROP ROLE {other}")).await;
}

#[tokio::test]
async fn a_role_that_may_not_create_databases_is_told_what_it_needs() {
    let database = Database::empty();
    let server = server();
    let role = format!("{}_few", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{CANARY_PASSWORD}'")).await;
    let few = target(&database.url_for(&role, CANARY_PASSWORD, &server.host, server.port));
    match Scratch::create(&few).await {
        Err(StoreError::Denied(text)) => assert!(text.contains(&format!("ALTER ROLE {role} CREATEDB")), "{text}"),
        other => panic!("{other:?}"),
    }
    database.sql(&format!("ALTER ROLE {role} CREATEDB")).await;
    Scratch::create(&few).await.unwrap().close().await.unwrap();
    database.sql(&format!("DROP ROLE {role}")).await;
}
