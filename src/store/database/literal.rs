//! Values and names inside SQL that we write ourselves, for messages that take no parameters.
//!
//! Whatever a text holds, it stays one value or one name.

/// A text as a literal, in the form that does not depend on the server's settings.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The same, or NULL.
pub(super) fn nullable(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), literal)
}

/// A name as an identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_or_escapes_a_literal_is_doubled() {
        for (text, expected) in [
            ("plain", "E'plain'"),
            ("it's", "E'it''s'"),
            ("a\\", "E'a\\\\'"),
            ("\\'; DROP TABLE t; --", "E'\\\\''; DROP TABLE t; --'"),
            ("$$ é\n", "E'$$ é\n'"),
        ] {
            assert_eq!(literal(text), expected);
        }
        assert_eq!((nullable(None), nullable(Some("a"))), ("NULL".to_owned(), "E'a'".to_owned()));
    }

    #[test]
    fn a_name_holds_any_text() {
        assert_eq!(quote("a \"b\" c"), "\"a \"\"b\"\" c\"");
    }
}
