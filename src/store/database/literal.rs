//! Values inside SQL that we write ourselves, for messages of several statements, which take no parameters.

/// A text as a literal, in the form that does not depend on the server's settings.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The same, or NULL.
pub(super) fn nullable(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), literal)
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
}
