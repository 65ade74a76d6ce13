//! What the name of a legacy file says: which way it goes, its number or date, its name, and which rival copy it is.
//!
//! Every habit of migrations.md 3 is known, whatever the letter case: a word at either end, an ending, a folder of its own,
//! Flyway's letters. A name that says nothing is a way forward.

/// Words that make a file a way back, at the front, behind the number, or at the end.
const BACK: [&str; 6] = ["rollback", "down", "undo", "revert", "downgrade", "unapply"];

/// Words that make a file a way forward and say nothing else.
const FORTH: [&str; 4] = ["up", "forward", "deploy", "upgrade"];

/// Words that make a file a check of another one.
const CHECKS: [&str; 2] = ["verify", "check"];

/// Words that tell copies of one change apart, later ones more likely to be the right one.
const VARIANTS: [&str; 16] = [
    "old",
    "orig",
    "original",
    "backup",
    "bak",
    "copy",
    "tmp",
    "test",
    "new",
    "updated",
    "fix",
    "fixed",
    "corrected",
    "revised",
    "latest",
    "final",
];

/// Which way a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Forth,
    Back,
    /// Neither: it looks whether another one has worked.
    Check,
}

/// What a file's path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Habit {
    pub way: Way,
    /// The digits of its number or date, dashes left out.
    pub number: Option<String>,
    /// Its words, joined by `_`, in lower case.
    pub name: String,
    /// The same without what tells copies apart.
    pub base: String,
    /// How likely this copy is the right one; 0 for the plain name.
    pub rank: usize,
}

impl Habit {
    /// Read a path that ends in `.sql`.
    pub fn of(path: &str) -> Self {
        let mut parts: Vec<&str> = path.split('/').collect();
        let file = parts.pop().unwrap_or(path);
        let stem = file.get(..file.len().saturating_sub(4)).unwrap_or(file);
        let mut words = words(stem);
        let mut way = parts.iter().rev().find_map(|folder| folder_way(folder));
        // A folder for each change, with `up.sql` and `down.sql` in it: the folder has the name.
        if let ([only], Some(folder)) = (words.as_slice(), parts.last())
            && let Some(said) = way_of(only)
        {
            way = Some(said);
            words = self::words(folder);
        }
        let mut number = take_number(&mut words, &mut way);
        if let Some(said) = words.first().and_then(|word| way_of(word)) {
            way = Some(said);
            words.remove(0);
            number = number.or_else(|| take_number(&mut words, &mut way));
        } else if let Some(said) = words.last().and_then(|word| way_of(word)).filter(|_| words.len() > 1) {
            way = Some(said);
            words.pop();
        }
        let name = words.join("_");
        let mut rank = 0;
        while words.len() > 1
            && let Some(of_word) = words.last().and_then(|word| variant(word))
        {
            rank = rank.max(of_word);
            words.pop();
        }
        Self { way: way.unwrap_or(Way::Forth), number, name, base: words.join("_"), rank }
    }
}

fn words(stem: &str) -> Vec<String> {
    let words = stem.split(['_', '-', '.', ' ', '(', ')']);
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn way_of(word: &str) -> Option<Way> {
    let is = |list: &[&str]| list.contains(&word);
    match () {
        () if is(&BACK) => Some(Way::Back),
        () if is(&FORTH) => Some(Way::Forth),
        () if is(&CHECKS[..1]) => Some(Way::Check),
        () => None,
    }
}

/// A folder says it in the singular or the plural.
fn folder_way(folder: &str) -> Option<Way> {
    let lower = folder.to_lowercase();
    let plural = lower.strip_suffix('s').unwrap_or(&lower);
    if CHECKS.contains(&plural) { Some(Way::Check) } else { way_of(&lower).or_else(|| way_of(plural)) }
}

/// The digits in front, also behind Flyway's V and U; several groups of them are one date.
fn take_number(words: &mut Vec<String>, way: &mut Option<Way>) -> Option<String> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(first) = words.first_mut() {
        for (letter, said) in [('v', Way::Forth), ('u', Way::Back)] {
            if let Some(rest) = first.strip_prefix(letter).filter(|rest| is_digits(rest)) {
                *first = rest.to_owned();
                *way = Some(said);
            }
        }
    }
    let count = words.iter().take_while(|word| is_digits(word)).count();
    let digits: String = words.drain(..count).collect();
    // What is no version in a manifest is no number here.
    (1..=32).contains(&digits.len()).then_some(digits)
}

fn variant(word: &str) -> Option<usize> {
    if let Some(place) = VARIANTS.iter().position(|known| *known == word) {
        return Some(place + 1);
    }
    let digits = word.strip_prefix('v').unwrap_or(word);
    let counted: usize = digits.parse().ok().filter(|number| *number < 100)?;
    Some(VARIANTS.len() + counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_habit_tells_direction_number_and_name() {
        #[track_caller]
        fn case(path: &str, way: Way, number: Option<&str>, name: &str) {
            let habit = Habit::of(path);
            assert_eq!((habit.way, habit.number.as_deref(), habit.name.as_str()), (way, number, name), "{path}");
        }
        use Way::{Back, Check, Forth};
        case("add_users.sql", Forth, None, "add_users");
        case("0001_add_users.up.sql", Forth, Some("0001"), "add_users");
        case("0001_add_users.down.sql", Back, Some("0001"), "add_users");
        case("add_users.UP.sql", Forth, None, "add_users");
        case("rollback_add_users.sql", Back, None, "add_users");
        case("rollback_007_add_users.sql", Back, Some("007"), "add_users");
        case("007_rollback_add_users.sql", Back, Some("007"), "add_users");
        case("007_add_users_rollback.sql", Back, Some("007"), "add_users");
        case("add-users-ROLLBACK.sql", Back, None, "add_users");
        case("add_users_down.sql", Back, None, "add_users");
        case("down_add_users.sql", Back, None, "add_users");
        case("undo_add_users.sql", Back, None, "add_users");
        case("add_users_revert.sql", Back, None, "add_users");
        case("rollback/add_users.sql", Back, None, "add_users");
        case("rollbacks/3_add_users.sql", Back, Some("3"), "add_users");
        case("a/down/add_users.sql", Back, None, "add_users");
        case("up/add_users.sql", Forth, None, "add_users");
        case("verify/add_users.sql", Check, None, "add_users");
        case("2024-01-02-030405_add_users/up.sql", Forth, Some("20240102030405"), "add_users");
        case("2024-01-02-030405_add_users/down.sql", Back, Some("20240102030405"), "add_users");
        case("2024_01_02_add_users.sql", Forth, Some("20240102"), "add_users");
        case("V2__add_users.sql", Forth, Some("2"), "add_users");
        case("U2__add_users.sql", Back, Some("2"), "add_users");
        case("rollback_3.sql", Back, Some("3"), "");
        case("breakdown.sql", Forth, None, "breakdown");
        case("check_constraints.sql", Forth, None, "check_constraints");
        case("down.sql", Back, None, "");
    }

    #[test]
    fn copies_of_one_change_share_a_base_and_the_later_one_ranks_higher() {
        #[track_caller]
        fn case(path: &str, base: &str) -> usize {
            let habit = Habit::of(path);
            assert_eq!(habit.base, base, "{path}");
            habit.rank
        }
        let plain = case("add_tiers.sql", "add_tiers");
        let fixed = case("add_tiers_fixed.sql", "add_tiers");
        let last = case("add_tiers_FINAL.sql", "add_tiers");
        let second = case("add_tiers_v2.sql", "add_tiers");
        let copied = case("add_tiers (1).sql", "add_tiers");
        assert!(plain == 0 && fixed > plain && last > fixed && second > last && copied > plain);
        case("final.sql", "final");
        case("phase_2024.sql", "phase_2024");
    }
}
