//! Statements that need more rights than the owner of a database has, and do no harm beyond it.

use super::super::migrations::{Statement, tokens};

/// More rights than an ordinary owner has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Those of a superuser.
    Superuser,
    /// Those of a superuser, and membership in this role from then on; its name as SQL writes it.
    Owner(String),
}

/// What a statement needs beyond the rights of a database's owner, where it stays inside of the database.
pub fn privilege(statement: &Statement<'_>) -> Option<Privilege> {
    let words = statement.words(4);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["create" | "alter" | "drop", "extension" | "language" | "publication", ..]
        | ["create" | "alter" | "drop", "event", "trigger", ..]
        | ["comment", "on", "extension" | "event" | "publication" | "language", ..]
        | ["create" | "alter" | "drop", "operator", "class" | "family", ..]
        | ["create" | "alter" | "drop", "foreign", "data", ..]
        | ["create", "trusted", ..] => Some(Privilege::Superuser),
        ["alter", ..] => owner(statement),
        _ => None,
    }
}

/// The role after `OWNER TO`.
fn owner(statement: &Statement<'_>) -> Option<Privilege> {
    let tokens = tokens(statement.text());
    let texts: Vec<&str> = tokens.iter().map(|(_, text)| *text).collect();
    let at = texts.windows(2).position(|pair| {
        let [one, other] = pair else { return false };
        one.eq_ignore_ascii_case("owner") && other.eq_ignore_ascii_case("to")
    })?;
    let role = *texts.get(at + 2)?;
    let own = ["current_user", "session_user", "current_role"].iter().any(|word| role.eq_ignore_ascii_case(word));
    (!own).then(|| Privilege::Owner(role.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::super::migrations::Script;
    use super::*;

    #[test]
    fn what_an_owner_may_not_do_is_told_from_what_anybody_may() {
        #[track_caller]
        fn case(sql: &str, expected: Option<Privilege>) {
            assert_eq!(privilege(&Script::new(sql).statements().unwrap()[0]), expected, "{sql}");
        }
        let superuser = Some(Privilege::Superuser);
        case("CREATE EXTENSION IF NOT EXISTS vector", superuser.clone());
        case("CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()", superuser.clone());
        case("CREATE PUBLICATION p FOR ALL TABLES", superuser);
        case("ALTER TABLE t OWNER TO hub", Some(Privilege::Owner("hub".to_owned())));
        case("ALTER FUNCTION f(int) OWNER TO \"Hub\"", Some(Privilege::Owner("\"Hub\"".to_owned())));
        case("ALTER TABLE t OWNER TO CURRENT_USER", None);
        case("ALTER TABLE t ADD COLUMN owner text", None);
        case("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", None);
        case("CREATE TABLE extension (a int)", None);
        case("DO $$ BEGIN END $$", None);
    }
}
