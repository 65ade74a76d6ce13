//! The end of a rotation, with a hub that is asked: every process must show every key, or the way back stays open.

use serde_json::{Value, json};

use super::{NEW, OLD, STRANGE, key};
use crate::support::cli::{CANARIES, Home, PROVIDER_KEY, Run};
use crate::support::hub::{Builder, Database as Behind, Fault, Hub, User, When};
use crate::support::postgres::{Database, block_on};

const KEYS: &str = "/api/v1/llm/providers/keys";
const SHORT: &str = "a-short-key-12345";

/// A database and a hub with the same rows, and a rotation that has been swapped.
struct Scene {
    home: Home,
    database: Database,
    hub: Hub,
}

impl Scene {
    fn new(builder: Builder) -> Self {
        Self::of(builder, &[("OpenAI", "openai", PROVIDER_KEY), ("Groq", "groq", SHORT)])
    }

    fn of(builder: Builder, rows: &[(&str, &str, &str)]) -> Self {
        let hub = builder.env([("BYOK_ENCRYPTION_KEY", OLD)]).start();
        let user = User { role: Some("admin".to_owned()), email: "admin@example.com".to_owned() };
        hub.install_session(CANARIES[0], Some(user), None);
        let database = Database::migrated();
        for (at, (name, kind, text)) in rows.iter().enumerate() {
            hub.add_provider(name, kind, Some(text), json!({}));
            let id = hub.providers().last().unwrap().id.clone();
            let mut iv = [7; 16];
            iv[0] = u8::try_from(at).unwrap();
            let token = key(OLD).seal(text.as_bytes(), 1_700_000_000, iv);
            block_on(database.sql(&format!(
                "INSERT INTO llm_providers (id, name, type, api_key_encrypted) VALUES ('{id}', '{name}', '{kind}', '{token}')"
            )));
        }
        let home = Home::new()
            .variable("BYOK_ENCRYPTION_KEY", OLD)
            .variable("NEW_KEY", NEW)
            .variable("LLMHUB_SESSION_TOKEN", CANARIES[0]);
        let scene = Self { home, database, hub };
        let first = scene.rotate("").exits(10).json();
        assert_eq!((&first["state"], &first["hub"]), (&json!("swapped"), &json!(null)), "nothing is asked so early");
        assert_eq!(scene.hub.count("GET", KEYS), 0);
        // The double keeps its own table; now it holds what the database holds.
        rows.iter().for_each(|(name, ..)| {
            scene.hub.edit_provider(name, |row| row.key = row.key.take().map(|(text, _)| (text, NEW.to_owned())));
        });
        scene
    }

    fn plain(&self, options: &str) -> Run {
        let (url, hub) = (self.database.url(), self.hub.url());
        self.home.line(&format!("keys rotate --new-key-env NEW_KEY --database-url {url} --hub {hub} -y {options}"))
    }

    fn rotate(&self, options: &str) -> Run {
        self.plain(&format!("-o json {options}"))
    }

    /// The hub as somebody recreates it with the new key.
    fn recreate(&self) {
        self.hub.set_env("BYOK_ENCRYPTION_KEY", NEW);
        self.hub.restart();
    }

    /// Whether the rotation is open, with every old token in its backup.
    #[track_caller]
    fn has_its_way_back(&self) {
        assert_eq!(block_on(self.database.lines("SELECT state FROM llmhub.rotation")), ["applied"]);
        assert_ne!(block_on(self.database.lines("SELECT count(*)::text FROM llmhub.rotation_backup")), ["0"]);
    }
}

/// Address, name and word of each row that was not shown as it must be.
fn unproven(document: &Value) -> Vec<(String, String, String)> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows = document["hub"]["unproven"].as_array().unwrap();
    rows.iter().map(|row| (text(row, "address"), text(row, "name"), text(row, "seen"))).collect()
}

#[test]
fn a_hub_that_was_not_recreated_keeps_the_rotation_open_and_one_that_was_lets_it_finish() {
    let scene = Scene::new(Hub::builder().workers(2));
    let done = scene.rotate("--workers 2").exits(10);
    let document = done.json();
    assert_eq!(document["state"], "swapped");
    assert_eq!(document["hub"]["verdict"], "partial");
    // A key of 17 characters is hidden by every process.
    assert_eq!(unproven(&document), [(scene.hub.url(), "OpenAI".to_owned(), "hidden".to_owned())]);
    assert_eq!(document["hub"]["unproven"][0]["reads"], 32);
    scene.has_its_way_back();
    let members: Vec<&String> = document["hub"].as_object().unwrap().keys().collect();
    assert_eq!(members, ["agree", "of", "verdict", "unproven", "problems"]);
    scene
        .plain("--workers 2")
        .exits(10)
        .prints(&format!("{}: `OpenAI` (", scene.hub.url()))
        .prints("a process cannot open it")
        .prints("still open, with its backup")
        .prints("recreate the hub, every process")
        .prints("--via db")
        .prints("--abort");

    scene.recreate();
    let document = scene.rotate("--workers 2").exits(0).json();
    assert_eq!(document["state"], "finished");
    assert_eq!(document["hub"], json!({"agree": 2, "of": 2, "verdict": "sampled", "unproven": [], "problems": []}));
    assert!(!document["next"].to_string().contains("your word"));
}

#[test]
fn one_worker_of_four_with_the_old_key_is_found() {
    let scene = Scene::new(Hub::builder().workers(4));
    scene.recreate();
    scene.hub.keep_env(2, "BYOK_ENCRYPTION_KEY", OLD);
    for options in ["--workers 4", ""] {
        scene.hub.forget_requests();
        let document = scene.rotate(options).exits(10).json();
        assert_eq!(unproven(&document), [(scene.hub.url(), "OpenAI".to_owned(), "hidden".to_owned())]);
        assert_eq!(document["hub"]["verdict"], "partial");
        assert_eq!(scene.hub.count("GET", KEYS), 56, "a sample of four processes, on fresh connections");
        scene.has_its_way_back();
    }
    scene.hub.restart_worker(2);
    let document = scene.rotate("").exits(0).json();
    assert_eq!((&document["hub"]["verdict"], &document["hub"]["of"]), (&json!("sampled"), &json!(null)));
}

#[test]
fn every_address_is_asked_and_the_one_that_differs_is_named() {
    let scene = Scene::new(Hub::builder());
    scene.recreate();
    let other = Hub::builder().env([("BYOK_ENCRYPTION_KEY", NEW)]).start();
    let user = User { role: Some("admin".to_owned()), email: "admin@example.com".to_owned() };
    other.install_session(CANARIES[0], Some(user), None);
    let document = scene.rotate(&format!("--workers 1 --hub {}", other.url())).exits(10).json();
    let missing = |name: &str| (other.url(), name.to_owned(), "missing".to_owned());
    let mut found = unproven(&document);
    found.sort();
    assert_eq!(found, [missing("Groq"), missing("OpenAI")]);
    scene.has_its_way_back();
    let document = scene.rotate("--workers 1").exits(0).json();
    assert_eq!(document["hub"]["verdict"], "proved");
}

#[test]
fn a_key_from_the_environment_another_key_and_no_key_do_not_count_as_opened() {
    let scene = Scene::new(Hub::builder());
    scene.recreate();
    let seen = |wanted: &str| {
        let document = scene.rotate("--workers 1").exits(10).json();
        assert_eq!(unproven(&document)[0].2, wanted);
        scene.has_its_way_back();
    };
    scene.hub.edit_provider("OpenAI", |row| row.key = Some(("another-key-0123456789".to_owned(), NEW.to_owned())));
    seen("other");
    scene.hub.edit_provider("OpenAI", |row| row.key = None);
    seen("not_set");
    scene.hub.set_env("OPENAI_API_KEY", "sk-environment-0123456789");
    scene.hub.restart();
    seen("environment");
}

#[test]
fn what_a_process_saves_with_the_old_key_after_the_sweep_keeps_the_rotation_open() {
    let scene = Scene::new(Hub::builder());
    scene.recreate();
    let token = key(OLD).seal(b"late-0123456789-abcdef", 1_700_000_000, [9; 16]);
    // The commit of the sweep finds the row as it was saved in the same moment.
    block_on(scene.database.sql(&format!(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.step = 'verify' THEN INSERT INTO public.llm_providers (name, type, api_key_encrypted) \
         VALUES ('Late', 'mistral', '{token}'); END IF; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON llmhub.rotation_step DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION late()"
    )));
    let document = scene.rotate("--workers 1").exits(10).json();
    assert_eq!(document["hub"]["verdict"], "partial");
    assert!(document["hub"]["problems"][0].as_str().unwrap().contains("`Late` was saved under the old master key"));
    scene.has_its_way_back();
}

#[test]
fn without_a_session_a_hub_or_a_key_that_tells_it_is_said_to_be_the_operators_word() {
    let word = "is your word, and was not looked at";
    #[track_caller]
    fn case(scene: &Scene, run: Run, why: &str) {
        scene.hub.forget_requests();
        let done = run.exits(0).json();
        assert_eq!((&done["state"], &done["hub"]), (&json!("finished"), &json!(null)));
        let next = done["next"][0].as_str().unwrap();
        assert!(next.contains("is your word, and was not looked at") && next.contains(why), "{next}");
        assert_eq!(scene.hub.count("GET", KEYS), 0);
    }
    let scene = Scene::new(Hub::builder());
    case(&scene, scene.rotate("").env("LLMHUB_SESSION_TOKEN", ""), "no admin's session is configured");
    let scene = Scene::new(Hub::builder());
    case(&scene, scene.rotate("--via db"), "--via db leaves the hub out");
    let scene = Scene::new(Hub::builder());
    let line = format!("keys rotate --new-key-env NEW_KEY --database-url {} -y -o json", scene.database.url());
    case(&scene, scene.home.line(&line), "no hub is configured");
    let scene = Scene::of(Hub::builder(), &[("Groq", "groq", SHORT)]);
    case(&scene, scene.rotate(""), "no stored key is longer than 20 characters");
    let scene = Scene::new(Hub::builder());
    scene.plain("--via db").exits(0).prints(word);
}

#[test]
fn a_hub_that_gives_no_answer_or_a_refusal_proves_nothing_and_the_end_is_bounded() {
    let scene = Scene::new(Hub::builder());
    scene.recreate();
    let problem = |wanted: &str| {
        let document = scene.rotate("--workers 1").exits(10).json();
        let problems = document["hub"]["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].as_str().unwrap().contains(wanted), "{problems:?}");
        assert_eq!(document["hub"]["verdict"], "partial");
        scene.has_its_way_back();
    };
    scene.hub.set_database(Behind::NoPool);
    problem("has no database");
    scene.hub.set_database(Behind::Up);
    scene.hub.unset_env("BYOK_ENCRYPTION_KEY");
    problem("its BYOK_ENCRYPTION_KEY is missing or malformed");
    scene.hub.set_env("BYOK_ENCRYPTION_KEY", STRANGE);
    let document = scene.rotate("--workers 1").exits(10).json();
    assert_eq!(unproven(&document)[0].2, "hidden");
    scene.hub.set_env("BYOK_ENCRYPTION_KEY", NEW);
    let cached = scene.hub.fail(
        When::always().path(KEYS),
        Fault::Answer { status: 429, content_type: "application/json", body: b"{}".to_vec() },
    );
    problem("429");
    scene.hub.repair(cached);
    scene.hub.expire_sessions();
    problem("the session");
}
