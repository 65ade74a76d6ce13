//! What a down did to the rows, told from the content at four moments.
//!
//! What the up left alone must be after the down as it was just before it, and so must what was written in between. What the up
//! changed is the up's business: it is noted where it does not come back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::content::{by_key, cell, multiset, places_of, same};
use super::pairing::{Place, Stamping, Story, Typing, find, stories};
use super::{Content, Finding, Harm, Row, Rows, What};

/// Compare the rows before the up, after it, after more was written, and after the down.
///
/// Judged are tables that are there at all four moments, in the columns that they had before the up.
pub fn examine(before: &Rows, after_up: &Rows, edited: &Rows, after_down: &Rows) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for story in stories(before, after_up, edited, after_down) {
        let mut tally = Tally::default();
        match contents(&story) {
            Some(rows) => keyed(&story, rows, &mut tally).unwrap_or_else(|| unkeyed(&story, rows, &mut tally)),
            None => digests(&story, &mut tally),
        }
        found.extend(tally.findings(&story));
    }
    found
}

/// The rows before the up, after it, edited, and after the down.
type Four<'a> = [&'a [Row]; 4];

fn contents<'a>(story: &Story<'a>) -> Option<Four<'a>> {
    let rows = |content: &'a Content| match content {
        Content::Rows(rows) => Some(rows.as_slice()),
        Content::Digest { .. } => None,
    };
    Some([
        rows(&story.before.content)?,
        rows(&story.after_up.content)?,
        rows(&story.edited.content)?,
        rows(&story.after_down.content)?,
    ])
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Harmed,
    Lost,
    Touched,
    Stays,
}

/// Rows and columns by what became of them.
#[derive(Default)]
struct Tally {
    found: BTreeMap<(Class, What), (u64, BTreeSet<String>)>,
}

impl Tally {
    fn rows(&mut self, class: Class, what: What, rows: u64) {
        if rows > 0 {
            self.found.entry((class, what)).or_default().0 += rows;
        }
    }

    /// One row in which these columns suffered; times that a trigger sets are a note when nothing else did.
    fn cells(&mut self, class: Class, what: What, places: &[&Place<'_>]) {
        let free: Vec<&&Place<'_>> = places.iter().filter(|place| place.stamp == Stamping::Free).collect();
        let (class, places) = match class {
            Class::Harmed if free.is_empty() => (Class::Touched, places.iter().collect()),
            // A time that was not brought back is no loss: the down's own update set it.
            Class::Lost if free.is_empty() => return,
            class => (class, free),
        };
        if !places.is_empty() {
            let entry = self.found.entry((class, what)).or_default();
            entry.0 += 1;
            entry.1.extend(places.iter().map(|place| place.column.name.clone()));
        }
    }

    fn findings(self, story: &Story<'_>) -> impl Iterator<Item = Finding> {
        let table = story.before.name.clone();
        self.found.into_iter().map(move |((class, what), (rows, columns))| {
            let harm = Harm { table: table.clone(), what, columns: columns.into_iter().collect(), rows };
            match class {
                Class::Harmed => Finding::Harmed(harm),
                Class::Lost => Finding::Lost(harm),
                Class::Touched => Finding::Touched(harm),
                Class::Stays => Finding::Stays(harm),
            }
        })
    }
}

/// Row by row; `None` where no key tells them apart at all four moments.
fn keyed(story: &Story<'_>, rows: Four<'_>, tally: &mut Tally) -> Option<()> {
    let key = places_of(story.before, &story.before.key).filter(|key| !key.is_empty())?;
    let tables = [story.before, story.after_up, story.edited, story.after_down];
    let mut maps = Vec::with_capacity(4);
    for (table, rows) in tables.into_iter().zip(rows) {
        let columns = key.iter().filter_map(|place| story.before.columns.get(*place));
        let places: Option<Vec<usize>> = columns.map(|column| find(story.before, column, table)).collect();
        maps.push(by_key(rows, &places?)?);
    }
    let [old, up, edited, down] = <[HashMap<_, _>; 4]>::try_from(maps).ok()?;
    // A key that the up rewrote tells nothing about what belongs together.
    if !old.is_empty() && !up.is_empty() && old.keys().all(|key| !up.contains_key(key)) {
        return None;
    }
    let places = story.places();
    let moved = moved(&places, old.iter().filter_map(|(key, row)| Some((*row, *up.get(key)?))));
    for (key, row) in &old {
        let Some(result) = down.get(key) else {
            match (up.contains_key(key), edited.contains_key(key)) {
                (true, true) => tally.rows(Class::Harmed, What::Deleted, 1),
                (false, _) => tally.rows(Class::Lost, What::Deleted, 1),
                (true, false) => {}
            }
            continue;
        };
        let (mut changed, mut undone, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for place in &places {
            let (was, is) = (cell(row, place.before), cell(result, place.down));
            let made = up.get(key).zip(place.up).map(|(row, at)| cell(row, at));
            let last = edited.get(key).zip(place.edited).map(|(row, at)| cell(row, at));
            match (made, last) {
                (Some(made), Some(last)) if same(was, made) => match (kept(place, made, last, is), same(made, last)) {
                    (true, _) => {}
                    (false, true) => changed.push(place),
                    (false, false) => undone.push(place),
                },
                (Some(made), Some(last)) if !same(made, last) => {}
                _ if !same(was, is) => lost.push(place),
                _ => {}
            }
        }
        tally.cells(Class::Harmed, What::Changed, &changed);
        tally.cells(Class::Harmed, What::EditLost, &undone);
        tally.cells(Class::Lost, What::Changed, &lost);
    }
    for (key, row) in edited.iter().filter(|(key, _)| !up.contains_key(*key) && !old.contains_key(*key)) {
        let Some(result) = down.get(key) else {
            tally.rows(Class::Harmed, What::NewDeleted, 1);
            continue;
        };
        let wrong = |place: &&Place<'_>| {
            let Some(at) = place.edited.filter(|_| !moved.contains(&place.before)) else { return false };
            !kept(place, cell(row, at), cell(row, at), cell(result, place.down))
        };
        tally.cells(Class::Harmed, What::EditLost, &places.iter().filter(wrong).collect::<Vec<_>>());
    }
    for key in down.keys().filter(|key| !old.contains_key(*key)) {
        if up.contains_key(key) {
            tally.rows(Class::Stays, What::Kept, 1);
        } else if !edited.contains_key(key) {
            tally.rows(Class::Stays, What::Appeared, 1);
        }
    }
    Some(())
}

/// The columns in which the up changed any row.
fn moved<'a>(places: &[Place<'_>], pairs: impl Iterator<Item = (&'a Row, &'a Row)> + Clone) -> BTreeSet<usize> {
    let changed = |place: &&Place<'_>| {
        place.up.is_none_or(|up| pairs.clone().any(|(was, is)| !same(cell(was, place.before), cell(is, up))))
    };
    places.iter().filter(changed).map(|place| place.before).collect()
}

/// Whether the value after the down is the last one that was written. Where the type was another one in between the form may
/// differ, and only what is gone or what is back to before the edit is known to be wrong.
fn kept(place: &Place<'_>, made: Option<&str>, last: Option<&str>, is: Option<&str>) -> bool {
    if same(last, is) {
        return true;
    }
    let edited = !same(made, last);
    match place.one_type {
        Typing::Same => false,
        Typing::Changed => is.is_some() && last.is_some() && !(edited && same(made, is)),
    }
}

/// Rows that nothing tells apart: how many there are of each, in the columns that the up left alone.
fn unkeyed(story: &Story<'_>, [old, up, edited, down]: Four<'_>, tally: &mut Tally) {
    let places: Vec<Place<'_>> = story.places().into_iter().filter(|place| place.stamp == Stamping::Free).collect();
    let left_alone = |place: &&Place<'_>| {
        let (Some(at), Some(_)) = (place.up, place.edited) else { return false };
        let made = multiset(up, &[at]);
        multiset(old, &[place.before]).iter().all(|(value, rows)| made.get(value).is_some_and(|more| more >= rows))
    };
    let all: Vec<&Place<'_>> = places.iter().filter(|place| place.up.is_some() && place.edited.is_some()).collect();
    let whole = |places: &[&Place<'_>]| {
        let made = multiset(up, &places.iter().filter_map(|place| place.up).collect::<Vec<_>>());
        let was = multiset(old, &places.iter().map(|place| place.before).collect::<Vec<_>>());
        was.iter().all(|(row, rows)| made.get(row).is_some_and(|more| more >= rows))
    };
    let chosen = if whole(&all) { all } else { places.iter().filter(left_alone).collect() };
    let at = |choose: fn(&Place<'_>) -> Option<usize>| -> Vec<usize> {
        chosen.iter().filter_map(|place| choose(place)).collect()
    };
    let old = multiset(old, &at(|place| Some(place.before)));
    let up = multiset(up, &at(|place| place.up));
    let edited = multiset(edited, &at(|place| place.edited));
    let down = multiset(down, &at(|place| Some(place.down)));
    let count = |rows: &HashMap<_, u64>, row: &Vec<Option<String>>| rows.get(row).copied().unwrap_or_default();
    for (row, wanted) in &edited {
        let (was, made, is) = (count(&old, row), count(&up, row), count(&down, row));
        let untouched = was.min(made).min(*wanted);
        tally.rows(Class::Harmed, What::Deleted, untouched.saturating_sub(is));
        let new = wanted.saturating_sub(made);
        tally.rows(Class::Harmed, What::NewDeleted, new.saturating_sub(is.saturating_sub(untouched)));
    }
    for (row, was) in &old {
        tally.rows(
            Class::Lost,
            What::Deleted,
            was.saturating_sub(count(&up, row)).min(was.saturating_sub(count(&down, row))),
        );
    }
    for (row, is) in &down {
        let extra = is.saturating_sub(count(&old, row).max(count(&edited, row)));
        tally.rows(Class::Stays, What::Appeared, extra);
        let added = count(&up, row).saturating_sub(count(&old, row));
        tally.rows(Class::Stays, What::Kept, added.min(is.saturating_sub(count(&old, row))));
    }
}

/// Tables that are too large to be listed: their number of rows, and each column that the up left alone.
fn digests(story: &Story<'_>, tally: &mut Tally) {
    let part = |content: &Content, place: usize| match content {
        Content::Digest { rows, columns } => Some((*rows, columns.get(place).cloned()?)),
        Content::Rows(_) => None,
    };
    for place in story.places() {
        let (Some(up), Some(edited)) = (place.up, place.edited) else { continue };
        let (old, up) = (part(&story.before.content, place.before), part(&story.after_up.content, up));
        let (edited, down) = (part(&story.edited.content, edited), part(&story.after_down.content, place.down));
        let (Some(old), Some(up), Some(edited), Some(down)) = (old, up, edited, down) else { continue };
        if old.0 == up.0 && down.0 < edited.0 {
            tally.rows(Class::Harmed, What::Deleted, edited.0 - down.0);
            return;
        }
        if old == up && edited != down && place.one_type == Typing::Same {
            tally.cells(Class::Harmed, What::Changed, &[&place]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rows::{Column, Source, Table};

    /// A table written as `oid name(column:type, ...)` and rows as `a,b;c,d`; `-` is NULL, `*` marks the key, `@` a stamp.
    fn table(text: &str) -> Rows {
        let (head, body) = text.split_once('|').unwrap();
        let (oid, rest) = head.trim().split_once(' ').unwrap();
        let (name, columns) = rest.split_once('(').unwrap();
        let mut key = Vec::new();
        let columns = columns.trim_end_matches(')').split(", ").map(|column| {
            let (number, rest) = column.split_once('.').unwrap();
            let (name, data_type) = rest.split_once(':').unwrap();
            let number: i16 = number.parse().unwrap();
            if name.contains('*') {
                key.push(number);
            }
            let source = if name.contains('@') { Source::Stamp } else { Source::Writer };
            let name = name.trim_matches(['*', '@']).to_owned();
            Column { number, name, data_type: data_type.to_owned(), source }
        });
        let columns = columns.collect();
        let value = |text: &str| (text != "-").then(|| text.to_owned());
        let rows = body.trim().split(';').filter(|row| !row.is_empty());
        let rows = rows.map(|row| row.split(',').map(value).collect()).collect();
        let table =
            Table { oid: oid.parse().unwrap(), name: name.to_owned(), columns, key, content: Content::Rows(rows) };
        Rows { tables: vec![table], unchecked: Vec::new() }
    }

    #[track_caller]
    fn case(name: &str, moments: [&str; 4], expected: &[&str]) {
        let [before, up, edited, down] = moments.map(table);
        let found: Vec<String> = examine(&before, &up, &edited, &down).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{name}");
    }

    const T: &str = "1 t(1.id*:int, 2.a:text)|";

    fn t(rows: [&str; 4]) -> [String; 4] {
        rows.map(|rows| format!("{T}{rows}"))
    }

    #[test]
    fn what_the_up_left_alone_must_be_as_it_was_before_the_down() {
        #[track_caller]
        fn rows(name: &str, moments: [&str; 4], expected: &[&str]) {
            let texts = t(moments);
            case(name, [&texts[0], &texts[1], &texts[2], &texts[3]], expected);
        }
        rows("nothing happens", ["1,x", "1,x", "1,x", "1,x"], &[]);
        rows("own seed is taken back", ["1,x", "1,x;2,y", "1,x;2,y;3,z", "1,x;3,z"], &[]);
        rows("an edit stays", ["1,x", "1,x", "1,e", "1,e"], &[]);
        rows("data there and back", ["1,x", "1,X", "1,X;2,n", "1,x;2,m"], &[]);
        rows(
            "an old row is deleted",
            ["1,x;2,y", "1,x;2,y", "1,x;2,y", "1,x"],
            &["t: the down takes 1 row that the up left alone"],
        );
        rows(
            "a row that the up changed is deleted",
            ["1,x", "1,X", "1,X", ""],
            &["t: the down takes 1 row that the up left alone"],
        );
        rows(
            "an old value is changed",
            ["1,x;2,y", "1,x;2,y", "1,x;2,y", "1,-;2,-"],
            &["t (a): the down changes 2 rows that the up left alone"],
        );
        rows(
            "a snapshot is restored",
            ["1,x;2,y", "1,x;2,y", "1,e;2,y;3,n", "1,x;2,y"],
            &[
                "t: the down loses 1 row written after the up",
                "t (a): the down loses what was changed after the up in 1 row",
            ],
        );
        rows(
            "the up deletes for good",
            ["1,x;2,y", "1,x", "1,x", "1,x"],
            &["t: the up takes 1 row that the down does not bring back"],
        );
        rows("the up deletes and the down brings back", ["1,x;2,y", "1,x", "1,x", "1,x;2,y"], &[]);
        rows(
            "the up changes for good",
            ["1,x", "1,X", "1,X", "1,X"],
            &["t (a): the up takes values of 1 row that the down does not bring back"],
        );
        rows(
            "a seed stays",
            ["1,x", "1,x;2,y", "1,x;2,y", "1,x;2,y"],
            &["t: 1 row that the up added stay after the down"],
        );
        rows(
            "the down adds",
            ["1,x", "1,x", "1,x", "1,x;9,y"],
            &["t: the down adds 1 row that were not there before the up"],
        );
        rows(
            "the down empties the table",
            ["1,x;2,y", "1,x;2,y", "1,x;2,y;3,z", ""],
            &["t: the down takes 2 rows that the up left alone", "t: the down loses 1 row written after the up"],
        );
    }

    #[test]
    fn a_rename_is_followed_and_what_is_made_anew_is_found_by_its_name() {
        case(
            "a table there and back",
            [&format!("{T}1,x"), "1 u(1.id*:int, 2.a:text)|1,x", "1 u(1.id*:int, 2.a:text)|1,e", &format!("{T}1,e")],
            &[],
        );
        case(
            "a column there and back",
            [&format!("{T}1,x"), "1 t(1.id*:int, 2.b:text)|1,x", "1 t(1.id*:int, 2.b:text)|1,e", &format!("{T}1,x")],
            &["t (a): the down loses what was changed after the up in 1 row"],
        );
        case(
            "a table rebuilt",
            [
                &format!("{T}1,x"),
                "2 t(1.id*:int, 2.a:text)|1,x",
                "2 t(1.id*:int, 2.a:text)|1,x;2,y",
                "3 t(1.id*:int, 2.a:text)|1,x;2,y",
            ],
            &[],
        );
        case(
            "a column that comes back empty",
            [&format!("{T}1,x"), "1 t(1.id*:int)|1", "1 t(1.id*:int)|1;2", "1 t(1.id*:int, 3.a:text)|1,-;2,-"],
            &["t (a): the up takes values of 1 row that the down does not bring back"],
        );
        case(
            "a column that comes back filled",
            [&format!("{T}1,x"), "1 t(1.id*:int)|1", "1 t(1.id*:int)|1", "1 t(1.id*:int, 3.a:text)|1,x"],
            &[],
        );
        case(
            "a column that the down makes anew",
            [&format!("{T}1,x"), &format!("{T}1,x"), &format!("{T}1,x"), "1 t(1.id*:int, 3.a:text)|1,-"],
            &["t (a): the down changes 1 row that the up left alone"],
        );
    }

    #[test]
    fn a_type_that_changed_is_compared_by_what_the_value_says() {
        const N: &str = "1 t(1.id*:int, 2.a:numeric(9,2))|";
        const W: &str = "1 t(1.id*:int, 2.a:numeric)|";
        let n = |rows: &str| format!("{N}{rows}");
        let w = |rows: &str| format!("{W}{rows}");
        case("zeros of the type", [&n("1,1.50"), &w("1,1.5"), &w("1,1.5;2,-3"), &n("1,1.50;2,-3.00")], &[]);
        case(
            "a value is gone",
            [&n("1,1.50"), &w("1,1.5"), &w("1,1.5"), &n("1,-")],
            &["t (a): the down changes 1 row that the up left alone"],
        );
        case(
            "the edit is gone",
            [&n("1,1.50"), &w("1,1.5"), &w("1,2"), &n("1,1.50")],
            &["t (a): the down loses what was changed after the up in 1 row"],
        );
    }

    #[test]
    fn times_that_a_trigger_sets_are_a_note_unless_more_changed() {
        const S: &str = "1 t(1.id*:int, 2.a:text, 3.at@:timestamp)|";
        let s = |rows: &str| format!("{S}{rows}");
        case(
            "an update of nothing",
            [&s("1,x,1"), &s("1,x,1"), &s("1,x,1"), &s("1,x,9")],
            &["t (at): the down updates 1 row, and a trigger notes the time"],
        );
        case(
            "and of more",
            [&s("1,x,1"), &s("1,x,1"), &s("1,x,1"), &s("1,y,9")],
            &["t (a): the down changes 1 row that the up left alone"],
        );
    }

    #[test]
    fn without_a_key_rows_are_counted() {
        const K: &str = "1 t(1.a:text, 2.b:text)|";
        let k = |rows: &str| format!("{K}{rows}");
        case("nothing happens", [&k("x,1;x,1"), &k("x,1;x,1"), &k("x,1;y,2"), &k("x,1;y,2")], &[]);
        case(
            "one of two",
            [&k("x,1;x,1"), &k("x,1;x,1"), &k("x,1;x,1"), &k("x,1")],
            &["t: the down takes 1 row that the up left alone"],
        );
        case(
            "a new one",
            [&k("x,1"), &k("x,1"), &k("x,1;y,2"), &k("x,1")],
            &["t: the down loses 1 row written after the up"],
        );
        case("data there and back", [&k("x,1"), &k("x,100"), &k("x,100;y,2"), &k("x,1;y,0")], &[]);
        case("own seed", [&k("x,1"), &k("x,1;s,0"), &k("x,1;s,0;y,2"), &k("x,1;y,2")], &[]);
        case(
            "a seed stays",
            [&k("x,1"), &k("x,1;s,0"), &k("x,1;s,0"), &k("x,1;s,0")],
            &["t: 1 row that the up added stay after the down"],
        );
    }

    #[test]
    fn a_large_table_is_judged_by_its_digests() {
        let digest = |rows: u64, columns: &[&str]| {
            let mut moment = table(T);
            let columns = columns.iter().map(|column| (*column).to_owned()).collect();
            moment.tables[0].content = Content::Digest { rows, columns };
            moment
        };
        let old = digest(2000, &["i", "a"]);
        let says = |edited: &Rows, down: &Rows| {
            examine(&old, &old, edited, down).iter().map(|f| f.to_string()).collect::<Vec<_>>()
        };
        let more = digest(2001, &["j", "b"]);
        assert_eq!(says(&more, &more), Vec::<String>::new());
        assert_eq!(says(&more, &old), ["t: the down takes 1 row that the up left alone"]);
        assert_eq!(says(&more, &digest(2001, &["j", "c"])), ["t (a): the down changes 1 row that the up left alone"]);
    }
}
