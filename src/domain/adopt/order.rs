//! The order in which files are tried first: by what they make and need, among equals by the number or date in the name, then
//! by the name.
//!
//! Where files need each other the number and the name decide, and the cycle is told.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Kind, Object, Taken};
use super::folder::Candidate;

/// The first order, and what the names alone tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Places in the list of candidates, first to last.
    pub places: Vec<usize>,
    /// Candidates that need each other, each group once.
    pub cycles: Vec<Vec<usize>>,
    /// What no candidate makes, by candidate.
    pub unmade: Vec<(usize, Object)>,
}

/// Order the candidates.
pub fn order(candidates: &[Candidate]) -> Order {
    let mut makers: BTreeMap<&Object, Vec<usize>> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        for made in &candidate.makes {
            makers.entry(&made.object).or_default().push(place);
        }
    }
    let (mut behind, mut after, mut unmade) = (Vec::new(), Vec::new(), Vec::new());
    for (place, candidate) in candidates.iter().enumerate() {
        let (mut strong, mut weak) = (BTreeSet::new(), BTreeSet::new());
        for need in &candidate.needs {
            match makers.get(need) {
                // One of its own rivals makes it as well as itself.
                Some(places) if places.contains(&place) => {}
                Some(places) => strong.extend(preferred(candidates, places)),
                None if need.kind == Kind::Relation || need.kind == Kind::Function => {
                    unmade.push((place, need.clone()))
                }
                None => {}
            }
        }
        for name in &candidate.mentions {
            for kind in [Kind::Type, Kind::Function, Kind::Schema] {
                let places = makers.get(&Object::new(kind, name.clone())).into_iter().flatten();
                weak.extend(places.copied().filter(|other| *other != place));
            }
        }
        // Who creates a table only where there is none gives way to who insists.
        for made in candidate.makes.iter().filter(|made| made.taken == Taken::Skipped) {
            let insists = |other: &usize| {
                let theirs = candidates.get(*other).map(|one| one.makes.as_slice()).unwrap_or_default();
                theirs.iter().any(|other| other.object == made.object && other.taken == Taken::Fails)
            };
            weak.extend(makers.get(&made.object).into_iter().flatten().copied().filter(insists));
        }
        weak.remove(&place);
        // A column of another file's table, named in a file that also needs the table.
        for (object, places) in makers.iter().filter(|(object, _)| object.kind == Kind::Column) {
            if let Some((table, column)) = object.name.rsplit_once('.')
                && candidate.mentions.contains(column)
                && candidate.needs.contains(&Object::new(Kind::Relation, table))
                && !places.contains(&place)
            {
                weak.extend(places.iter().copied());
            }
        }
        strong.remove(&place);
        behind.push(strong);
        after.push(weak);
    }
    let places = sorted(candidates, &behind, &after);
    let cycles = cycles(&behind);
    Order { places, cycles, unmade }
}

/// Of several makers those that are tried first.
fn preferred(candidates: &[Candidate], places: &[usize]) -> Option<usize> {
    places.iter().copied().min_by_key(|place| candidates.get(*place).map(|one| (one.rank, key(one))))
}

type Key<'a> = (bool, usize, &'a str, &'a str);

/// Numbered files first, as integers; then the rest by name.
fn key(candidate: &Candidate) -> Key<'_> {
    let number = candidate.number.as_deref().map(|digits| digits.trim_start_matches('0'));
    (number.is_none(), number.map_or(0, str::len), number.unwrap_or_default(), candidate.file())
}

fn sorted(candidates: &[Candidate], strong: &[BTreeSet<usize>], weak: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    left.sort_by_key(|place| candidates.get(*place).map(key));
    let mut waiting: BTreeSet<usize> = left.iter().copied().collect();
    let mut places = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let free = |graph: &[BTreeSet<usize>], place: usize| {
            graph.get(place).is_none_or(|others| others.is_disjoint(&waiting))
        };
        // Where files need each other, the first by name breaks the circle.
        let next = left
            .iter()
            .position(|place| free(strong, *place) && free(weak, *place))
            .or_else(|| left.iter().position(|place| free(strong, *place)))
            .unwrap_or(0);
        let place = left.remove(next);
        waiting.remove(&place);
        places.push(place);
    }
    places
}

/// The groups in which everyone can be reached from everyone.
fn cycles(graph: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let reached: Vec<BTreeSet<usize>> = (0..graph.len())
        .map(|start| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
            while let Some(place) = open.pop() {
                for next in graph.get(place).into_iter().flatten() {
                    if seen.insert(*next) {
                        open.push(*next);
                    }
                }
            }
            seen
        })
        .collect();
    let reaches = |from: usize, to: usize| reached.get(from).is_some_and(|seen| seen.contains(&to));
    let mut found: Vec<Vec<usize>> = Vec::new();
    for place in 0..graph.len() {
        if reaches(place, place) && !found.iter().flatten().any(|other| *other == place) {
            let group = (0..graph.len()).filter(|other| reaches(place, *other) && reaches(*other, place));
            found.push(group.collect());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::super::migrations::{FileContent, FolderFile};
    use super::super::folder::Legacy;
    use super::*;

    fn read(files: &[(&str, &str)]) -> (Vec<String>, Order) {
        let files = files.iter().map(|(path, text)| FolderFile {
            path: (*path).to_owned(),
            content: FileContent::Text((*text).to_owned()),
        });
        let legacy = Legacy::read(files.collect());
        let order = order(&legacy.candidates);
        let name = |place: &usize| legacy.candidates[*place].file().trim_end_matches(".sql").to_owned();
        (order.places.iter().map(name).collect(), order)
    }

    #[test]
    fn what_makes_comes_before_what_needs_then_numbers_then_names() {
        #[track_caller]
        fn case(files: &[(&str, &str)], expected: &[&str]) {
            assert_eq!(read(files).0, expected);
        }
        case(&[("a.sql", "ALTER TABLE t ADD x int"), ("b.sql", "CREATE TABLE t ()")], &["b", "a"]);
        case(&[("a.sql", "CREATE TABLE t (x mood)"), ("b.sql", "CREATE TYPE mood AS ENUM ('a')")], &["b", "a"]);
        case(&[("10_a.sql", "SELECT f()"), ("9_b.sql", "SELECT g()"), ("c.sql", "SELECT h()")], &["9_b", "10_a", "c"]);
        case(
            &[
                ("a.sql", "CREATE INDEX i ON t (late)"),
                ("z.sql", "CREATE TABLE t ()"),
                ("m.sql", "ALTER TABLE t ADD late int"),
            ],
            &["z", "m", "a"],
        );
    }

    #[test]
    fn circles_and_missing_makers_are_told() {
        let (names, order) = read(&[
            ("a.sql", "CREATE TABLE a (b int REFERENCES b)"),
            ("b.sql", "CREATE TABLE b (a int REFERENCES a)"),
            ("c.sql", "CREATE VIEW c AS SELECT * FROM nowhere"),
        ]);
        assert_eq!(names, ["c", "a", "b"]);
        assert_eq!(order.cycles, [vec![0, 1]]);
        assert_eq!(order.unmade, [(2, Object::new(Kind::Relation, "nowhere"))]);
    }
}
