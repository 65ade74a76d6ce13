//! What a provider is asked about a key: the first table of craft.md 2.8, as data.
//!
//! No call spends tokens, and a key travels in a header, never in an address. A call that proves the key and a call that
//! counts models are the same where the list is closed to strangers; elsewhere they are two.

use super::provider::ProviderType;

/// How the key travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// The key alone, in a header of this name.
    Header(&'static str),
    /// Not at all: the answer is the same for everybody.
    Nobody,
}

/// The verb of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Nothing is sent but headers.
    Get,
    /// With an empty body.
    Post,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The verb.
    pub verb: Verb,
    /// The path, from the root of the provider's own address.
    pub path: &'static str,
    /// The query, if any; it never holds the key.
    pub query: Option<&'static str>,
    /// How the key travels.
    pub auth: Auth,
    /// Another header that the provider asks for.
    pub header: Option<(&'static str, &'static str)>,
}

/// How the answer that proves a key is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A list of models is a yes.
    List,
    /// Cohere's `{"valid": …}`.
    Validity,
    /// OpenRouter's description of the key.
    Openrouter,
    /// xAI's description of the key.
    Xai,
}

/// All that a provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The address without a path; `None` where only a row or the operator knows it.
    pub origin: Option<&'static str>,
    /// The call that proves the key.
    pub check: Call,
    /// How its answer is read.
    pub reading: Reading,
    /// Where the models are listed, if not in the answer to `check`.
    pub models: Option<Call>,
    /// What is asked instead where there is no such path.
    pub otherwise: Option<Call>,
}

const fn get(path: &'static str) -> Call {
    Call { verb: Verb::Get, path, query: None, auth: Auth::Bearer, header: None }
}

const fn list(origin: &'static str, path: &'static str) -> Question {
    Question { origin: Some(origin), check: get(path), reading: Reading::List, models: None, otherwise: None }
}

/// A page as large as they come: the same call proves the key and counts the models.
const ANTHROPIC: Question = Question {
    check: Call {
        query: Some("limit=1000"),
        auth: Auth::Header("x-api-key"),
        header: Some(("anthropic-version", "2023-06-01")),
        ..get("/v1/models")
    },
    ..list("https://api.anthropic.com", "/v1/models")
};

/// The same; never `?key=`, which would stand in every log on the way.
const GOOGLE: Question = Question {
    check: Call { query: Some("pageSize=1000"), auth: Auth::Header("x-goog-api-key"), ..get("/v1beta/models") },
    ..list("https://generativelanguage.googleapis.com", "/v1beta/models")
};

const COHERE: Question = Question {
    check: Call { verb: Verb::Post, ..get("/v1/check-api-key") },
    reading: Reading::Validity,
    models: Some(Call { query: Some("page_size=1000"), ..get("/v1/models") }),
    ..list("https://api.cohere.com", "/v1/check-api-key")
};

/// The list is public: it proves nothing, and does not get the key.
const OPENROUTER: Question = Question {
    reading: Reading::Openrouter,
    models: Some(Call { auth: Auth::Nobody, ..get("/api/v1/models") }),
    ..list("https://openrouter.ai", "/api/v1/key")
};

const XAI: Question =
    Question { reading: Reading::Xai, models: Some(get("/v1/models")), ..list("https://api.x.ai", "/v1/api-key") };

/// The path that the hub calls; an Ollama that does not speak OpenAI's dialect has a list of its own.
const CUSTOM: Question = Question {
    origin: None,
    check: get("/v1/models"),
    reading: Reading::List,
    models: None,
    otherwise: Some(get("/api/tags")),
};

/// The question for a type of provider. `host` is that of a row's own address: xAI is known to the hub as `custom`.
pub fn question(kind: ProviderType, host: Option<&str>) -> Question {
    match kind {
        ProviderType::Openai => list("https://api.openai.com", "/v1/models"),
        ProviderType::Anthropic => ANTHROPIC,
        ProviderType::Google => GOOGLE,
        ProviderType::Groq => list("https://api.groq.com", "/openai/v1/models"),
        ProviderType::Mistral => list("https://api.mistral.ai", "/v1/models"),
        ProviderType::Cohere => COHERE,
        ProviderType::Together => list("https://api.together.xyz", "/v1/models"),
        ProviderType::Openrouter => OPENROUTER,
        ProviderType::Custom if host == Some("api.x.ai") => XAI,
        ProviderType::Custom => CUSTOM,
    }
}

/// The path of a call below the path of an address. What both say is said once: `/v1` and `/v1/models` are `/v1/models`,
/// since half of all operators write the one, and half the other.
pub fn below(base: &str, path: &str) -> String {
    let segments = |text: &str| -> Vec<String> {
        text.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
    };
    let (mut base, path) = (segments(base), segments(path));
    let said_twice = (1..=path.len()).rev().find(|count| base.ends_with(path.get(..*count).unwrap_or_default()));
    base.truncate(base.len() - said_twice.unwrap_or(0));
    base.extend(path);
    format!("/{}", base.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn asks(kind: ProviderType, host: Option<&str>, expected: &str) {
        let question = question(kind, host);
        let call = |call: Call| {
            let verb = if call.verb == Verb::Get { "GET" } else { "POST" };
            let query = call.query.map(|query| format!("?{query}")).unwrap_or_default();
            let auth = match call.auth {
                Auth::Bearer => " bearer".to_owned(),
                Auth::Header(name) => format!(" {name}"),
                Auth::Nobody => String::new(),
            };
            let header = call.header.map(|(name, value)| format!(" {name}: {value}")).unwrap_or_default();
            format!("{verb} {}{query}{auth}{header}", call.path)
        };
        let mut shown = format!("{} {}", question.origin.unwrap_or("-"), call(question.check));
        for other in [question.models, question.otherwise].into_iter().flatten() {
            shown.push_str(&format!(" | {}", call(other)));
        }
        assert_eq!(shown, expected);
    }

    #[test]
    fn each_provider_is_asked_as_its_row_of_the_table_says() {
        asks(ProviderType::Openai, None, "https://api.openai.com GET /v1/models bearer");
        asks(
            ProviderType::Anthropic,
            None,
            "https://api.anthropic.com GET /v1/models?limit=1000 x-api-key anthropic-version: 2023-06-01",
        );
        asks(
            ProviderType::Google,
            None,
            "https://generativelanguage.googleapis.com GET /v1beta/models?pageSize=1000 x-goog-api-key",
        );
        asks(ProviderType::Groq, None, "https://api.groq.com GET /openai/v1/models bearer");
        asks(ProviderType::Mistral, None, "https://api.mistral.ai GET /v1/models bearer");
        asks(
            ProviderType::Cohere,
            None,
            "https://api.cohere.com POST /v1/check-api-key bearer | GET /v1/models?page_size=1000 bearer",
        );
        asks(ProviderType::Together, None, "https://api.together.xyz GET /v1/models bearer");
        asks(ProviderType::Openrouter, None, "https://openrouter.ai GET /api/v1/key bearer | GET /api/v1/models");
        asks(ProviderType::Custom, Some("llm.local"), "- GET /v1/models bearer | GET /api/tags bearer");
        asks(ProviderType::Custom, Some("api.x.ai"), "https://api.x.ai GET /v1/api-key bearer | GET /v1/models bearer");
    }

    #[test]
    fn no_question_holds_a_place_for_a_key_in_its_address() {
        for kind in ProviderType::ALL {
            let question = question(kind, None);
            for call in [Some(question.check), question.models, question.otherwise].into_iter().flatten() {
                assert!(!call.query.unwrap_or_default().contains("key"), "{call:?}");
            }
        }
    }

    #[test]
    fn an_address_and_a_path_say_what_they_share_once() {
        for (base, path, expected) in [
            ("", "/v1/models", "/v1/models"),
            ("/", "/v1/models", "/v1/models"),
            ("/v1", "/v1/models", "/v1/models"),
            ("/v1/", "/v1/models", "/v1/models"),
            ("/proxy/v1", "/v1/models", "/proxy/v1/models"),
            ("/proxy", "/v1/models", "/proxy/v1/models"),
            ("/openai/v1", "/openai/v1/models", "/openai/v1/models"),
            ("/v1/models", "/v1/models", "/v1/models"),
            ("/v2", "/v1/models", "/v2/v1/models"),
            ("/api", "/api/tags", "/api/tags"),
        ] {
            assert_eq!(below(base, path), expected, "{base} + {path}");
        }
    }
}
