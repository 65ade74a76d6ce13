//! Databases that differ from llmhub's own schema, that interfere, and that somebody else writes to.

use serde_json::{Value, json};

use std::sync::Arc;
use std::time::SystemTime;

use llmhub::domain::fernet::MasterKey;
use llmhub::domain::keys::ring::Ring;
use llmhub::domain::keys::secret::ProviderKey;
use llmhub::store::StoreError;
use llmhub::store::keys::{KeyStore, NewKey};
use llmhub::store::postgres::PostgresKeys;

use super::{World, opened, seal};
use crate::support::cli::{MASTER_KEY, PROVIDER_KEY};
use crate::support::postgres::{Database, block_on};

/// The hub's own table as it is delivered: a second key column, `api_base_url` that refuses null, no unique name.
const AS_IS: &str = "CREATE TABLE llm_providers (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(100) NOT NULL, \
    type varchar(50) NOT NULL, api_base_url text NOT NULL, encrypted_api_key text, api_key_encrypted text, \
    api_key_source varchar(50) DEFAULT 'environment', api_key_updated_at timestamp, api_key_last_tested timestamp, \
    api_key_test_status varchar(50), enabled boolean DEFAULT true, priority integer DEFAULT 50, \
    config jsonb DEFAULT '{}', health_status varchar(50) DEFAULT 'unknown')";

fn world(sql: &str) -> World {
    let world = World::on(Database::empty());
    world.sql(sql);
    world
}

#[test]
fn the_hubs_own_schema_takes_new_rows_which_its_router_cannot_make() {
    let world = world(AS_IS);
    world.set("openai").exits(0).says("second column encrypted_api_key");
    let row = world.row("OpenAI");
    assert_eq!(opened(row["api_key_encrypted"].as_str().unwrap()).as_deref(), Some(PROVIDER_KEY));
    assert_eq!((&row["api_base_url"], &row["encrypted_api_key"]), (&"".into(), &Value::Null));
    world.sql("UPDATE llm_providers SET encrypted_api_key = 'other'");
    world.line("keys list").exits(0).says("which the hub's router never reads");
    world.line("keys remove openai -y").exits(0).says("encrypted_api_key too");
    assert_eq!(world.row("OpenAI")["encrypted_api_key"], "other");
}

#[test]
fn a_schema_that_cannot_take_it_is_named_and_nothing_is_written() {
    for (change, line, status, words) in [
        ("DROP TABLE llm_providers", "list", 3, "no table llm_providers"),
        ("ALTER TABLE llm_providers DROP api_key_encrypted", "list", 3, "no column api_key_encrypted"),
        ("ALTER TABLE llm_providers ADD region text NOT NULL", "set openai", 7, "must fill region"),
        ("ALTER TABLE llm_providers DROP config", "set custom --base-url http://h", 7, "no column config"),
        ("ALTER TABLE llm_providers DROP enabled", "enable there", 7, "no column enabled"),
    ] {
        let world = world(AS_IS);
        if !change.contains("NOT NULL") {
            world.sql("INSERT INTO llm_providers (name, type, api_base_url) VALUES ('there', 'groq', '')");
        }
        world.sql(change);
        let extra = if line.starts_with("set") { " --from-env NEW_KEY --no-verify" } else { "" };
        world.line(&format!("keys {line}{extra}")).exits(status).says(words);
    }
    let world = world(AS_IS);
    world.set("openai").exits(0);
    world.sql("ALTER TABLE llm_providers ALTER api_key_encrypted SET NOT NULL");
    let before = world.table();
    world.line("keys remove openai -y").exits(7).says("DROP NOT NULL");
    assert_eq!(world.table(), before);
    world.set("groq").exits(0);
}

#[test]
fn two_rows_of_one_name_are_nobodys_guess() {
    let world = world(AS_IS);
    world.sql("INSERT INTO llm_providers (name, type, api_base_url) VALUES ('x', 'openai', ''), ('X', 'openai', '')");
    let before = world.table();
    world.set("openai --name x").exits(2).says("means 2 providers");
    world.line("keys remove x -y").exits(2);
    assert_eq!(world.table(), before);
}

/// A trigger that stores something else, at once or at the commit, but leaves one value alone.
fn garbling(world: &World, moment: &str, spared: &str) {
    let at_once = moment == "at once";
    let body = if at_once {
        "NEW.api_key_encrypted := 'garbled'; RETURN NEW;".to_owned()
    } else {
        format!(
            "UPDATE llm_providers SET api_key_encrypted = 'garbled' WHERE id = NEW.id AND api_key_encrypted <> 'garbled' \
             AND api_key_encrypted <> '{spared}'; RETURN NULL;"
        )
    };
    world.sql(&format!("CREATE FUNCTION garble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"));
    world.sql(if at_once {
        "CREATE TRIGGER garble BEFORE UPDATE ON llm_providers FOR EACH ROW EXECUTE FUNCTION garble()"
    } else {
        "CREATE CONSTRAINT TRIGGER garble AFTER UPDATE ON llm_providers DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION garble()"
    });
}

#[test]
fn what_a_trigger_garbles_at_once_is_not_written() {
    let world = World::new();
    world.insert("OpenAI", "openai", Some(&seal(MASTER_KEY, "sk-before-0123456789abcdef", 3)));
    garbling(&world, "at once", "");
    let before = world.table();
    world.set("openai").exits(7).says("look for a trigger");
    assert_eq!(world.table(), before);
}

#[test]
fn what_is_garbled_by_the_commit_is_put_back_and_read_back() {
    let world = World::new();
    let old = seal(MASTER_KEY, "sk-before-0123456789abcdef", 3);
    world.insert("OpenAI", "openai", Some(&old));
    garbling(&world, "at the commit", &old);
    let before = world.table();
    assert_eq!(world.set("openai -o json").exits(8).says("put back and read back").code(), "rolled_back");
    assert_eq!(world.table(), before);
    // A first key goes away again with its row.
    world.set("groq").exits(8);
    assert_eq!(world.table(), before);
}

#[test]
fn what_cannot_be_put_back_has_an_unknown_outcome() {
    let world = World::new();
    world.insert("OpenAI", "openai", Some(&seal(MASTER_KEY, "sk-before-0123456789abcdef", 3)));
    garbling(&world, "at the commit", "");
    world.set("openai").exits(11).says("putting back what was there before failed");
}

#[test]
fn a_row_that_somebody_else_changed_is_a_conflict() {
    let world = World::new();
    world.insert("OpenAI", "openai", Some(&seal(MASTER_KEY, "sk-before-0123456789abcdef", 3)));
    let target = world.database.target();
    let (save, clear, gone) = block_on(async {
        let ring = Ring::new(vec![("current".to_owned(), MasterKey::parse(MASTER_KEY).ok().unwrap())]);
        let store = PostgresKeys::new(target, Arc::new(ring), SystemTime::now);
        let seen = store.list().await.unwrap();
        world.database.sql("UPDATE llm_providers SET api_key_encrypted = 'theirs'").await;
        let key = ProviderKey::parse(PROVIDER_KEY).ok().unwrap();
        let new = NewKey {
            seen: Some(&seen[0]),
            name: "OpenAI",
            provider: "openai",
            key: &key,
            base_url: None,
            tested: None,
        };
        let save = store.save(&new).await.map(drop);
        let clear = store.clear(&seen[0]).await.map(drop);
        let unseen = store.save(&NewKey { seen: None, ..new }).await.map(drop);
        assert!(matches!(unseen, Err(StoreError::Conflict(_))), "{unseen:?}");
        world.database.sql("DELETE FROM llm_providers").await;
        (save, clear, store.clear(&seen[0]).await.map(drop))
    });
    for ended in [save, clear, gone] {
        assert!(matches!(ended, Err(StoreError::Conflict(_))), "{ended:?}");
    }
}

#[test]
fn the_database_never_sees_a_key() {
    let world = World::new();
    world.set("openai").exits(0);
    world.set("openai --name other").exits(0);
    let table = world.table().join("\n");
    assert!(!table.contains("CANARY"), "{table}");
}

#[test]
fn a_row_without_a_name_or_a_text_as_its_id_is_shown_and_never_acted_on() {
    let world = world(
        "CREATE TABLE llm_providers (id text DEFAULT gen_random_uuid()::text, name text, type text, \
         api_key_encrypted text, enabled boolean DEFAULT true)",
    );
    let token = |number: u8| seal(MASTER_KEY, &format!("{PROVIDER_KEY}{number}"), 1);
    world.sql(&format!(
        "INSERT INTO llm_providers VALUES (DEFAULT, NULL, 'groq', '{}'), (NULL, 'Numbered', 'mistral', '{}'), \
         (NULL, 'Nothing', 'cohere', '{}')",
        token(1),
        token(2),
        token(3)
    ));
    world.insert_plain("OpenAI", "openai", &token(4));
    let before = world.table();
    let done = world.line("keys list -o json").exits(0).says("of the type `groq` (name (none), id ");
    let done = done
        .says("has no text as its name")
        .says("of the type `mistral` (name Numbered, id (none)) has no text as its id");
    let mut names: Vec<Value> = done.json().as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, [json!("Nothing"), json!("Numbered"), json!("OpenAI"), Value::Null]);
    assert!(done.json().as_array().unwrap().iter().all(|row| row["master_key"] == "current"));
    world.line("keys list").exits(0).prints("(none)");
    world.line("keys audit").exits(0);
    for line in [
        "keys remove Numbered -y",
        "keys remove groq -y",
        "keys disable Nothing",
        "keys set mistral --name Numbered --from-env NEW_KEY --no-verify",
        "keys test Numbered",
    ] {
        world.line(line).exits(7).says("nothing names it for certain; nothing was written");
    }
    assert_eq!(world.table(), before);
    world.line("keys disable OpenAI").exits(0);
}
