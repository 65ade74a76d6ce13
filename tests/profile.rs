//! `profile`: what counts and where it came from, secrets masked; and `doctor`: every check fails once, and nothing is written.

use serde::Deserialize;
use serde_json::Value;

use crate::support::cli::{CANARIES, Done, Home};
use crate::support::hub::{Fault, Hub, Mount, When};
use crate::support::postgres::Database;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    protected: bool,
    chosen: bool,
    defined_at: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    key: String,
    value: Option<String>,
    origin: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Doctor {
    healthy: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    id: String,
    subject: String,
    status: String,
    evidence: String,
    fix: String,
}

const PROFILES: &str = "default_profile = \"dev\"\n[profiles.dev]\nhub = \"http://localhost:1\"\nworkers = 4\n\
                        [profiles.prod]\nhub = \"http://localhost:2\"\nprotected = true\n";

fn home() -> Home {
    let home = Home::new();
    home.file(".config/llmhub/config.toml", PROFILES);
    home
}

#[track_caller]
fn typed<T: serde::de::DeserializeOwned>(done: &Done) -> T {
    serde_json::from_value(done.json()).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

#[track_caller]
fn setting(home: &Home, line: &str, key: &str) -> (Option<String>, String) {
    let settings: Vec<Setting> = typed(&home.line(line).exits(0));
    let found = settings.into_iter().find(|setting| setting.key == key).unwrap();
    (found.value, found.origin)
}

#[test]
fn list_shows_the_profiles_the_chosen_one_and_their_lines() {
    let listed: Vec<Listed> = typed(&home().line("profile list -o json").exits(0));
    let rows: Vec<_> = listed.iter().map(|row| (row.name.as_str(), row.protected, row.chosen)).collect();
    assert_eq!(rows, [("dev", false, true), ("prod", true, false)]);
    assert!(listed.iter().all(|row| row.defined_at.iter().all(|line| line.contains("config.toml:"))), "{listed:?}");
    Home::new().line("profile list").exits(0).prints("llmhub profile init");
}

#[test]
fn show_names_the_origin_of_each_value_and_the_nearer_one_wins() {
    let home = home();
    let (value, origin) = setting(&home, "profile show -o json", "hub");
    assert_eq!(value.as_deref(), Some("http://localhost:1"), "{origin}");
    assert!(origin.contains("config.toml:3"), "{origin}");
    let (value, origin) = setting(&home, "profile show -o json --hub http://localhost:9", "hub");
    assert!(value.unwrap().contains("localhost:9") && origin.contains("--hub"), "{origin}");
    let home = home.variable("LLMHUB_HUB_URL", "http://localhost:8");
    let (value, origin) = setting(&home, "profile show -o json", "hub");
    assert!(value.unwrap().contains("localhost:8") && origin.contains("LLMHUB_HUB_URL"), "{origin}");
}

#[test]
fn show_masks_every_secret_in_every_form() {
    let [token, password, ..] = CANARIES;
    for format in ["table", "json", "yaml", "markdown"] {
        let home = home()
            .variable("LLMHUB_DATABASE_URL", format!("postgres://ana:{password}@localhost/db"))
            .variable("LLMHUB_SESSION_TOKEN", token)
            .variable("BYOK_ENCRYPTION_KEY", token);
        // The harness looks for the secrets in both streams.
        home.line(&format!("profile show -o {format} -vv")).exits(0).prints("ana:***@localhost").prints("***");
        home.line(&format!("doctor -o {format} --offline -vv")).done();
    }
}

#[test]
fn use_changes_the_default_and_refuses_a_name_that_no_file_has() {
    let home = home();
    let path = home.path().join(".config/llmhub/config.toml");
    home.line("profile use stage").exits(3).says("there is no profile `stage`");
    home.line("profile use prod --dry-run").exits(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), PROFILES);
    let edited = home.line("profile use prod -o json").exits(0).json();
    assert_eq!(edited["changed"], true);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), PROFILES.replacen("\"dev\"", "\"prod\"", 1));
    assert_eq!(home.line("profile use prod -o json").exits(0).json()["changed"], false);
}

#[test]
fn init_writes_a_file_that_works_and_never_replaces_one() {
    let home = Home::new();
    home.line("profile init --dry-run").exits(0);
    assert!(!home.path().join("llmhub.toml").exists());
    home.line("profile init").exits(0).prints("wrote llmhub.toml");
    home.line("profile show").exits(0);
    let before = std::fs::read_to_string(home.path().join("llmhub.toml")).unwrap();
    assert_eq!(home.line("profile init -o json").exits(3).code(), "config_exists");
    assert_eq!(std::fs::read_to_string(home.path().join("llmhub.toml")).unwrap(), before);
}

#[test]
fn an_untrusted_file_may_not_run_commands_until_it_is_trusted_and_unchanged() {
    let hub = Hub::builder().start();
    let home = Home::new();
    let text = format!(
        "[profiles.p]\nhub = \"{}\"\ndatabase_url_command = [\"touch\", \"ran\"]\nprotected = true\n",
        hub.url()
    );
    home.file("llmhub.toml", &text);
    for line in ["flags list -p p --via hub", "doctor -p p", "profile show -p p"] {
        assert_eq!(home.line(&format!("{line} -o json")).exits(3).code(), "config_untrusted", "{line}");
    }
    home.line("profile trust").exits(9).says("-y");
    assert_eq!(home.line("flags list -p p --via hub -o json").exits(3).code(), "config_untrusted");
    home.line("profile trust -y --dry-run").exits(0);
    assert_eq!(home.line("flags list -p p --via hub -o json").exits(3).code(), "config_untrusted");
    assert_eq!(hub.requests().len(), 0);
    assert!(!home.path().join("ran").exists());
    home.line("profile trust -y").exits(0).prints("is trusted");
    home.line("flags list -p p --via hub").exits(0);
    home.file("llmhub.toml", text + "# changed\n");
    home.line("flags list -p p --via hub").exits(3);
}

/// One check of a report.
#[track_caller]
fn check(done: &Done, id: &str) -> Check {
    let report: Doctor = typed(done);
    assert_eq!(report.healthy, report.checks.iter().all(|check| check.status != "fail"));
    assert_eq!(done.status == 0, report.healthy);
    for check in &report.checks {
        assert!(!check.subject.is_empty() && !check.evidence.is_empty(), "{check:?}");
        assert_eq!(check.fix.is_empty(), check.status == "ok", "a finding says what to do: {check:?}");
    }
    let found = report.checks.into_iter().find(|check| check.id == id);
    found.unwrap_or_else(|| panic!("no check {id}: {}", done.stdout))
}

#[test]
fn a_healthy_world_has_nothing_to_repair() {
    let (hub, database) = (Hub::builder().workers(4).start(), Database::migrated());
    let home = Home::new();
    home.file(".env.auth", "FEATURE_UNIFIED_LLM_HUB=false\n");
    let line = format!("doctor --hub {} --workers 4 --database-url {} --env-file .env.auth", hub.url(), database.url());
    home.line(&line).exits(0).prints("nothing to repair");
    let done = home.line(&format!("{line} -o json")).exits(0);
    for id in
        ["config", "hub.reachable", "hub.api", "hub.clock", "hub.session", "db.reachable", "db.schema", "db.rights"]
    {
        assert_eq!(check(&done, id).status, "ok", "{id}: {}", done.stdout);
    }
    assert!(hub.requests().iter().all(|request| request.method == "GET"), "{:?}", hub.counts());
    assert_eq!(std::fs::read_to_string(home.path().join(".env.auth")).unwrap(), "FEATURE_UNIFIED_LLM_HUB=false\n");
}

#[test]
fn each_check_of_the_hub_fails_when_it_should() {
    #[track_caller]
    fn case(hub: &Hub, id: &str, status: &str) {
        let home = Home::new().variable("LLMHUB_SESSION_TOKEN", CANARIES[0]);
        let done = home.line(&format!("doctor --hub {} --timeout 5s -o json", hub.url())).done();
        assert_eq!(check(&done, id).status, status, "{id}: {}", done.stdout);
        assert!(hub.requests().iter().all(|request| request.method == "GET"), "{:?}", hub.counts());
    }
    let hub = Hub::builder().start();
    // The token is of no session that this hub knows.
    case(&hub, "hub.session", "fail");
    case(&hub, "config.workers", "warn");
    case(&hub, "config.restart", "warn");
    hub.fail(When::always(), Fault::CloseBeforeAnswer);
    case(&hub, "hub.reachable", "fail");
    let unmounted = Hub::builder().mount(Mount::Missing).start();
    case(&unmounted, "hub.api", "fail");
}

#[test]
fn each_check_of_the_database_and_the_file_fails_when_it_should() {
    #[track_caller]
    fn case(options: &str, id: &str) {
        let done = Home::new().line(&format!("doctor {options} -o json")).exits(1);
        assert_eq!(check(&done, id).status, "fail", "{id}: {}", done.stdout);
    }
    case("", "config");
    case("--env-file /nowhere/.env.auth", "env.file");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    case(&format!("--database-url postgres://u@127.0.0.1:{port}/d?sslmode=disable"), "db.reachable");
    let empty = Database::empty();
    case(&format!("--database-url {}", empty.url()), "db.schema");
}

#[test]
fn offline_contacts_nothing() {
    let hub = Hub::builder().start();
    let home =
        Home::new().variable("LLMHUB_HUB_URL", hub.url()).variable("LLMHUB_DATABASE_URL", "postgres://u@127.0.0.1:1/d");
    let report: Value = home.line("doctor --offline -o json").exits(0).json();
    assert!(
        report["checks"].as_array().unwrap().iter().all(|check| check["id"].as_str().unwrap().starts_with("config"))
    );
    assert_eq!((hub.requests().len(), hub.connections()), (0, 0));
}
