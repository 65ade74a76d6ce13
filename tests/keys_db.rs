//! Provider keys in a database, through the real binary: what the hub's router will find there, every way in, every way to be
//! refused, and that no key is ever said.

mod schemas;
mod ways_in;

use llmhub::domain::fernet::MasterKey;
use serde_json::{Value, json};

use crate::support::cli::{Done, Home, MASTER_KEY, PROVIDER_KEY, Run, words};
use crate::support::postgres::{Database, block_on};

/// A key that only opens old rows, and one that nobody has any more.
const OLD_KEY: &str = "OldMasterKeyThatOnlyOpensRowsOfLastYear0000=";
const LOST_KEY: &str = "ThirdMasterKeyThatNobodyHasAnyMoreAtAll1110=";

struct World {
    database: Database,
    home: Home,
}

impl World {
    fn new() -> Self {
        Self::on(Database::migrated())
    }

    fn on(database: Database) -> Self {
        let home = Home::new()
            .variable("LLMHUB_DATABASE_URL", database.url())
            .variable("BYOK_ENCRYPTION_KEY", MASTER_KEY)
            .variable("NEW_KEY", PROVIDER_KEY);
        Self { database, home }
    }

    fn line(&self, line: &str) -> Run {
        self.home.run(words(line))
    }

    /// `keys set` of the tests' key, which no provider was asked about.
    fn set(&self, rest: &str) -> Run {
        self.line(&format!("keys set {rest} --from-env NEW_KEY --no-verify"))
    }

    fn sql(&self, sql: &str) {
        block_on(self.database.sql(sql));
    }

    /// A row as JSON.
    #[track_caller]
    fn row(&self, name: &str) -> Value {
        let sql = format!("SELECT to_jsonb(p)::text FROM llm_providers p WHERE name = '{name}'");
        let lines = block_on(self.database.lines(&sql));
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        serde_json::from_str(&lines[0]).unwrap()
    }

    /// All that the table holds.
    fn table(&self) -> Vec<String> {
        block_on(self.database.lines("SELECT to_jsonb(p)::text FROM llm_providers p ORDER BY id"))
    }

    /// A row that somebody else wrote.
    fn insert(&self, name: &str, kind: &str, token: Option<&str>) {
        let token = token.map_or("NULL".to_owned(), |token| format!("'{token}'"));
        self.sql(&format!(
            "INSERT INTO llm_providers (name, type, api_key_encrypted, priority) VALUES ('{name}', '{kind}', {token}, 10)"
        ));
    }

    /// The same, where there are the needed columns only.
    fn insert_plain(&self, name: &str, kind: &str, token: &str) {
        self.sql(&format!(
            "INSERT INTO llm_providers (name, type, api_key_encrypted) VALUES ('{name}', '{kind}', '{token}')"
        ));
    }
}

fn seal(key: &str, plain: &str, days_ago: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    MasterKey::parse(key).ok().unwrap().seal(plain.as_bytes(), now - days_ago * 86_400, [7; 16])
}

fn opened(token: &str) -> Option<String> {
    let plain = MasterKey::parse(MASTER_KEY).ok().unwrap().open(token)?;
    plain.as_str().map(str::to_owned)
}

#[test]
fn a_new_row_is_what_the_router_expects() {
    let world = World::new();
    let done: Value = world.set("openai -o json").exits(0).json();
    assert_eq!(
        (&done["name"], &done["provider"], &done["changed"], &done["created"], &done["master_key"], &done["verified"]),
        (&json!("OpenAI"), &json!("openai"), &json!(true), &json!(true), &json!("current"), &Value::Null)
    );
    assert!(done["after"].as_str().unwrap().starts_with("sk-…9QAA fp:"), "{done}");
    let row = world.row("OpenAI");
    assert_eq!(opened(row["api_key_encrypted"].as_str().unwrap()).as_deref(), Some(PROVIDER_KEY));
    assert_eq!(
        (
            &row["type"],
            &row["api_key_source"],
            &row["enabled"],
            &row["priority"],
            &row["config"],
            &row["health_status"]
        ),
        (&json!("openai"), &json!("database"), &json!(true), &json!(50), &json!({}), &json!("unknown"))
    );
    assert_eq!((&row["api_key_test_status"], &row["api_key_last_tested"]), (&Value::Null, &Value::Null));
    assert!(row["api_key_updated_at"].is_string());
}

#[test]
fn a_row_is_found_by_its_name_in_lower_case_and_keeps_what_is_its_own() {
    let world = World::new();
    world.insert("Platform OpenAI", "openai", Some(&seal(MASTER_KEY, "sk-before-0123456789abcdef", 3)));
    world.sql(
        "UPDATE llm_providers SET config = '{\"timeout\": 30}', enabled = false, api_key_test_status = 'success', \
         api_key_last_tested = now()",
    );
    let done = world.set("'platform openai' -o json").exits(0).says("does not use it while it is off");
    let done = done.json();
    assert!(done["before"].as_str().unwrap().starts_with("sk-…cdef fp:"), "{done}");
    let row = world.row("Platform OpenAI");
    assert_eq!(opened(row["api_key_encrypted"].as_str().unwrap()).as_deref(), Some(PROVIDER_KEY));
    assert_eq!(
        (&row["config"], &row["enabled"], &row["priority"], &row["api_key_test_status"], &row["api_key_last_tested"]),
        (&json!({"timeout": 30}), &json!(false), &json!(10), &Value::Null, &Value::Null)
    );
    world.set("openai --name 'PLATFORM openai' -o json").exits(0).prints("\"changed\": false");
    assert_eq!(world.table().len(), 1);
    world.set("openai").exits(0).says("a new one is made; of this type there are `Platform OpenAI`");
    assert_eq!(world.table().len(), 2);
}

#[test]
fn a_base_url_goes_into_the_config_whichever_way_that_is_stored() {
    for config in ["'{\"timeout\": 30}'", "'\"{\\\"timeout\\\": 30}\"'"] {
        let world = World::new();
        world.insert("Loop", "custom", None);
        world.sql(&format!("UPDATE llm_providers SET config = {config}"));
        world.set("loop --base-url http://127.0.0.1:9/v1").exits(0);
        assert_eq!(world.row("Loop")["config"], json!({"timeout": 30, "base_url": "http://127.0.0.1:9/v1"}));
    }
}

#[test]
fn the_list_says_which_key_opens_each_row_and_how_old_it_is() {
    let world = World::new();
    world.insert("A", "openai", Some(&seal(MASTER_KEY, PROVIDER_KEY, 0)));
    world.insert("B", "groq", Some(&seal(OLD_KEY, "gsk_0123456789abcdefghij", 400)));
    world.insert("C", "mistral", Some(&seal(LOST_KEY, "lost", 40)));
    world.insert("D", "cohere", Some("cohere-in-plain-text-0123"));
    world.insert("E", "local", None);
    let list = world.line("keys list -o json").env("BYOK_ENCRYPTION_KEYS_OLD", OLD_KEY).exits(0).json();
    let words: Vec<(&str, &str)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), row["master_key"].as_str().unwrap()))
        .collect();
    let old = "old:BYOK_ENCRYPTION_KEYS_OLD";
    assert_eq!(words, [("A", "current"), ("B", old), ("C", "none"), ("D", "not_fernet"), ("E", "empty")]);
    let ages: Vec<&Value> = list.as_array().unwrap().iter().map(|row| &row["age_days"]).collect();
    assert_eq!(ages, [&json!(0), &json!(400), &json!(40), &Value::Null, &Value::Null]);
    let members: Vec<&String> = list[0].as_object().unwrap().keys().collect();
    let pinned = [
        "name",
        "provider",
        "enabled",
        "source",
        "fingerprint",
        "master_key",
        "age_days",
        "last_tested",
        "test_status",
    ];
    assert_eq!(members, pinned);
    assert!(list[1]["fingerprint"].as_str().unwrap().starts_with("gsk_…ghij fp:"), "{list}");
    assert_eq!((&list[2]["fingerprint"], &list[3]["fingerprint"]), (&Value::Null, &Value::Null));
    let table = world.line("keys list").exits(0);
    assert!(!table.stdout.contains("in-plain-text"), "{}", table.stdout);
    table.prints("NONE opens it").prints("NOT ENCRYPTED");
}

#[test]
fn the_source_is_the_one_that_the_hub_really_uses() {
    let world = World::new();
    world.insert("good", "openai", Some(&seal(MASTER_KEY, PROVIDER_KEY, 0)));
    world.insert("masked", "groq", Some(&seal(LOST_KEY, "lost", 1)));
    world.insert("dead", "cohere", Some(&seal(LOST_KEY, "lost", 1)));
    world.insert("my-env", "custom", None);
    world.insert("empty", "custom", None);
    let sources = |done: Done| -> Vec<(String, Value)> {
        let list = done.json();
        list.as_array()
            .unwrap()
            .iter()
            .map(|row| (row["name"].as_str().unwrap().to_owned(), row["source"].clone()))
            .collect()
    };
    let known = |pairs: [(&str, Value); 5]| pairs.map(|(name, source)| (name.to_owned(), source)).to_vec();
    let done = world.line("keys list -o json").exits(0).says("without the hub's env file");
    let null = Value::Null;
    assert_eq!(
        sources(done),
        known([
            ("dead", null.clone()),
            ("good", json!("database")),
            ("masked", null.clone()),
            ("empty", null.clone()),
            ("my-env", null)
        ])
    );
    world.home.file(".env.auth", "MASKED_API_KEY=x\nMY_ENV_API_KEY='y'\nEMPTY_API_KEY=\n");
    let done = world.line("keys list -o json --env-file .env.auth --via db").exits(0);
    assert_eq!(
        sources(done),
        known([
            ("dead", json!("none")),
            ("good", json!("database")),
            ("masked", json!("environment")),
            ("empty", json!("none")),
            ("my-env", json!("environment"))
        ])
    );
}

#[test]
fn without_a_good_master_key_the_list_lists_and_set_refuses_by_its_fault() {
    let world = World::new();
    world.insert("A", "openai", Some(&seal(MASTER_KEY, PROVIDER_KEY, 2)));
    let before = world.table();
    for (key, fault) in [
        ("", "there is no master key"),
        ("c2hvcnQ=", "32 bytes"),
        ("CANARYmasterKeyOfAllTests!everShownAnywherc=", "alphabet"),
        ("CANARYmasterKeyOfAllTestsNeverShownAnywherc", "padding"),
    ] {
        let list = world.line("keys list -o json").env("BYOK_ENCRYPTION_KEY", key).exits(0).says(fault).json();
        assert_eq!((&list[0]["master_key"], &list[0]["age_days"]), (&json!("none"), &json!(2)), "{key}");
        let refused = world.set("openai -o json").env("BYOK_ENCRYPTION_KEY", key).exits(3).says(fault);
        assert_eq!(refused.code(), "credentials");
    }
    // A good old key in second place does not become the current one.
    let run = world.set("openai").env("BYOK_ENCRYPTION_KEY", "c2hvcnQ=").env("BYOK_ENCRYPTION_KEYS_OLD", MASTER_KEY);
    run.exits(3);
    let run = world.line("keys list -o json").env("BYOK_ENCRYPTION_KEY", "c2hvcnQ=");
    let list = run.env("BYOK_ENCRYPTION_KEYS_OLD", MASTER_KEY).exits(0).json();
    assert_eq!(list[0]["master_key"], "old:BYOK_ENCRYPTION_KEYS_OLD");
    assert_eq!(world.table(), before);
}

#[test]
fn remove_asks_then_clears_the_key_and_keeps_the_row() {
    let world = World::new();
    world.set("openai").exits(0);
    let before = world.table();
    world.line("keys remove openai").exits(9);
    world.line("keys remove openai --dry-run -o json").exits(0).prints("\"dry_run\": true");
    assert_eq!(world.table(), before);
    let done = world.line("keys remove OPENAI -y -o json").exits(0).json();
    assert_eq!(done["changed"], true);
    let row = world.row("OpenAI");
    assert_eq!(
        (&row["api_key_encrypted"], &row["api_key_source"], &row["api_key_test_status"]),
        (&Value::Null, &json!("environment"), &Value::Null)
    );
    // Nothing is there any more, so nothing is asked.
    world.line("keys remove OpenAI -o json").exits(0).prints("\"changed\": false");
    assert_eq!(world.line("keys remove opneai -y -o json").exits(4).says("did you mean `OpenAI`").code(), "not_found");
}

#[test]
fn a_provider_is_switched_and_switched_back_by_the_printed_line() {
    let world = World::new();
    world.set("'google' --name 'Google AI'").exits(0);
    let done = world.line("keys disable 'google ai' -o json").exits(0);
    assert_eq!(done.json()["changed"], true);
    assert_eq!(world.row("Google AI")["enabled"], false);
    let undo = done.stderr.lines().find_map(|line| line.split_once("undo: ")).unwrap().1.to_owned();
    assert!(world.home.command("sh", ["-c", &undo]).output().unwrap().status.success(), "{undo}");
    assert_eq!(world.row("Google AI")["enabled"], true);
    world.line("keys enable google").exits(0).prints("already so");
    let over_http = Home::new().variable("LLMHUB_HUB_URL", "http://127.0.0.1:9");
    for verb in ["enable", "disable"] {
        assert_eq!(over_http.line(&format!("keys {verb} OpenAI -o json")).exits(7).code(), "unsupported");
    }
}

#[test]
fn a_dry_run_and_a_protected_profile_write_nothing() {
    let world = World::new();
    world.insert("OpenAI", "openai", Some(&seal(MASTER_KEY, "sk-before-0123456789abcdef", 3)));
    let before = world.table();
    let dry = world.set("openai --dry-run -o json").exits(0).json();
    assert_eq!((&dry["dry_run"], &dry["changed"]), (&json!(true), &json!(true)));
    world.set("groq --dry-run").exits(0);
    world.line("keys disable openai --dry-run").exits(0);
    let config = "[profiles.prod]\nprotected = true\ndatabase_url_env = \"LLMHUB_DATABASE_URL\"\n";
    world.home.file(".config/llmhub/config.toml", config);
    assert_eq!(world.set("openai -p prod -o json").exits(7).code(), "reason_needed");
    assert_eq!(world.set("openai -p prod -y -m drill -o json").exits(7).code(), "protected");
    world.set("openai -p prod -m drill --confirm=dev").exits(9);
    assert_eq!(world.table(), before);
    world.set("openai -p prod -m drill --confirm=prod").exits(0);
    assert_ne!(world.table(), before);
}

#[test]
fn a_provider_that_does_not_exist_is_not_found_and_the_nearest_is_named() {
    let world = World::new();
    assert_eq!(world.set("opanai -o json").exits(4).says("did you mean `openai`").code(), "not_found");
    world.insert("one", "openai", None);
    world.insert("two", "openai", None);
    world.line("keys disable openai").exits(2).says("means 2 providers");
    world.insert("vllm", "local", None);
    world.set("vllm").exits(7).says("which the hub keeps no keys for");
    world.line("keys providers -o json").exits(0).prints("OPENAI_API_KEY").prints("\"variable\": null");
    Home::new().line("keys list").exits(3);
}

#[test]
fn a_thousand_rows_are_listed_at_once() {
    let world = World::new();
    let token = seal(MASTER_KEY, PROVIDER_KEY, 5);
    world.sql(&format!(
        "INSERT INTO llm_providers (name, type, api_key_encrypted) SELECT 'p' || n, 'custom', '{token}' \
         FROM generate_series(1, 1000) n"
    ));
    let done = world.line("keys list -o json").exits(0);
    assert_eq!(done.json().as_array().unwrap().len(), 1000);
    assert!(done.took < std::time::Duration::from_secs(5), "{:?}", done.took);
}

/// A provider on loopback that answers every request with this.
fn provider(status: &'static str, body: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (heard, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            heard.send(head.join("\n")).ok();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    (url, requests)
}

#[test]
fn a_key_is_verified_then_stored_and_a_no_stores_nothing() {
    let world = World::new();
    let set = |url: &str| world.line(&format!("keys set custom --from-env NEW_KEY --base-url {url} -o json"));
    let (dead, _) = provider("401 Unauthorized", r#"{"error":{"code":"invalid_api_key"}}"#);
    assert_eq!(set(&dead).exits(7).says("invalid").code(), "refused");
    assert_eq!(set("http://127.0.0.1:1").exits(6).says("does not answer").code(), "unreachable");
    assert_eq!(set("http://provider.example.com").exits(7).says("in clear text").code(), "refused");
    world.line("keys set custom --from-env NEW_KEY").exits(2).says("--base-url");
    assert_eq!(world.table(), [""; 0]);
    let (alive, requests) = provider("200 OK", r#"{"object":"list","data":[{"id":"a"}]}"#);
    let done = set(&alive).exits(0).json();
    assert_eq!((&done["verified"], &done["created"]), (&json!("valid"), &json!(true)));
    assert!(requests.recv().unwrap().contains(PROVIDER_KEY));
    let row = world.row("Custom Endpoint");
    assert_eq!((&row["api_key_test_status"], &row["config"]), (&json!("success"), &json!({"base_url": alive})));
    assert!(row["api_key_last_tested"].is_string());
}

#[test]
fn an_import_shows_names_first_and_stores_what_is_new_or_differs() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.insert("Platform-Groq", "groq", Some(&seal(MASTER_KEY, PROVIDER_KEY, 1)));
    world.insert("Cohere", "cohere", Some(&seal(MASTER_KEY, "cohere-0123456789abcdefgh", 1)));
    let text = format!(
        "# keys\nOPENAI_API_KEY=sk-fresh-0123456789abcdef\nPLATFORM_GROQ_API_KEY={PROVIDER_KEY}\n\
         COHERE_API_KEY=cohere-9876543210zyxwvuts\nMISTRAL_API_KEY=your-mistral-key\n\
         TOGETHER_API_KEY=cohere-9876543210zyxwvuts\nANTHROPIC_API_KEY='sk ant'\nSTRIPE_API_KEY=sk_live_0123\n"
    );
    let file = world.home.file(".env.keys", &text);
    world.line("keys import .env.keys --no-verify").exits(3).says("chmod 600");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let before = world.table();
    let plan =
        world.line("keys import .env.keys --no-verify --dry-run -o json").exits(0).says("`STRIPE_API_KEY` means no");
    let states = |done: &Value| -> Vec<(String, String, bool)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let keys = done["keys"].as_array().unwrap();
        keys.iter().map(|key| (text(&key["name"]), text(&key["state"]), key["stored"].as_bool().unwrap())).collect()
    };
    let expected = |stored: bool| {
        [
            ("OpenAI", "new", stored),
            ("Platform-Groq", "same", false),
            ("Cohere", "differs", stored),
            ("Mistral AI", "placeholder", false),
            ("Together AI", "duplicate", false),
            ("Anthropic", "not_a_key", false),
        ]
        .map(|(name, state, stored)| (name.to_owned(), state.to_owned(), stored))
    };
    assert_eq!(states(&plan.json()), expected(false));
    world.line("keys import .env.keys --no-verify").exits(9);
    assert_eq!(world.table(), before);
    // Of what is no key nothing could be stored: the work is not done.
    let done =
        world.line("keys import .env.keys --no-verify -y -o json").exits(10).says("the file was left as it is").json();
    assert_eq!(states(&done), expected(true));
    assert_eq!(
        opened(world.row("Cohere")["api_key_encrypted"].as_str().unwrap()).unwrap(),
        "cohere-9876543210zyxwvuts"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    world.line("keys import - -o json").stdin("{\"openai\": 1}").exits(7).says("is no text");
    world.line("keys import - --no-verify -y").stdin("{\"groq\": \"gsk a\"}").exits(1).prints("not_a_key");
}

#[test]
fn two_names_of_one_provider_with_different_keys_are_nobodys_guess() {
    let world = World::new();
    let import = |text: &str| world.line("keys import - --no-verify -y -o json").stdin(text);
    let two = r#"{"openai": "sk-one-0123456789abcdef", "OPENAI_API_KEY": "sk-two-0123456789abcdef"}"#;
    import(two).exits(7).says("both mean OpenAI, with different keys");
    assert_eq!(world.table(), [""; 0]);
    let same = r#"{"openai": "sk-one-0123456789abcdef", "OPENAI_API_KEY": "sk-one-0123456789abcdef"}"#;
    assert_eq!(import(same).exits(0).json()["keys"][1]["state"], "duplicate");
    assert_eq!(world.table().len(), 1);
}

#[test]
fn an_address_is_looked_at_before_it_is_stored_even_if_nobody_is_asked_there() {
    let world = World::new();
    for url in ["ftp://host", "host/v1", "https://me:hush@host/v1"] {
        let done = world.set(&format!("custom --base-url {url} -o json")).exits(2);
        assert!(!done.stderr.contains("hush"), "{}", done.stderr);
    }
    assert_eq!(world.table(), [""; 0]);
    world.set("custom --base-url http://vllm:8000/v1").exits(0).says("in clear text");
}

#[test]
fn a_long_name_of_words_and_numbers_is_a_name() {
    let world = World::new();
    world.insert("azure-openai-eastus2-gpt4", "openai", None);
    world.line("keys disable azure-openai-eastus2-gpt4").exits(0);
    assert_eq!(world.row("azure-openai-eastus2-gpt4")["enabled"], json!(false));
}
