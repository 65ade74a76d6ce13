//! The flags of one worker: what a hub's configuration holds, and how it is read from the environment at start.
//!
//! CONTRACT 3.7: variable names are irregular, one bad percentage stops the whole hub, and nothing is validated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

/// The environment of a hub.
pub type Env = BTreeMap<String, String>;

/// A flag as the hub keeps it: nine members, any of the first four possibly null (CONTRACT 3, 3.4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The main switch.
    pub enabled: Option<bool>,
    /// Any whole number, of any size.
    pub rollout_percentage: Option<Number>,
    /// Always on.
    pub whitelist_users: Option<Vec<String>>,
    /// Always off.
    pub blacklist_users: Option<Vec<String>>,
    /// Unchecked text.
    pub start_date: Option<String>,
    /// Unchecked text.
    pub end_date: Option<String>,
    /// Free text.
    pub description: String,
    /// Free words.
    pub tags: Vec<String>,
    /// Free text.
    pub owner: String,
}

impl Config {
    /// The percentage as a number that compares like Python's, which has no largest one; `None` for null.
    pub fn percentage(&self) -> Option<i128> {
        let digits = self.rollout_percentage.as_ref()?.to_string();
        let beyond = if digits.starts_with('-') { i128::MIN } else { i128::MAX };
        Some(digits.parse().unwrap_or(beyond))
    }

    /// The same flag with `members` replaced.
    ///
    /// # Panics
    /// When a member does not exist or cannot hold the value: a mistake in the test.
    pub fn with(&self, members: &Value) -> Self {
        let mut all = serde_json::to_value(self).expect("a flag is always JSON");
        if let (Value::Object(all), Value::Object(members)) = (&mut all, members) {
            all.extend(members.clone());
        }
        serde_json::from_value(all).expect("members of a flag with values they can hold")
    }
}

/// All flags of one worker, in definition order.
pub type Flags = Vec<(String, Config)>;

/// Flags as the list answer shows them.
pub fn to_object<'a>(flags: impl IntoIterator<Item = &'a (String, Config)>) -> Value {
    let members = flags
        .into_iter()
        .map(|(name, config)| (name.clone(), serde_json::to_value(config).expect("a flag is always JSON")));
    Value::Object(members.collect::<Map<_, _>>())
}

/// The hub failed to import its flags; the words are Python's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError(pub String);

/// The flags of a worker that starts with `env`.
pub fn from_env(env: &Env) -> Result<Flags, ImportError> {
    let text = |name: &str| env.get(name).cloned();
    let enabled = |name: &str| Some(text(name).is_some_and(|value| value.to_lowercase() == "true"));
    let percentage = |name: &str| match text(name) {
        None => Ok(Some(Number::from(0))),
        Some(value) => python_int(&value)
            .map(Some)
            .ok_or_else(|| ImportError(format!("ValueError: invalid literal for int() with base 10: '{value}'"))),
    };
    let users = |name: &str| {
        let value = text(name).unwrap_or_default();
        Some(value.split(',').map(str::trim).filter(|user| !user.is_empty()).map(str::to_owned).collect())
    };
    let words = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
    let blank = Config {
        enabled: Some(false),
        rollout_percentage: Some(Number::from(0)),
        whitelist_users: Some(Vec::new()),
        blacklist_users: Some(Vec::new()),
        start_date: None,
        end_date: None,
        description: String::new(),
        tags: Vec::new(),
        owner: String::new(),
    };
    let hub = Config {
        enabled: enabled("FEATURE_UNIFIED_LLM_HUB"),
        rollout_percentage: percentage("FEATURE_LLM_HUB_ROLLOUT")?,
        whitelist_users: users("FEATURE_LLM_HUB_WHITELIST"),
        blacklist_users: users("FEATURE_LLM_HUB_BLACKLIST"),
        start_date: text("FEATURE_LLM_HUB_START_DATE"),
        end_date: text("FEATURE_LLM_HUB_END_DATE"),
        description: "Unified LLM management interface (replaces 4 old pages)".to_owned(),
        tags: words(&["llm", "ui", "admin"]),
        owner: "platform-team".to_owned(),
    };
    let analytics = Config {
        enabled: enabled("FEATURE_ADVANCED_ANALYTICS"),
        rollout_percentage: percentage("FEATURE_ANALYTICS_ROLLOUT")?,
        whitelist_users: users("FEATURE_ANALYTICS_WHITELIST"),
        description: "Enhanced analytics dashboard with ML insights".to_owned(),
        tags: words(&["analytics", "ml", "admin"]),
        owner: "data-team".to_owned(),
        ..blank.clone()
    };
    let recommendations = Config {
        enabled: enabled("FEATURE_MODEL_RECOMMENDATIONS"),
        rollout_percentage: percentage("FEATURE_MODEL_REC_ROLLOUT")?,
        description: "AI-powered model recommendations based on usage".to_owned(),
        tags: words(&["llm", "ml", "recommendations"]),
        owner: "ml-team".to_owned(),
        ..blank
    };
    Ok(vec![
        ("unified_llm_hub".to_owned(), hub),
        ("advanced_analytics".to_owned(), analytics),
        ("model_recommendations".to_owned(), recommendations),
    ])
}

/// Python's `int(text)`: outer blanks, a sign, single underscores between digits, and digits of other scripts.
fn python_int(text: &str) -> Option<Number> {
    /// The zeros of some decimal scripts; their nine follows.
    const ZEROS: [char; 5] = ['0', '\u{660}', '\u{6f0}', '\u{966}', '\u{ff10}'];
    let digit = |c: char| ZEROS.into_iter().find_map(|zero| (c as u32).checked_sub(zero as u32).filter(|d| *d < 10));
    let text = text.trim();
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => ("-", body),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let mut plain = String::new();
    for group in body.split('_') {
        if group.is_empty() {
            return None;
        }
        for c in group.chars() {
            plain.push(char::from_digit(digit(c)?, 10)?);
        }
    }
    whole_number(sign, &plain)
}

/// A JSON number from sign and decimal digits, leading zeros allowed.
pub fn whole_number(sign: &str, digits: &str) -> Option<Number> {
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return (!digits.is_empty()).then(|| Number::from(0));
    }
    format!("{sign}{significant}").parse().ok()
}
