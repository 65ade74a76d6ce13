//! The state of rollouts in a real Postgres: one holder, a fence that only grows, a history that shows tampering.

use llmhub::domain::flags::FlagKey;
use llmhub::store::StoreError;
use llmhub::store::rollout::{
    Acquired, Ask, Claim, Commit, Grant, NewEvent, NewRun, PostgresRuns, RunId, RunStore, Timing, Wish, broken_at,
};
use serde_json::json;

use crate::support::postgres::Database;

fn flag() -> FlagKey {
    "unified_llm_hub".parse().unwrap()
}

fn runs(database: &Database) -> PostgresRuns {
    PostgresRuns::new(database.target(), "test".to_owned(), Timing::default())
}

async fn lease(store: &PostgresRuns, holder: &str, claim: &Claim) -> Grant {
    match store.acquire(&flag(), holder, claim).await.unwrap() {
        Acquired::Granted(grant) => grant,
        Acquired::Held(lease) => panic!("held by {:?}", lease.holder),
    }
}

fn new_run() -> NewRun {
    NewRun {
        id: RunId::fresh(),
        plan: "flag = \"f\"".to_owned(),
        plan_digest: "sha256:0".to_owned(),
        snapshot: json!([]),
        state: "planned".to_owned(),
        progress: json!({"sequence": 0}),
        started_by: "ana@ops".to_owned(),
        events: vec![NewEvent { kind: "started", details: json!({"reason": "test"}) }],
    }
}

fn commit(state: &str) -> Commit {
    Commit {
        state: state.to_owned(),
        progress: json!({"sequence": 1}),
        events: vec![NewEvent { kind: "intent", details: json!({"rung": 0}) }],
        ..Commit::default()
    }
}

#[tokio::test]
async fn looking_at_a_virgin_database_leaves_it_untouched() {
    let database = Database::empty();
    let store = runs(&database);
    assert_eq!(store.lease(&flag()).await.unwrap(), None);
    assert!(store.read(&flag()).await.unwrap().is_none());
    assert_eq!(store.bump_fence(&flag(), "ana", "smoke").await.unwrap().fence, 0);
    assert_eq!(database.lines("SELECT nspname::text FROM pg_namespace WHERE nspname = 'llmhub'").await, [""; 0]);
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_gets_the_lease() {
    let database = Database::empty();
    let store = runs(&database);
    let asked = futures_util::future::join_all((0..6).map(|number| {
        let store = store.clone();
        async move { store.acquire(&flag(), &format!("holder {number}"), &Claim::WhenFree).await.unwrap() }
    }));
    let granted = asked.await.into_iter().filter(|acquired| matches!(acquired, Acquired::Granted(_))).count();
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn whoever_lost_the_fence_writes_nothing_more() {
    let database = Database::empty();
    let store = runs(&database);
    let ana = lease(&store, "ana", &Claim::WhenFree).await;
    let run = new_run();
    store.begin(&ana, &run).await.unwrap();
    store.commit(&ana, &run.id, &commit("applying")).await.unwrap();
    let bumped = store.bump_fence(&flag(), "ben", "smoke").await.unwrap();
    assert_eq!(bumped.was_held_by.map(|(holder, _)| holder).as_deref(), Some("ana"));
    assert!(bumped.fence > ana.fence);
    for refused in [
        store.commit(&ana, &run.id, &commit("baking")).await.unwrap_err(),
        store.renew(&ana).await.unwrap_err(),
        store.begin(&ana, &new_run()).await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::Fenced(_)), "{refused}");
    }
    let stored = store.read(&flag()).await.unwrap().unwrap();
    assert_eq!(stored.run.state, "applying");
    let kinds: Vec<&str> = stored.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["started", "intent", "fenced"]);
    assert_eq!(broken_at(&stored.run.id, &stored.events), None);
    let ben = lease(&store, "ben", &Claim::WhenFree).await;
    assert!(matches!(store.begin(&ben, &new_run()).await, Err(StoreError::Conflict(_))), "one open run at a time");
    let _ = ana;
}

#[tokio::test]
async fn the_history_cannot_be_changed_without_a_trace() {
    let database = Database::empty();
    let store = runs(&database);
    let ana = lease(&store, "ana", &Claim::WhenFree).await;
    let run = new_run();
    store.begin(&ana, &run).await.unwrap();
    store.commit(&ana, &run.id, &commit("applying")).await.unwrap();
    database
        .sql("ALTER TABLE llmhub.rollout_event DISABLE TRIGGER append_only; UPDATE llmhub.rollout_event SET actor = 'eve' WHERE number = 2")
        .await;
    let stored = store.read(&flag()).await.unwrap().unwrap();
    assert_eq!(broken_at(&stored.run.id, &stored.events), Some(2));
}

#[tokio::test]
async fn a_request_stays_until_it_is_answered() {
    let database = Database::empty();
    let store = runs(&database);
    let ana = lease(&store, "ana", &Claim::WhenFree).await;
    let run = new_run();
    store.begin(&ana, &run).await.unwrap();
    let ask = Ask { wish: Wish::Pause, actor: "ben@ops".to_owned(), reason: None };
    store.ask(&flag(), &run.id, &ask).await.unwrap();
    let asked = store.requests(&flag(), &run.id).await.unwrap();
    assert_eq!((asked.len(), asked[0].wish), (1, Wish::Pause));
    let answer = Commit { answered: vec![asked[0].id], ..commit("paused") };
    store.commit(&ana, &run.id, &answer).await.unwrap();
    assert!(store.requests(&flag(), &run.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_newer_format_is_left_alone() {
    let database = Database::empty();
    let store = runs(&database);
    lease(&store, "ana", &Claim::WhenFree).await;
    database.sql("UPDATE llmhub.rollout_format SET format = 9").await;
    assert!(matches!(store.read(&flag()).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.acquire(&flag(), "ben", &Claim::WhenFree).await, Err(StoreError::Conflict(_))));
}
