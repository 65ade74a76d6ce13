//! Names and texts as parts of SQL, for the statements that take no parameters, such as CREATE DATABASE.
//!
//! Whatever a name or a text holds, it stays one name or one text.

/// A name as an identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal, in the form that does not depend on the server's settings.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_any_text() {
        assert_eq!(quote("a \"b\" c"), "\"a \"\"b\"\" c\"");
    }

    #[test]
    fn a_literal_holds_any_text() {
        assert_eq!(literal("it's a \\ b"), "E'it''s a \\\\ b'");
    }
}
