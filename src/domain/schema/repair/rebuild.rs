//! Properties that are only changed by making the object again, where that keeps all data.

use super::lists::parts;
use super::{Fact, Kind, Object, Repairs, Script, Steps};

impl Repairs<'_> {
    /// `None` where it can be altered in place.
    pub(super) fn rebuild(&self, now: &Object, goal: &Object, facts: &[Fact]) -> Option<Steps> {
        let changed = |what: &str| facts.iter().any(|fact| fact.what == what);
        let kinds: &[&str] = match goal.kind {
            Kind::Policy => &["command", "kind", "roles", "using", "check"],
            Kind::Trigger | Kind::Rule | Kind::Statistics | Kind::Index | Kind::Constraint => &["definition"],
            Kind::Function | Kind::Procedure | Kind::View | Kind::MaterializedView => &["definition"],
            Kind::EventTrigger => &["event", "function", "tags"],
            Kind::Cast => &["function", "context", "method"],
            Kind::Transform => &["from sql", "to sql"],
            Kind::AccessMethod => &["type", "handler"],
            Kind::Conversion => &["from", "to", "function", "default"],
            Kind::Publication => &["all tables"],
            _ => &[],
        };
        if !kinds.iter().any(|what| changed(what)) {
            return None;
        }
        Some(match goal.kind {
            Kind::Function | Kind::Procedure => self.redefine(now, goal, facts),
            Kind::View if appends(goal.fact("columns"), now.fact("columns")) => self.replace_view(now, goal, facts),
            Kind::View | Kind::MaterializedView => self.make_view_again(goal),
            Kind::Constraint => self.constraint(now, goal, facts),
            _ => self.make_again(goal),
        })
    }

    fn make_again(&self, goal: &Object) -> Steps {
        let mut script = Script::of(self.drop_statement(goal)?);
        script.append(self.create(goal)?);
        Ok(script)
    }

    fn rest(facts: &[Fact]) -> Vec<Fact> {
        facts.iter().filter(|fact| !matches!(fact.what.as_str(), "definition" | "columns")).cloned().collect()
    }

    /// CREATE OR REPLACE keeps owner, grants and what depends on it; another result type needs a new function.
    fn redefine(&self, now: &Object, goal: &Object, facts: &[Fact]) -> Steps {
        let result = |object: &Object| {
            let definition = object.fact("definition").unwrap_or_default();
            definition.lines().nth(1).map(str::to_owned)
        };
        if result(now) != result(goal) {
            return self.make_again(goal);
        }
        let mut script = Script::of(goal.fact("definition").unwrap_or_default().trim());
        script.append(self.alter(now, goal, &Self::rest(facts))?);
        Ok(script)
    }

    /// CREATE OR REPLACE can append columns, but not take them away. It takes away the options that it does not name.
    fn replace_view(&self, now: &Object, goal: &Object, facts: &[Fact]) -> Steps {
        let definition = goal.fact("definition").unwrap_or_default().trim_end_matches(';');
        let mut script = Script::of(format!("CREATE OR REPLACE VIEW {} AS {definition}", goal.name));
        let mut rest = Self::rest(facts);
        rest.retain(|fact| fact.what != "options");
        let options =
            goal.fact("options").map(|all| Fact { what: "options".to_owned(), from: None, to: Some(all.to_owned()) });
        rest.extend(options);
        script.append(self.alter(now, goal, &rest)?);
        Ok(script)
    }

    fn make_view_again(&self, goal: &Object) -> Steps {
        let mut script = self.make_again(goal)?.but("it fails while something depends on it");
        let own = |one: &&&Object| one.of.as_ref() == Some(&goal.name);
        for part in self.goal.values().filter(own).copied() {
            match part.kind {
                Kind::Index | Kind::Trigger | Kind::Rule => script.sql.extend(self.create(part)?.sql),
                Kind::Column => script.append(self.finish(part, &["type"])?),
                _ => {}
            }
        }
        Ok(script)
    }

    fn constraint(&self, now: &Object, goal: &Object, facts: &[Fact]) -> Steps {
        let (of, name) = (goal.of.as_deref().unwrap_or_default(), &goal.name);
        if goal.fact("inherited").is_some() {
            return Err("it changes with that of the table that it is inherited from".to_owned());
        }
        let (was, shall) = (now.fact("definition").unwrap_or_default(), goal.fact("definition").unwrap_or_default());
        let alter = if self.is_domain(of) { "ALTER DOMAIN" } else { "ALTER TABLE" };
        let in_place = if was.strip_suffix(" NOT VALID") == Some(shall) {
            Some(format!("{alter} {of} VALIDATE CONSTRAINT {name}"))
        } else if was.starts_with("FOREIGN KEY") && undeferred(was) == undeferred(shall) {
            let timing = shall.strip_prefix(undeferred(shall)).unwrap_or_default().trim();
            let timing = if timing.is_empty() { "NOT DEFERRABLE" } else { timing };
            Some(format!("{alter} {of} ALTER CONSTRAINT {name} {timing}"))
        } else {
            None
        };
        match in_place {
            Some(sql) => {
                let mut script = Script::of(sql);
                script.append(self.alter(now, goal, &Self::rest(facts))?);
                Ok(script)
            }
            None => Ok(self.make_again(goal)?.but("it is not in force in between: run both in one transaction")),
        }
    }
}

/// A foreign key without what it says of deferring.
fn undeferred(definition: &str) -> &str {
    definition.strip_suffix(" INITIALLY DEFERRED").unwrap_or(definition).trim_end_matches(" DEFERRABLE")
}

/// Whether a view can only be dropped and made again.
pub(super) fn is_made_again(now: &Object, goal: &Object) -> bool {
    let replaced = goal.kind == Kind::View && appends(goal.fact("columns"), now.fact("columns"));
    now.fact("definition") != goal.fact("definition") && !replaced
}

/// Whether the columns of a view begin with those that it has now.
fn appends(goal: Option<&str>, now: Option<&str>) -> bool {
    let (Some(goal), Some(now)) = (goal, now) else { return false };
    parts(goal).starts_with(&parts(now))
}
