//! `db setup-test` through the real binary: the same database every time, and nobody else's ever.
//!
//! Each test has a role of its own: templates belong to their role, so no other test uses or drops them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Home, rounds};
use crate::support::postgres::{CANARY_PASSWORD, Database, block_on};

/// A role, and the database whose test database it makes.
struct Place {
    base: Database,
    role: String,
    test: Database,
}

impl Place {
    fn new() -> Self {
        Self::with("CREATEDB")
    }

    fn with(attributes: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let base = Database::empty();
        let role = format!("llmhub_r{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        block_on(base.sql(&format!("CREATE ROLE {role} LOGIN {attributes} PASSWORD '{CANARY_PASSWORD}'")));
        let test = Database { name: format!("{}_test", base.name), server: base.server };
        Self { base, role, test }
    }

    fn url(&self) -> String {
        self.base.url_for(&self.role, CANARY_PASSWORD, &self.base.server.host, self.base.server.port)
    }

    fn home(&self) -> Home {
        Home::new().variable("LLMHUB_DATABASE_URL", self.url())
    }

    /// The role's databases: `tpl`, `tmp` or a name.
    async fn databases(&self) -> Vec<String> {
        let role = &self.role;
        self.base
            .lines(&format!(
                "SELECT datname::text FROM pg_database WHERE pg_get_userbyid(datdba) = '{role}' ORDER BY datname"
            ))
            .await
    }

    async fn templates(&self) -> Vec<String> {
        self.databases().await.into_iter().filter(|name| name.starts_with("llmhub_tpl_")).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        block_on(async {
            for name in self.databases().await {
                self.base.sql(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)")).await;
            }
            self.base.sql(&format!("DROP ROLE {}", self.role)).await;
        });
    }
}

/// Every row of every table, and the ledger.
async fn content(database: &Database) -> Vec<String> {
    let tables = "SELECT string_agg(format('SELECT %L || t::text AS line FROM %I.%I t', tablename, schemaname, tablename), \
                  ' UNION ALL ') || ' ORDER BY 1' FROM pg_tables WHERE schemaname IN ('public', 'llmhub')";
    let query = database.lines(tables).await.remove(0);
    database.lines(&query).await
}

#[tokio::test]
async fn the_first_run_builds_and_the_second_clones_the_very_same_content() {
    let place = Place::new();
    let home = place.home();
    let first = home.line("db setup-test -o json").exits(0).json();
    assert_eq!(
        (&first["source"], &first["database"], &first["seeded"]["tiers"]),
        (&"built".into(), &place.test.name.clone().into(), &50.into())
    );
    let versions: Vec<&Value> = first["applied"].as_array().unwrap().iter().map(|row| &row["version"]).collect();
    assert_eq!(versions, ["0001", "0002", "0003"]);
    let url = format!("postgres://{}@127.0.0.1:{}/{}", place.role, place.base.server.port, place.test.name);
    assert_eq!(first["url"], url);
    let before = content(&place.test).await;
    assert!(before.len() > 70, "{before:?}");

    place.test.sql("DELETE FROM users; CREATE TABLE rubbish (a int)").await;
    let second = home.line("db setup-test -y -o json").exits(0).json();
    assert_eq!((&second["source"], &second["applied"]), (&"template".into(), &first["applied"]));
    assert_eq!(second["seeded"], first["seeded"]);
    assert_eq!(content(&place.test).await, before);
    assert_eq!(place.templates().await.len(), 1);

    let bare = home.line("db setup-test -y --print-url").exits(0);
    assert_eq!(bare.stdout, format!("{url}\n"));
    home.line("db setup-test -y --print-url -o json").exits(2);
    home.line("db setup-test -y").exits(0).says("verified").prints("psql postgres://");
}

#[tokio::test]
async fn an_existing_database_is_not_touched_without_a_yes_and_a_dry_run_only_tells() {
    let place = Place::new();
    let home = place.home();
    assert_eq!(home.line("db setup-test --dry-run -o json").exits(0).json()["source"], "built");
    assert!(place.databases().await.is_empty());
    home.line("db setup-test --no-input").exits(0);
    place.test.sql("CREATE TABLE mine (a int)").await;
    home.line("db setup-test").exits(9).says("give -y");
    assert_eq!(home.line("db setup-test --dry-run -o json").exits(0).json()["source"], "template");
    assert_eq!(place.test.lines("SELECT relname::text FROM pg_class WHERE relname = 'mine'").await, ["mine"]);
}

#[tokio::test]
async fn only_a_test_database_or_one_that_llmhub_made_is_dropped() {
    let place = Place::new();
    let home = place.home();
    let other = format!("{}_other", place.base.name);
    home.line(&format!("db setup-test -y --name {}", place.base.name)).exits(7);
    for name in ["postgres", "template0", "template1", "Template_x", "llmhub_tpl_1"] {
        home.line(&format!("db setup-test -y --name {name}")).exits(7).says("never will be");
    }
    place.base.sql(&format!("CREATE DATABASE {other} OWNER {}", place.role)).await;
    home.line(&format!("db setup-test -y --name {other}")).exits(7).says("does not end in `_test`");
    place.base.sql(&format!("DROP DATABASE {other}")).await;
    // One that llmhub made may be made anew, until it has another name.
    home.line(&format!("db setup-test --name {other}")).exits(0);
    home.line(&format!("db setup-test -y --name {other}")).exits(0);
    place.base.sql(&format!("ALTER DATABASE {other} RENAME TO {other}2")).await;
    home.line(&format!("db setup-test -y --name {other}2")).exits(7).says("llmhub did not make it");
    // Somebody else's, though its name allows it.
    place.base.sql(&format!("CREATE DATABASE {}", place.test.name)).await;
    home.line("db setup-test -y").exits(7).says("belongs to another role");
}

#[tokio::test]
async fn the_database_of_a_protected_profile_is_refused_however_it_is_given() {
    let place = Place::new();
    let home = place.home();
    let url = format!("postgres://someone@LOCALHOST:{}/{}", place.base.server.port, place.test.name);
    let config = |line: &str| {
        home.file(
            ".config/llmhub/config.toml",
            format!("default_profile = \"dev\"\n[profiles.dev]\n[profiles.prod]\nprotected = true\n{line}\n"),
        );
    };
    config(&format!("database_url = \"{url}\""));
    home.line("db setup-test -y").exits(7).says("the protected profile `prod`");
    config("database_url_env = \"PROD_URL\"");
    home.line("db setup-test -y").env("PROD_URL", &url).exits(7).says("the protected profile `prod`");
    assert!(place.databases().await.is_empty());
    // What only a command knows is asked for where a database would be dropped that llmhub did not make.
    place.base.sql(&format!("CREATE DATABASE {} OWNER {}", place.test.name, place.role)).await;
    config(&format!("database_url_command = [\"echo\", \"{url}\"]"));
    home.line("db setup-test -y").exits(7).says("the protected profile `prod`");
    config("database_url_command = [\"false\"]");
    home.line("db setup-test -y").exits(7).says("cannot be known");
    config("database_url_command = [\"echo\", \"postgres://h/other\"]");
    home.line("db setup-test -y").exits(0);
    config("database_url_command = [\"false\"]");
    home.line("db setup-test -y").exits(0);
    // On the protected profile itself, -y is not enough, and the test database beside its own may be made.
    home.line("-p prod db setup-test -y").exits(7).says("--reason");
    home.line("-p prod db setup-test --confirm=prod -m 'staging'").exits(0);
}

#[tokio::test]
async fn four_at_once_on_one_name_all_succeed_and_one_of_them_builds() {
    let place = Place::new();
    let home = place.home();
    let runs: Vec<_> = (0..4).map(|_| home.line("db setup-test -y -o json").spawn()).collect();
    let mut built = 0;
    for run in runs {
        let done = run.wait();
        assert_eq!(done.status, 0, "{}", done.stderr);
        built += usize::from(done.json()["source"] == "built");
    }
    assert_eq!((built, place.databases().await.len()), (1, 2));
}

#[tokio::test]
async fn a_build_that_is_killed_is_never_used_and_the_next_run_clears_it_away() {
    let place = Place::new();
    let home = place.home();
    home.file(".config/llmhub/config.toml", "[profiles.dev]\nseeds = [\"seeds\"]\n");
    home.file(".config/llmhub/seeds/slow.sql", "SELECT pg_sleep(2);");
    let doomed = home.line("db setup-test").spawn();
    let deadline = Instant::now() + Duration::from_secs(20);
    let sleeping = "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2)' AND usename = '";
    while place.base.lines(&format!("{sleeping}{}'", place.role)).await == ["0"] {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    doomed.signal("KILL");
    doomed.wait();
    let left = place.databases().await;
    assert!(left.len() == 1 && left[0].starts_with("llmhub_tmp_"), "{left:?}");
    assert_eq!(home.line("db setup-test -o json").exits(0).json()["source"], "built");
    let now = place.databases().await;
    assert!(now.len() == 2 && now.iter().all(|name| !name.starts_with("llmhub_tmp_")), "{now:?}");
}

#[tokio::test]
async fn a_run_that_is_killed_at_any_moment_leaves_the_next_one_to_finish() {
    let place = Place::new();
    let home = place.home();
    let count = rounds(8, 80);
    for round in 0..count {
        let fresh = if round % 2 == 0 { " --fresh" } else { "" };
        let doomed = home.line(&format!("db setup-test -y{fresh}")).spawn();
        tokio::time::sleep(Duration::from_millis(20 + 600 * round / count)).await;
        doomed.signal("KILL");
        doomed.wait();
        let done = home.line("db setup-test -y -o json").exits(0).json();
        assert_eq!(done["seeded"]["tiers"], 50, "round {round}");
        assert_eq!(place.test.lines("SELECT count(*)::text FROM llm_model_tier_rules").await, ["50"]);
        let databases = place.databases().await;
        assert_eq!(databases.len(), 2, "round {round}: {databases:?}");
    }
}

#[tokio::test]
async fn fresh_builds_again_and_other_seeds_take_the_place_of_the_old_template() {
    let place = Place::new();
    let home = place.home();
    home.line("db setup-test").exits(0);
    let first = place.templates().await;
    assert_eq!(home.line("db setup-test -y --fresh -o json").exits(0).json()["source"], "built");
    assert_eq!(place.templates().await, first);
    home.file(".config/llmhub/config.toml", "[profiles.dev]\nseeds = [\"seeds\"]\n");
    home.file(".config/llmhub/seeds/more.sql", "INSERT INTO users (email) VALUES ('more@example.com');");
    let other = home.line("db setup-test -y -o json").exits(0).json();
    assert_eq!((&other["source"], &other["seeded"]["more"]), (&"built".into(), &Value::Null));
    let second = place.templates().await;
    assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
    assert_eq!(place.test.lines("SELECT count(*)::text FROM users").await, ["4"]);
}

#[tokio::test]
async fn what_cannot_be_built_leaves_the_old_database_as_it_was() {
    let place = Place::new();
    let home = place.home();
    home.line("db setup-test").exits(0);
    place.test.sql("CREATE TABLE mine (a int)").await;
    let before = place.databases().await;
    home.file(".config/llmhub/config.toml", "[profiles.dev]\nseeds = [\"seeds\"]\n");
    home.file(".config/llmhub/seeds/bad.sql", "INSERT INTO users (email) VALUES (1/0);");
    home.line("db setup-test -y").exits(7).says("bad.sql:1:");
    home.file(".config/llmhub/seeds/bad.sql", "SELECT 1");
    home.file(
        ".config/llmhub/seeds/twin.toml",
        "table = \"llm_providers\"\nkey = [\"name\"]\nrows = [{ name = \"openai\", type = \"x\" }]\n",
    );
    home.line("db setup-test -y").exits(7).says("`twin` has 1 rows and 0 of them");
    assert_eq!(place.databases().await, before);
    assert_eq!(place.test.lines("SELECT relname::text FROM pg_class WHERE relname = 'mine'").await, ["mine"]);
}

#[tokio::test]
async fn sessions_on_the_old_database_are_ended_and_no_others() {
    let place = Place::new();
    let home = place.home();
    home.line("db setup-test").exits(0);
    let url = place.test.url_for(&place.role, CANARY_PASSWORD, &place.base.server.host, place.base.server.port);
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    use sqlx::{ConnectOptions, Connection};
    let mut stale = options.ssl_mode(sqlx::postgres::PgSslMode::Disable).connect().await.unwrap();
    let mut bystander = place.base.connect().await;
    home.line("db setup-test -y").exits(0);
    assert!(stale.ping().await.is_err());
    bystander.ping().await.unwrap();
}

#[tokio::test]
async fn a_role_that_may_not_create_databases_is_told_so_before_anything() {
    let place = Place::with("NOCREATEDB");
    let failed = place.home().line("db setup-test -y -o json").exits(7).says("CREATEDB");
    assert_eq!(failed.code(), "denied");
    assert!(place.databases().await.is_empty());
    let nowhere = Home::new().variable("LLMHUB_DATABASE_URL", "postgres://u@127.0.0.1:9/hub");
    assert_eq!(nowhere.line("db setup-test -o json").exits(6).code(), "unreachable");
}

#[tokio::test]
async fn the_sandbox_has_no_room_for_a_test_database() {
    let home = Home::new();
    home.line("--sandbox db setup-test").exits(7);
}
