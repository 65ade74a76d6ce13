//! Any sequence of what operators do to a folder and a database: a model foretells every exit status and the ledger, and the
//! ledger is held against the catalog after every step.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::cli::{Home, rounds};
use crate::support::postgres::{Database, block_on};

/// A file: which table it makes, with which column, in which layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File {
    variant: u32,
    reformatted: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(u32),
    Delete(u32),
    Edit(u32),
    Reformat(u32),
    /// Put back what was applied.
    Restore,
    /// Somebody makes a table by hand.
    ByHand(u32),
    Apply,
    ApplyTo(u32),
    ApplyOutOfOrder,
    Baseline(u32),
    Rollback,
}

#[derive(Debug, Default)]
struct Model {
    files: BTreeMap<u32, File>,
    /// In the order in which they were applied, with the variant.
    ledger: Vec<(u32, u32)>,
    by_hand: BTreeSet<u32>,
}

impl Model {
    fn edited_or_missing(&self) -> bool {
        self.ledger.iter().any(|(number, variant)| self.files.get(number).is_none_or(|file| file.variant != *variant))
    }

    fn pending(&self) -> Vec<u32> {
        self.files.keys().filter(|number| !self.is_applied(**number)).copied().collect()
    }

    fn is_applied(&self, number: u32) -> bool {
        self.ledger.iter().any(|(applied, _)| *applied == number)
    }

    fn is_late(&self) -> bool {
        let newest = self.ledger.iter().map(|(number, _)| *number).max().unwrap_or(0);
        self.pending().iter().any(|number| *number < newest)
    }

    fn exists(&self, number: u32) -> bool {
        self.by_hand.contains(&number) || self.is_applied(number)
    }

    /// The exit status, and the new ledger.
    fn apply(&mut self, to: Option<u32>, out_of_order: bool) -> i32 {
        if self.edited_or_missing() {
            return 5;
        }
        if self.is_late() && !out_of_order {
            return 7;
        }
        if to.is_some_and(|to| !self.files.contains_key(&to)) {
            return 4;
        }
        let wanted = self.pending().into_iter().filter(|number| to.is_none_or(|to| *number <= to));
        for (ran, number) in wanted.enumerate() {
            if self.exists(number) {
                return if ran == 0 { 7 } else { 10 };
            }
            self.ledger.push((number, self.files[&number].variant));
        }
        0
    }

    /// The newest goes, with the file or without it.
    fn roll_back(&mut self) -> i32 {
        let Some((number, _)) = self.ledger.pop() else { return 4 };
        // A table that was there before and was put on the ledger is taken for the migration's.
        self.by_hand.remove(&number);
        0
    }

    fn baseline(&mut self, to: u32) -> i32 {
        if !self.files.contains_key(&to) {
            return 4;
        }
        let chosen: Vec<u32> = self.files.keys().filter(|number| **number <= to).copied().collect();
        if !chosen.iter().all(|number| self.exists(*number)) {
            return 7;
        }
        if !self.ledger.is_empty() {
            return 5;
        }
        self.ledger = chosen.into_iter().map(|number| (number, self.files[&number].variant)).collect();
        0
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(limit)).unwrap()
    }
}

fn step(random: &mut Random) -> Step {
    let number = 1 + random.below(14);
    match random.below(22) {
        0..5 => Step::Add(number),
        5 => Step::Delete(number),
        6 => Step::Edit(number),
        7 => Step::Reformat(number),
        8 | 9 => Step::Restore,
        10 => Step::ByHand(number),
        11..15 => Step::Apply,
        15 => Step::ApplyTo(number),
        16..19 => Step::ApplyOutOfOrder,
        19 | 20 => Step::Rollback,
        _ => Step::Baseline(number),
    }
}

/// Every third one has a part outside of a transaction.
fn text(number: u32, file: File) -> String {
    let index = if number.is_multiple_of(3) {
        format!("CREATE INDEX CONCURRENTLY ON t{number} (c{});", file.variant)
    } else {
        String::new()
    };
    if file.reformatted {
        format!("-- reformatted\r\ncreate   table T{number}\n( c{} INT ) ;\n{index}\n", file.variant)
    } else {
        format!("CREATE TABLE t{number} (c{} int);\n{index}", file.variant)
    }
}

fn path(number: u32) -> String {
    format!("m/{number}_t.up.sql")
}

fn down(number: u32) -> String {
    format!("m/{number}_t.down.sql")
}

#[test]
fn whatever_is_done_in_whatever_order_the_ledger_tells_the_truth() {
    for seed in 0..rounds(2, 60) {
        let mut random = Random(seed * 7919 + 1);
        let database = Database::empty();
        let home = Home::new();
        let mut model = Model::default();
        let mut story = Vec::new();
        model.files.insert(7, File { variant: 0, reformatted: false });
        home.file(&path(7), text(7, model.files[&7]));
        home.file(&down(7), "DROP TABLE t7;");
        if seed % 2 == 1 {
            // A database that was there before llmhub.
            block_on(database.sql("CREATE TABLE t7 (c0 int)"));
            model.by_hand.insert(7);
        }
        for _ in 0..rounds(22, 60) {
            let step = step(&mut random);
            story.push(step);
            let expected = match step {
                Step::Add(number) => {
                    let file = File { variant: 0, reformatted: false };
                    model.files.entry(number).or_insert(file);
                    None
                }
                Step::Delete(number) => {
                    if model.files.len() > 1 && model.files.remove(&number).is_some() {
                        std::fs::remove_file(home.path().join(path(number))).unwrap();
                        std::fs::remove_file(home.path().join(down(number))).unwrap();
                    }
                    None
                }
                Step::Edit(number) => {
                    model.files.entry(number).and_modify(|file| file.variant += 1);
                    None
                }
                Step::Reformat(number) => {
                    model.files.entry(number).and_modify(|file| file.reformatted ^= true);
                    None
                }
                Step::Restore => {
                    for (number, variant) in &model.ledger {
                        let file = model.files.entry(*number).or_insert(File { variant: 0, reformatted: false });
                        file.variant = *variant;
                    }
                    None
                }
                Step::ByHand(number) => {
                    if !model.exists(number) {
                        block_on(database.sql(&format!("CREATE TABLE t{number} (c0 int)")));
                        model.by_hand.insert(number);
                    }
                    None
                }
                Step::Apply => Some(("apply".to_owned(), model.apply(None, false))),
                Step::ApplyTo(to) => Some((format!("apply --to {to}"), model.apply(Some(to), false))),
                Step::ApplyOutOfOrder => Some(("apply --out-of-order".to_owned(), model.apply(None, true))),
                Step::Rollback => {
                    let options = "-y --unproven --no-backup --reason model";
                    Some((format!("rollback {options}"), model.roll_back()))
                }
                Step::Baseline(to) => Some((format!("baseline {to} -y"), model.baseline(to))),
            };
            for (number, file) in &model.files {
                home.file(&path(*number), text(*number, *file));
                home.file(&down(*number), format!("DROP TABLE t{number};"));
            }
            let Some((command, status)) = expected else { continue };
            let url = database.url();
            let done = home.line(&format!("db {command} --dir m --database-url {url}")).done();
            assert_eq!(done.status, status, "seed {seed}, {story:?}\n{}{}\n{model:?}", done.stdout, done.stderr);
            let looked = home.line(&format!("db status --exit-code -o json --dir m --database-url {url}")).done();
            let settled = !model.edited_or_missing() && model.pending().is_empty();
            assert_eq!(looked.status, i32::from(!settled), "seed {seed}, {story:?}\n{}", looked.stdout);
            let ledger: Vec<String> = looked.json()["applied"]
                .as_array()
                .unwrap()
                .iter()
                .map(|entry| entry["version"].as_str().unwrap().to_owned())
                .collect();
            let foretold: Vec<String> = model.ledger.iter().map(|(number, _)| number.to_string()).collect();
            assert_eq!(ledger, foretold, "seed {seed}, {story:?}");
            let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
            let found: BTreeSet<String> = block_on(database.lines(tables)).into_iter().collect();
            let claimed = model.ledger.iter().map(|(number, _)| number).chain(&model.by_hand);
            assert_eq!(found, claimed.map(|number| format!("t{number}")).collect(), "seed {seed}, {story:?}");
        }
    }
}
