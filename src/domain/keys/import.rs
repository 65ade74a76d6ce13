//! What a `.env` or JSON file holds for which provider.
//!
//! A name means a provider as the hub means it: by the variable of a row, else by the word of a type. Placeholders are told
//! from keys, and no message repeats a value.

use serde_json::Value;

use super::provider::{ProviderType, env_variable};
use super::secret::{ProviderKey, ProviderKeyFault};
use crate::domain::dotenv::Document;

/// What stands behind a name.
pub enum Content {
    /// A key.
    Key(ProviderKey),
    /// What an example file holds where a key belongs.
    Placeholder,
    /// No key, and why.
    Unfit(ProviderKeyFault),
}

/// A provider that a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    /// The row at this place of the rows that were given.
    Row(usize),
    /// A row of this type that is still to be made.
    New(ProviderType),
}

/// The names of a file that can mean a key, in its order; of a name that stands there twice, the last counts, as for the hub.
///
/// # Errors
/// A sentence that names the line and no value.
pub fn read(text: &str) -> Result<Vec<(String, Content)>, String> {
    let pairs = if text.trim_start().starts_with('{') { json(text)? } else { dotenv(text)? };
    let mut found: Vec<(String, Content)> = Vec::new();
    for (name, value) in pairs {
        found.retain(|(known, _)| *known != name);
        found.push((name, content(&value)));
    }
    Ok(found)
}

fn dotenv(text: &str) -> Result<Vec<(String, String)>, String> {
    let document = Document::parse(text).map_err(|error| error.to_string())?;
    let entries = document.entries().iter().filter(|entry| entry.name().ends_with("_API_KEY"));
    Ok(entries.filter_map(|entry| Some((entry.name().to_owned(), entry.text()?.to_owned()))).collect())
}

/// An object of names and keys: variables, rows' names or types.
fn json(text: &str) -> Result<Vec<(String, String)>, String> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| format!("line {}: this is no JSON object of names and keys", error.line()))?;
    let Value::Object(members) = value else { return Err("this is no JSON object of names and keys".to_owned()) };
    let text = |(name, value): (String, Value)| match value {
        Value::String(value) => Ok((name, value)),
        _ => Err(format!("the member `{name}` is no text")),
    };
    members.into_iter().map(text).collect()
}

fn content(value: &str) -> Content {
    match ProviderKey::parse(value) {
        _ if is_placeholder(value) => Content::Placeholder,
        Ok(key) => Content::Key(key),
        Err(fault) => Content::Unfit(fault),
    }
}

/// Whether a value is what example files hold.
pub(super) fn is_placeholder(value: &str) -> bool {
    const WORDS: [&str; 9] =
        ["your", "change", "replace", "example", "placeholder", "insert", "todo", "dummy", "redacted"];
    let lower = value.trim().to_lowercase();
    let marked = lower.starts_with(['<', '$', '{', '[']) || lower.contains("...") || lower.contains('…');
    let filler = lower.trim_start_matches("sk-").trim_matches(['x', '*', '.', '-', '_', '0']).is_empty();
    // A real key of 20 random characters holds none of these words between its dashes.
    let words = lower.split(['-', '_', ' ']).any(|part| WORDS.iter().any(|word| part.starts_with(word)));
    lower.is_empty() || marked || filler || words
}

/// The provider that a name means, given the names of the rows.
pub fn meant(name: &str, rows: &[&str]) -> Option<Meant> {
    let upper = name.to_uppercase();
    let is_row = |row: &&str| env_variable(row) == upper || row.to_lowercase() == name.to_lowercase();
    if let Some(at) = rows.iter().position(is_row) {
        return Some(Meant::Row(at));
    }
    let word = upper.strip_suffix("_API_KEY").unwrap_or(&upper);
    let kind = ProviderType::parse(word).filter(|kind| *kind != ProviderType::Custom)?;
    let own = rows.iter().position(|row| row.to_lowercase() == kind.display_name().to_lowercase());
    Some(own.map_or(Meant::New(kind), Meant::Row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expected: &[(&str, &str)]) {
        let found = read(text).unwrap();
        let shown: Vec<(&str, String)> = found
            .iter()
            .map(|(name, content)| {
                let word = match content {
                    Content::Key(key) => key.expose().to_owned(),
                    Content::Placeholder => "placeholder".to_owned(),
                    Content::Unfit(fault) => fault.to_string(),
                };
                (name.as_str(), word)
            })
            .collect();
        let expected: Vec<(&str, String)> = expected.iter().map(|(name, word)| (*name, (*word).to_owned())).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn keys_are_found_in_both_forms_and_the_last_of_a_name_counts() {
        reads(
            "# hub\nOPENAI_API_KEY=sk-1\nexport GROQ_API_KEY='gsk_2'\nPORT=80\nOPENAI_API_KEY=sk-3\n",
            &[("GROQ_API_KEY", "gsk_2"), ("OPENAI_API_KEY", "sk-3")],
        );
        reads("{\"openai\": \"sk-1\", \"GROQ_API_KEY\": \"gsk_2\"}", &[("openai", "sk-1"), ("GROQ_API_KEY", "gsk_2")]);
    }

    #[test]
    fn a_placeholder_is_no_key() {
        for text in
            ["", "your-openai-key", "sk-xxxxxxxxxxxxxxxx", "<key>", "changeme", "${KEY}", "sk-...", "sk-your-key"]
        {
            assert!(is_placeholder(text), "{text:?}");
        }
        for text in ["sk-proj-0123456789abcdefABCD", "gsk_a8Xyour9", "AIzaSyExample0"] {
            assert!(!is_placeholder(text), "{text:?}");
        }
        reads("A_API_KEY='sk 1'\n", &[("A_API_KEY", "the key holds a blank: something else was pasted with it")]);
    }

    #[test]
    fn a_file_that_does_not_parse_is_told_by_line_and_without_its_values() {
        for text in ["{\"a\": \"CANARY\"", "{\"a\": [\"CANARY\"]}", "OPENAI_API_KEY=x\nCANARY CANARY\n"] {
            let error = read(text).err().unwrap();
            assert!(!error.contains("CANARY"), "{error}");
        }
    }

    #[test]
    fn a_name_means_a_row_first_and_then_a_type() {
        let rows = ["Platform OpenAI", "my-gateway", "Google AI"];
        #[track_caller]
        fn case(name: &str, rows: &[&str], expected: Option<Meant>) {
            assert_eq!(meant(name, rows), expected, "{name}");
        }
        case("MY_GATEWAY_API_KEY", &rows, Some(Meant::Row(1)));
        case("platform openai", &rows, Some(Meant::Row(0)));
        case("OPENAI_API_KEY", &rows, Some(Meant::New(ProviderType::Openai)));
        case("google", &rows, Some(Meant::Row(2)));
        case("GOOGLE_API_KEY", &rows, Some(Meant::Row(2)));
        case("STRIPE_API_KEY", &rows, None);
        case("CUSTOM_API_KEY", &rows, None);
    }
}
