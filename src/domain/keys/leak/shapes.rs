//! Shapes of providers' keys, as data: how they begin, what follows, and how long they are (craft.md 2.9).
//!
//! A shape is a suspicion. Placeholders and texts without the variety of a random one are left out.

use memchr::memmem::Finder;

use crate::domain::keys::import::is_placeholder;
use crate::domain::keys::secret::fingerprint;

/// How many bytes a shape can span, with the name that it is assigned to.
pub const REACH: usize = 512;

/// The longest run of a key's characters; a longer one is a text or a blob.
const LONGEST: usize = 256;

/// What keys consist of behind their opening.
#[derive(Clone, Copy)]
enum Tail {
    /// Letters and digits.
    Plain,
    /// Those, `-` and `_`.
    Dashed,
}

/// What the opening is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// The first characters of the key.
    Key,
    /// The variable that it is assigned to: keys of these providers have no beginning of their own.
    Variable,
}

struct Rule {
    provider: &'static str,
    opens: Opening,
    text: &'static str,
    tail: Tail,
    /// The fewest characters behind the opening.
    least: usize,
}

const fn key(provider: &'static str, text: &'static str, tail: Tail, least: usize) -> Rule {
    Rule { provider, opens: Opening::Key, text, tail, least }
}

const fn variable(provider: &'static str, text: &'static str) -> Rule {
    Rule { provider, opens: Opening::Variable, text, tail: Tail::Plain, least: 32 }
}

const RULES: [Rule; 20] = [
    key("anthropic", "sk-ant-", Tail::Dashed, 24),
    key("openrouter", "sk-or-", Tail::Dashed, 24),
    key("openai", "sk-proj-", Tail::Dashed, 20),
    key("openai", "sk-svcacct-", Tail::Dashed, 20),
    key("openai", "sk-admin-", Tail::Dashed, 20),
    // The old form, and that of many who speak OpenAI's dialect.
    key("openai", "sk-", Tail::Plain, 32),
    key("groq", "gsk_", Tail::Plain, 40),
    key("google", "AIza", Tail::Dashed, 35),
    key("google", "AQ.", Tail::Dashed, 30),
    key("xai", "xai-", Tail::Plain, 40),
    key("together", "tgp_v1_", Tail::Dashed, 30),
    key("huggingface", "hf_", Tail::Plain, 34),
    key("perplexity", "pplx-", Tail::Plain, 40),
    key("nvidia", "nvapi-", Tail::Dashed, 40),
    variable("mistral", "MISTRAL_API_KEY"),
    variable("mistral", "mistral_api_key"),
    variable("cohere", "COHERE_API_KEY"),
    variable("cohere", "cohere_api_key"),
    variable("together", "TOGETHER_API_KEY"),
    variable("together", "together_api_key"),
];

/// A text that looks like a key.
pub struct Shape {
    /// Where its opening begins.
    pub opening: usize,
    /// Where the key itself begins.
    pub start: usize,
    /// Whose keys look so.
    pub provider: &'static str,
    /// The first eight hex digits of the SHA-256 of the key.
    pub fingerprint: String,
}

/// The rules, made ready.
pub struct Shapes(Vec<(&'static Rule, Finder<'static>)>);

impl Shapes {
    /// All rules.
    pub fn new() -> Self {
        Self(RULES.iter().map(|rule| (rule, Finder::new(rule.text))).collect())
    }

    /// What looks like a key; `before` is the byte before the first.
    pub fn find(&self, bytes: &[u8], before: u8) -> Vec<Shape> {
        let mut found = Vec::new();
        for (rule, finder) in &self.0 {
            found.extend(finder.find_iter(bytes).filter_map(|at| rule.at(bytes, at, before)));
        }
        found
    }
}

impl Rule {
    fn at(&self, bytes: &[u8], opening: usize, before: u8) -> Option<Shape> {
        let behind = opening + self.text.len();
        let start = match self.opens {
            Opening::Variable => assigned(bytes, behind)?,
            Opening::Key => {
                let before = opening.checked_sub(1).map_or(Some(before), |at| bytes.get(at).copied())?;
                // In the middle of a word it is part of that word.
                (!before.is_ascii_alphanumeric()).then_some(opening)?
            }
        };
        let tail = start.max(if self.opens == Opening::Key { behind } else { start });
        let follows = |byte: &&u8| match self.tail {
            Tail::Plain => byte.is_ascii_alphanumeric(),
            Tail::Dashed => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        let length = bytes.get(tail..)?.iter().take(LONGEST + 1).take_while(follows).count();
        if !(self.least..=LONGEST).contains(&length) {
            return None;
        }
        let key = std::str::from_utf8(bytes.get(start..tail + length)?).ok()?;
        let random = key.get(tail - start..).is_some_and(is_random) && !is_placeholder(key);
        random.then(|| Shape { opening, start, provider: self.provider, fingerprint: fingerprint(key) })
    }
}

/// Where the value begins that is assigned behind a name: `=` or `:`, with blanks and quotes around it.
fn assigned(bytes: &[u8], behind: usize) -> Option<usize> {
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'"' | b'\'');
    let rest = bytes.get(behind..)?;
    let skipped = rest.iter().take(16).take_while(blank).count();
    rest.get(skipped).filter(|byte| matches!(byte, b'=' | b':'))?;
    let value = rest.get(skipped + 1..)?.iter().take(16).take_while(blank).count();
    Some(behind + skipped + 1 + value)
}

/// Whether a text has the variety of a random one of its length, and does not count, as examples do.
fn is_random(text: &str) -> bool {
    if text.contains("0123456") {
        return false;
    }
    let mut seen = [false; 128];
    text.bytes().for_each(|byte| {
        if let Some(seen) = seen.get_mut(usize::from(byte)) {
            *seen = true;
        }
    });
    let (digit, letter) =
        (text.contains(|c: char| c.is_ascii_digit()), text.contains(|c: char| c.is_ascii_alphabetic()));
    digit && letter && seen.iter().filter(|seen| **seen).count() >= 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(text: &str, expected: Option<(&str, &str)>) {
        let found = Shapes::new().find(text.as_bytes(), b'\n');
        let shown: Vec<(&str, String)> = found.into_iter().map(|shape| (shape.provider, shape.fingerprint)).collect();
        let expected: Vec<(&str, String)> =
            expected.into_iter().map(|(provider, key)| (provider, fingerprint(key))).collect();
        assert_eq!(shown, expected, "{text}");
    }

    const TAIL: &str = "Zq81mNc0PwYtR5sLxKd2VbJh7GfE3uAoT9iWr4CnXe6SyQzM";

    #[test]
    fn each_provider_has_its_shape() {
        for (provider, opening) in [
            ("anthropic", "sk-ant-api03-"),
            ("openrouter", "sk-or-v1-"),
            ("openai", "sk-proj-"),
            ("openai", "sk-"),
            ("groq", "gsk_"),
            ("google", "AIza"),
            ("google", "AQ."),
            ("xai", "xai-"),
            ("together", "tgp_v1_"),
            ("huggingface", "hf_"),
            ("perplexity", "pplx-"),
            ("nvidia", "nvapi-"),
        ] {
            let key = format!("{opening}{TAIL}");
            case(&format!("key: \"{key}\""), Some((provider, &key)));
        }
    }

    #[test]
    fn a_key_without_a_beginning_is_known_by_its_variable() {
        for text in ["MISTRAL_API_KEY=", "export MISTRAL_API_KEY = '", "{\"mistral_api_key\": \""] {
            case(&format!("{text}{TAIL}\""), Some(("mistral", TAIL)));
        }
        case(&format!("COHERE_API_KEY={TAIL}"), Some(("cohere", TAIL)));
        case(&format!("os.environ[MISTRAL_API_KEY] {TAIL}"), None);
    }

    #[test]
    fn what_only_begins_like_a_key_is_none() {
        case("sk-proj-short", None);
        case("sk-proj-0123456789abcdefABCDEF", None);
        case("sk-proj-xxxxxxxxxxxxxxxxxxxxxxxxxxxx", None);
        case("sk-proj-your-key-goes-here-0123456789ab", None);
        case(".sk-spinner-of-the-loading-page-number-12", None);
        case(&format!("task-proj-{TAIL}"), None);
        case(&format!("gsk_{}", TAIL.repeat(8)), None);
    }
}
