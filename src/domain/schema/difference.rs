//! The differences between two schemas, object by object, in words.
//!
//! What is a part of a relation that came or went as a whole is not listed again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::format::{common, fact_since, since};
use super::{Fingerprint, Kind, Level, Object, PLACE};

/// One object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Difference {
    /// It is only in the second schema.
    Added {
        /// What it is.
        kind: Kind,
        /// Its full name.
        name: String,
    },
    /// It is only in the first schema.
    Removed {
        /// What it is.
        kind: Kind,
        /// Its full name.
        name: String,
    },
    /// It is in both, and says something else.
    Changed {
        /// What it is.
        kind: Kind,
        /// Its full name.
        name: String,
        /// Its properties that differ, at least one.
        facts: Vec<Fact>,
    },
}

/// One property that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// The property.
    pub what: String,
    /// Its value in the first schema; `None` is as usual.
    pub from: Option<String>,
    /// Its value in the second schema.
    pub to: Option<String>,
}

/// Two fingerprints that say nothing about each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// They hold different things.
    #[error("a fingerprint of format {0} cannot be compared with one of format {1}: use the llmhub that made both")]
    Format(u32, u32),
    /// Each major prints the catalog in its own way.
    #[error(
        "a fingerprint of PostgreSQL {0} cannot be compared with one of PostgreSQL {1}: prove it again on this server"
    )]
    Major(u32, u32),
}

impl Difference {
    /// The kind and full name of the object.
    pub fn object(&self) -> (Kind, &str) {
        match self {
            Self::Added { kind, name } | Self::Removed { kind, name } | Self::Changed { kind, name, .. } => {
                (*kind, name)
            }
        }
    }

    /// The same seen from the second schema.
    pub fn reversed(&self) -> Self {
        match self.clone() {
            Self::Added { kind, name } => Self::Removed { kind, name },
            Self::Removed { kind, name } => Self::Added { kind, name },
            Self::Changed { kind, name, facts } => {
                let turned = |fact: Fact| Fact { what: fact.what, from: fact.to, to: fact.from };
                Self::Changed { kind, name, facts: facts.into_iter().map(turned).collect() }
            }
        }
    }

    /// Whether a column stands at another place, as the ordered and the exact level see it.
    pub fn is_about_place(&self) -> bool {
        matches!(self, Self::Changed { facts, .. } if facts.iter().any(|fact| fact.what == PLACE))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.object();
        write!(f, "{kind} {name}: ")?;
        match self {
            Self::Added { .. } => f.write_str("added"),
            Self::Removed { .. } => f.write_str("removed"),
            Self::Changed { facts, .. } => {
                f.write_str("changed: ")?;
                for (number, fact) in facts.iter().enumerate() {
                    if number > 0 {
                        f.write_str("; ")?;
                    }
                    fact.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

/// `type: integer → bigint`; of a text of several lines only the first that differs.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.as_deref().unwrap_or("none"), self.to.as_deref().unwrap_or("none"));
        if !from.contains('\n') && !to.contains('\n') {
            return write!(f, "{} {from} → {to}", self.what);
        }
        let (mut old, mut new, mut line) = (from.lines(), to.lines(), 1);
        let (old, new) = loop {
            match (old.next(), new.next()) {
                (one, other) if one == other && one.is_some() => line += 1,
                (one, other) => break (one.unwrap_or("none"), other.unwrap_or("none")),
            }
        };
        write!(f, "{} line {line} {} → {}", self.what, old.trim(), new.trim())
    }
}

/// What must be done to `before` to get `after`, as far as this level sees; empty when they are the same.
///
/// # Errors
/// [`Incomparable`] for fingerprints of a format that this llmhub does not know, or of two server majors.
pub fn diff(before: &Fingerprint, after: &Fingerprint, level: Level) -> Result<Vec<Difference>, Incomparable> {
    let Some(format) = common(before.format, after.format) else {
        return Err(Incomparable::Format(before.format, after.format));
    };
    if before.major() != after.major() {
        return Err(Incomparable::Major(before.major(), after.major()));
    }
    let (old, new) = (index(before, level, format), index(after, level, format));
    let gone: BTreeSet<String> = lone(&old, &new);
    let come: BTreeSet<String> = lone(&new, &old);
    let mut differences = Vec::new();
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let difference = match (old.get(key), new.get(key)) {
            (Some((object, _)), None) if !object.of.as_ref().is_some_and(|of| gone.contains(of)) => {
                Difference::Removed { kind: object.kind, name: object.path() }
            }
            (None, Some((object, _))) if !object.of.as_ref().is_some_and(|of| come.contains(of)) => {
                Difference::Added { kind: object.kind, name: object.path() }
            }
            (Some((object, old)), Some((_, new))) if old != new => {
                Difference::Changed { kind: object.kind, name: object.path(), facts: facts(old, new) }
            }
            _ => continue,
        };
        differences.push(difference);
    }
    Ok(differences)
}

type Index<'a> = BTreeMap<(Kind, &'a str, &'a str), (&'a Object, BTreeMap<String, String>)>;

/// What both of two fingerprints can say: what only the newer format has is left out of both.
fn index(fingerprint: &Fingerprint, level: Level, format: u32) -> Index<'_> {
    let kept =
        fingerprint.ranked().filter(|(object, _)| !level.leaves_out(object.kind) && since(object.kind) <= format);
    kept.map(|(object, rank)| {
        let mut facts = level.facts(object, rank);
        facts.retain(|what, _| fact_since(object.kind, what) <= format);
        (object.key(), (object, facts))
    })
    .collect()
}

/// The names of what may have parts and is in one schema only.
fn lone(one: &Index<'_>, other: &Index<'_>) -> BTreeSet<String> {
    let lone = one.iter().filter(|(key, (object, _))| !object.kind.is_part() && !other.contains_key(*key));
    lone.filter(|(_, (object, _))| object.kind != Kind::Index).map(|(_, (object, _))| object.name.clone()).collect()
}

fn facts(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Fact> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    changed.map(|name| Fact { what: name.clone(), from: old.get(name).cloned(), to: new.get(name).cloned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::FORMAT;
    use super::*;

    fn object(kind: Kind, of: Option<&str>, name: &str, facts: &[(&str, &str)]) -> Object {
        let mut object = Object::new(kind, name);
        object.of = of.map(str::to_owned);
        object.facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        object
    }

    fn print(objects: Vec<Object>) -> Fingerprint {
        Fingerprint::new(FORMAT, 150_004, objects)
    }

    #[test]
    fn a_difference_names_the_object_and_what_changed() {
        #[track_caller]
        fn case(before: Vec<Object>, after: Vec<Object>, lines: &[&str]) {
            let differences = diff(&print(before), &print(after), Level::Logical).unwrap();
            assert_eq!(differences.iter().map(ToString::to_string).collect::<Vec<_>>(), lines);
        }
        let table = || object(Kind::Table, None, "public.t", &[]);
        let column = |facts: &[(&str, &str)]| object(Kind::Column, Some("public.t"), "a", facts);
        case(vec![table()], vec![table()], &[]);
        case(vec![], vec![table(), column(&[])], &["table public.t: added"]);
        case(vec![table(), column(&[])], vec![], &["table public.t: removed"]);
        case(vec![table()], vec![table(), column(&[])], &["column public.t.a: added"]);
        case(
            vec![column(&[("type", "integer"), ("not null", "yes")])],
            vec![column(&[("type", "bigint")])],
            &["column public.t.a: changed: not null yes → none; type integer → bigint"],
        );
        let function = |body: &str| object(Kind::Function, None, "public.f()", &[("definition", body)]);
        case(
            vec![function("a\n b\nc")],
            vec![function("a\n x\nc")],
            &["function public.f(): changed: definition line 2 b → x"],
        );
        case(
            vec![function("a\nb")],
            vec![function("a")],
            &["function public.f(): changed: definition line 2 b → none"],
        );
        let mut owned = table();
        owned.owner = Some("alice".to_owned());
        case(vec![table()], vec![owned], &["table public.t: changed: owner none → alice"]);
    }

    #[test]
    fn a_newer_format_and_another_major_are_never_compared() {
        let base = print(vec![]);
        let format = Fingerprint { format: FORMAT + 1, ..base.clone() };
        let major = Fingerprint { server: 160_001, ..base.clone() };
        let minor = Fingerprint { server: 150_013, ..base.clone() };
        assert_eq!(diff(&base, &format, Level::Logical), Err(Incomparable::Format(FORMAT, FORMAT + 1)));
        assert_eq!(diff(&base, &major, Level::Logical), Err(Incomparable::Major(15, 16)));
        assert_eq!(diff(&base, &minor, Level::Logical), Ok(vec![]));
        assert_eq!(base.hash(Level::Logical), minor.hash(Level::Logical));
        assert_ne!(base.hash(Level::Logical), major.hash(Level::Logical));
    }

    #[test]
    fn an_older_format_is_compared_in_what_it_knows() {
        let old =
            Fingerprint { format: 1, ..print(vec![object(Kind::View, None, "public.v", &[("definition", "a")])]) };
        let view = |text| object(Kind::View, None, "public.v", &[("definition", text), ("columns", "a integer")]);
        let conversion = object(Kind::Conversion, None, "public.c", &[]);
        assert_eq!(diff(&old, &print(vec![view("a"), conversion]), Level::Logical), Ok(vec![]));
        assert_eq!(diff(&old, &print(vec![view("b")]), Level::Logical).unwrap().len(), 1);
    }

    #[test]
    fn its_json_says_which_change_it_is() {
        let fact = Fact { what: "type".to_owned(), from: Some("a".to_owned()), to: None };
        let changed =
            Difference::Changed { kind: Kind::MaterializedView, name: "public.t".to_owned(), facts: vec![fact] };
        assert_eq!(
            serde_json::to_string(&changed).unwrap(),
            r#"{"change":"changed","kind":"materialized_view","name":"public.t","facts":[{"what":"type","from":"a","to":null}]}"#
        );
    }
}
