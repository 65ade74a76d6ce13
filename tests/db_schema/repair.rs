//! The statements that are offered to undo a change by hand do so, each of them, on a real server; so do those that keep it.

use llmhub::domain::schema::{Difference, Fingerprint, Kind, Level, Repair, Repairs, diff};
use llmhub::store::database::fingerprint;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::{fingerprint as first, mutations as more};
use crate::support::postgres::{Database, server};

pub fn all() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    first::MUTATIONS.iter().chain(more::MUTATIONS)
}

#[test]
fn every_kind_of_object_has_a_change_that_must_be_seen() {
    for kind in Kind::ALL {
        let word = format!("{kind} ");
        assert!(
            all().any(|(.., objects)| objects.split(", ").any(|one| one.starts_with(&word))),
            "no case for: {kind}"
        );
    }
}

/// Run what is offered for these differences, in as many rounds as it takes for one to need another; what was offered.
async fn run(
    hand: &mut PgConnection,
    now: &Fingerprint,
    goal: &Fingerprint,
    database: &str,
) -> (Vec<Difference>, Vec<String>) {
    let repairs = Repairs::new(now, goal, database);
    let differences = diff(now, goal, Level::Logical).unwrap();
    let (mut left, mut offered, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for difference in differences {
        match repairs.of(&difference) {
            Repair::Statements { sql, .. } => {
                offered.push(difference);
                left.push(sql.join(";\n"));
            }
            Repair::NotSimple(why) => assert!(!why.is_empty() && !why.contains("CANARY"), "{difference}: {why}"),
        }
    }
    for _ in 0..4 {
        errors.clear();
        let mut failed = Vec::new();
        for sql in left {
            if let Err(error) = hand.execute(sqlx::raw_sql(AssertSqlSafe(sql.clone()))).await {
                errors.push(format!("{sql}: {error}"));
                failed.push(sql);
            }
        }
        left = failed;
    }
    (offered, errors)
}

/// What was offered for and is still there.
fn still(offered: &[Difference], now: &Fingerprint, goal: &Fingerprint) -> Vec<String> {
    let left = diff(now, goal, Level::Logical).unwrap();
    let same = |one: &&Difference| offered.iter().any(|other| other.object() == one.object());
    left.iter().filter(same).map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_is_offered_undoes_the_change_and_what_would_keep_it_brings_it_back() {
    let database = Database::empty();
    let (role, me) = (format!("{}_role", database.name), server().superuser.clone());
    database.sql(&format!("CREATE ROLE {role}; {}; {}", first::BASE, more::BASE)).await;
    let fill = |text: &str| text.replace("{role}", &role).replace("{me}", &me).replace("{database}", &database.name);
    let target = database.target();
    let base = fingerprint(&target).await.unwrap();
    let (mut wrong, mut hand) = (Vec::new(), database.connect().await);
    let (mut total, mut undone, mut kept) = (0, 0, 0);
    let mut without = Vec::new();
    for (change, back, _) in all().filter(|(change, ..)| first::is_for(change, base.major())) {
        if let Err(error) = hand.execute(sqlx::raw_sql(AssertSqlSafe(fill(change)))).await {
            wrong.push(format!("{change}: {error}"));
            continue;
        }
        let changed = fingerprint(&target).await.unwrap();
        let (offered, errors) = run(&mut hand, &changed, &base, &database.name).await;
        let now = fingerprint(&target).await.unwrap();
        total += 1;
        wrong.extend(errors.into_iter().map(|error| format!("{change}\n   undo: {error}")));
        wrong.extend(still(&offered, &now, &base).into_iter().map(|left| format!("{change}\n   still: {left}")));
        if offered.is_empty() {
            without.push(*change);
        }
        if now.hash(Level::Logical) == base.hash(Level::Logical) {
            undone += 1;
            let (offered, errors) = run(&mut hand, &base, &changed, &database.name).await;
            let again = fingerprint(&target).await.unwrap();
            wrong.extend(errors.into_iter().map(|error| format!("{change}\n   keep: {error}")));
            let left = still(&offered, &again, &changed);
            wrong.extend(left.into_iter().map(|left| format!("{change}\n   not kept: {left}")));
            if again.hash(Level::Logical) == base.hash(Level::Logical) {
                continue;
            }
            kept += 1;
        }
        for statement in fill(back).split("; ") {
            // Part of it may have been done by what was offered.
            drop(hand.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await);
        }
        let again = fingerprint(&target).await.unwrap();
        let left = diff(&base, &again, Level::Logical).unwrap();
        if !left.is_empty() {
            wrong.push(format!(
                "{back}: not back: {}",
                left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ));
            break;
        }
    }
    println!("{total} changes, {undone} undone by what is offered, {kept} of those kept; nothing for {without:#?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(undone * 10 > total * 8, "{undone} of {total}");
    database.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
