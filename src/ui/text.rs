//! Text from outside, made harmless: no control characters reach a terminal, and no known secret leaves the process.

/// Strip what could move a cursor, change a colour or reverse a line: C0 except newline and tab, DEL, C1 and the
/// bidirectional controls (craft.md 1.5, "remote text").
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !is_control(*c)).collect()
}

/// The same JSON text with those characters as `\u` escapes: the value stays whole for a program, and a terminal that shows
/// it sees plain text. JSON itself only asks for C0 to be escaped. Outside of strings none of them can stand.
pub fn escape_json(text: &str) -> String {
    if !text.contains(is_control) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_control(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Whether the text holds any of those characters.
pub fn is_wild(text: &str) -> bool {
    text.contains(is_control)
}

fn is_control(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}' => true,
        '\u{2028}' | '\u{2029}' => true,
        c => c.is_control(),
    }
}

/// Replaces known secrets by `***`.
#[derive(Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// Secrets shorter than four characters are left out: blotting out every `a` would help nobody.
    pub fn add<'a>(&mut self, secrets: impl IntoIterator<Item = &'a str>) {
        for secret in secrets {
            if secret.len() >= 4 {
                self.secrets.push(secret.to_owned());
                // The form in which a secret stands in a JSON document or a Debug print.
                let escaped = serde_json::Value::from(secret).to_string();
                let escaped = escaped.trim_matches('"');
                if escaped != secret {
                    self.secrets.push(escaped.to_owned());
                }
            }
        }
        // Longer ones first: one secret may hold another.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// The text without the secrets.
    pub fn apply(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), "***") } else { text }
        })
    }
}

impl Drop for Redactor {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.secrets.iter_mut().for_each(Zeroize::zeroize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_stripped_and_text_is_kept() {
        for (dirty, expected) in [
            ("plain ünïcode 😀\n\tok", "plain ünïcode 😀\n\tok"),
            ("\x1b[2J\x1b]0;title\x07x", "[2J]0;titlex"),
            ("a\rb\x08c\x7fd\u{9b}31me", "abcd31me"),
            ("\u{202e}evil\u{2066}", "evil"),
        ] {
            assert_eq!(clean(dirty), expected, "{dirty:?}");
        }
    }

    #[test]
    fn json_keeps_its_value_and_loses_what_drives_a_terminal() {
        let value = serde_json::json!({"a": "ü\u{9b}31m\u{202e}x\u{7f}\u{2028}\u{1b}"});
        let escaped = escape_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!is_wild(&escaped), "{escaped:?}");
        assert!(escaped.contains("ü\\u009b31m\\u202ex\\u007f\\u2028\\u001b"), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn known_secrets_are_blotted_out_also_as_json() {
        let mut redactor = Redactor::default();
        redactor.add(["s3cret\"quoted", "s3cret", "abc"]);
        assert_eq!(redactor.apply("s3cret s3cret\"quoted s3cret\\\"quoted abc"), "*** *** *** abc");
    }
}
