//! `db seed` through the real binary: every row once, nobody's edit lost, all or nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cli::Home;
use crate::support::postgres::Database;

const RULES: &str = "SELECT count(*)::text FROM llm_model_tier_rules";

fn home(database: &Database) -> Home {
    Home::new().variable("LLMHUB_DATABASE_URL", database.url())
}

/// A home whose profile adds the folder `seeds`.
fn home_with_folder(database: &Database, folders: &str) -> Home {
    let home = home(database);
    home.file(".config/llmhub/config.toml", format!("[profiles.dev]\nseeds = {folders}\n"));
    home
}

fn inserted(document: &Value) -> Vec<(String, u64)> {
    let sets = document["sets"].as_array().unwrap().iter();
    sets.map(|set| (set["set"].as_str().unwrap().to_owned(), set["inserted"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn a_second_run_adds_nothing_and_a_row_that_was_edited_or_deleted_is_treated_by_its_key() {
    let database = Database::migrated();
    let home = home(&database);
    let first = home.line("db seed -o json").exits(0).json();
    assert_eq!(
        first,
        json!({"sets": [
            {"set": "tiers", "inserted": 50, "unchanged": 0},
            {"set": "users", "inserted": 3, "unchanged": 0},
            {"set": "models", "inserted": 3, "unchanged": 0},
            {"set": "providers", "inserted": 8, "unchanged": 0},
        ]})
    );
    database
        .sql(
            "UPDATE users SET tier = 'free' WHERE email = 'test@example.com'; DELETE FROM llm_models WHERE model_id = 'gpt-4'; \
             UPDATE llm_providers SET name = 'OPENAI', enabled = true WHERE name = 'OpenAI'",
        )
        .await;
    let again = home.line("db seed -o json").exits(0).json();
    let expected = [("tiers", 0), ("users", 0), ("models", 1), ("providers", 0)];
    assert_eq!(inserted(&again), expected.map(|(set, count)| (set.to_owned(), count)));
    let kept = "SELECT tier FROM users WHERE email = 'test@example.com' UNION ALL \
                SELECT name || enabled FROM llm_providers WHERE type = 'openai'";
    assert_eq!(database.lines(kept).await, ["free", "OPENAItrue"]);
    home.line("db seed tiers").exits(0).prints("50");
}

#[tokio::test]
async fn a_database_without_the_schema_is_named_with_the_cure_and_left_untouched() {
    let database = Database::empty();
    let failed = home(&database).line("db seed -o json").exits(3).says("llmhub db apply");
    assert_eq!(failed.code(), "schema_missing");
    let own = "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'";
    assert_eq!(database.lines(own).await, ["public"]);
}

#[tokio::test]
async fn a_dry_run_counts_what_it_would_add_and_adds_nothing() {
    let database = Database::migrated();
    let home = home(&database);
    let planned = home.line("db seed tiers --dry-run -o json").exits(0).json();
    assert_eq!((&planned["dry_run"], inserted(&planned)), (&json!(true), vec![("tiers".to_owned(), 50)]));
    assert_eq!(database.lines(RULES).await, ["0"]);
}

#[tokio::test]
async fn four_at_once_add_every_row_once_even_without_a_unique_key() {
    let database = Database::migrated();
    database.sql("ALTER TABLE llm_model_tier_rules DROP CONSTRAINT llm_model_tier_rules_tier_pattern_key").await;
    let home = home(&database);
    let runs: Vec<_> = (0..4).map(|_| home.line("db seed -o json").spawn()).collect();
    let added: u64 = runs
        .into_iter()
        .map(|run| {
            let done = run.wait();
            assert_eq!(done.status, 0, "{}", done.stderr);
            inserted(&done.json()).iter().map(|(_, count)| count).sum::<u64>()
        })
        .sum();
    assert_eq!((added, database.lines(RULES).await), (64, vec!["50".to_owned()]));
}

#[tokio::test]
async fn a_profiles_folders_come_after_the_shipped_sets_and_may_be_sql_or_toml() {
    let database = Database::migrated();
    let home = home_with_folder(&database, "[\"one\", \"two\"]");
    home.file(
        ".config/llmhub/one/20_team.toml",
        "table = \"public.users\"\nkey = [\"email\"]\n[[rows]]\nemail = \"a'b\\\"c@example.com\"\ntier = \"trial\"\n[[rows]]\n\
         email = \"plain@example.com\"\n",
    );
    home.file(
        ".config/llmhub/two/10_note.sql",
        "-- after the team\nINSERT INTO audit_log (actor, action, details) SELECT 'seed', email, '{\"a\": 1}' FROM users u\n\
         WHERE tier = 'trial' AND NOT EXISTS (SELECT 1 FROM audit_log a WHERE a.action = u.email);\n",
    );
    home.file(".config/llmhub/two/README.md", "not a set");
    let listed = home.line("db seed --list -o json").exits(0).json();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|set| set["set"].as_str().unwrap()).collect();
    assert_eq!(names, ["tiers", "users", "models", "providers", "20_team", "10_note"]);
    let done = home.line("db seed 10_note 20_team -o json").exits(0).json();
    assert_eq!(
        done["sets"],
        json!([
            {"set": "20_team", "inserted": 2, "unchanged": 0},
            {"set": "10_note", "inserted": 1, "unchanged": null},
        ])
    );
    assert_eq!(inserted(&home.line("db seed 10_note -o json").exits(0).json()), [("10_note".to_owned(), 0)]);
    assert_eq!(database.lines("SELECT action FROM audit_log").await, ["a'b\"c@example.com"]);
    let tiers = "SELECT tier FROM users ORDER BY email";
    assert_eq!(database.lines(tiers).await, ["trial", "free"], "a column left out keeps its default");
}

#[tokio::test]
async fn a_set_that_cannot_be_run_is_refused_with_its_place_and_nothing_of_the_others_stays() {
    let database = Database::migrated();
    #[track_caller]
    fn case(database: &Database, file: &str, text: &str, status: i32, said: &str) {
        let home = home_with_folder(database, "[\"seeds\"]");
        home.file(&format!(".config/llmhub/seeds/{file}"), text);
        home.line("db seed").exits(status).says(said);
    }
    case(&database, "bad.sql", "SELECT 1;\nINSERT INTO users (email) VALUES (1/0);", 7, "bad.sql:2:");
    case(&database, "bad.sql", "SELECT 1;\nCOMMIT;", 7, "bad.sql:2: a seed set runs in llmhub's transaction");
    case(&database, "bad.sql", "INSERT INTO nowhere VALUES (1)", 3, "llmhub db apply");
    case(&database, "bad.sql", "DO $$ BEGIN COMMIT; END $$;", 7, "invalid transaction termination");
    let users = "table = \"users\"\nkey = [\"email\"]\n";
    case(&database, "bad.toml", &format!("{users}rows = [{{ email = \"a\", nick = \"b\" }}]"), 7, "no column `nick`");
    case(&database, "bad.toml", &format!("{users}rows = [{{ email = \"a\", id = \"b\" }}]"), 7, "seed set `bad`");
    case(&database, "bad.toml", "table = \"nowhere\"\nkey = [\"a\"]\nrows = [{ a = 1 }]", 3, "no table `nowhere`");
    case(&database, "bad.toml", &format!("{users}[[rows]]\nemail = \n"), 7, "bad.toml:4:");
    case(&database, "tiers.sql", "SELECT 1", 7, "a seed set `tiers` exists already (seeds/tiers.toml)");
    assert_eq!(database.lines(RULES).await, ["0"]);
    home_with_folder(&database, "[\"gone\"]").line("db seed").exits(3).says("cannot be read");
    home(&database).line("db seed tier").exits(4).says("did you mean `tiers`?");
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_nothing_and_the_next_one_does_it_all() {
    let database = Database::migrated();
    let home = home_with_folder(&database, "[\"seeds\"]");
    home.file(".config/llmhub/seeds/slow.sql", "INSERT INTO users (email) VALUES ('slow'); SELECT pg_sleep(3);");
    let doomed = home.line("db seed").spawn();
    let deadline = Instant::now() + Duration::from_secs(20);
    let sleeping =
        "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3)' AND datname = current_database()";
    while database.lines(sleeping).await == ["0"] {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    doomed.signal("KILL");
    doomed.wait();
    assert_eq!(database.lines(RULES).await, ["0"]);
    home.file(".config/llmhub/seeds/slow.sql", "SELECT 1");
    home.line("db seed").exits(0).within(Duration::from_secs(20));
    assert_eq!(database.lines("SELECT count(*)::text FROM users").await, ["3"]);
}

#[tokio::test]
async fn a_protected_profile_asks_and_a_dry_run_does_not() {
    let database = Database::migrated();
    let home = home(&database);
    home.file(".config/llmhub/config.toml", "[profiles.prod]\nprotected = true\n");
    home.line("-p prod db seed -y").exits(7).says("--reason");
    home.line("-p prod db seed -y -m 'new hub'").exits(7).says("protected");
    home.line("-p prod db seed --dry-run").exits(0);
    assert_eq!(database.lines(RULES).await, ["0"]);
    home.line("-p prod db seed --confirm=prod -m 'new hub'").exits(0);
    assert_eq!(database.lines(RULES).await, ["50"]);
}
