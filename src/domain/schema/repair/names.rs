//! What SQL calls an object: the words before its name, and the form of the name in DROP, COMMENT and OWNER.

use super::{Kind, Object, Repairs};

/// A name as an identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal. Standard strings are what every supported server reads by default; a backslash takes the other form.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// The schema and the last name of a full name; a dot inside quotes separates nothing.
pub(super) fn split(path: &str) -> (&str, &str) {
    let (mut inside, mut last) = (false, None);
    for (offset, byte) in path.bytes().enumerate() {
        match byte {
            b'"' => inside = !inside,
            b'.' if !inside => last = Some(offset),
            _ => {}
        }
    }
    last.and_then(|dot| Some((path.get(..dot)?, path.get(dot + 1..)?))).unwrap_or(("", path))
}

/// The words before the name; `None` where SQL has no statement of the form.
pub(super) fn noun(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Database => "DATABASE",
        Kind::Extension => "EXTENSION",
        Kind::Language => "LANGUAGE",
        Kind::Schema => "SCHEMA",
        Kind::Collation => "COLLATION",
        Kind::Type | Kind::Enum | Kind::Range => "TYPE",
        Kind::Domain => "DOMAIN",
        Kind::Cast => "CAST",
        Kind::Operator => "OPERATOR",
        Kind::OperatorClass => "OPERATOR CLASS",
        Kind::OperatorFamily => "OPERATOR FAMILY",
        Kind::TextSearchConfiguration => "TEXT SEARCH CONFIGURATION",
        Kind::TextSearchDictionary => "TEXT SEARCH DICTIONARY",
        Kind::TextSearchParser => "TEXT SEARCH PARSER",
        Kind::TextSearchTemplate => "TEXT SEARCH TEMPLATE",
        Kind::Function => "FUNCTION",
        Kind::Procedure => "PROCEDURE",
        Kind::Aggregate => "AGGREGATE",
        Kind::ForeignDataWrapper => "FOREIGN DATA WRAPPER",
        Kind::Server => "SERVER",
        Kind::Sequence => "SEQUENCE",
        Kind::Table => "TABLE",
        Kind::ForeignTable => "FOREIGN TABLE",
        Kind::View => "VIEW",
        Kind::MaterializedView => "MATERIALIZED VIEW",
        Kind::Column => "COLUMN",
        Kind::Constraint => "CONSTRAINT",
        Kind::Index => "INDEX",
        Kind::Trigger => "TRIGGER",
        Kind::Rule => "RULE",
        Kind::Policy => "POLICY",
        Kind::EventTrigger => "EVENT TRIGGER",
        Kind::Statistics => "STATISTICS",
        Kind::Publication => "PUBLICATION",
        Kind::Subscription => "SUBSCRIPTION",
        Kind::Conversion => "CONVERSION",
        Kind::Transform => "TRANSFORM",
        Kind::AccessMethod => "ACCESS METHOD",
        Kind::UserMapping => "USER MAPPING FOR",
        Kind::Setting | Kind::DefaultPrivileges | Kind::SecurityLabel | Kind::Unknown => return None,
    })
}

impl Repairs<'_> {
    /// The object in DROP, COMMENT ON and ALTER: noun and name.
    pub(super) fn called(&self, object: &Object) -> Result<String, String> {
        let noun = noun(object.kind).ok_or("SQL has no name for it")?;
        let (name, of) = (&object.name, object.of.as_deref().unwrap_or_default());
        Ok(match object.kind {
            Kind::Database => format!("{noun} {}", quoted(self.database)),
            Kind::Column => format!("{noun} {of}.{name}"),
            Kind::Constraint if self.is_domain(of) => format!("{noun} {name} ON DOMAIN {of}"),
            Kind::Constraint | Kind::Trigger | Kind::Rule | Kind::Policy => format!("{noun} {name} ON {of}"),
            Kind::Aggregate => format!("{noun} {}", name.replace("()", "(*)")),
            _ => format!("{noun} {name}"),
        })
    }

    /// The statement that drops it, and fails where something depends on it.
    pub(super) fn drop_statement(&self, object: &Object) -> Result<String, String> {
        let (name, of) = (&object.name, object.of.as_deref().unwrap_or_default());
        Ok(match object.kind {
            Kind::Column => format!("ALTER TABLE {of} DROP COLUMN {name}"),
            Kind::Constraint if self.is_domain(of) => format!("ALTER DOMAIN {of} DROP CONSTRAINT {name}"),
            Kind::Constraint => format!("ALTER TABLE {of} DROP CONSTRAINT {name}"),
            Kind::Index if self.constraint_of(object).is_some() => return Err("it goes with its constraint".to_owned()),
            Kind::Index if object.fact("partition of").is_some() => {
                return Err("it goes with the index that it is a part of".to_owned());
            }
            Kind::Sequence if self.goes_with_its_column(object) => return Err("it goes with its column".to_owned()),
            Kind::Setting => self.setting(object, None)?,
            Kind::DefaultPrivileges => return self.default_privileges(object.acl.as_deref(), None, &object.name),
            Kind::Database => return Err("a database is not dropped to repair it".to_owned()),
            Kind::Subscription => {
                return Err("dropping a subscription acts on the other server as well: DROP SUBSCRIPTION".to_owned());
            }
            _ => format!("DROP {}", self.called(object)?),
        })
    }

    /// A sequence that exists because of an identity or a column that should not be there.
    fn goes_with_its_column(&self, sequence: &Object) -> bool {
        let Some(column) = sequence.fact("belongs to") else { return false };
        let key = (Kind::Column, column.to_owned());
        match (self.now.get(&key), self.goal.get(&key)) {
            (Some(now), Some(goal)) => now.fact("identity").is_some() && goal.fact("identity").is_none(),
            (Some(_), None) => true,
            _ => false,
        }
    }

    /// The constraint that an index stands for, in either schema.
    pub(super) fn constraint_of(&self, index: &Object) -> Option<String> {
        let of = index.of.as_deref()?;
        let key = (Kind::Constraint, format!("{of}.{}", split(&index.name).1));
        (self.now.contains_key(&key) || self.goal.contains_key(&key)).then_some(key.1)
    }

    /// The statement that gives a setting of the database this value, or none.
    pub(super) fn setting(&self, setting: &Object, value: Option<&str>) -> Result<String, String> {
        let role = setting.fact("role");
        let prefix = role.map(|role| quoted(role) + ".").unwrap_or_default();
        let bare = role.map(|role| format!("{role}.")).unwrap_or_default();
        let name = setting.name.strip_prefix(&prefix).filter(|_| role.is_some());
        let name = name.or_else(|| setting.name.strip_prefix(&bare)).unwrap_or(&setting.name);
        let whose = match role {
            Some(role) => format!("ALTER ROLE {} IN DATABASE {}", quoted(role), quoted(self.database)),
            None => format!("ALTER DATABASE {}", quoted(self.database)),
        };
        // These hold a list whose names are quoted already.
        const LISTS: [&str; 5] = [
            "search_path",
            "temp_tablespaces",
            "session_preload_libraries",
            "shared_preload_libraries",
            "local_preload_libraries",
        ];
        Ok(match value {
            None => format!("{whose} RESET {name}"),
            Some(value) if value.starts_with("hidden, ") => {
                return Err("its value may be a secret and is not recorded".to_owned());
            }
            Some(value) if LISTS.contains(&name) && !value.is_empty() => format!("{whose} SET {name} = {value}"),
            Some(value) => format!("{whose} SET {name} = {}", literal(value)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_is_split_at_its_last_dot_outside_of_quotes() {
        for (path, schema, name) in [
            ("public.t", "public", "t"),
            ("public.\"a.b\"", "public", "\"a.b\""),
            ("\"x\"\".y\".z", "\"x\"\".y\"", "z"),
            ("t", "", "t"),
        ] {
            assert_eq!(split(path), (schema, name));
        }
    }

    #[test]
    fn a_literal_holds_any_text() {
        assert_eq!((literal("it's").as_str(), literal("a\\b").as_str()), ("'it''s'", "E'a\\\\b'"));
    }
}
