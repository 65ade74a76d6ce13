//! `keys test` against a double of the providers: every cell of craft.md 2.8 through the real binary, servers that are slow,
//! cut, huge or false, and what is recorded of it all.

use std::time::Duration;

use llmhub::domain::fernet::MasterKey;
use serde_json::{Value, json};

use crate::support::cli::{Done, Home, MASTER_KEY as MASTER, PROVIDER_KEY as KEY, Run};
use crate::support::postgres::{Database, block_on};
use crate::support::provider::{Provider, Reply};

#[track_caller]
fn done(run: Run) -> Done {
    let done = run.done();
    for text in [&done.stdout, &done.stderr] {
        for secret in [KEY, &KEY[..KEY.len() / 2], &KEY[KEY.len() / 2..], MASTER] {
            assert!(!text.contains(secret), "a secret leaked: {}{}", done.stdout, done.stderr);
        }
    }
    done
}

/// Test the key at a base URL.
#[track_caller]
fn test(kind: &str, base_url: &str) -> Done {
    test_within(kind, base_url, "20s")
}

/// The same, within a time.
#[track_caller]
fn test_within(kind: &str, base_url: &str, timeout: &str) -> Done {
    let line = ["keys", "test", kind, "--stdin", "--base-url", base_url, "-o", "json", "--timeout", timeout];
    done(Home::new().run(line).stdin(format!("{KEY}\n")))
}

/// The status word of a run with one key, from the document or from the error.
#[track_caller]
fn status(done: &Done) -> String {
    let document = done.json();
    if done.status == 6 {
        // "…: NAME: STATUS (WHY)"
        let message = document["error"]["message"].as_str().unwrap();
        let said = message.split(": ").nth(2).unwrap();
        return said.split(' ').next().unwrap().to_owned();
    }
    let row = &document[0];
    let ok = match done.status {
        0 => json!(true),
        1 => json!(false),
        other => panic!("exit {other}: {document}"),
    };
    assert_eq!(row["ok"], ok, "{document}");
    let members: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["name", "provider", "ok", "status", "latency_ms", "models"]);
    row["status"].as_str().unwrap().to_owned()
}

/// How each provider is asked: method, path, and the header that carries the key.
const ASKED: [(&str, &str, &str, &str); 9] = [
    ("openai", "GET", "/v1/models", "authorization"),
    ("anthropic", "GET", "/v1/models", "x-api-key"),
    ("google", "GET", "/v1beta/models", "x-goog-api-key"),
    ("groq", "GET", "/openai/v1/models", "authorization"),
    ("mistral", "GET", "/v1/models", "authorization"),
    ("cohere", "POST", "/v1/check-api-key", "authorization"),
    ("together", "GET", "/v1/models", "authorization"),
    ("openrouter", "GET", "/api/v1/key", "authorization"),
    ("custom", "GET", "/v1/models", "authorization"),
];

fn asked(kind: &str) -> (&'static str, &'static str, &'static str) {
    let (_, method, path, header) = ASKED.into_iter().find(|(word, ..)| *word == kind).unwrap();
    (method, path, header)
}

#[test]
fn every_cell_of_the_table_is_told_apart() {
    let provider = Provider::start();
    let list = || json!({"object": "list", "data": [{"id": "a"}, {"id": "b"}]});
    let code = |code: &str| json!({"error": {"message": "m", "type": "t", "code": code}});
    let kind = |kind: &str| json!({"type": "error", "error": {"type": kind, "message": "m"}});
    let google = |status: &str, reason: &str, message: &str| json!({"error": {"status": status, "message": message, "details": [{"reason": reason}]}});
    let m = |text: &str| json!({"message": text});
    let cells = [
        ("openai", 200, list(), "valid"),
        ("openai", 401, code("invalid_api_key"), "invalid"),
        ("openai", 401, code("missing_scope"), "valid_limited"),
        ("openai", 401, code("ip_not_authorized"), "valid_limited"),
        ("openai", 403, code("unsupported_country_region_territory"), "unknown"),
        ("openai", 429, code("insufficient_quota"), "no_funds"),
        ("openai", 429, code("credit_balance_exhausted"), "no_funds"),
        ("openai", 429, code("rate_limit_exceeded"), "rate_limited"),
        ("anthropic", 200, json!({"data": [{"id": "c"}], "has_more": false}), "valid"),
        ("anthropic", 400, kind("invalid_request_error"), "unknown"),
        ("anthropic", 401, kind("authentication_error"), "invalid"),
        ("anthropic", 402, kind("billing_error"), "no_funds"),
        ("anthropic", 403, kind("permission_error"), "valid_limited"),
        ("anthropic", 429, kind("rate_limit_error"), "rate_limited"),
        ("anthropic", 529, kind("overloaded_error"), "unknown"),
        ("google", 200, json!({"models": [{"name": "models/g"}]}), "valid"),
        ("google", 400, google("INVALID_ARGUMENT", "API_KEY_INVALID", "m"), "invalid"),
        ("google", 400, google("FAILED_PRECONDITION", "", "m"), "unknown"),
        ("google", 401, google("UNAUTHENTICATED", "ACCESS_TOKEN_TYPE_UNSUPPORTED", "m"), "wrong_kind"),
        ("google", 403, google("PERMISSION_DENIED", "", "reported as leaked"), "disabled"),
        ("google", 403, google("PERMISSION_DENIED", "SERVICE_DISABLED", "m"), "valid_limited"),
        ("google", 429, google("RESOURCE_EXHAUSTED", "", "m"), "rate_limited"),
        ("groq", 200, list(), "valid"),
        ("groq", 401, m("m"), "invalid"),
        ("groq", 403, m("m"), "valid_limited"),
        ("groq", 429, m("m"), "rate_limited"),
        ("mistral", 200, list(), "valid"),
        ("mistral", 401, m("m"), "invalid"),
        ("mistral", 402, m("m"), "no_funds"),
        ("mistral", 403, m("m"), "valid_limited"),
        ("mistral", 429, m("m"), "rate_limited"),
        ("cohere", 200, json!({"valid": true}), "valid"),
        ("cohere", 200, json!({"valid": false}), "invalid"),
        ("cohere", 401, m("invalid api token"), "invalid"),
        ("cohere", 401, m("your api key has expired"), "expired"),
        ("cohere", 402, m("m"), "no_funds"),
        ("cohere", 429, m("m"), "rate_limited"),
        ("together", 200, json!([{"id": "a"}]), "valid"),
        ("together", 400, m("m"), "unknown"),
        ("together", 401, m("m"), "invalid"),
        ("together", 402, m("m"), "no_funds"),
        ("together", 403, m("m"), "unknown"),
        ("together", 429, m("m"), "rate_limited"),
        ("openrouter", 200, json!({"data": {"label": "l", "limit_remaining": null}}), "valid"),
        ("openrouter", 200, json!({"data": {"is_management_key": true}}), "wrong_kind"),
        ("openrouter", 401, m("m"), "invalid"),
        ("openrouter", 402, json!({"error": {"message": "m", "metadata": {"limit_source": "key"}}}), "no_funds"),
        ("openrouter", 403, m("m"), "unknown"),
        ("openrouter", 429, m("m"), "rate_limited"),
        ("custom", 200, json!({"models": [{"name": "llama3"}]}), "valid"),
        ("custom", 400, json!({"error": "Incorrect API key provided: ab***yz"}), "invalid"),
        ("custom", 401, m("m"), "invalid"),
        ("custom", 403, json!({"error": "The API key or its team is blocked"}), "disabled"),
        ("custom", 429, m("m"), "rate_limited"),
        ("custom", 404, m("m"), "wrong_endpoint"),
    ];
    for (number, (kind, http, body, expected)) in cells.into_iter().enumerate() {
        let (method, path, header) = asked(kind);
        let url = provider.at(&format!("cell{number}"), method, path, Reply::Json(http, body.clone()));
        let done = test(kind, &url);
        assert_eq!(status(&done), expected, "{kind} {http} {body}: {}{}", done.stdout, done.stderr);
        let first = provider
            .requests()
            .into_iter()
            .find(|request| request.target.starts_with(&format!("/cell{number}/")))
            .unwrap();
        assert_eq!((first.method.as_str(), first.path()), (method, format!("/cell{number}{path}")), "{kind}");
        let sent = first.header_text(header).unwrap();
        assert!(sent == KEY || sent == format!("Bearer {KEY}"), "{kind} sends it in {header}");
    }
    for request in provider.requests() {
        assert!(!request.target.contains("CANARY"), "a key stands in an address: {}", request.target);
        let carriers = request.headers.iter().filter(|(_, value)| String::from_utf8_lossy(value).contains(KEY)).count();
        assert!(carriers <= 1, "a key travels twice: {request:?}");
    }
}

#[test]
fn models_are_counted_where_they_are_listed_and_a_public_list_does_not_get_the_key() {
    let provider = Provider::start();
    let models = |done: &Done| done.json()[0]["models"].clone();
    let valid = Reply::Json(200, json!({"valid": true}));
    let url = provider.at("cohere", "POST", "/v1/check-api-key", valid.clone());
    provider.at("cohere", "GET", "/v1/models", Reply::Json(200, json!({"models": [{"name": "a"}, {"name": "b"}]})));
    assert_eq!(models(&test("cohere", &url)), 2);
    let url = provider.at("cohere2", "POST", "/v1/check-api-key", valid);
    assert_eq!(models(&test("cohere", &url)), Value::Null);
    let url = provider.at("router", "GET", "/api/v1/key", Reply::Json(200, json!({"data": {"label": "l"}})));
    provider.at("router", "GET", "/api/v1/models", Reply::Json(200, json!({"data": [{"id": "a"}]})));
    assert_eq!(models(&test("openrouter", &url)), 1);
    let requests = provider.requests();
    let list = requests.iter().find(|request| request.path() == "/router/api/v1/models").unwrap();
    assert!(list.header("authorization").is_none());
    let more = json!({"data": [{"id": "a"}], "has_more": true});
    let url = provider.at("pages", "GET", "/v1/models", Reply::Json(200, more));
    assert_eq!(models(&test("anthropic", &url)), Value::Null);
}

#[test]
fn an_address_may_end_in_v1_and_an_ollama_may_have_only_its_own_list() {
    let provider = Provider::start();
    let list = Reply::Json(200, json!({"data": [{"id": "a"}]}));
    let url = provider.at("gateway", "GET", "/v1/models", list);
    for address in [url.clone(), format!("{url}/"), format!("{url}/v1"), format!("{url}/v1/")] {
        assert_eq!(status(&test("custom", &address)), "valid", "{address}");
    }
    let url = provider.at("ollama", "GET", "/api/tags", Reply::Json(200, json!({"models": [{"name": "llama3"}]})));
    for address in [url.clone(), format!("{url}/v1"), format!("{url}/api")] {
        let done = test("custom", &address);
        assert_eq!((status(&done).as_str(), &done.json()[0]["models"]), ("valid", &json!(1)), "{address}");
    }
}

#[test]
fn a_redirect_to_another_host_does_not_carry_the_key() {
    let (provider, thief) = (Provider::start(), Provider::start());
    for (kind, method, path, _) in ASKED {
        for code in [301, 302, 303, 307, 308] {
            let to = thief.at("x", method, path, Reply::Json(200, json!([])));
            let url = provider.at(&format!("{kind}{code}"), method, path, Reply::Redirect(code, to));
            let done = test(kind, &url);
            assert_eq!(status(&done), "wrong_endpoint", "{kind} {code}");
        }
    }
    assert_eq!(thief.requests().len(), 0);
}

#[test]
fn a_server_that_misbehaves_ends_in_time_and_never_makes_a_key_red() {
    let provider = Provider::start();
    let page = b"<html>log in to the network</html>".to_vec();
    for (name, reply, expected) in [
        ("silent", Reply::Silence, "unreachable"),
        ("headonly", Reply::HeadOnly, "unreachable"),
        ("drip", Reply::Drip(Duration::from_millis(300)), "unreachable"),
        ("cut", Reply::Cut, "unreachable"),
        ("close", Reply::Close, "unreachable"),
        ("garbage", Reply::Garbage, "unreachable"),
        ("huge", Reply::Huge, "unknown"),
        ("bomb", Reply::Bomb(30_000_000), "unknown"),
        ("page", Reply::Text(401, "text/html", page.clone()), "unknown"),
        ("portal", Reply::Text(200, "text/html", page), "wrong_endpoint"),
        ("nothing", Reply::Text(200, "application/json", Vec::new()), "unknown"),
        ("no_content", Reply::Text(204, "application/json", Vec::new()), "unknown"),
        ("deep", Reply::Text(200, "application/json", b"[".repeat(1_000_000)), "unknown"),
        ("trouble", Reply::Json(500, json!({"error": {"code": "invalid_api_key"}})), "unknown"),
    ] {
        let url = provider.at(name, "GET", "/v1/models", reply);
        let done = test_within("openai", &url, "3s");
        assert_eq!(done.status, 6, "{name}: {}{}", done.stdout, done.stderr);
        assert_eq!(status(&done), expected, "{name}: {}", done.stdout);
        done.within(Duration::from_secs(6));
    }
    assert!(provider.bytes_sent() < 100_000_000, "{} bytes of an endless answer were read", provider.bytes_sent());
    let done = test("openai", "http://127.0.0.1:9");
    assert_eq!((done.status, status(&done).as_str()), (6, "unreachable"));
}

#[test]
fn a_provider_that_echoes_the_key_does_not_show_it_on_the_operators_screen() {
    let provider = Provider::start();
    for code in [200, 302, 400, 401, 422, 500] {
        for verbosity in ["-q", "-v", "-vv"] {
            let url = provider.at(&format!("echo{code}"), "GET", "/v1/models", Reply::Echo(code));
            for format in ["json", "table", "markdown"] {
                let line = ["keys", "test", "mistral", "--stdin", "--base-url", &url, verbosity, "-o", format];
                done(Home::new().run(line).stdin(KEY).env("RUST_LOG", "trace"));
            }
        }
    }
}

#[test]
fn what_was_typed_wrongly_is_refused_before_anything_is_sent() {
    let provider = Provider::start();
    let url = provider.at("x", "GET", "/v1/models", Reply::Json(200, json!([])));
    let home = Home::new();
    let exits = |arguments: &[&str], status: i32| {
        let done = done(home.run(arguments).stdin(KEY));
        assert_eq!(done.status, status, "{arguments:?}: {}", done.stderr);
        done
    };
    exits(&["keys", "test", "openai", "groq", "--base-url", &url], 2);
    exits(&["keys", "test", "openai", "groq", "--stdin"], 2);
    exits(&["keys", "test", "openai", "--stdin", "--base-url", "ftp://x"], 2);
    let secretive = exits(&["keys", "test", "openai", "--stdin", "--base-url", "https://me:hush@127.0.0.1"], 2);
    assert!(secretive.stderr.contains("a user or a password") && !secretive.stderr.contains("hush"));
    exits(&["keys", "test", "custom", "--stdin"], 2);
    exits(&["keys", "test", KEY], 2);
    exits(&["keys", "test", "opnai", "--stdin"], 4).says("did you mean `openai`");
    exits(&["keys", "test"], 3);
    done(home.run(["keys", "test", "openai", "--stdin", "--base-url", &url]).stdin("two\nlines\n"));
    assert_eq!(provider.requests().len(), 0);
}

/// A database with providers: name, type, base URL, whether it is on, and the key's master key.
struct Stored {
    database: Database,
    home: Home,
}

impl Stored {
    fn new(rows: &[(&str, &str, Option<&str>)]) -> Self {
        let database = Database::migrated();
        let master = MasterKey::parse(MASTER).ok().unwrap();
        for (number, (name, kind, base_url)) in rows.iter().enumerate() {
            let token = master.seal(KEY.as_bytes(), 1_700_000_000, [u8::try_from(number).unwrap(); 16]);
            let config = base_url.map_or(json!({}), |url| json!({"base_url": url}));
            block_on(database.sql(&format!(
                "INSERT INTO llm_providers (name, type, api_key_encrypted, priority, config) \
                 VALUES ('{name}', '{kind}', '{token}', {}, '{config}')",
                100 - number
            )));
        }
        let home = Home::new().variable("LLMHUB_DATABASE_URL", database.url()).variable("BYOK_ENCRYPTION_KEY", MASTER);
        Self { database, home }
    }

    /// The recorded words, in the order of the rows.
    fn recorded(&self) -> Vec<String> {
        block_on(self.database.lines(
            "SELECT name || ' ' || coalesce(api_key_test_status, '-') || ' ' || (api_key_last_tested IS NOT NULL) \
             FROM llm_providers ORDER BY priority DESC",
        ))
    }
}

#[test]
fn stored_keys_are_tested_and_a_yes_or_a_no_is_recorded() {
    let provider = Provider::start();
    let good = provider.at("good", "GET", "/v1/models", Reply::Json(200, json!({"data": [{"id": "a"}]})));
    let bad = provider.at("bad", "GET", "/v1/models", Reply::Json(401, json!({"error": "no"})));
    let busy = provider.at("busy", "GET", "/v1/models", Reply::Json(429, json!({})));
    let rows = [
        ("good", "custom", Some(good.as_str())),
        ("bad", "custom", Some(&bad)),
        ("busy", "custom", Some(&busy)),
        ("gone", "custom", Some("http://127.0.0.1:9")),
    ];
    let stored = Stored::new(&rows);
    let all = done(stored.home.line("keys test --all -o json --dry-run"));
    assert_eq!(all.status, 1, "{}", all.stderr);
    let unrecorded = ["good - false", "bad - false", "busy - false", "gone - false"];
    assert_eq!(stored.recorded(), unrecorded, "a dry run writes nothing");
    let all = done(stored.home.line("keys test --all -o json"));
    assert_eq!(all.status, 1, "{}", all.stderr);
    let words: Vec<Value> = all.json().as_array().unwrap().iter().map(|row| row["status"].clone()).collect();
    assert_eq!(words, ["valid", "invalid", "rate_limited", "unreachable"]);
    assert_eq!(stored.recorded(), ["good success true", "bad failed true", "busy - false", "gone - false"]);

    block_on(stored.database.sql("UPDATE llm_providers SET api_key_test_status = 'success'"));
    let done_ = done(stored.home.line("keys test gone busy"));
    assert_eq!(done_.status, 6, "{}", done_.stderr);
    assert_eq!(
        stored.recorded()[2..],
        ["busy success false", "gone success false"],
        "a network error turns no key red"
    );
    assert_eq!(done(stored.home.line("keys test good gone -o json")).status, 10);
    assert_eq!(done(stored.home.line("keys test good")).status, 0);
    block_on(stored.database.sql("UPDATE llm_providers SET enabled = false WHERE name <> 'good'"));
    assert_eq!(done(stored.home.line("keys test -o json")).json().as_array().unwrap().len(), 1);
}

#[test]
fn a_row_that_cannot_be_opened_is_a_no_and_is_not_sent_anywhere() {
    let provider = Provider::start();
    let url = provider.at("x", "GET", "/v1/models", Reply::Json(200, json!([])));
    let stored =
        Stored::new(&[("one", "custom", Some(&url)), ("plain", "custom", Some(&url)), ("none", "openai", None)]);
    block_on(stored.database.sql("UPDATE llm_providers SET api_key_encrypted = 'plain-text' WHERE name = 'plain'"));
    block_on(stored.database.sql("UPDATE llm_providers SET api_key_encrypted = NULL WHERE name = 'none'"));
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let all = done(stored.home.line("keys test --all").env("BYOK_ENCRYPTION_KEY", other));
    assert_eq!(all.status, 1, "{}", all.stderr);
    let all = all.prints("no master key opens it").prints("the row holds no encrypted key");
    assert!(!all.stdout.contains("none "), "{}", all.stdout);
    assert_eq!(provider.requests().len(), 0);
    assert_eq!(done(stored.home.line("keys test none")).status, 4);
    let old = format!("{other},{MASTER}");
    let run = stored.home.line("keys test one").env("BYOK_ENCRYPTION_KEY", other).env("BYOK_ENCRYPTION_KEYS_OLD", old);
    assert_eq!(done(run).status, 0);
}

#[test]
fn a_key_goes_to_an_address_of_the_database_only_after_somebody_agreed() {
    let stored = Stored::new(&[
        ("far", "custom", Some("https://llm.example.invalid/v1")),
        ("clear", "custom", Some("http://llm.example.invalid")),
    ]);
    let asked = done(stored.home.line("keys test far"));
    assert_eq!(asked.status, 9, "{}", asked.stderr);
    let agreed = done(stored.home.line("keys test far -y --timeout 5s")).says("far: unreachable");
    assert_eq!(agreed.status, 6, "{}", agreed.stderr);
    let clear = done(stored.home.line("keys test clear -y")).says("in clear text");
    assert_eq!(clear.status, 6, "{}", clear.stderr);
    let provider = Provider::start();
    let url = provider.at("x", "GET", "/v1/models", Reply::Json(200, json!({"data": []})));
    let typed = done(stored.home.run(["keys", "test", "far", "--base-url", &url]));
    assert_eq!(typed.status, 0, "{}", typed.stderr);
}

#[test]
fn a_given_key_goes_to_the_address_of_a_row_only_after_somebody_agreed() {
    let stored = Stored::new(&[
        ("far", "custom", Some("https://llm.example.invalid/v1")),
        ("clear", "custom", Some("http://llm.example.invalid")),
    ]);
    let run = |line: &str| done(stored.home.line(line).stdin(KEY));
    assert_eq!(run("keys test far --stdin").status, 9);
    assert_eq!(run("keys test far --stdin -y --timeout 5s").says("far: unreachable").status, 6);
    assert_eq!(run("keys test clear --stdin -y").says("in clear text").status, 7);
}

#[test]
fn a_result_is_recorded_only_for_the_key_that_was_tested() {
    let provider = Provider::start();
    let slow = Reply::Slow(Duration::from_secs(2), json!({"data": []}));
    let url = provider.at("slow", "GET", "/v1/models", slow);
    let stored = Stored::new(&[("slow", "custom", Some(&url))]);
    let run = stored.home.line("keys test slow").spawn();
    while provider.requests().is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let other = MasterKey::parse(MASTER).ok().unwrap().seal(b"sk-another-0123456789", 1_700_000_001, [9; 16]);
    block_on(stored.database.sql(&format!("UPDATE llm_providers SET api_key_encrypted = '{other}'")));
    let done = run.wait().says("0 of 1 results were recorded");
    assert_eq!(done.status, 0, "{}", done.stderr);
    assert_eq!(stored.recorded(), ["slow - false"]);
}

#[test]
fn what_goes_to_this_machine_does_not_pass_a_proxy_of_the_environment() {
    let (provider, proxy) = (Provider::start(), Provider::start());
    let url = provider.at("x", "GET", "/v1/models", Reply::Json(200, json!({"data": []})));
    let proxy_url = proxy.at("p", "GET", "/v1/models", Reply::Json(200, json!({"data": []})));
    let home = Home::new();
    let run = home.run(["keys", "test", "openai", "--stdin", "--base-url", &url]).stdin(KEY);
    let done = done(run.env("HTTP_PROXY", &proxy_url).env("http_proxy", &proxy_url).env("ALL_PROXY", &proxy_url));
    assert_eq!(done.status, 0, "{}", done.stderr);
    assert_eq!((provider.requests().len(), proxy.requests().len()), (1, 0));
}

#[test]
fn twenty_providers_take_the_time_of_the_slowest() {
    let provider = Provider::start();
    let names: Vec<String> = (0..20).map(|number| format!("p{number:02}")).collect();
    let slowest = Duration::from_millis(1500);
    let urls: Vec<String> = (1..=20u32)
        .map(|number| {
            let reply = Reply::Slow(slowest * number / 20, json!({"data": [{"id": "a"}]}));
            provider.at(&format!("p{:02}", number - 1), "GET", "/v1/models", reply)
        })
        .collect();
    let rows: Vec<(&str, &str, Option<&str>)> =
        names.iter().zip(&urls).map(|(name, url)| (name.as_str(), "custom", Some(url.as_str()))).collect();
    let stored = Stored::new(&rows);
    let done = done(stored.home.line("keys test --all -o json"));
    assert_eq!(done.status, 0, "{}", done.stderr);
    let listed: Vec<String> =
        done.json().as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, names);
    assert_eq!(provider.most_at_once(), 20);
    // One after another they would take 15 s; the rest is the start of a process and a database on a busy machine.
    done.within(slowest + Duration::from_secs(4));
    assert!(stored.recorded().iter().all(|row| row.ends_with(" success true")));
}
