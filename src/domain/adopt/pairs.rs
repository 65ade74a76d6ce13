//! Which file undoes which: by the name without the word and the number, and by the number where that is not enough.
//!
//! A rollback never goes forward. One that fits nothing, or two files equally well, stays out, and that is a problem.

use std::cmp::Reverse;

use super::super::migrations::{Numbering, Script, Version};
use super::folder::{Candidate, Legacy};
use super::habits::Habit;
use super::problem::{Problem, Trouble};

/// Give each way back to the file that it undoes.
pub(super) fn pair(legacy: &mut Legacy, backs: Vec<(Script, Habit)>) {
    for (script, habit) in backs {
        let file = script.file().to_owned();
        let place = match partner(&legacy.candidates, &file, &habit) {
            Ok(place) => place,
            Err(message) => {
                legacy.refuse(Problem::of(&file, Trouble::RollbackWithoutUp, message));
                continue;
            }
        };
        let Some(candidate) = legacy.candidates.get_mut(place) else { continue };
        let wrong = match &candidate.down {
            Some(first) => Some(format!("{} is a rollback of {} already; keep one", first.file(), candidate.file())),
            None if script.text() == candidate.up.text() => {
                Some(format!("it holds the same text as {}", candidate.file()))
            }
            None => None,
        };
        match wrong {
            Some(message) => legacy.refuse(Problem::of(&file, Trouble::BadRollback, message)),
            None => candidate.down = Some(script),
        }
    }
    drops(legacy);
}

/// How well a rollback fits: the better the larger, `None` where it does not.
fn fit(candidate: &Candidate, file: &str, habit: &Habit) -> Option<(bool, bool, bool)> {
    let same_number = match (&candidate.habit.number, &habit.number) {
        (Some(one), Some(other)) => same(one, other),
        (None, None) => true,
        _ => false,
    };
    let contradicts = candidate.habit.number.is_some() && habit.number.is_some() && !same_number;
    let same_name = candidate.habit.name == habit.name;
    let by_number = habit.name.is_empty() && habit.number.is_some() && same_number;
    let same_base = candidate.habit.base == habit.base && candidate.habit.rank == 0;
    if contradicts || !(same_name || by_number || same_base) {
        return None;
    }
    Some((same_name || by_number, same_number, near(candidate.file(), file)))
}

/// In one folder, or in folders beside each other.
fn near(one: &str, other: &str) -> bool {
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let above = |folder: &str| folder.rsplit_once('/').map_or(String::new(), |(above, _)| above.to_owned());
    let (one, other) = (folder(one), folder(other));
    one == other || one == above(&other) || above(&one) == above(&other)
}

fn same(one: &str, other: &str) -> bool {
    match (one.parse::<Version>(), other.parse::<Version>()) {
        (Ok(one), Ok(other)) => Numbering::Integer.compare(&one, &other).is_eq(),
        _ => one == other,
    }
}

fn partner(candidates: &[Candidate], file: &str, habit: &Habit) -> Result<usize, String> {
    let fits = candidates.iter().enumerate().filter_map(|(place, one)| Some((fit(one, file, habit)?, place)));
    let mut fits: Vec<_> = fits.collect();
    fits.sort_by_key(|(fit, place)| (Reverse(*fit), *place));
    let name = |place: usize| candidates.get(place).map_or("", Candidate::file);
    match fits.as_slice() {
        [] => Err("it is a rollback of no file here; give both the same name".to_owned()),
        [(best, one), (next, other), ..] if best == next => Err(format!(
            "it could be the rollback of {} or of {}; put the number of the right one in its name",
            name(*one),
            name(*other)
        )),
        [(_, place), ..] => Ok(*place),
    }
}

/// `drop_x` beside `create_x` or `add_x`, without a number and without a rollback of its own, is the way back.
fn drops(legacy: &mut Legacy) {
    let mut place = 0;
    while let Some(candidate) = legacy.candidates.get(place) {
        let wanted = match candidate.habit.name.split_once('_') {
            Some(("drop" | "remove", rest)) if candidate.number.is_none() && candidate.down.is_none() => {
                rest.to_owned()
            }
            _ => {
                place += 1;
                continue;
            }
        };
        let makes = |one: &Candidate| {
            let named = ["create", "add"].iter().any(|verb| one.habit.name == format!("{verb}_{wanted}"));
            named && one.number.is_none() && one.down.is_none() && near(one.file(), candidate.file())
        };
        let places: Vec<usize> =
            (0..legacy.candidates.len()).filter(|place| legacy.candidates.get(*place).is_some_and(makes)).collect();
        if let [up] = places.as_slice() {
            let script = candidate.up.clone();
            if let Some(up) = legacy.candidates.get_mut(*up) {
                up.down = Some(script);
            }
            legacy.candidates.remove(place);
        } else {
            place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::migrations::{FileContent, FolderFile};
    use super::*;

    /// `up back down` for each pair, then `file: message` for each problem.
    fn told(files: &[&str]) -> Vec<String> {
        let file = |(number, path): (usize, &&str)| FolderFile {
            path: (*path).to_owned(),
            content: FileContent::Text(format!("CREATE TABLE t{number} ();")),
        };
        let legacy = Legacy::read(files.iter().enumerate().map(file).collect());
        let pairs = legacy.candidates.iter().map(|one| match &one.down {
            Some(down) => format!("{} back {}", one.file(), down.file()),
            None => one.file().to_owned(),
        });
        pairs.chain(legacy.problems.iter().map(|problem| format!("{}: {}", problem.file, problem.message))).collect()
    }

    #[test]
    fn a_rollback_goes_to_the_file_of_its_name() {
        #[track_caller]
        fn case(files: &[&str], expected: &[&str]) {
            assert_eq!(told(files), expected, "{files:?}");
        }
        case(&["1_a.up.sql", "1_a.down.sql"], &["1_a.up.sql back 1_a.down.sql"]);
        case(&["a.sql", "rollback_a.sql"], &["a.sql back rollback_a.sql"]);
        case(&["a.sql", "a.down.sql"], &["a.sql back a.down.sql"]);
        case(&["a.sql", "a_revert.sql"], &["a.sql back a_revert.sql"]);
        case(&["a.sql", "undo_a.sql"], &["a.sql back undo_a.sql"]);
        case(&["3_a.sql", "a_rollback.sql"], &["3_a.sql back a_rollback.sql"]);
        case(&["3_a.sql", "rollback_003.sql"], &["3_a.sql back rollback_003.sql"]);
        case(&["a.sql", "rollback/a.sql"], &["a.sql back rollback/a.sql"]);
        case(&["up/a.sql", "down/a.sql"], &["up/a.sql back down/a.sql"]);
        case(&["x/up.sql", "x/down.sql"], &["x/up.sql back x/down.sql"]);
        case(&["V2__a.sql", "U2__a.sql"], &["V2__a.sql back U2__a.sql"]);
        case(&["create_a.sql", "drop_a.sql"], &["create_a.sql back drop_a.sql"]);
        case(&["1_create_a.sql", "2_drop_a.sql"], &["1_create_a.sql", "2_drop_a.sql"]);
        case(&["1_a.sql", "2_a.sql", "2_a_rollback.sql"], &["1_a.sql", "2_a.sql back 2_a_rollback.sql"]);
    }

    #[test]
    fn a_rollback_that_fits_nothing_or_two_files_stays_out() {
        #[track_caller]
        fn case(files: &[&str], words: &str) {
            let told = told(files);
            assert!(told.iter().any(|line| line.contains(words)), "{told:?}");
        }
        case(&["a.sql", "rollback_b.sql"], "rollback_b.sql: it is a rollback of no file here");
        case(&["1_a.sql", "2_a.sql", "rollback_a.sql"], "it could be the rollback of 1_a.sql or of 2_a.sql");
        case(&["a.sql", "a_down.sql", "rollback_a.sql"], "a_down.sql is a rollback of a.sql already");
    }
}
