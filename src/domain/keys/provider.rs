//! Providers of models: their types, the names that the hub gives them, and what is known of a key of theirs.
//!
//! The words here are the hub's own (CONTRACT 4) or stand in documents that scripts read: they never change.

use std::fmt;

use serde::{Serialize, Serializer};

/// A type of provider that the hub knows (CONTRACT 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderType {
    /// `openrouter`.
    Openrouter,
    /// `openai`.
    Openai,
    /// `anthropic`.
    Anthropic,
    /// `google`.
    Google,
    /// `cohere`.
    Cohere,
    /// `groq`.
    Groq,
    /// `together`.
    Together,
    /// `mistral`.
    Mistral,
    /// `custom`: any address that speaks OpenAI's dialect, Ollama among them.
    Custom,
}

impl ProviderType {
    /// All types, in the hub's order.
    pub const ALL: [Self; 9] = [
        Self::Openrouter,
        Self::Openai,
        Self::Anthropic,
        Self::Google,
        Self::Cohere,
        Self::Groq,
        Self::Together,
        Self::Mistral,
        Self::Custom,
    ];

    /// The type behind a word, as the hub compares it: in lower case, not trimmed. `None` for a row that only another part
    /// of the hub knows (`local`, `huggingface`).
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.to_lowercase();
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The word in the database and over HTTP.
    pub fn word(self) -> &'static str {
        match self {
            Self::Openrouter => "openrouter",
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
            Self::Cohere => "cohere",
            Self::Groq => "groq",
            Self::Together => "together",
            Self::Mistral => "mistral",
            Self::Custom => "custom",
        }
    }

    /// The name of a row that is made without one (CONTRACT 4.1, 4.3).
    pub fn display_name(self) -> &'static str {
        match self {
            Self::Openrouter => "OpenRouter",
            Self::Openai => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::Google => "Google AI",
            Self::Cohere => "Cohere",
            Self::Groq => "Groq",
            Self::Together => "Together AI",
            Self::Mistral => "Mistral AI",
            Self::Custom => "Custom Endpoint",
        }
    }
}

impl fmt::Display for ProviderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for ProviderType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// The variable that the hub reads where a row has no key that it can open (CONTRACT 4.2): the row's name in upper case,
/// `-` as `_`, and `_API_KEY`. A blank stays, so that the variable of `Google AI` can never be set.
pub fn env_variable(name: &str) -> String {
    format!("{}_API_KEY", name.to_uppercase().replace('-', "_"))
}

/// What a provider's answer says of a key (craft.md 2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// Accepted. Where only a list could be read: valid for listing.
    Valid,
    /// A live key that may not do this, or not from here.
    ValidLimited,
    /// A live key of an account without money.
    NoFunds,
    /// Too many requests; says nothing of the key.
    RateLimited,
    /// Switched off or blocked by the provider.
    Disabled,
    /// Past its end.
    Expired,
    /// Not a key of this provider, or not any more.
    Invalid,
    /// A key for other things: a management key, an access token.
    WrongKind,
    /// There is no such path at this address.
    WrongEndpoint,
    /// No answer; says nothing of the key.
    Unreachable,
    /// An answer that says nothing of the key.
    Unknown,
}

impl KeyStatus {
    /// The word in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::ValidLimited => "valid_limited",
            Self::NoFunds => "no_funds",
            Self::RateLimited => "rate_limited",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::WrongKind => "wrong_kind",
            Self::WrongEndpoint => "wrong_endpoint",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the provider has said no to the key itself. Only these words make a key red.
    pub fn is_no(self) -> bool {
        self.ok() == Some(false)
    }

    /// `ok` in documents: whether the provider knows the key and lets it in; `None` where its answer does not say.
    pub fn ok(self) -> Option<bool> {
        match self {
            Self::Valid | Self::ValidLimited | Self::NoFunds => Some(true),
            Self::Disabled | Self::Expired | Self::Invalid | Self::WrongKind => Some(false),
            Self::RateLimited | Self::WrongEndpoint | Self::Unreachable | Self::Unknown => None,
        }
    }
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_compared_in_lower_case_and_not_trimmed() {
        for (word, expected) in [
            ("openai", Some(ProviderType::Openai)),
            ("OpenRouter", Some(ProviderType::Openrouter)),
            ("CUSTOM", Some(ProviderType::Custom)),
            (" openai", None),
            ("local", None),
            ("", None),
        ] {
            assert_eq!(ProviderType::parse(word), expected, "{word:?}");
        }
        for kind in ProviderType::ALL {
            assert_eq!(ProviderType::parse(kind.word()), Some(kind));
        }
    }

    #[test]
    fn the_variable_of_a_row_is_the_hubs() {
        for (name, expected) in [
            ("openai", "OPENAI_API_KEY"),
            ("open-router", "OPEN_ROUTER_API_KEY"),
            ("Google AI", "GOOGLE AI_API_KEY"),
            ("straße", "STRASSE_API_KEY"),
        ] {
            assert_eq!(env_variable(name), expected);
        }
    }

    #[test]
    fn only_four_words_are_a_no_and_a_network_error_is_none_of_them() {
        #[track_caller]
        fn case(status: KeyStatus, word: &str, ok: Option<bool>) {
            assert_eq!((status.word(), status.ok(), status.is_no()), (word, ok, ok == Some(false)));
            assert_eq!(serde_json::to_value(status).unwrap(), word);
        }
        case(KeyStatus::Valid, "valid", Some(true));
        case(KeyStatus::ValidLimited, "valid_limited", Some(true));
        case(KeyStatus::NoFunds, "no_funds", Some(true));
        case(KeyStatus::RateLimited, "rate_limited", None);
        case(KeyStatus::Disabled, "disabled", Some(false));
        case(KeyStatus::Expired, "expired", Some(false));
        case(KeyStatus::Invalid, "invalid", Some(false));
        case(KeyStatus::WrongKind, "wrong_kind", Some(false));
        case(KeyStatus::WrongEndpoint, "wrong_endpoint", None);
        case(KeyStatus::Unreachable, "unreachable", None);
        case(KeyStatus::Unknown, "unknown", None);
    }
}
