//! Text from outside, made harmless: no control characters reach a terminal, and no known secret leaves the process.

/// Strip what could move a cursor, change a colour or reverse a line: C0 except newline and tab, DEL, C1 and the
/// bidirectional controls (craft.md 1.5, "remote text").
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !is_control(*c)).collect()
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
    fn known_secrets_are_blotted_out_also_as_json() {
        let mut redactor = Redactor::default();
        redactor.add(["s3cret\"quoted", "s3cret", "abc"]);
        assert_eq!(redactor.apply("s3cret s3cret\"quoted s3cret\\\"quoted abc"), "*** *** *** abc");
    }
}
