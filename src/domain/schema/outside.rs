//! Statements whose effect does not end at the border of the database: on a scratch copy they would act on the live server.

use super::super::migrations::{Statement, tokens};

/// Why a statement may not be rehearsed beside a live database: it acts on roles, other databases or the server itself. What a
/// `DO` block or a function hides is not seen.
pub fn reaches_outside(statement: &Statement<'_>) -> Option<&'static str> {
    let words = statement.words(4);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(match words.as_slice() {
        ["create" | "alter" | "drop", "database", ..] | ["comment", "on", "database", ..] => {
            "it acts on a whole database"
        }
        ["create" | "alter" | "drop", "role" | "user" | "group", third, ..] if *third != "mapping" => {
            "it acts on roles"
        }
        // A quoted name is no word.
        ["create" | "alter" | "drop", "role" | "user" | "group"] | ["comment", "on", "role", ..] => "it acts on roles",
        ["reassign" | "drop", "owned", ..] => "it acts on what a role owns",
        ["alter", "system", ..] => "it acts on the server's configuration",
        ["create" | "alter" | "drop", "tablespace", ..] => "it acts on tablespaces",
        ["create" | "alter" | "drop", "subscription", ..] => "it acts on another server's replication",
        ["copy", ..] => return copy(statement),
        ["grant" | "revoke", ..] => return grant(statement),
        _ => return None,
    })
}

/// `GRANT … ON …` acts on objects, which are the copy's own unless they are shared; without ON it is a membership.
fn grant(statement: &Statement<'_>) -> Option<&'static str> {
    let tokens = tokens(statement.text());
    let mut words = tokens.iter().map(|(_, text)| text.to_ascii_lowercase()).skip_while(|word| word != "on").skip(1);
    match words.next().as_deref() {
        None => Some("it acts on roles"),
        Some("database" | "tablespace" | "parameter") => Some("it acts on a whole database or on the server"),
        Some(_) => None,
    }
}

/// `COPY … TO 'file'` and `… PROGRAM` act on the server's machine.
fn copy(statement: &Statement<'_>) -> Option<&'static str> {
    let tokens = tokens(statement.text());
    let words: Vec<String> = tokens.iter().map(|(_, text)| text.to_ascii_lowercase()).collect();
    let writes = words.windows(2).any(|pair| {
        let [before, word] = pair else { return false };
        matches!(before.as_str(), "to" | "from") && word == "program" || before == "to" && word.ends_with('\'')
    });
    writes.then_some("it acts on files or programs of the server's machine")
}

#[cfg(test)]
mod tests {
    use super::super::super::migrations::Script;
    use super::*;

    #[test]
    fn what_acts_on_the_server_is_told_from_what_stays_in_the_database() {
        #[track_caller]
        fn case(sql: &str, outside: bool) {
            let script = Script::new(sql);
            assert_eq!(reaches_outside(&script.statements().unwrap()[0]).is_some(), outside, "{sql}");
        }
        case("ALTER DATABASE hub SET work_mem = '1MB'", true);
        case("drop database x", true);
        case("CREATE ROLE reader", true);
        case("CREATE USER \"Reader\"", true);
        case("CREATE USER MAPPING FOR x SERVER y", false);
        case("GRANT admins TO bob", true);
        case("GRANT SELECT ON t TO bob", false);
        case("GRANT ALL ON DATABASE hub TO bob", true);
        case("REVOKE CONNECT ON DATABASE hub FROM PUBLIC", true);
        case("ALTER SYSTEM SET x = 1", true);
        case("DROP OWNED BY bob", true);
        case("COPY t TO '/tmp/x' WITH (FORMAT csv)", true);
        case("COPY t FROM PROGRAM 'curl x'", true);
        case("COPY t TO STDOUT", false);
        case("COPY t FROM '/tmp/x'", false);
        case("DROP TABLE roles", false);
    }
}
