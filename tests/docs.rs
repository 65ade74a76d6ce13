//! What the documents and the help texts tell an operator to type is typed here, against a prepared world.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::support::cli::{Home, MASTER_KEY, PROVIDER_KEY};
use crate::support::hub::Hub;
use crate::support::postgres::{Database, block_on};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Lines that cannot run here, by how they begin, and why.
const NOT_RUN: [(&str, &str); 6] = [
    ("cargo run ", "builds the tool; the tests run the tool that was built"),
    ("scripts/test", "runs these tests"),
    ("export LLMHUB_DATABASE_URL=", "a placeholder; the world's own database takes its place"),
    ("export LLMHUB_HUB_URL=", "a placeholder; the world's own hub takes its place"),
    ("export BYOK_ENCRYPTION_KEY=", "a placeholder; the tests' own master key takes its place"),
    ("llmhub keys set openai ", "asks the provider itself, with a key that only an operator has"),
];

/// A ledger of sqlx that holds the built-in migrations.
const SQLX: &str = "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, \
    installed_on timestamptz DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL, execution_time bigint NOT NULL); \
    INSERT INTO _sqlx_migrations SELECT version, 'shipped', now(), true, '', 0 FROM generate_series(1, 3) version";

struct World {
    hub: Hub,
    database: Database,
    home: Home,
}

impl World {
    fn new() -> Self {
        let hub = Hub::builder().workers(4).start();
        let database = Database::migrated();
        let home = Home::new();
        home.file(".config/llmhub/config.toml", "default_profile = \"dev\"\n[profiles.dev]\nworkers = 4\n");
        home.file(".env.auth", "# the hub's settings\nFEATURE_UNIFIED_LLM_HUB=false\n");
        home.file("legacy/orders.sql", "CREATE TABLE orders (customer int REFERENCES customers (id));\n");
        home.file("legacy/make_customers_final.sql", "CREATE TABLE customers (id int PRIMARY KEY);\n");
        home.file("legacy/rollback/orders.sql", "DROP TABLE orders;\n");
        let key = home.file("groq.key", format!("{PROVIDER_KEY}\n"));
        let keys = home.file("keys.env", format!("MISTRAL_API_KEY={PROVIDER_KEY}\n"));
        for file in [key, keys] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let home = home.variable("BYOK_ENCRYPTION_KEY", MASTER_KEY);
        home.file("users.txt", "ana@example.com\nben@example.com\n");
        for name in ["examples/flags.toml", "examples/ci-rollout.sh"] {
            home.file(name, std::fs::read(Path::new(ROOT).join(name)).unwrap());
        }
        Self { hub, database, home }
    }

    /// Run one line in a shell; `sources` are those that the section speaks of.
    fn shell(&self, line: &str, sources: &str) -> (i32, String) {
        let mut command = self.home.command("bash", ["-euo", "pipefail", "-c", line]);
        if sources.contains("hub") {
            command.env("LLMHUB_HUB_URL", self.hub.url());
        }
        if sources.contains("db") {
            command.env("LLMHUB_DATABASE_URL", self.database.url());
        }
        if sources.contains("env") {
            command.env("LLMHUB_ENV_FILE", ".env.auth");
        }
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), text)
    }

    /// A line of a document must be done; a question may be answered with no, and a rollout may wait for a person.
    #[track_caller]
    fn follow(&self, line: &str, sources: &str) {
        if NOT_RUN.iter().any(|(start, _)| line.starts_with(start)) {
            return;
        }
        let (status, text) = self.shell(line, sources);
        let question =
            [" check ", " diff ", " audit", " --once ", "rollout status "].iter().any(|word| line.contains(word));
        assert!(status == 0 || (status == 1 && question), "exit {status}: {line}\n{text}");
    }
}

/// The commands of the fenced blocks, with the heading that they stand under.
fn commands(document: &str) -> Vec<(String, String)> {
    let (mut heading, mut fence, mut found) = (String::new(), None, Vec::new());
    for line in document.lines() {
        let line = line.trim();
        match (line.strip_prefix("```"), &fence) {
            (Some(_), Some(_)) => fence = None,
            (Some(kind), None) => fence = Some(kind.to_owned()),
            (None, None) if line.starts_with('#') => heading = line.trim_start_matches('#').trim().to_owned(),
            (None, Some(kind)) if kind == "console" => {
                found.extend(line.strip_prefix("$ ").map(|line| (heading.clone(), line.to_owned())));
            }
            (None, Some(kind)) if kind == "sh" && !line.is_empty() => found.push((heading.clone(), line.to_owned())),
            _ => {}
        }
    }
    found
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap()
}

#[test]
fn every_command_of_the_readme_runs() {
    let world = World::new();
    // The document names revision 7: there is one, and the flag is as it was.
    for _ in 0..4 {
        world.shell("llmhub flags enable unified_llm_hub; llmhub flags disable unified_llm_hub", "db");
    }
    let commands = commands(&read("README.md"));
    assert!(commands.len() > 20, "{commands:?}");
    for (heading, line) in &commands {
        let sources = match heading.as_str() {
            "A database" | "Migrations" | "Provider keys" | "Adopting a folder" | "Coming from another tool" => "db",
            "A running hub" => "hub",
            "The hub's .env" => "",
            "Undo everything" => "hub db env",
            _ => "hub db",
        };
        // It comes from sqlx, whose migrations are those that are built in; to a rollback the table would be a stranger's.
        let comes = heading == "Coming from another tool";
        if comes {
            block_on(world.database.sql(SQLX));
        }
        world.follow(line, sources);
        if comes {
            block_on(world.database.sql("DROP TABLE _sqlx_migrations"));
        }
    }
    for (start, reason) in NOT_RUN {
        assert!(!reason.is_empty() && commands.iter().any(|(_, line)| line.starts_with(start)), "unused: {start}");
    }
}

#[test]
fn every_command_of_the_runbooks_runs() {
    for entry in std::fs::read_dir(Path::new(ROOT).join("examples/runbooks")).unwrap() {
        let path = entry.unwrap().path();
        let world = World::new();
        // The runbook begins with a feature that somebody watches already.
        world.shell("llmhub flags enable unified_llm_hub --via hub,db,env", "hub db env");
        let commands = commands(&std::fs::read_to_string(&path).unwrap());
        assert!(!commands.is_empty(), "{}", path.display());
        for (_, line) in commands {
            world.follow(&line, "hub db env");
        }
    }
}

#[test]
fn the_ci_job_takes_one_rung_and_stops_where_the_sources_disagree() {
    let world = World::new();
    let (status, text) = world.shell("bash examples/ci-rollout.sh unified_llm_hub", "hub db");
    assert_eq!(status, 0, "{text}");
    assert_eq!(world.hub.member("unified_llm_hub", "rollout_percentage"), [10, 10, 10, 10]);
    world.hub.set_flag_everywhere("unified_llm_hub", serde_json::json!({"rollout_percentage": 50}));
    let (status, text) = world.shell("bash examples/ci-rollout.sh unified_llm_hub", "hub db");
    assert_eq!(status, 1, "{text}");
    assert_eq!(world.hub.member("unified_llm_hub", "rollout_percentage"), [50, 50, 50, 50]);
}

#[test]
fn the_example_state_file_is_what_its_comment_says() {
    let world = World::new();
    assert_eq!(world.shell("llmhub flags diff examples/flags.toml", "db").0, 1);
    let (status, text) = world.shell("llmhub flags apply examples/flags.toml -y", "db");
    assert_eq!(status, 0, "{text}");
    assert_eq!(world.shell("llmhub flags diff examples/flags.toml", "db").0, 0);
}

/// The columns of a document, `table.column`: tables of two columns, each under a paragraph that begins with the table's name.
fn documented(document: &str) -> Vec<String> {
    let names = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let (mut table, mut found) = (String::new(), Vec::new());
    for line in document.lines() {
        if line.starts_with('`') && line.contains("`: ") {
            table = names(line).swap_remove(0);
        } else if let Some(cell) = line.strip_prefix("| ").and_then(|row| row.split(" | ").next()) {
            found.extend(names(cell).into_iter().map(|column| format!("{table}.{column}")));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn every_column_of_a_migrated_database_is_explained_and_no_other() {
    let columns = "SELECT table_name || '.' || column_name FROM information_schema.columns \
                   WHERE table_schema IN ('public', 'llmhub')";
    let mut there = Database::migrated().lines(columns).await;
    there.sort();
    let explained = documented(&read("migrations/README.md"));
    let only = |some: &[String], other: &[String]| -> Vec<String> {
        some.iter().filter(|name| !other.contains(name)).cloned().collect()
    };
    assert_eq!((only(&there, &explained), only(&explained, &there)), (vec![], vec![]));
}

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "elvish", "powershell"];

#[test]
fn the_completion_scripts_are_those_that_the_binary_prints() {
    for shell in SHELLS {
        let printed = Home::new().line(&format!("completions {shell}")).exits(0).stdout;
        assert_eq!(read(&format!("completions/llmhub.{shell}")), printed, "write it again: llmhub completions {shell}");
    }
    let script = Path::new(ROOT).join("completions/llmhub.bash");
    let line = format!("source '{}' && complete -p llmhub", script.display());
    let output = Home::new().command("bash", ["-c", &line]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// What bash is offered for the last of these words.
fn offered(home: &Home, words: &[&str]) -> (Vec<String>, Duration) {
    let started = std::time::Instant::now();
    let mut command = home.command(env!("CARGO_BIN_EXE_llmhub"), ["--"]);
    let index = (words.len() - 1).to_string();
    let variables = [("COMPLETE", "bash"), ("_CLAP_IFS", "\n"), ("_CLAP_COMPLETE_INDEX", &index)];
    let output = command.args(words).envs(variables).env("_CLAP_COMPLETE_SPACE", "true").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    (String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect(), started.elapsed())
}

#[test]
fn a_flags_name_completes_from_the_hub_and_a_dead_hub_is_silent_and_quick() {
    let hub = Hub::builder().start();
    let home = Home::new().variable("LLMHUB_HUB_URL", hub.url());
    let (names, _) = offered(&home, &["llmhub", "flags", "show", "uni"]);
    assert_eq!(names, ["unified_llm_hub"]);
    // From the cache now: the hub is not asked again.
    hub.forget_requests();
    assert_eq!(offered(&home, &["llmhub", "flags", "rollout", "adv"]).0, ["advanced_analytics"]);
    assert_eq!(hub.requests().len(), 0);

    hub.fail(crate::support::hub::When::always(), crate::support::hub::Fault::Silence);
    for url in [hub.url(), "http://127.0.0.1:9".to_owned(), "not a url".to_owned()] {
        let home = Home::new().variable("LLMHUB_HUB_URL", url);
        let (names, took) = offered(&home, &["llmhub", "flags", "show", "uni"]);
        assert_eq!(names, [""; 0]);
        // 300 ms for the hub; the rest is the start of a process on a busy machine.
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

/// Every command by its words, from the help of each.
fn tree(home: &Home, path: &str, found: &mut Vec<(String, String)>) {
    let help = home.line(&format!("{path} --help")).exits(0).stdout;
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let names: Vec<String> = list
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    found.push((path.to_owned(), help));
    for name in names {
        tree(home, format!("{path} {name}").trim(), found);
    }
}

#[test]
fn every_commands_help_has_an_example_that_names_a_command_and_a_manual_page() {
    let home = Home::new();
    let mut commands = Vec::new();
    tree(&home, "", &mut commands);
    assert!(commands.len() > 30, "{commands:?}");
    home.line("man pages").exits(0).prints(&format!("{} pages", commands.len()));
    let paths: Vec<&str> = commands.iter().map(|(path, _)| path.as_str()).collect();
    let mut without = Vec::new();
    for (path, help) in &commands {
        let example = help.lines().any(|line| line.contains("llmhub ") && !line.contains("Usage:"));
        if !example {
            without.push(path);
        }
        let page = home.path().join(format!(
            "pages/llmhub{}.1",
            path.split(' ').filter(|word| !word.is_empty()).fold(String::new(), |name, word| name + "-" + word,)
        ));
        assert!(std::fs::read_to_string(&page).is_ok_and(|page| page.contains(".SH NAME")), "{}", page.display());
    }
    assert!(without.is_empty(), "no example: {without:?}");
    for path in ["flags", "db apply", "profile trust", "doctor"] {
        assert!(paths.contains(&path), "{path}");
    }
}

#[test]
fn every_hint_that_is_a_command_names_a_real_one() {
    let home = Home::new();
    let mut commands = Vec::new();
    tree(&home, "", &mut commands);
    let mut wrong = Vec::new();
    let source = concat!(
        include_str!("../src/error.rs"),
        include_str!("../src/error/codes.rs"),
        include_str!("../src/commands/doctor.rs")
    );
    for rest in source.split("llmhub ").skip(1) {
        let words: Vec<&str> = rest
            .split(|c: char| !(c.is_ascii_lowercase() || c == ' ' || c == '-'))
            .next()
            .unwrap()
            .split(' ')
            .collect();
        let noun = words[0];
        if !["flags", "db", "keys", "profile"].contains(&noun) {
            continue;
        }
        let path = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        if !commands.iter().any(|(known, _)| *known == path) {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
