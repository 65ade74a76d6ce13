//! The statements that turn one state of an object into another, for a person to read and run.
//!
//! Only what is simple and keeps data is offered; for everything else it says why not. Names and values are those that the
//! catalog printed, so they are quoted exactly. Nothing here is ever run by llmhub itself.

mod alter;
mod column;
mod create;
mod grants;
mod lists;
mod names;
mod rebuild;

use std::collections::BTreeMap;

use super::{Difference, Fact, Fingerprint, Kind, Object};

/// How one difference can be made to vanish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// By these statements, in this order.
    Statements {
        /// The SQL, without semicolons at the end.
        sql: Vec<String>,
        /// What they do not bring back, or when they fail.
        caveat: Option<String>,
    },
    /// By nothing that is simple, and why.
    NotSimple(String),
}

/// Two states of one database, between which it is repaired.
pub struct Repairs<'a> {
    now: BTreeMap<(Kind, String), &'a Object>,
    goal: BTreeMap<(Kind, String), &'a Object>,
    database: &'a str,
    major: u32,
}

/// Why there is no statement, or the statements so far.
type Steps = Result<Script, String>;

/// Statements, and what must be known about them.
#[derive(Debug, Default)]
struct Script {
    sql: Vec<String>,
    caveats: Vec<String>,
}

impl Script {
    fn of(sql: impl Into<String>) -> Self {
        Self { sql: vec![sql.into()], caveats: Vec::new() }
    }

    fn push(&mut self, sql: impl Into<String>) {
        let sql = sql.into();
        // Two properties may ask for the same statement.
        if !self.sql.contains(&sql) {
            self.sql.push(sql);
        }
    }

    fn but(mut self, caveat: impl Into<String>) -> Self {
        self.caveats.push(caveat.into());
        self
    }

    fn append(&mut self, other: Self) {
        other.sql.into_iter().for_each(|sql| self.push(sql));
        self.caveats.extend(other.caveats);
    }
}

impl<'a> Repairs<'a> {
    /// Repairs of `database` (its bare name) that lead from the schema `now` to the schema `goal`.
    pub fn new(now: &'a Fingerprint, goal: &'a Fingerprint, database: &'a str) -> Self {
        let index = |schema: &'a Fingerprint| schema.objects.iter().map(|one| ((one.kind, one.path()), one)).collect();
        Self { now: index(now), goal: index(goal), database, major: now.major() }
    }

    /// The repair of one difference from `now` to `goal`.
    pub fn of(&self, difference: &Difference) -> Repair {
        let (kind, name) = difference.object();
        let key = (kind, name.to_owned());
        let (now, goal) = (self.now.get(&key), self.goal.get(&key));
        let part = now.or(goal).copied();
        let steps = match (difference, now, goal) {
            (Difference::Added { .. } | Difference::Removed { .. }, ..)
                if part.is_some_and(|one| self.is_remade(one)) =>
            {
                Err("it follows its view, which is made again".to_owned())
            }
            (Difference::Added { .. }, _, Some(goal)) => self.create(goal),
            (Difference::Removed { .. }, Some(now), _) => self.remove(now),
            (Difference::Changed { facts, .. }, Some(now), Some(goal)) => self.change(now, goal, facts),
            _ => Err("it is in neither of the two schemas".to_owned()),
        };
        match steps {
            Ok(Script { sql, .. }) if sql.is_empty() => Repair::NotSimple("no statement says just that".to_owned()),
            Ok(Script { sql, caveats }) => {
                Repair::Statements { sql, caveat: (!caveats.is_empty()).then(|| caveats.join("; ")) }
            }
            Err(why) => Repair::NotSimple(why),
        }
    }

    /// Whether an object is a part of a view that can only be made again.
    fn is_remade(&self, part: &Object) -> bool {
        let Some(of) = &part.of else { return false };
        [Kind::View, Kind::MaterializedView].into_iter().any(|kind| {
            let key = (kind, of.clone());
            let (now, goal) = (self.now.get(&key), self.goal.get(&key));
            now.zip(goal).is_some_and(|(now, goal)| rebuild::is_made_again(now, goal))
        })
    }

    /// Whether an object is a column of a view, which is listed only for what was added to it.
    fn is_of_view(&self, object: &Object) -> bool {
        let view = |kind| object.of.clone().is_some_and(|of| self.now.contains_key(&(kind, of)));
        object.kind == Kind::Column && (view(Kind::View) || view(Kind::MaterializedView))
    }

    /// Drop what is there and should not be.
    fn remove(&self, object: &Object) -> Steps {
        if self.is_of_view(object) {
            let mut bare = Object { facts: BTreeMap::new(), acl: None, ..object.clone() };
            bare.facts.extend(object.fact("type").map(|kind| ("type".to_owned(), kind.to_owned())));
            let gone =
                |(what, value): (&String, &String)| Fact { what: what.clone(), from: Some(value.clone()), to: None };
            let mut facts: Vec<Fact> = object.facts.iter().filter(|(what, _)| *what != "type").map(gone).collect();
            facts.extend(object.acl.clone().map(|acl| Fact { what: "grants".to_owned(), from: Some(acl), to: None }));
            return self.alter(object, &bare, &facts);
        }
        if object.fact("inherited").is_some() {
            return Err("it goes with that of the table that it is inherited from".to_owned());
        }
        let drop = self.drop_statement(object)?;
        Ok(match object.kind {
            Kind::Table => Script::of(drop).but("its rows go with it"),
            Kind::Column => Script::of(drop).but("its values go with it"),
            Kind::Sequence => Script::of(drop).but("its position goes with it"),
            Kind::Schema => Script::of(drop).but("what stands in it must go first"),
            _ => Script::of(drop),
        })
    }

    fn change(&self, now: &Object, goal: &Object, facts: &[Fact]) -> Steps {
        if let Some(steps) = self.rebuild(now, goal, facts) {
            return steps;
        }
        self.alter(now, goal, facts)
    }

    fn is_domain(&self, of: &str) -> bool {
        let key = (Kind::Domain, of.to_owned());
        self.now.contains_key(&key) || self.goal.contains_key(&key)
    }
}
