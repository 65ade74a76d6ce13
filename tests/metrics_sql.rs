//! The usage tables as a source, on a real Postgres: planted faults are found, and only there.

use std::time::Duration;

use jiff::Timestamp;
use llmhub::domain::flags::evaluate::bucket;
use llmhub::domain::flags::{Flag, FlagKey, Percent};
use llmhub::domain::rollout::plan::{Identity, Sources, Sql};
use llmhub::domain::rollout::query::{Query, SourceKind};
use llmhub::domain::rollout::reading::{Measured, Reading, Window};
use llmhub::store::StoreError;
use llmhub::store::metrics::{Access, MetricSource, Metrics, Question};

use crate::support::postgres::Database;

const FLAG: &str = "unified_llm_hub";

fn query(text: &str) -> Query {
    Query::parse(SourceKind::Sql, text, None, None).unwrap()
}

fn open(database: &Database, identity: Identity) -> Metrics {
    let sources = Sources { sql: Some(Sql { identity }), ..Sources::default() };
    let access =
        Access { database: Some(database.target()), bearer: None, ca_file: None, limit: Duration::from_secs(10) };
    Metrics::open(&sources, &[&query("@cohort_errors")], access).unwrap()
}

fn flag(white: &[&str], black: &[&str]) -> Flag {
    let owned = |users: &[&str]| Some(users.iter().map(|&user| user.to_owned()).collect());
    Flag { whitelist: owned(white), blacklist: owned(black), ..Flag::off(FLAG.parse().unwrap()) }
}

async fn ask(metrics: &Metrics, text: &str, flag: &Flag, rung: i64, hours: u64) -> Reading {
    let to = Timestamp::now() + Duration::from_secs(60);
    let window = Window { from: to - Duration::from_secs(hours * 3600), to };
    let query = query(text);
    metrics.measure(&Question { flag, rung: Percent::try_from(rung).unwrap(), query: &query, window }).await
}

#[track_caller]
fn number(reading: Reading) -> Measured {
    match reading {
        Reading::Number(measured) => measured,
        other => panic!("{other:?}"),
    }
}

/// 1,000 users with 20 requests each, of which one in a hundred fails; in the arms with a fault three more, and those requests
/// of that arm are slow.
async fn planted(database: &Database, faulty: &str) {
    database
        .sql("INSERT INTO users (email, username) SELECT 'usér-' || n || '@example.com', 'u' || n FROM generate_series(1, 1000) n")
        .await;
    let emails = database.lines("SELECT email FROM users ORDER BY email").await;
    let key: FlagKey = FLAG.parse().unwrap();
    let cohort: Vec<String> =
        emails.iter().filter(|email| bucket(email, &key) < 25).map(|email| format!("'{email}'")).collect();
    database
        .sql(&format!(
            "CREATE TABLE cohort AS SELECT id FROM users WHERE email IN ({}); \
             INSERT INTO llm_usage_analytics (user_id, provider, model_id, latency_ms, status) \
             SELECT u.id, 'p', 'm', CASE WHEN {faulty} THEN 900 ELSE 300 END + n, \
             CASE WHEN (n + number * 20) % 100 < CASE WHEN {faulty} THEN 4 ELSE 1 END THEN 'error' ELSE 'success' END \
             FROM (SELECT id, row_number() OVER (ORDER BY (id IN (SELECT id FROM cohort)), id) AS number, \
             id IN (SELECT id FROM cohort) AS exposed FROM users) u, generate_series(1, 20) n; ANALYZE",
            cohort.join(",")
        ))
        .await;
}

#[tokio::test]
async fn planted_errors_of_the_cohort_are_found_beside_a_healthy_control() {
    let database = Database::migrated();
    planted(&database, "exposed").await;
    let metrics = open(&database, Identity::Email);
    metrics.check(&query("@cohort_errors")).await.unwrap();
    let measured = number(ask(&metrics, "@cohort_errors", &flag(&[], &[]), 25, 1).await);
    assert!((measured.value - 0.04).abs() < 0.005, "{measured:?}");
    assert!((measured.control.unwrap().value - 0.01).abs() < 0.005, "{measured:?}");
    assert_eq!(measured.samples.unwrap() + measured.control.unwrap().samples, 20_000);
    assert!(measured.errors.unwrap() > 100);
    let measured = number(ask(&metrics, "@cohort_p95", &flag(&[], &[]), 25, 1).await);
    assert!((measured.value - 0.919).abs() < 0.002, "{measured:?}");
    assert!((measured.control.unwrap().value - 0.319).abs() < 0.002, "{measured:?}");
    let everybody = number(ask(&metrics, "@cohort_errors", &flag(&[], &[]), 100, 1).await);
    assert_eq!((everybody.control, everybody.samples), (None, Some(20_000)));
}

#[tokio::test]
async fn the_same_fault_in_both_arms_stands_in_both() {
    let database = Database::migrated();
    planted(&database, "true").await;
    let measured = number(ask(&open(&database, Identity::Email), "@cohort_errors", &flag(&[], &[]), 25, 1).await);
    assert!((measured.value - measured.control.unwrap().value).abs() < 0.005, "{measured:?}");
    assert!((measured.value - 0.04).abs() < 0.005, "{measured:?}");
}

#[tokio::test]
async fn listed_users_are_in_neither_arm() {
    let database = Database::migrated();
    planted(&database, "exposed").await;
    let metrics = open(&database, Identity::Email);
    let all = number(ask(&metrics, "@cohort_errors", &flag(&[], &[]), 25, 1).await);
    let cohort = database.lines("SELECT email FROM users JOIN cohort USING (id) ORDER BY email LIMIT 2").await;
    let control =
        database.lines("SELECT email FROM users WHERE id NOT IN (SELECT id FROM cohort) ORDER BY email LIMIT 3").await;
    let white: Vec<&str> = cohort.iter().map(String::as_str).collect();
    let black: Vec<&str> = control.iter().map(String::as_str).collect();
    let measured = number(ask(&metrics, "@cohort_errors", &flag(&white, &black), 25, 1).await);
    assert_eq!(measured.samples.unwrap(), all.samples.unwrap() - 40);
    assert_eq!(measured.control.unwrap().samples, all.control.unwrap().samples - 60);
    let nobody = ask(&metrics, "@cohort_errors", &flag(&white, &[]), 0, 1).await;
    assert!(matches!(&nobody, Reading::Nothing(reason) if reason.contains("2 of the white list")), "{nobody:?}");
}

#[tokio::test]
async fn identities_that_the_hub_does_not_hash_are_no_measurement() {
    let database = Database::migrated();
    planted(&database, "false").await;
    let reading = ask(&open(&database, Identity::KeycloakId), "@cohort_errors", &flag(&[], &[]), 25, 1).await;
    assert!(matches!(&reading, Reading::Unusable(reason) if reason.contains("identity mismatch")), "{reading:?}");
    // The lists name e-mails, the plan hashes ids: both are there, only one is what the hub hashes.
    let listed = flag(&["usér-1@example.com"], &[]);
    let reading = ask(&open(&database, Identity::Id), "@cohort_errors", &listed, 25, 1).await;
    assert!(matches!(&reading, Reading::Unusable(reason) if reason.contains("identity mismatch")), "{reading:?}");
    assert!(matches!(
        ask(&open(&database, Identity::Email), "@cohort_errors", &listed, 25, 1).await,
        Reading::Number(_)
    ));
}

#[tokio::test]
async fn a_hubs_own_table_is_read_with_its_own_columns() {
    let database = Database::migrated();
    planted(&database, "exposed").await;
    database
        .sql(
            "CREATE TABLE llm_usage_logs AS SELECT user_id::text, created.at::timestamp AS created_at, latency_ms, \
             status = 'success' AS success FROM llm_usage_analytics, \
             LATERAL (SELECT \"timestamp\" AT TIME ZONE 'UTC' AS at) created; DROP TABLE llm_usage_analytics",
        )
        .await;
    let measured = number(ask(&open(&database, Identity::Email), "@cohort_errors", &flag(&[], &[]), 25, 1).await);
    assert!((measured.value - 0.04).abs() < 0.005, "{measured:?}");
    // Ids of nobody: they do not join, so nothing is known of anybody's bucket.
    database.sql("UPDATE llm_usage_logs SET user_id = gen_random_uuid()::text").await;
    let reading = ask(&open(&database, Identity::Email), "@cohort_errors", &flag(&[], &[]), 25, 1).await;
    assert!(matches!(&reading, Reading::Unusable(reason) if reason.contains("identity mismatch")), "{reading:?}");
    database
        .sql("UPDATE llm_usage_logs l SET user_id = email FROM users u WHERE u.id = (SELECT id FROM users LIMIT 1)")
        .await;
    assert!(matches!(
        ask(&open(&database, Identity::Email), "@cohort_p95", &flag(&[], &[]), 100, 1).await,
        Reading::Number(_)
    ));
    database.sql("DROP TABLE llm_usage_logs").await;
    let none = open(&database, Identity::Email).check(&query("@cohort_p95")).await;
    assert!(matches!(none, Err(StoreError::NoSchema(_))), "{none:?}");
}

#[tokio::test]
async fn adoption_is_told_of_a_day_and_of_a_hundred_users() {
    let database = Database::migrated();
    planted(&database, "false").await;
    let metrics = open(&database, Identity::Email);
    database.sql("DELETE FROM llm_usage_analytics WHERE user_id IN (SELECT id FROM cohort ORDER BY id LIMIT 60)").await;
    let exposed = database.lines("SELECT count(*)::text FROM cohort").await[0].parse::<f64>().unwrap();
    let measured = number(ask(&metrics, "@adoption", &flag(&[], &[]), 25, 24).await);
    assert!((measured.value - (exposed - 60.0) / exposed).abs() < 1e-9, "{measured:?}");
    assert_eq!(measured.samples, Some(exposed as u64));
    assert!(matches!(ask(&metrics, "@adoption", &flag(&[], &[]), 25, 23).await, Reading::Nothing(_)));
    assert!(matches!(ask(&metrics, "@adoption", &flag(&[], &[]), 2, 24).await, Reading::Nothing(_)));
}

#[tokio::test]
async fn a_free_question_reads_one_row_and_writes_nothing() {
    let database = Database::migrated();
    let metrics = open(&database, Identity::Email);
    for (text, part) in [
        ("SELECT 0.5 AS value, 12 AS samples -- a comment", "value: 0.5, samples: Some(12)"),
        ("SELECT extract(epoch FROM $2 - $1)::float8 AS value", "value: 3600.0"),
        ("SELECT length($3) + $4 AS value", "value: 40.0"),
        ("SELECT 'NaN'::float8 AS value", "value: NaN"),
        ("SELECT NULL::int AS value", "Nothing"),
        ("SELECT 1 AS value WHERE false", "Nothing"),
        ("SELECT generate_series(1, 100000000) AS value", "Unusable"),
        ("SELECT 'a' AS value", "Unusable"),
        ("SELECT 1", "Unusable"),
        ("SELECT nextval('llm_usage_analytics_id_seq') AS value", "Failed"),
        ("SELECT pg_sleep(60), 1 AS value", "Failed"),
        ("SELECT 1 AS value) q; DROP TABLE users; --", "Failed"),
        ("SELECT 1 / 0 AS value", "Failed"),
    ] {
        let sources = Sources::default();
        let limit = Duration::from_millis(1500);
        let access = Access { database: Some(database.target()), bearer: None, ca_file: None, limit };
        let metrics = Metrics::open(&sources, &[&query(text)], access).unwrap();
        let reading = ask(&metrics, text, &flag(&[], &[]), 25, 1).await;
        assert!(format!("{reading:?}").contains(part), "{text}: {reading:?}");
    }
    metrics.check(&query("SELECT 1 AS value")).await.unwrap();
    for text in [
        "SELECT FROM WHERE",
        "SELECT x AS value",
        "SELECT * FROM no_such_table",
        "WITH a AS (DELETE FROM users RETURNING 1) SELECT 1 AS value",
    ] {
        let refused = metrics.check(&query(text)).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{text}: {refused:?}");
    }
    assert_eq!(database.lines("SELECT count(*)::text FROM users").await.len(), 1);
}

#[tokio::test]
async fn the_servers_bucket_is_the_hubs() {
    let database = Database::migrated();
    database
        .sql(
            "INSERT INTO users (email) SELECT CASE n % 4 WHEN 0 THEN 'user-' || n WHEN 1 THEN 'Ünï-' || n || '@éx.com' \
             WHEN 2 THEN '用户' || n ELSE md5(n::text) || repeat('x', n % 90) END FROM generate_series(1, 5000) n; \
             INSERT INTO llm_usage_analytics (user_id, provider, model_id, status) SELECT id, 'p', 'm', 'success' FROM users",
        )
        .await;
    let emails = database.lines("SELECT email FROM users").await;
    let key: FlagKey = FLAG.parse().unwrap();
    let metrics = open(&database, Identity::Email);
    // One request for each user: each rung's cohort has as many requests as users below it.
    for rung in [1, 10, 25, 50, 75, 99, 100] {
        let ours = emails.iter().filter(|email| i64::from(bucket(email, &key)) < rung).count() as u64;
        let measured = number(ask(&metrics, "@cohort_errors", &flag(&[], &[]), rung, 1).await);
        assert_eq!(measured.samples, Some(ours), "{rung} %");
    }
}

#[tokio::test]
async fn a_database_that_is_away_or_lacks_the_tables_is_said() {
    let database = Database::empty();
    let metrics = open(&database, Identity::Email);
    assert!(matches!(metrics.check(&query("@cohort_errors")).await, Err(StoreError::NoSchema(_))));
    assert!(matches!(ask(&metrics, "@cohort_errors", &flag(&[], &[]), 25, 1).await, Reading::Failed(_)));
    let sources = Sources::default();
    let access = Access { database: None, bearer: None, ca_file: None, limit: Duration::from_secs(1) };
    let Err(StoreError::Refused(words)) = Metrics::open(&sources, &[&query("@adoption")], access) else {
        panic!("refused")
    };
    assert!(words.contains("--database-url"), "{words}");
}

/// The percentiles of both arms, taken by the server from all rows.
async fn percentiles(database: &Database) -> Vec<f64> {
    let lines = database
        .lines(
            "SELECT (percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) / 1000.0)::text FROM llm_usage_analytics \
             LEFT JOIN cohort ON cohort.id = user_id GROUP BY cohort.id IS NULL ORDER BY cohort.id IS NULL",
        )
        .await;
    lines.iter().map(|line| line.parse().unwrap()).collect()
}

#[tokio::test]
async fn the_percentile_is_exact_wherever_the_statistics_look_for_it() {
    let database = Database::migrated();
    planted(&database, "false").await;
    database
        .sql(
            "ALTER TABLE llm_usage_analytics DROP CONSTRAINT llm_usage_analytics_counts_check; \
              ALTER TABLE cohort ADD PRIMARY KEY (id); DELETE FROM llm_usage_analytics WHERE abs(hashtext(user_id::text)) % 5 > 0",
        )
        .await;
    let exposed = "user_id IN (SELECT id FROM cohort)";
    for (name, latency) in [
        ("a wide spread", "(random() * 3000)::int".to_owned()),
        ("a long tail", "(10 / (random() + 0.0001))::int".to_owned()),
        ("some were not measured", "CASE WHEN random() < 0.7 THEN (random() * 900)::int END".to_owned()),
        ("all the same", "40".to_owned()),
        ("a slow cohort", format!("CASE WHEN {exposed} THEN 5000 ELSE 100 END + (random() * 500)::int")),
        ("a fast cohort", format!("CASE WHEN {exposed} THEN 0 ELSE 4000 END + (random() * 500)::int")),
        ("two values, at the very percentile", "CASE WHEN id % 20 = 0 THEN 900 ELSE 100 END".to_owned()),
        ("clocks that ran backwards", "(random() * 4000)::int - 3900".to_owned()),
        ("the largest that fit", "CASE WHEN id % 7 = 0 THEN 2147483647 ELSE 0 END".to_owned()),
        ("hardly anything measured", "CASE WHEN random() < 0.02 THEN (random() * 900)::int END".to_owned()),
    ] {
        for analyse in [
            "",
            "; ANALYZE llm_usage_analytics",
            "; DELETE FROM pg_statistic WHERE starelid = 'llm_usage_analytics'::regclass",
        ] {
            // Without ANALYZE the statistics are those of the distribution before. The old versions of the rows go.
            database.sql("VACUUM llm_usage_analytics").await;
            database.sql(&format!("UPDATE llm_usage_analytics SET latency_ms = {latency}{analyse}")).await;
            let measured = number(ask(&open(&database, Identity::Email), "@cohort_p95", &flag(&[], &[]), 25, 1).await);
            let ours = [measured.value, measured.control.unwrap().value];
            assert_eq!(percentiles(&database).await, ours, "{name}{analyse}");
        }
    }
}

#[tokio::test]
async fn an_arm_without_latencies_has_no_percentile_and_spoils_no_other() {
    let database = Database::migrated();
    planted(&database, "false").await;
    let exposed = "user_id IN (SELECT id FROM cohort)";
    let p95 = async || ask(&open(&database, Identity::Email), "@cohort_p95", &flag(&[], &[]), 25, 1).await;
    database.sql(&format!("UPDATE llm_usage_analytics SET latency_ms = NULL WHERE NOT {exposed}")).await;
    let measured = number(p95().await);
    assert_eq!((measured.control, measured.value), (None, 0.319));
    database
        .sql(&format!("UPDATE llm_usage_analytics SET latency_ms = CASE WHEN {exposed} THEN NULL ELSE 5 END"))
        .await;
    let reading = p95().await;
    assert!(matches!(&reading, Reading::Nothing(_)), "{reading:?}");
    database.sql("DELETE FROM llm_usage_analytics").await;
    assert!(matches!(p95().await, Reading::Nothing(reason) if reason.contains("no user has requests")));
}

#[tokio::test]
async fn a_round_sees_one_state_and_the_next_one_what_has_come() {
    let database = Database::migrated();
    planted(&database, "exposed").await;
    let sources = Sources { sql: Some(Sql { identity: Identity::Email }), ..Sources::default() };
    let access =
        Access { database: Some(database.target()), bearer: None, ca_file: None, limit: Duration::from_secs(10) };
    let (errors, p95) = (query("@cohort_errors"), query("@cohort_p95"));
    let metrics = Metrics::open(&sources, &[&errors, &p95], access).unwrap();
    let (flag, rung) = (flag(&[], &[]), Percent::try_from(25).unwrap());
    let to = Timestamp::now() + Duration::from_secs(60);
    let window = Window { from: to - Duration::from_secs(3600), to };
    let samples = async |query: &Query, window: Window| {
        number(metrics.measure(&Question { flag: &flag, rung, query, window }).await).samples.unwrap()
    };
    let before = samples(&errors, window).await;
    database.sql("DELETE FROM llm_usage_analytics WHERE id % 2 = 0").await;
    assert_eq!(samples(&p95, window).await, before);
    let later = Window { to: to + Duration::from_secs(1), ..window };
    let (first, second) = tokio::join!(samples(&p95, later), samples(&errors, later));
    assert_eq!(first, second);
    assert!(first < before, "{first} of {before}");
}

/// Prints what a round takes; asserts only that it ends. A campaign, since filling the table takes longer than the round.
#[tokio::test]
async fn a_round_over_a_million_rows_is_measured() {
    if std::env::var_os("LLMHUB_LONG_TESTS").is_none() {
        return;
    }
    let database = Database::migrated();
    database
        .sql(
            "INSERT INTO users (email) SELECT 'user-' || n || '@example.com' FROM generate_series(1, 20000) n; \
             INSERT INTO llm_usage_analytics (user_id, provider, model_id, latency_ms, status) \
             SELECT ids[1 + n % 20000], 'p', 'm', (random() * 3000)::int, CASE WHEN random() < 0.01 THEN 'error' ELSE 'success' END \
             FROM (SELECT array_agg(id) AS ids FROM users) u, generate_series(1, 1000000) n; ANALYZE",
        )
        .await;
    let metrics = open(&database, Identity::Email);
    for _ in 1..=7 {
        let started = std::time::Instant::now();
        let to = Timestamp::now() + Duration::from_secs(60);
        let window = Window { from: to - Duration::from_secs(24 * 3600), to };
        for text in ["@cohort_p95", "@cohort_errors"] {
            let (flag, query, rung) = (flag(&[], &[]), query(text), Percent::try_from(25).unwrap());
            number(metrics.measure(&Question { flag: &flag, rung, query: &query, window }).await);
        }
        println!("a round: {:?}", started.elapsed());
        let started = std::time::Instant::now();
        number(ask(&metrics, "@adoption", &flag(&[], &[]), 25, 24).await);
        println!("@adoption: {:?}", started.elapsed());
    }
}
