//! Counting a preview: every user of a list once, on all cores, in constant memory, duplicates exactly.
//!
//! Pass one counts every line, and takes a slot for each in a fixed set of bits. Only lines whose slot was taken twice can be
//! duplicates, so pass two looks at those few exactly and takes the surplus off. A list so long or so repetitive that those
//! few would not fit is looked at in parts.

use std::collections::HashMap;
use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::UserFile;
use super::chunks::walk;
use super::slots::{REGIONS, Slots, Taken};
use crate::domain::flags::bucket::RUN;
use crate::domain::flags::cohort::{Cohort, Effect};
use crate::store::StoreError;

/// Lines per part of pass one, at most about: beyond, the set of bits would answer "seen" too often.
const PART: u64 = 24_000_000;

/// Suspects that one look of pass two holds, for all cores together.
const SUSPECTS: u64 = 150_000;

/// The size of a cohort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; 4],
    /// Lines that repeat an id, not counted again.
    pub duplicates: u64,
    /// Distinct or repeated ids with blanks around them, which make them other users.
    pub padded: u64,
}

impl Tally {
    /// How many users have this effect.
    pub fn of(&self, effect: Effect) -> u64 {
        self.counts.get(effect as usize).copied().unwrap_or_default()
    }

    /// All users.
    pub fn users(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        self.duplicates += other.duplicates;
        self.padded += other.padded;
    }
}

/// Hashes of one stretch that are brought to the slots together.
const BROUGHT: usize = 1024;

/// Lines that wait to be hashed together, and hashes that wait for their slots.
struct Counter<'a> {
    cohort: &'a Cohort,
    doubt: &'a Doubt,
    waiting: Vec<Vec<u64>>,
    tally: Tally,
    text: String,
    ends: [usize; RUN],
    held: usize,
}

impl<'a> Counter<'a> {
    fn new(cohort: &'a Cohort, doubt: &'a Doubt) -> Self {
        let waiting = (0..REGIONS).map(|_| Vec::with_capacity(BROUGHT)).collect();
        Self { cohort, doubt, waiting, tally: Tally::default(), text: String::new(), ends: [0; RUN], held: 0 }
    }

    fn push(&mut self, id: &str, hash: u64) {
        if let Some(waiting) = self.waiting.get_mut(self.doubt.slots.region(hash)) {
            waiting.push(hash);
            if waiting.len() == BROUGHT {
                self.doubt.bring(waiting);
            }
        }
        self.tally.padded += u64::from(id.starts_with(char::is_whitespace) || id.ends_with(char::is_whitespace));
        self.text.push_str(id);
        if let Some(end) = self.ends.get_mut(self.held) {
            *end = self.text.len();
        }
        self.held += 1;
        if self.held == RUN {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut run = [""; RUN];
        let mut begin = 0;
        for (id, end) in run.iter_mut().zip(self.ends).take(self.held) {
            *id = self.text.get(begin..end).unwrap_or_default();
            begin = end;
        }
        let run = run.get(..self.held).unwrap_or_default();
        for effect in self.cohort.effects(run).into_iter().take(run.len()) {
            if let Some(count) = self.tally.counts.get_mut(effect as usize) {
                *count += 1;
            }
        }
        self.text.clear();
        self.held = 0;
    }
}

/// Which lines may be duplicates.
struct Doubt {
    slots: Slots,
    suspects: Slots,
    /// The same in few bits: most lines are no suspects, and need not wait for memory to be told.
    hint: Slots,
}

impl Doubt {
    fn about(lines: u64) -> Self {
        let slots = Slots::for_about(lines);
        Self { suspects: Slots::like(&slots), hint: Slots::few(), slots }
    }

    fn bring(&self, hashes: &mut Vec<u64>) {
        for hash in hashes.drain(..) {
            if self.slots.take(hash) == Taken::Again {
                self.suspects.take(hash);
                self.hint.take(hash);
            }
        }
    }
}

/// Count the cohort of a list.
///
/// # Errors
/// As [`super::UserFile::open`], and [`StoreError::Refused`] with the number of a line that is no id.
pub fn tally(users: &UserFile, cohort: &Cohort) -> Result<Tally, StoreError> {
    // A line is 16 bytes or longer in most lists; a wrong guess costs time, never truth.
    let lines = users.length() / 16 + 1;
    let parts = lines.div_ceil(PART);
    let hasher = RandomState::default();
    let mut total = Tally::default();
    for part in 0..parts {
        let doubt = Doubt::about(lines / parts);
        let counters = walk(
            users,
            || Counter::new(cohort, &doubt),
            |counter, id| {
                let hash = hasher.hash_one(id);
                if part_of(hash, parts) == part {
                    counter.push(id, hash);
                }
                Ok(())
            },
        )?;
        for mut counter in counters {
            counter.flush();
            counter.waiting.iter_mut().for_each(|waiting| doubt.bring(waiting));
            total.add(&counter.tally);
        }
        let Doubt { slots, suspects, hint } = doubt;
        drop(slots);
        let looks = suspects.count().div_ceil(SUSPECTS);
        for look in 0..looks {
            let belongs = |hash: u64| {
                part_of(hash, parts) == part
                    && hint.has(hash)
                    && suspects.has(hash)
                    && part_of(hash.rotate_left(12), looks) == look
            };
            surplus(users, cohort, &hasher, &belongs, &mut total)?;
        }
    }
    Ok(total)
}

/// Which of `parts` a hash belongs to, by bits that the slots do not use.
fn part_of(hash: u64, parts: u64) -> u64 {
    if parts == 1 { 0 } else { (hash >> 52) % parts }
}

/// Take the surplus of every repeated id off the total.
fn surplus(
    users: &UserFile,
    cohort: &Cohort,
    hasher: &RandomState,
    belongs: &(impl Fn(u64) -> bool + Sync),
    total: &mut Tally,
) -> Result<(), StoreError> {
    // The id itself, so that no collision of hashes can pass for a duplicate.
    let found = walk(users, HashMap::<Box<str>, u64>::new, |seen, id| {
        if belongs(hasher.hash_one(id)) {
            match seen.get_mut(id) {
                Some(count) => *count += 1,
                None => drop(seen.insert(id.into(), 1)),
            }
        }
        Ok(())
    })?;
    let mut found = found.into_iter();
    let mut all = found.next().unwrap_or_default();
    for seen in found {
        for (id, count) in seen {
            *all.entry(id).or_default() += count;
        }
    }
    for (id, count) in all.into_iter().filter(|(_, count)| *count > 1) {
        let [effect, ..] = cohort.effects(&[&id]);
        if let Some(sum) = total.counts.get_mut(effect as usize) {
            *sum -= count - 1;
        }
        total.duplicates += count - 1;
        let padded = id.starts_with(char::is_whitespace) || id.ends_with(char::is_whitespace);
        total.padded -= if padded { count - 1 } else { 0 };
    }
    Ok(())
}

/// The ids that gain the flag, each once, sorted. Memory grows with their number.
///
/// # Errors
/// As [`tally`].
pub fn gained(users: &UserFile, cohort: &Cohort) -> Result<Vec<String>, StoreError> {
    let sets = walk(users, HashSet::<String>::new, |gained, id| {
        let [effect, ..] = cohort.effects(&[id]);
        if effect == Effect::Gained && !gained.contains(id) {
            gained.insert(id.to_owned());
        }
        Ok(())
    })?;
    let mut ids: Vec<String> = sets.into_iter().flatten().collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::super::source::Spool;
    use super::*;
    use crate::domain::flags::{Flag, StoredPercent};

    fn cohort(from: i64, to: i64) -> Cohort {
        let mut flag = Flag::off("unified_llm_hub".parse().unwrap());
        flag.enabled = Some(true);
        flag.percentage = StoredPercent::Number(from);
        flag.whitelist = Some(vec!["a".into()]);
        Cohort::new(&flag, to.try_into().unwrap(), date(2026, 1, 1).at(0, 0, 0, 0)).unwrap()
    }

    fn list(ids: &[String]) -> UserFile {
        let mut spool = Spool::new("test").unwrap();
        ids.iter().for_each(|id| spool.push(id).unwrap());
        spool.finish().unwrap()
    }

    #[test]
    fn a_long_list_with_repeats_is_counted_once_each() {
        let mut ids: Vec<String> = (1..=10_000).map(|number| format!("user-{number:04}")).collect();
        ids.extend((1..=3_000).map(|number| format!("user-{number:04}")));
        let tally = tally(&list(&ids), &cohort(10, 25)).unwrap();
        assert_eq!((tally.users(), tally.duplicates), (10_000, 3_000));
        assert_eq!(
            (tally.of(Effect::StaysOn), tally.of(Effect::Gained), tally.of(Effect::Lost)),
            (967, 2_473 - 967, 0)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_count_is_that_of_a_set(
            ids in prop::collection::vec("[ab ]{1,3}|user-[0-9]{1,3}|[^\\n\\r]{1,60}", 0..300),
            from in 0i64..=100,
            to in 0i64..=100,
        ) {
            let cohort = cohort(from, to);
            let tally = tally(&list(&ids), &cohort).unwrap();
            // The first line of a file may begin with a byte order mark, which is not part of the id.
            let ids: Vec<&str> = ids.iter().enumerate()
                .map(|(index, id)| if index == 0 { id.strip_prefix('\u{feff}').unwrap_or(id) } else { id.as_str() })
                .filter(|id| !id.is_empty()).collect();
            let set: HashSet<&str> = ids.iter().copied().collect();
            prop_assert_eq!(tally.users(), set.len() as u64);
            prop_assert_eq!(tally.duplicates, (ids.len() - set.len()) as u64);
            for effect in Effect::ALL {
                let expected = set.iter().filter(|id| cohort.effects(&[id])[0] == effect).count();
                prop_assert_eq!(tally.of(effect), expected as u64);
            }
            let padded = set.iter().filter(|id| id.trim() != **id).count();
            prop_assert_eq!(tally.padded, padded as u64);
        }
    }
}
