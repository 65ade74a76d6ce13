//! Copies of one change: the same statements under two names, or one name with `_fixed`, `_final`, `_v2` behind it.
//!
//! Of equal copies one is kept. Of different ones the likeliest is tried first; which of them runs is for the trial to say.

use std::collections::BTreeSet;

use super::facts::Object;
use super::folder::{Candidate, Legacy};

/// Drop equal copies, and number the groups of rivals.
pub(super) fn rank(legacy: &mut Legacy) {
    equal(legacy);
    let mut next = 0;
    for place in 0..legacy.candidates.len() {
        let Some(one) = legacy.candidates.get(place) else { continue };
        if one.group.is_some() {
            continue;
        }
        let others = legacy.candidates.iter().enumerate().skip(place + 1);
        let members: Vec<usize> = others.filter(|(_, other)| are_rivals(one, other)).map(|(place, _)| place).collect();
        if members.is_empty() {
            continue;
        }
        let mut members: Vec<(usize, usize)> = std::iter::once(place)
            .chain(members)
            .filter_map(|place| legacy.candidates.get(place).map(|one| (one.habit.rank, place)))
            .collect();
        members.sort_by(|one, other| other.cmp(one));
        for (rank, (_, place)) in members.into_iter().enumerate() {
            if let Some(member) = legacy.candidates.get_mut(place) {
                (member.group, member.rank) = (Some(next), rank);
            }
        }
        next += 1;
    }
}

fn equal(legacy: &mut Legacy) {
    let mut kept: Vec<Candidate> = Vec::with_capacity(legacy.candidates.len());
    let mut copies = Vec::new();
    for candidate in std::mem::take(&mut legacy.candidates) {
        let same = |one: &&mut Candidate| match (one.up.checksum(), candidate.up.checksum()) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        };
        match kept.iter_mut().find(same) {
            None => kept.push(candidate),
            Some(first) => {
                // The name that says less about copies stays.
                let mut copy = candidate;
                if copy.habit.rank < first.habit.rank || (copy.number.is_some() && first.number.is_none()) {
                    std::mem::swap(first, &mut copy);
                }
                copies.push((copy.file().to_owned(), first.file().to_owned()));
                if let Some(down) = copy.down {
                    match first.down {
                        None => first.down = Some(down),
                        Some(_) => copies.push((down.file().to_owned(), first.file().to_owned())),
                    }
                }
            }
        }
    }
    legacy.candidates = kept;
    for (copy, first) in copies {
        legacy.ignore(&copy, format!("it says the same as {first}, or undoes it a second time"));
    }
}

/// One base, no two numbers, and something that both make, as far as they tell what they make.
fn are_rivals(one: &Candidate, other: &Candidate) -> bool {
    let numbers = match (&one.number, &other.number) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let made = |candidate: &Candidate| -> BTreeSet<Object> {
        candidate.makes.iter().map(|made| made.object.clone()).collect()
    };
    let (ours, theirs) = (made(one), made(other));
    let overlap = !ours.is_disjoint(&theirs);
    let silent = ours.is_empty() && theirs.is_empty() && one.needs == other.needs;
    let copies = one.habit.rank != other.habit.rank;
    one.habit.base == other.habit.base && (copies || numbers) && (overlap || (numbers && silent))
}

#[cfg(test)]
mod tests {
    use super::super::super::migrations::{FileContent, FolderFile};
    use super::*;

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| FolderFile {
            path: (*path).to_owned(),
            content: FileContent::Text((*text).to_owned()),
        });
        let legacy = Legacy::read(files.collect());
        let groups = legacy.candidates.iter().map(|one| match one.group {
            Some(group) => format!("{} {group}.{}", one.file(), one.rank),
            None => one.file().to_owned(),
        });
        groups.chain(legacy.ignored.iter().map(|one| format!("{}: {}", one.file, one.reason))).collect()
    }

    #[test]
    fn copies_of_one_change_are_ranked_and_equal_ones_are_dropped() {
        #[track_caller]
        fn case(files: &[(&str, &str)], expected: &[&str]) {
            assert_eq!(told(files), expected);
        }
        let (a, b, c) = ("CREATE TABLE t (a int);", "CREATE TABLE t (b int);", "CREATE TABLE t (c int);");
        case(
            &[("t.sql", a), ("t_fixed.sql", b), ("t_final.sql", c)],
            &["t.sql 0.2", "t_final.sql 0.0", "t_fixed.sql 0.1"],
        );
        case(&[("1_t.sql", a), ("2_t_v2.sql", b)], &["1_t.sql 0.1", "2_t_v2.sql 0.0"]);
        case(&[("t.sql", a), ("t_v2.sql", "CREATE TABLE u ();")], &["t.sql", "t_v2.sql"]);
        case(
            &[("t.sql", a), ("t_copy.sql", "create table T (a int) -- x")],
            &["t.sql", "t_copy.sql: it says the same as t.sql, or undoes it a second time"],
        );
    }
}
