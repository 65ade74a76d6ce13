//! Which later migration makes what a failed one lacks, as far as words tell.

use std::collections::BTreeSet;

use super::super::adopt::{Kind, Object, facts};
use super::super::migrations::{Migration, Script};

/// For the migration of number `failed`, which failed because something is not there: each later one that makes something it
/// names. One sentence each.
pub fn prerequisites(all: &[Migration], failed: usize) -> Vec<String> {
    let Some(migration) = all.get(failed) else { return Vec::new() };
    let (mut needs, mut mentions, mut makes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for statement in migration.up.statements().unwrap_or_default() {
        let found = facts(&statement);
        needs.extend(found.needs);
        mentions.extend(found.mentions);
        makes.extend(found.makes.into_iter().map(|made| made.object));
    }
    // Types and functions stand anywhere in a statement.
    let needed = |object: &Object| {
        let anywhere = matches!(object.kind, Kind::Type | Kind::Function) && mentions.contains(&object.name);
        (needs.contains(object) || anywhere) && !makes.contains(object)
    };
    let later = all.iter().skip(failed + 1);
    let sentences = later.flat_map(|other| {
        let (version, name) = (&other.version, &other.name);
        let told = made(&other.up).into_iter().filter(needed);
        told.map(move |object| format!("{version}_{name} makes the {object}, which this one names: it comes too late"))
    });
    sentences.collect()
}

fn made(script: &Script) -> BTreeSet<Object> {
    let statements = script.statements().unwrap_or_default();
    statements.iter().flat_map(|statement| facts(statement).makes).map(|made| made.object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_too_late_what_a_migration_needs_is_named() {
        #[track_caller]
        fn case(ups: &[&str], expected: &[&str]) {
            let migration = |(number, up): (usize, &&str)| Migration {
                version: (number + 1).to_string().parse().unwrap(),
                name: "x".to_owned(),
                up: Script::new(up),
                down: None,
            };
            let all: Vec<Migration> = ups.iter().enumerate().map(migration).collect();
            assert_eq!(prerequisites(&all, 0), expected, "{ups:?}");
        }
        let late = "2_x makes the table or view later, which this one names: it comes too late";
        case(&["CREATE VIEW v AS SELECT * FROM later", "CREATE TABLE later (a int)"], &[late]);
        let late = "2_x makes the type mood, which this one names: it comes too late";
        case(&["CREATE TABLE t (m mood)", "CREATE TYPE mood AS ENUM ('x')"], &[late]);
        case(&["CREATE TABLE t (m mood)", "CREATE TABLE u (a int)"], &[]);
        case(&["CREATE TABLE t (a int)", "CREATE TABLE t (a int)"], &[]);
        case(&["not SQL $$"], &[]);
    }
}
