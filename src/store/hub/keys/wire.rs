//! The hub's JSON about provider keys (CONTRACT 4): what is taken from it, and in what shape.
//!
//! An answer to a write may repeat the key, so nothing here quotes a body: what comes out is a number, a word that is known
//! beforehand, or a member of a row whose form was checked.

use serde_json::{Map, Value};

use crate::domain::keys::provider::{KeyStatus, ProviderType};
use crate::store::keys::{KeySource, Material, StoredKey, named};

/// The preview of a key that the hub cannot open, and of one of at most 20 characters.
pub const HIDDEN: &str = "***";

/// A row as the hub lists it.
#[derive(Clone)]
pub struct Listed {
    /// What every store tells.
    pub row: StoredKey,
    /// The whole config, in order: a save replaces it whole.
    pub config: Map<String, Value>,
    /// `last_tested` to the microsecond: each save sets it anew, so that it tells one save from another.
    pub moment: Option<String>,
}

/// What the hub's own live test of a key came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveTest {
    /// The provider took it.
    Passed {
        /// The models found; the hub counts 0 for a body that it does not understand.
        models: Option<u64>,
        /// Milliseconds.
        latency: Option<u64>,
    },
    /// It failed. `None`: the hub does not say why, as on the versions it pins, or says what is not known to be harmless.
    Failed(Option<Cause>),
}

/// A failure in words that are known to hold no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The provider refused the key.
    Authentication,
    /// The key may not list models.
    Permissions,
    /// Another status.
    Status(u16),
    /// No answer within the hub's 10 s.
    Timeout,
    /// No connection.
    Unreachable,
    /// A custom provider without `base_url`.
    NoEndpoint,
}

impl Cause {
    fn read(words: &str) -> Option<Self> {
        Some(match words {
            "Invalid API key - authentication failed" => Self::Authentication,
            "API key lacks required permissions" => Self::Permissions,
            "Request timeout - API not responding" => Self::Timeout,
            "Connection failed - unable to reach API endpoint" => Self::Unreachable,
            "Custom endpoint URL required for custom provider" => Self::NoEndpoint,
            other => {
                let status = other.strip_prefix("API error: HTTP ")?;
                Self::Status(status.parse().ok().filter(|status| (100..600).contains(status))?)
            }
        })
    }

    /// The end of a sentence that begins with "it failed: ".
    pub fn words(self) -> String {
        match self {
            Self::Authentication => "the provider refuses the key".to_owned(),
            Self::Permissions => "the key may not list models".to_owned(),
            Self::Status(status) => format!("the provider answers with status {status}"),
            Self::Timeout => "the provider did not answer within 10 s".to_owned(),
            Self::Unreachable => "the hub cannot reach the provider".to_owned(),
            Self::NoEndpoint => "the row has no `base_url`".to_owned(),
        }
    }
}

impl LiveTest {
    /// The `test_result` of a save, or the whole answer of a test.
    pub fn read(result: &Value) -> Self {
        let number = |name: &str| result.get(name).and_then(Value::as_u64);
        match result.get("success").and_then(Value::as_bool) {
            Some(true) => Self::Passed { models: number("models_found"), latency: number("latency_ms") },
            _ => Self::Failed(result.get("error").and_then(Value::as_str).and_then(Cause::read)),
        }
    }

    /// What it says of the key. The hub's test is wrong both ways (craft.md 2.1): OpenRouter is asked for a public list,
    /// Anthropic for a model that is gone, so neither a yes there nor a 404 here says anything.
    pub fn status(&self, provider: ProviderType) -> KeyStatus {
        match self {
            Self::Passed { .. } if provider == ProviderType::Openrouter => KeyStatus::Unknown,
            Self::Passed { .. } => KeyStatus::Valid,
            Self::Failed(Some(Cause::Authentication)) => KeyStatus::Invalid,
            Self::Failed(Some(Cause::Permissions)) => KeyStatus::ValidLimited,
            Self::Failed(Some(Cause::Status(404))) if provider == ProviderType::Custom => KeyStatus::WrongEndpoint,
            Self::Failed(Some(Cause::Status(402))) => KeyStatus::NoFunds,
            Self::Failed(Some(Cause::Status(429))) => KeyStatus::RateLimited,
            Self::Failed(Some(Cause::Timeout | Cause::Unreachable)) => KeyStatus::Unreachable,
            Self::Failed(_) => KeyStatus::Unknown,
        }
    }
}

/// All rows, in the hub's order.
///
/// # Errors
/// A sentence that says what was expected.
pub fn rows(body: &[u8]) -> Result<Vec<Listed>, String> {
    let unexpected = |what: &str| format!("it answered something unexpected: {what}");
    let body: Value =
        serde_json::from_slice(body).map_err(|_| unexpected("the list of provider keys is not a JSON object"))?;
    let rows = body.get("providers").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| unexpected("there is no list of `providers`"))?;
    rows.iter().map(|row| listed(row).ok_or_else(|| unexpected("a row has neither id nor name, or no type"))).collect()
}

fn listed(row: &Value) -> Option<Listed> {
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let config = match row.get("config") {
        Some(Value::Object(config)) => config.clone(),
        // The service as shipped hands out the text of its jsonb column.
        Some(Value::String(config)) => serde_json::from_str(config).unwrap_or_default(),
        _ => Map::new(),
    };
    let source = match text("key_source").as_deref() {
        Some("database") => Some(KeySource::Database),
        Some("environment") => Some(KeySource::Environment),
        Some("not_set") => Some(KeySource::NotSet),
        _ => None,
    };
    let material = match text("key_preview") {
        Some(preview) => Material::Hidden { preview: checked(preview) },
        None if source == Some(KeySource::Database) => Material::Hidden { preview: HIDDEN.to_owned() },
        None => Material::Empty,
    };
    let moment = text("last_tested");
    let (id, name) = (text("id"), text("name"));
    let (id, name, fault) = match (&id, &name) {
        (None, None) => return None,
        (id, name) => named(id.as_deref(), name.as_deref()),
    };
    let key = StoredKey {
        id,
        name,
        fault,
        provider: text("provider_type")?,
        enabled: row.get("enabled").and_then(Value::as_bool).unwrap_or(false),
        material,
        second: None,
        source,
        last_tested: moment.as_ref().map(|moment| moment.chars().take("YYYY-MM-DDTHH:MM:SS".len()).collect()),
        test_status: text("test_status"),
        base_url: config.get("base_url").and_then(Value::as_str).map(str::to_owned),
    };
    Some(Listed { row: key, config, moment })
}

/// A preview of the two forms that the hub makes; anything else may be the key itself, and reads as the one that says nothing.
pub fn checked(preview: String) -> String {
    let shortened =
        preview.chars().count() == 14 && preview.chars().skip(7).take(3).all(|c| c == '.') && !preview.contains(' ');
    if shortened { preview } else { HIDDEN.to_owned() }
}

/// What the hub shows of a key that it can open.
pub fn preview(key: &str) -> String {
    let length = key.chars().count();
    if length <= 20 {
        return HIDDEN.to_owned();
    }
    let (first, last): (String, String) = (key.chars().take(7).collect(), key.chars().skip(length - 4).collect());
    format!("{first}...{last}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::keys::RowFault;

    #[track_caller]
    fn one(row: Value) -> Listed {
        rows(json!({"success": true, "providers": [row], "total": 1}).to_string().as_bytes()).ok().unwrap().remove(0)
    }

    #[test]
    fn a_config_is_read_as_an_object_and_as_the_text_of_one() {
        for config in
            [json!({"timeout": 1, "base_url": "http://h"}), json!("{\"timeout\": 1, \"base_url\": \"http://h\"}")]
        {
            let listed = one(json!({"id": "i", "name": "n", "provider_type": "custom", "config": config}));
            assert_eq!(listed.row.base_url.as_deref(), Some("http://h"));
            assert_eq!(listed.config.keys().collect::<Vec<_>>(), ["timeout", "base_url"]);
        }
        for config in [json!(null), json!("half {"), json!(7), json!([])] {
            let listed = one(json!({"id": "i", "name": "n", "provider_type": "custom", "config": config}));
            assert!(listed.config.is_empty());
        }
    }

    #[test]
    fn a_preview_is_kept_only_in_the_forms_that_the_hub_makes() {
        for (given, kept) in [
            ("sk-proj...ijkl", "sk-proj...ijkl"),
            ("***", "***"),
            ("sk-the-whole-key-0123456789", "***"),
            ("fourteen-chars", "***"),
            ("", "***"),
        ] {
            let listed = one(json!({"id": "i", "name": "n", "provider_type": "openai", "key_preview": given}));
            assert_eq!(listed.row.material, Material::Hidden { preview: kept.to_owned() }, "{given}");
        }
        assert_eq!(preview("sk-proj-0123456789abcdefghijkl"), "sk-proj...ijkl");
        assert_eq!(preview("twenty-characters-xx"), "***");
    }

    #[test]
    fn where_the_key_comes_from_is_the_hubs_word() {
        for (word, preview, source, empty) in [
            ("database", Some("***"), Some(KeySource::Database), false),
            ("database", None, Some(KeySource::Database), false),
            ("environment", None, Some(KeySource::Environment), true),
            ("not_set", None, Some(KeySource::NotSet), true),
            ("elsewhere", None, None, true),
        ] {
            let row = json!({"id": "i", "name": "n", "provider_type": "x", "key_source": word, "key_preview": preview});
            let row = one(row).row;
            assert_eq!((row.source, row.material == Material::Empty), (source, empty), "{word}");
        }
    }

    #[test]
    fn a_row_without_a_name_or_with_an_id_that_is_no_text_does_not_hide_the_others() {
        #[track_caller]
        fn case(row: Value, id: &str, name: &str, fault: Option<RowFault>) {
            let row = one(row).row;
            assert_eq!((row.id.as_str(), row.name.as_str(), row.fault), (id, name, fault));
        }
        case(json!({"id": "i", "name": "n", "provider_type": "x"}), "i", "n", None);
        case(json!({"id": "i", "name": null, "provider_type": "x"}), "i", "(none)", Some(RowFault::NoName));
        case(json!({"id": 7, "name": "n", "provider_type": "x"}), "(none)", "n", Some(RowFault::NoId));
    }

    #[test]
    fn what_is_not_a_list_of_rows_is_one_sentence() {
        for body in
            [&b""[..], b"[]", b"{", b"{\"providers\":7}", b"{\"providers\":[7]}", b"{\"providers\":[{\"id\":1}]}"]
        {
            assert!(rows(body).err().is_some_and(|words| words.starts_with("it answered something unexpected")));
        }
    }

    #[test]
    fn a_failure_is_told_only_in_known_words() {
        let failed = |words: &str| LiveTest::read(&json!({"success": false, "error": words}));
        assert_eq!(failed("API error: HTTP 503"), LiveTest::Failed(Some(Cause::Status(503))));
        assert_eq!(failed("Invalid API key - authentication failed"), LiveTest::Failed(Some(Cause::Authentication)));
        assert_eq!(failed("API error: HTTP sk-secret"), LiveTest::Failed(None));
        assert_eq!(failed("Test failed: Bearer sk-secret"), LiveTest::Failed(None));
        assert_eq!(LiveTest::read(&Value::Null), LiveTest::Failed(None), "pydantic 2 has no result for a failure");
        let passed = json!({"success": true, "latency_ms": 17, "models_found": 3, "error": null});
        assert_eq!(LiveTest::read(&passed), LiveTest::Passed { models: Some(3), latency: Some(17) });
    }

    #[test]
    fn a_hubs_test_that_proves_nothing_is_unknown() {
        let passed = LiveTest::Passed { models: Some(3), latency: None };
        let status = |status| LiveTest::Failed(Some(Cause::Status(status)));
        for (test, provider, said) in [
            (passed.clone(), ProviderType::Openai, KeyStatus::Valid),
            (passed, ProviderType::Openrouter, KeyStatus::Unknown),
            (status(404), ProviderType::Anthropic, KeyStatus::Unknown),
            (status(404), ProviderType::Custom, KeyStatus::WrongEndpoint),
            (status(429), ProviderType::Groq, KeyStatus::RateLimited),
            (LiveTest::Failed(Some(Cause::Authentication)), ProviderType::Groq, KeyStatus::Invalid),
            (LiveTest::Failed(Some(Cause::Unreachable)), ProviderType::Groq, KeyStatus::Unreachable),
            (LiveTest::Failed(None), ProviderType::Groq, KeyStatus::Unknown),
        ] {
            assert_eq!(test.status(provider), said, "{test:?} {provider}");
        }
    }
}
