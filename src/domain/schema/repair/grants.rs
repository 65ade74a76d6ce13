//! GRANT and REVOKE between two lists of rights, as the catalog prints them: `grantee=letters/grantor`.

use std::collections::BTreeMap;

use super::lists::parts;
use super::names::quoted;
use super::{Kind, Object, Repairs};

/// By grantee (empty is PUBLIC) and letter: whether it may be passed on.
type Rights = BTreeMap<(String, char), Passing>;

/// Whether a right may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passing {
    Kept,
    PassedOn,
}

/// The rights of `acl`, with `old` taken for `new`, which is what a new owner does to them.
fn rights(acl: &str, owner: &str, (old, new): (&str, &str)) -> Result<Rights, String> {
    let mut rights = Rights::new();
    // So the fingerprint writes an empty list, which is not what a new object has.
    let acl = if acl == "nobody" { "" } else { acl };
    for item in parts(acl) {
        let (who, by) = item.rsplit_once('/').ok_or("its grants cannot be read")?;
        let (grantee, letters) = who.rsplit_once('=').ok_or("its grants cannot be read")?;
        let renamed = |name: &str| {
            let bare = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
            let bare = bare.map_or_else(|| name.to_owned(), |bare| bare.replace("\"\"", "\""));
            if bare == old { new.to_owned() } else { bare }
        };
        let (grantee, by) = (renamed(grantee), renamed(by));
        if by != owner {
            return Err(format!("{by} gave a right that only {by} can give or take"));
        }
        let mut letters = letters.chars().peekable();
        while let Some(letter) = letters.next() {
            let passing = letters.next_if_eq(&'*').map_or(Passing::Kept, |_| Passing::PassedOn);
            rights.insert((grantee.clone(), letter), passing);
        }
    }
    Ok(rights)
}

/// The letters that the owner and everybody have of a new object.
fn usual(kind: Kind, major: u32) -> (&'static str, &'static str) {
    match kind {
        Kind::Table | Kind::View | Kind::MaterializedView | Kind::ForeignTable if major >= 17 => ("arwdDxtm", ""),
        Kind::Table | Kind::View | Kind::MaterializedView | Kind::ForeignTable => ("arwdDxt", ""),
        Kind::Sequence => ("rwU", ""),
        Kind::Function | Kind::Procedure | Kind::Aggregate => ("X", "X"),
        Kind::Type | Kind::Enum | Kind::Domain | Kind::Range | Kind::Language => ("U", "U"),
        Kind::Schema => ("UC", ""),
        Kind::Database => ("CTc", "Tc"),
        Kind::ForeignDataWrapper | Kind::Server => ("U", ""),
        _ => ("", ""),
    }
}

fn usual_rights(kind: Kind, owner: &str, major: u32) -> Rights {
    let (own, all) = usual(kind, major);
    let own = own.chars().map(|letter| ((owner.to_owned(), letter), Passing::Kept));
    own.chain(all.chars().map(|letter| ((String::new(), letter), Passing::Kept))).collect()
}

fn word(letter: char) -> Option<&'static str> {
    Some(match letter {
        'r' => "SELECT",
        'a' => "INSERT",
        'w' => "UPDATE",
        'd' => "DELETE",
        'D' => "TRUNCATE",
        'x' => "REFERENCES",
        't' => "TRIGGER",
        'm' => "MAINTAIN",
        'X' => "EXECUTE",
        'U' => "USAGE",
        'C' => "CREATE",
        'c' => "CONNECT",
        'T' => "TEMPORARY",
        _ => return None,
    })
}

/// The statements: `before` stands in front of GRANT, `columns` behind each right, `on` behind ON.
fn statements(now: &Rights, goal: &Rights, (before, columns, on): (&str, &str, &str)) -> Result<Vec<String>, String> {
    // By grantee and verb, so that each gets one statement.
    let mut verbs: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    let mut add = |verb, key: &(String, char)| -> Result<(), String> {
        let right = word(key.1).ok_or("it has a right that this llmhub does not know")?;
        verbs.entry((key.0.clone(), verb)).or_default().push(format!("{right}{columns}"));
        Ok(())
    };
    for (key, passing) in now {
        match goal.get(key) {
            None => add("2 REVOKE", key)?,
            Some(Passing::Kept) if *passing == Passing::PassedOn => add("1 REVOKE GRANT OPTION FOR", key)?,
            Some(_) => {}
        }
    }
    for (key, passing) in goal.iter().filter(|(key, passing)| now.get(*key) != Some(*passing)) {
        match passing {
            Passing::PassedOn => add("4 GRANT WITH GRANT OPTION", key)?,
            Passing::Kept if !now.contains_key(key) => add("3 GRANT", key)?,
            Passing::Kept => {}
        }
    }
    let line = |((grantee, verb), rights): (&(String, &str), &Vec<String>)| {
        let grantee = if grantee.is_empty() { "PUBLIC".to_owned() } else { quoted(grantee) };
        let rights = rights.join(", ");
        match verb.get(..1) {
            Some("1") => format!("{before}REVOKE GRANT OPTION FOR {rights} ON {on} FROM {grantee}"),
            Some("2") => format!("{before}REVOKE {rights} ON {on} FROM {grantee}"),
            Some("3") => format!("{before}GRANT {rights} ON {on} TO {grantee}"),
            _ => format!("{before}GRANT {rights} ON {on} TO {grantee} WITH GRANT OPTION"),
        }
    };
    Ok(verbs.iter().map(line).collect())
}

impl Repairs<'_> {
    /// The grants of `goal`, from those of `now`; nothing of `now` is what a new object has.
    pub(super) fn grants(&self, now: Option<&Object>, goal: &Object) -> Result<Vec<String>, String> {
        let of = goal.of.as_deref().unwrap_or_default();
        let table = || {
            let relation = |kind| self.goal.get(&(kind, of.to_owned()));
            [Kind::Table, Kind::View, Kind::MaterializedView, Kind::ForeignTable].into_iter().find_map(relation)
        };
        let owned = |object: &Object| object.owner.clone().or_else(|| table().and_then(|table| table.owner.clone()));
        let owner = match goal.fact("belongs to") {
            Some(column) => {
                let of = super::names::split(column).0;
                self.goal.get(&(Kind::Table, of.to_owned())).and_then(|table| table.owner.clone())
            }
            None => owned(goal),
        };
        let owner = owner.ok_or("its owner is not known")?;
        let swap = (now.and_then(|now| now.owner.as_deref()).unwrap_or(&owner), owner.as_str());
        let read = |acl: Option<&str>| match acl {
            Some(acl) => rights(acl, &owner, swap),
            None => Ok(usual_rights(goal.kind, &owner, self.major)),
        };
        let (current, wanted) = (read(now.and_then(|now| now.acl.as_deref()))?, read(goal.acl.as_deref())?);
        let name = &goal.name;
        let (columns, on) = match goal.kind {
            Kind::Column => (format!(" ({name})"), format!("TABLE {of}")),
            Kind::Table | Kind::View | Kind::MaterializedView | Kind::ForeignTable => {
                (String::new(), format!("TABLE {name}"))
            }
            Kind::Aggregate => (String::new(), format!("FUNCTION {name}")),
            Kind::Server => (String::new(), format!("FOREIGN SERVER {name}")),
            _ => (String::new(), self.called(goal)?),
        };
        statements(&current, &wanted, ("", &columns, &on))
    }

    /// The same for default privileges, which are called `for ROLE in SCHEMA on OBJECTS`, as one text.
    pub(super) fn default_privileges(
        &self,
        now: Option<&str>,
        goal: Option<&str>,
        name: &str,
    ) -> Result<String, String> {
        let odd = || "its name cannot be read".to_owned();
        let (whose, objects) = name.strip_prefix("for ").and_then(|name| name.rsplit_once(" on ")).ok_or_else(odd)?;
        let (role, schema) = whose.split_once(" in ").map_or((whose, None), |(role, schema)| (role, Some(schema)));
        let bare = role.strip_prefix('"').and_then(|role| role.strip_suffix('"'));
        let owner = bare.map_or_else(|| role.to_owned(), |bare| bare.replace("\"\"", "\""));
        let kind = match objects {
            "tables" => Kind::Table,
            "sequences" => Kind::Sequence,
            "functions" => Kind::Function,
            "types" => Kind::Type,
            "schemas" => Kind::Schema,
            _ => return Err(odd()),
        };
        let read = |acl: Option<&str>| match (acl, schema) {
            (Some(acl), _) => rights(acl, &owner, ("", "")),
            // In one schema they only add to those of everywhere.
            (None, Some(_)) => Ok(Rights::new()),
            (None, None) => Ok(usual_rights(kind, &owner, self.major)),
        };
        let within = schema.map(|schema| format!(" IN SCHEMA {schema}")).unwrap_or_default();
        let before = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {role}{within} ");
        let sql = statements(&read(now)?, &read(goal)?, (&before, "", &objects.to_ascii_uppercase()))?;
        Ok(sql.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_granted_or_revoked() {
        #[track_caller]
        fn case(now: &str, goal: &str, expected: &[&str]) {
            let read = |acl| rights(acl, "o", ("", "")).unwrap();
            assert_eq!(statements(&read(now), &read(goal), ("", "", "TABLE t")).unwrap(), expected);
        }
        case("a=r/o", "a=r/o", &[]);
        case("a=rw/o", "a=r/o", &["REVOKE UPDATE ON TABLE t FROM \"a\""]);
        case(
            "",
            "=r/o, \"B b\"=ar*/o",
            &[
                "GRANT SELECT ON TABLE t TO PUBLIC",
                "GRANT INSERT ON TABLE t TO \"B b\"",
                "GRANT SELECT ON TABLE t TO \"B b\" WITH GRANT OPTION",
            ],
        );
        case("a=r*/o", "a=r/o", &["REVOKE GRANT OPTION FOR SELECT ON TABLE t FROM \"a\""]);
        assert!(rights("a=r/x", "o", ("", "")).is_err());
        assert!(rights("a=r/x", "o", ("x", "o")).is_ok());
    }
}
