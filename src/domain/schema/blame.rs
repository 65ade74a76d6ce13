//! What was changed by hand, and between which two runs: the schema that the runs alone would have made, against the live one.
//!
//! Each run is known by the schema before and after it. What differs between the end of one and the start of the next was
//! changed in between; what a later run changed itself is that run's again.

use std::collections::BTreeMap;

use super::{Difference, Fingerprint, Incomparable, Kind, Level, Object, diff};

/// The schema on both sides of a run.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// Before it; the first of a history needs none.
    pub before: Option<&'a Fingerprint>,
    /// After it.
    pub after: &'a Fingerprint,
}

/// What was changed by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// The schema that the runs alone would have made.
    pub expected: Fingerprint,
    /// From that to the live one; each with the number of the run after which it was changed, from 0.
    pub drift: Vec<(Difference, usize)>,
}

/// Find what was changed by hand since the first of `runs`, oldest first. `None` without a run.
///
/// # Errors
/// [`Incomparable`] when live cannot be compared with the newest run.
pub fn trace(runs: &[Sides<'_>], live: &Fingerprint, level: Level) -> Result<Option<Traced>, Incomparable> {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(None) };
    let mut expected = first.after.clone();
    let mut since: BTreeMap<(Kind, String), usize> = BTreeMap::new();
    for (number, (earlier, later)) in runs.iter().zip(runs.iter().skip(1)).enumerate() {
        // Across an upgrade of the server nothing can be told apart: the history begins anew.
        let gap = later.before.and_then(|before| Some((before, diff(earlier.after, before, level).ok()?)));
        match gap {
            Some((before, changed)) => {
                since.extend(changed.iter().map(|one| (key(one), number)));
                expected = carried(expected, before, later.after);
            }
            None => {
                since.clear();
                expected = later.after.clone();
            }
        }
    }
    let newest = runs.len() - 1; // There is a first one.
    let late: Vec<(Kind, String)> = diff(last.after, live, level)?.iter().map(key).collect();
    let drift = diff(&expected, live, level)?.into_iter().map(|one| {
        let key = key(&one);
        let run = if late.contains(&key) { newest } else { since.get(&key).copied().unwrap_or(newest) };
        (one, run)
    });
    let drift = drift.collect();
    Ok(Some(Traced { expected, drift }))
}

fn key(difference: &Difference) -> (Kind, String) {
    let (kind, name) = difference.object();
    (kind, name.to_owned())
}

/// `schema` after a run that turned `before` into `after`: what the run did not touch stays as it is.
fn carried(schema: Fingerprint, before: &Fingerprint, after: &Fingerprint) -> Fingerprint {
    let index = |schema: Fingerprint| -> BTreeMap<(Kind, String), Object> {
        schema.objects.into_iter().map(|one| ((one.kind, one.path()), one)).collect()
    };
    let (format, server) = (schema.format.min(after.format), after.server);
    let (mut result, old, new) = (index(schema), index(before.clone()), index(after.clone()));
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        result.remove(key);
    }
    for (key, now) in new {
        match old.get(&key) {
            None => {
                result.insert(key, now);
            }
            Some(was) if *was != now => {
                if let Some(object) = result.get_mut(&key) {
                    touch(object, was, &now);
                }
            }
            Some(_) => {}
        }
    }
    Fingerprint::new(format, server, result.into_values().collect())
}

fn touch(object: &mut Object, was: &Object, now: &Object) {
    for what in was.facts.keys().chain(now.facts.keys()).filter(|what| was.facts.get(*what) != now.facts.get(*what)) {
        match now.facts.get(what) {
            Some(value) => object.facts.insert(what.clone(), value.clone()),
            None => object.facts.remove(what),
        };
    }
    if was.owner != now.owner {
        object.owner.clone_from(&now.owner);
    }
    if was.acl != now.acl {
        object.acl.clone_from(&now.acl);
    }
    object.place = now.place;
}

#[cfg(test)]
mod tests {
    use super::super::FORMAT;
    use super::*;

    /// A schema in short: `t` is a table, `t=x` one with a comment.
    fn schema(tables: &str) -> Fingerprint {
        let table = |word: &str| {
            let (name, comment) = word.split_once('=').unwrap_or((word, ""));
            let mut table = Object::new(Kind::Table, name);
            let facts = comment.split('+').filter(|one| !one.is_empty());
            table.facts = facts.map(|one| (format!("fact {}", &one[..1]), one.to_owned())).collect();
            table
        };
        Fingerprint::new(FORMAT, 150_004, tables.split_whitespace().map(table).collect())
    }

    #[track_caller]
    fn case(runs: &[(&str, &str)], live: &str, expected: &[(&str, usize)]) {
        let runs: Vec<_> = runs.iter().map(|(before, after)| (schema(before), schema(after))).collect();
        let sides: Vec<_> = runs.iter().map(|(before, after)| Sides { before: Some(before), after }).collect();
        let traced = trace(&sides, &schema(live), Level::Logical).unwrap().unwrap();
        let found: Vec<_> = traced.drift.iter().map(|(one, run)| (one.to_string(), *run)).collect();
        let expected: Vec<_> = expected.iter().map(|(text, run)| ((*text).to_owned(), *run)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_differs_between_two_runs_was_changed_between_them() {
        case(&[("", "a"), ("a", "a b")], "a b", &[]);
        case(&[("", "a"), ("a", "a b")], "a b c", &[("table c: added", 1)]);
        case(&[("", "a"), ("a x", "a b x")], "a b x", &[("table x: added", 0)]);
        case(&[("", "a"), ("", "b"), ("b", "b c")], "b c", &[("table a: removed", 0)]);
        case(&[("", "a"), ("a x", "a b x")], "a b x y", &[("table x: added", 0), ("table y: added", 1)]);
        case(&[("", "a"), ("a=1", "a=1 b")], "a=2 b", &[("table a: changed: fact 2 none → 2", 1)]);
    }

    #[test]
    fn what_came_back_or_was_taken_over_by_a_run_is_no_drift() {
        case(&[("", "a"), ("a x", "a b x")], "a b", &[]);
        case(&[("", "a"), ("a x", "a")], "a", &[]);
        case(&[("", "a"), ("a=1", "a=1+2")], "a=1+2", &[("table a: changed: fact 1 none → 1", 0)]);
    }

    #[test]
    fn an_upgrade_of_the_server_begins_a_new_history() {
        let (old, new) = (schema("a"), Fingerprint { server: 160_001, ..schema("a b") });
        let runs = [Sides { before: None, after: &old }, Sides { before: Some(&new), after: &new }];
        assert_eq!(trace(&runs, &new, Level::Logical).unwrap().unwrap().drift, []);
        assert_eq!(trace(&runs[..1], &new, Level::Logical), Err(Incomparable::Major(15, 16)));
        assert_eq!(trace(&[], &new, Level::Logical), Ok(None));
    }
}
