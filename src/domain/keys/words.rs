//! What an operator types around a key: words that are keys by mistake, and a command line without a shell.
//!
//! Promises to call a word a key too often rather than too rarely: nothing that may be one is echoed.

/// Whether a word of the command line may be a provider's key that was typed where a name belongs.
///
/// That is 20 characters or more of base64 or hex with a digit, or the beginning of a known kind of key. A long name made of
/// short words and numbers, such as `azure-openai-eastus2-gpt4`, is none: chance does not put all digits at the ends of words.
pub fn looks_like_key(word: &str) -> bool {
    const STARTS: [&str; 9] = ["sk-", "sk_", "gsk_", "AIza", "AQ.", "xai-", "hf_", "pplx-", "tgp_"];
    let word = word.trim();
    let starts = STARTS.iter().any(|start| word.starts_with(start));
    let dense = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+/=".contains(c));
    let named = word.split(['-', '_', '.']).all(is_plain_word);
    let key_like = word.len() >= 20 && dense && word.chars().any(|c| c.is_ascii_digit()) && !word.contains('/');
    starts || (key_like && !named)
}

/// A word or a number of a name: letters, then at most four digits.
fn is_plain_word(part: &str) -> bool {
    let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
    letters.len() <= 12 && part.len() - letters.len() <= 4 && letters.chars().all(|c| c.is_ascii_alphabetic())
}

/// The words of a command line, with single and double quotes and backslashes as a POSIX shell reads them. Nothing is expanded.
///
/// # Errors
/// A sentence for a quote that does not end, or for no words at all.
pub fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote of the command does not end");
    }
    words.extend(word);
    if words.is_empty() { Err("the command is empty") } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_place_of_a_name_is_seen() {
        #[track_caller]
        fn case(word: &str, expected: bool) {
            assert_eq!(looks_like_key(word), expected, "{word}");
        }
        case("sk-ant-api03-abc", true);
        case("gsk_1", true);
        case("0123456789abcdef0123456789abcdef", true);
        case("openai", false);
        case("Platform OpenAI", false);
        case("my-team-gateway-of-europe", false);
        case("/run/secrets/openai_key_2026", false);
        case("OPENAI_API_KEY", false);
        case("azure-openai-eastus2-gpt4", false);
        case("OPENAI_API_KEY_PROD_2026", false);
        case("a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d", true);
        case("Zq81mNc0PwYtR5sLxKd2VbJh7GfE3uAo", true);
        case("Zq81mNc0-wYtR5sLx_d2VbJh7GfE3uAo", true);
        case("12345678901234567890", true);
    }

    #[test]
    fn a_command_is_split_as_a_shell_would() {
        #[track_caller]
        fn case(line: &str, expected: Result<Vec<&str>, &str>) {
            let expected = expected.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(split(line), expected, "{line}");
        }
        case("pass show  openai", Ok(vec!["pass", "show", "openai"]));
        case("op read 'op://a b/c' \"x y\" a\\ b ''", Ok(vec!["op", "read", "op://a b/c", "x y", "a b", ""]));
        case("echo $HOME", Ok(vec!["echo", "$HOME"]));
        case("echo 'x", Err("a quote of the command does not end"));
        case("  ", Err("the command is empty"));
    }
}
